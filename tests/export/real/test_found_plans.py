"""The five best plans of each question for each program, by the program's own parser and checks."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml

from planner.export.exported import export_plan
from planner.export.run import PlannedRun
from planner.export.trainers import megatron_core
from planner.export.trainers.accelerate import get_sharding_engine
from planner.trainers.names import ExportName
from tests.export.found_plans import allow_losses, enumerate_questions, find_plans
from tests.export.real.needs import import_package
from tests.export.real.test_megatron import CHECKOUT
from tests.export.real.trees import describe_launch, find_tree, run_script
from tests.export.real.words import KERNEL_VARIABLES, capture_arguments

pytestmark = pytest.mark.export


def write_plans(program: ExportName, folder: Path) -> Iterator[tuple[PlannedRun, Path]]:
    """Every plan found for a program, with the folder of its files."""
    for number in enumerate_questions(program):
        for rank, run in enumerate(find_plans(program, number)):
            made = folder / f"{number}-{rank}"
            made.mkdir()
            for name, text in export_plan(run, program, allow_losses(run, program), None, {}).files.items():
                (made / name).write_text(text)
            yield run, made


def test_torchtitan_accepts_what_was_found(tmp_path: Path) -> None:
    import_package("torch")
    manager = import_package("torchtitan.config.manager")
    dims = import_package("torchtitan.distributed.parallel_dims").ParallelDims
    count = 0
    has_torchao = importlib.util.find_spec("torchao") is not None
    for run, folder in write_plans("torchtitan", tmp_path):
        if run.precision == "fp8" and not has_torchao:
            continue  # torchtitan needs it to build 8-bit layers
        sys.modules.pop("planned_torchtitan", None)
        with patch.object(sys, "path", [str(folder), *sys.path]):
            config = manager.ConfigManager().parse_args(["--module", "planned_torchtitan", "--config", "plan"])
        dims.from_config(config.parallelism, run.devices)
        config.model_spec.model.update_from_config(config=config)
        count += 1
    assert count >= 30


def test_megatron_core_accepts_what_was_found(tmp_path: Path) -> None:
    torch = import_package("torch")
    config = import_package("megatron.core.transformer.transformer_config")
    for run, _ in write_plans("megatron-lm", tmp_path):
        fields = megatron_core.build_transformer_config(run) | {"pipeline_dtype": torch.bfloat16}
        kind = config.MLATransformerConfig if fields.get("multi_latent_attention") else config.TransformerConfig
        made = kind(**fields)
        assert made.num_layers == run.layers


def test_megatron_lm_accepts_what_was_found(tmp_path: Path) -> None:
    import_package("megatron.core")
    if not (CHECKOUT / "megatron" / "training" / "arguments.py").is_file():
        pytest.skip(f"there is no Megatron-LM in {CHECKOUT}; MEGATRON_LM names another folder")
    launches = []
    for run, folder in write_plans("megatron-lm", tmp_path):
        words, environment = capture_arguments(
            "torchrun", folder / "train.sh", MEGATRON_LM=str(CHECKOUT), NODE_RANK="0"
        )
        limits = {key: value for key, value in environment.items() if key in KERNEL_VARIABLES}
        at = words.index(str(CHECKOUT / "pretrain_gpt.py"))
        launches.append({"words": words[at + 1 :], "env": limits, "devices": run.devices})
    out = tmp_path / "arguments.json"
    environment = {key: value for key, value in os.environ.items() if key != "CUDA_DEVICE_MAX_CONNECTIONS"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("megatron_arguments.py")), str(out)],
        env={**environment, "PYTHONPATH": str(CHECKOUT)},
        input=json.dumps(launches),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(json.loads(out.read_text())) == len(launches) >= 30


def test_megatron_core_lays_the_ranks_of_what_was_found(tmp_path: Path) -> None:
    parallel = import_package("megatron.core.parallel_state")
    for run, _ in write_plans("megatron-lm", tmp_path):
        one, order = run.strategy, "tp-cp-ep-pp-dp" if megatron_core.uses_pp_dp_order(run) else "tp-cp-ep-dp-pp"
        etp, ep = (one.etp, one.ep) if run.decoder.moe is not None else (one.tp, 1)
        sizes = {"pp": one.pp, "order": order}
        dense = parallel.RankGenerator(tp=one.tp, ep=1, dp=one.dp, cp=one.cp, **sizes)
        expert_dp = run.devices // (etp * ep * one.pp)
        experts = parallel.RankGenerator(tp=etp, ep=ep, dp=expert_dp, cp=1, **sizes)
        assert order.endswith("pp") or one.pp == 1 or expert_dp == one.dp
        assert dense.get_ranks("pp") == experts.get_ranks("pp")


def test_deepspeed_accepts_what_was_found(tmp_path: Path) -> None:
    config = import_package("deepspeed.runtime.config")
    for run, folder in write_plans("deepspeed", tmp_path):
        with (
            patch.object(config.dist, "get_rank", lambda: 0),
            patch.object(config.dist, "get_world_size", lambda run=run: run.strategy.dp),
        ):
            read = config.DeepSpeedConfig(str(folder / "ds_config.json"))
        assert read.gradient_accumulation_steps == run.micro_batches
        # `_do_optimizer_sanity_check`: without ZeRO gradients have the format of the weights
        assert read.zero_optimization_stage > 0 or not read.bfloat16_config.enabled or read.grad_accum_dtype == "bf16"


def test_accelerate_accepts_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launch, config = (
        import_package("accelerate.commands.launch"),
        import_package("accelerate.commands.config.config_args"),
    )
    sizes_class = import_package("accelerate.parallelism_config").ParallelismConfig
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("accelerate.utils.launch.is_fp8_available", lambda: True)
    script = tmp_path / "train.py"
    for run, folder in write_plans("accelerate", tmp_path):
        monkeypatch.setattr("torch.cuda.device_count", lambda run=run: run.devices_per_node)
        words, _ = capture_arguments("accelerate", folder / "train.sh", str(script))
        args = launch.launch_command_parser().parse_args(words[1:])
        assert config.load_config_from_file(args.config_file).num_processes == run.devices
        args, _defaults, _ = launch._validate_launch_command(args)
        if get_sharding_engine(run) == "fsdp":
            environment = import_package("accelerate.utils.launch").prepare_multi_gpu_env(args)
            with patch.dict(os.environ, {key: environment[key] for key in environment if key.startswith("PARALL")}):
                assert sizes_class().total_size == run.devices


def test_maxtext_accepts_what_was_found(tmp_path: Path) -> None:
    where = find_tree("maxtext")
    import_package("pydantic")
    configs = []
    for _, folder in write_plans("maxtext", tmp_path):
        configs.append(yaml.safe_load((folder / "maxtext.yml").read_text()))
        configs[-1].pop("base_config")
    assert run_script("maxtext_configs.py", where, configs, tmp_path / "given.json") == configs


def test_fsdp2_accepts_what_was_found(tmp_path: Path) -> None:
    import_package("torch")
    for run, folder in write_plans("fsdp2", tmp_path):
        names: dict[str, object] = {}
        exec(compile((folder / "planned_fsdp2.py").read_text(), "planned_fsdp2.py", "exec"), names)
        assert (names["GLOBAL_BATCH"], names["MICRO_BATCHES"]) == (run.global_batch, run.micro_batches)
        assert int(str(names["REPLICAS"])) * int(str(names["SHARDS"])) == run.devices


def test_megatron_bridge_accepts_what_was_found(tmp_path: Path) -> None:
    where = find_tree("megatron-bridge")
    import_package("megatron.core")
    scripts = []
    for run, folder in write_plans("megatron-bridge", tmp_path):
        scripts.append(describe_launch(folder / "planned_bridge.py", run.devices))
    given = run_script("bridge_configs.py", where, scripts, tmp_path / "configs.json")
    assert isinstance(given, list)
    assert len(given) == len(scripts) >= 30


def test_nemo_accepts_what_was_found(tmp_path: Path) -> None:
    trees = find_tree("nemo_toolkit"), find_tree("megatron-core")
    import_package("lightning")
    scripts = [str(folder / "planned_nemo.py") for _, folder in write_plans("nemo", tmp_path)]
    given = run_script("nemo_configs.py", trees, scripts, tmp_path / "values.json")
    assert isinstance(given, list)
    assert len(given) == len(scripts) >= 30
