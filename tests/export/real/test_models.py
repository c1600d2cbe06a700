"""Models that trainers build of the exported files, on the meta device, against transformers' of the config.json."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from planner.export.trainer import UserExtras, build_model_file
from planner.export.trainers import TRAINERS
from planner.export.trainers.maxtext_model import build_model_config
from planner.trainers.names import ExportName
from planner.workload.spec import ModelSpec
from planner.workload.transformer import build_workload
from tests.export.real.needs import import_package
from tests.export.real.test_megatron import CHECKOUT
from tests.export.real.trees import describe_launch, find_tree, run_script
from tests.export.real.words import capture_arguments
from tests.export.test_models import CONFIGS, FAMILIES, REFUSED, build_model_run

pytestmark = pytest.mark.export

COUNTS = Path(__file__).parents[2] / "fixtures" / "parameter_counts.csv"
MEGATRON_MODELS = [name for name in FAMILIES if ("megatron-lm", name) not in REFUSED]
TORCHTITAN_MODELS = [name for name in FAMILIES if ("torchtitan", name) not in REFUSED]


def read_published_parameters(name: str, *, mtp: bool) -> int:
    """Trained parameters of a configuration: transformers' count, and that of the layers of prediction."""
    rows = {row["name"]: int(row["parameters"]) for row in csv.DictReader(COUNTS.read_text().splitlines())}
    if name != "deepseek-v3":
        return rows[name]
    # the bias of the choice among 256 experts is a buffer
    return rows[f"{name}/trainable-without-mtp"] + (rows[name] - rows[f"{name}/without-mtp"] - 256 if mtp else 0)


def compute_library_frequencies(name: str) -> list[float]:
    """The frequencies of rotary positions as transformers computes them of the config.json."""
    transformers = import_package("transformers")
    rope = import_package("transformers.modeling_rope_utils")
    config = transformers.AutoConfig.from_pretrained(CONFIGS / name)
    raw = json.loads((CONFIGS / name / "config.json").read_text())
    scaling = raw.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind != "default":
        frequencies, _ = rope.ROPE_INIT_FUNCTIONS[kind](config, "cpu")
        return list(frequencies.tolist())
    size = raw.get("head_dim", raw.get("hidden_size", 0) // raw.get("num_attention_heads", 1))
    base = raw.get("rope_theta", 10_000)
    return [base ** -(i / size) for i in range(0, size, 2)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What Megatron-LM builds of the arguments of each model: of all in one process, which takes long to start."""
    import_package("megatron.core")
    if not (CHECKOUT / "gpt_builders.py").is_file():
        pytest.skip(f"there is no Megatron-LM in {CHECKOUT}; MEGATRON_LM names another folder")
    runs = []
    for name in MEGATRON_MODELS:
        run, folder = build_model_run(name, "megatron-lm"), tmp_path_factory.mktemp("model")
        (folder / "train.sh").write_text(TRAINERS["megatron-lm"].build_files(run, UserExtras())["train.sh"])
        words, _ = capture_arguments("torchrun", folder / "train.sh", MEGATRON_LM=str(CHECKOUT))
        at = words.index(str(CHECKOUT / "pretrain_gpt.py"))
        runs.append({"words": words[at + 1 :], "env": {}, "devices": run.devices})
    out = tmp_path_factory.mktemp("built") / "models.json"
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("megatron_models.py")), str(out)],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        input=json.dumps(runs),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(MEGATRON_MODELS, json.loads(out.read_text()), strict=True))


@pytest.mark.parametrize("name", MEGATRON_MODELS)
def test_megatron_lm_builds_the_model(name: str, built: dict[str, dict[str, object]]) -> None:
    model = build_model_run(name, "megatron-lm").decoder
    expected = read_published_parameters(name, mtp=True)
    assert built[name]["parameters"] == expected
    assert built[name]["epsilons"] == [model.norm_epsilon]
    if built[name]["frequencies"] is not None:
        assert built[name]["frequencies"] == pytest.approx(compute_library_frequencies(name), rel=1e-5)


@pytest.mark.parametrize("name", TORCHTITAN_MODELS)
def test_torchtitan_builds_the_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = import_package("torch")
    import_package("torchtitan.trainer")
    run = build_model_run(name, "torchtitan")
    module = ModuleType("planned_torchtitan")
    text = TRAINERS["torchtitan"].build_files(run, UserExtras())["planned_torchtitan.py"]
    exec(compile(text, "planned_torchtitan.py", "exec"), module.__dict__)
    spec = module.plan().model_spec
    with torch.device("meta"):
        model = spec.model.build()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters == read_published_parameters(name, mtp=True)
    norms = [part for part in model.modules() if type(part).__name__ == "RMSNorm"]
    assert {norm.eps for norm in norms} == {run.decoder.norm_epsilon}
    rope = next(part for part in model.modules() if "RoPE" in type(part).__name__)
    assert rope.config.theta == run.decoder.rope_base
    scaling = run.decoder.rope_scaling
    if scaling is not None and scaling.type == "yarn":
        config = rope.config
        built = (config.scaling, config.rope_factor, config.original_seq_len, config.beta_fast, config.truncate)
        expected = (scaling.factor, scaling.original_seq_length, scaling.beta_fast, scaling.truncate)
        assert built == ("yarn", *expected)
    if run.decoder.mla is None and scaling is None:
        cache = type(rope)(rope.config).cache
        second = cache[1].angle() if cache.is_complex() else torch.atan2(*reversed(cache[1].chunk(2)))
        size = run.decoder.head_size // 2
        assert second[:size].tolist() == pytest.approx(compute_library_frequencies(name), rel=1e-4)
    moe = run.decoder.moe
    if moe is not None:
        router = next(part for part in model.modules() if "Router" in type(part).__name__)
        built = (router.top_k, router.score_func, router.route_norm, router.route_scale)
        assert built == (moe.topk, moe.score_function, moe.normalizes_topk, moe.router_scaling)
        groups = (router.num_expert_groups or 0, router.num_limited_groups or 0)
        assert groups == (moe.router_groups, moe.router_topk_groups)


def test_megatron_bridge_makes_a_configuration_of_each_model(tmp_path: Path) -> None:
    folder = find_tree("megatron-bridge")
    import_package("megatron.core")
    names, scripts = [name for name in FAMILIES if ("megatron-bridge", name) not in REFUSED], []
    for i, name in enumerate(names):
        run, script = build_model_run(name, "megatron-bridge"), tmp_path / f"model_{i}.py"
        script.write_text(TRAINERS["megatron-bridge"].build_files(run, UserExtras())["planned_bridge.py"])
        scripts.append(describe_launch(script, run.devices))
    read = run_script("bridge_configs.py", folder, scripts, tmp_path / "configs.json")
    for name, sizes in zip(names, read, strict=True):  # type: ignore[call-overload]
        model = build_model_run(name, "megatron-bridge").decoder
        assert (sizes["layers"], sizes["vocabulary"]) == (model.layers, model.vocab_size)


def test_maxtext_builds_the_models(tmp_path: Path) -> None:
    folder = find_tree("maxtext")
    for package in ("jax", "flax", "qwix", "aqt"):
        import_package(package)
    names = [name for name in FAMILIES if ("maxtext", name) not in REFUSED]
    runs = [build_model_run(name, "maxtext") for name in names]
    # the router of DeepSeek-V3 in a model of other sizes: words of the command line
    deepseek = runs[names.index("deepseek-v3")]
    moe = msgspec.structs.replace(deepseek.decoder.moe, experts=64, topk=6, router_groups=1, router_topk_groups=1)
    small = msgspec.structs.replace(
        deepseek.decoder, hidden_size=1024, layers=4, rope_scaling=None, mtp_layers=0, tied_embeddings=True, moe=moe
    )
    runs.append(replace(deepseek, model=small, layers=4, chunk_layers=(4,)))
    launches, keys = [], []
    for i, run in enumerate(runs):
        made = tmp_path / str(i)
        made.mkdir()
        for name, text in TRAINERS["maxtext"].build_files(run, UserExtras()).items():
            (made / name).write_text(text)
        words, _ = capture_arguments("python3", made / "train.sh")
        launches.append(words[words.index("maxtext.trainers.pre_train.train") + 1 :])
        keys.append(build_model_config(run))
    built = run_script("maxtext_models.py", folder, launches, tmp_path / "models.json")
    for run, written, read in zip(runs, keys, built, strict=True):  # type: ignore[call-overload]
        assert {key: read["values"][key] for key in written} == written
        assert read["parameters"] == count_trained_parameters(run.decoder)
    for name, read in zip(names, built, strict=False):  # type: ignore[call-overload]
        assert read["parameters"] == read_published_parameters(name, mtp=True)


def count_trained_parameters(model: ModelSpec) -> int:
    """Parameters of the plan's model without the biases that balance experts: they are not trained."""
    moe = model.moe
    layers = model.layers - moe.first_dense_layers + model.mtp_layers if moe and moe.balances_by_bias else 0
    return build_workload(model).parameters - (layers * moe.experts if moe else 0)


@pytest.mark.parametrize("name", FAMILIES)
def test_transformers_builds_the_model_of_the_exported_configuration(name: str, tmp_path: Path) -> None:
    torch, transformers = import_package("torch"), import_package("transformers")
    run = build_model_run(name, "megatron-lm")
    (tmp_path / "config.json").write_text(build_model_file(run)["config.json"])
    written = transformers.AutoConfig.from_pretrained(tmp_path)
    given = transformers.AutoConfig.from_pretrained(CONFIGS / name)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(written)
    assert sum(parameter.numel() for parameter in model.parameters()) == read_published_parameters(name, mtp=False)
    for key in (
        "rms_norm_eps",
        "layer_norm_eps",
        "rope_theta",
        "rope_parameters",
        "n_group",
        "topk_group",
    ):
        if hasattr(written, key) and hasattr(given, key):
            assert normalize(getattr(written, key)) == normalize(getattr(given, key)), key


def normalize(value: object) -> object:
    """A table without the old name of a key, and without keys that are left out elsewhere."""
    if not isinstance(value, dict):
        return value
    return {key: number for key, number in value.items() if key not in ("type", "truncate") and number is not None}


@pytest.mark.parametrize("program", ["megatron-lm", "torchtitan"])
def test_the_plan_counts_the_parameters_of_the_library(program: ExportName) -> None:
    for name in FAMILIES:
        model = build_model_run(name, program).decoder
        assert count_trained_parameters(model) == read_published_parameters(name, mtp=True)
