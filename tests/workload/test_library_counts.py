"""Models of Hugging Face's library have as many parameters as the library builds.

`library_defaults.csv`: the classes of transformers 5.24.0 by their defaults. `library_models.jsonl`: published
configurations, and some written from documented values; `left_out` are the parameters of towers and projectors, which
are not read. Counts are those of the modules that the library builds on the meta device (torch 2.13).
"""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from planner.errors import InputError
from planner.trainers.model_rules import find_uncommon_parts
from planner.workload.huggingface.families import FAMILY_NAMES, find_family_reader
from planner.workload.huggingface.library_defaults import find_library_class
from planner.workload.huggingface.read_config import ReadModel, read_huggingface_config
from planner.workload.operators import AttentionCore, Linear, Scan, Workload
from planner.workload.transformer import build_workload

FIXTURES = Path(__file__).parents[1] / "fixtures"
CLASSES = list(csv.DictReader((FIXTURES / "library_defaults.csv").read_text().splitlines()))
MODELS = {
    model["name"]: model for model in map(json.loads, (FIXTURES / "library_models.jsonl").read_text().splitlines())
}


def read(config: Mapping[str, object]) -> ReadModel:
    return read_huggingface_config(json.dumps(config), "config.json", "model")


def build(config: Mapping[str, object]) -> Workload:
    return build_workload(read(config).spec)


def change(name: str, **keys: object) -> dict[str, Any]:
    config = MODELS[name]["config"] | keys
    return {key: value for key, value in config.items() if value != "missing"}


@pytest.mark.parametrize("row", CLASSES, ids=lambda row: row["type"])
def test_defaults_of_a_class_count_as_the_library_does(row: dict[str, str]) -> None:
    library = find_library_class(row["type"])
    assert library is not None
    config = {"model_type": row["type"], "architectures": [row["class"]], **library.defaults}
    assert build(config).parameters == int(row["parameters"])


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_model_counts_as_the_library_does(name: str) -> None:
    workload, model = build(MODELS[name]["config"]), MODELS[name]
    assert workload.parameters == model["parameters"] - model["left_out"]


def test_what_is_left_out_is_named() -> None:
    for name, model in MODELS.items():
        notes = " ".join(read(model["config"]).notes)
        assert ("left out" in notes and "tower" in notes) == (model["left_out"] > 0) or model["left_out"] == 0, name
    assert "quantization_config" in " ".join(read(MODELS["XiaomiMiMo--MiMo-V2-Flash"]["config"]).notes)
    assert "MTP" in " ".join(read(MODELS["zai-org--GLM-5"]["config"]).notes)


def test_layers_by_list_are_layers_by_kind() -> None:
    gemma = build(MODELS["gemma-3-1b"]["config"])
    windows = [
        core.window for run in gemma.layer_runs for core in run.layer.operators if isinstance(core, AttentionCore)
    ]
    assert windows[:2] == [512, 0]
    assert [run.count for run in gemma.layer_runs[:2]] == [5, 1]
    qwen = build(MODELS["Qwen--Qwen3.5-27B"]["config"])
    counts: dict[bool, int] = {}
    for run in qwen.layer_runs:
        is_scan = any(isinstance(op, Scan) for op in run.layer.operators)
        counts[is_scan] = counts.get(is_scan, 0) + run.count
    assert counts == {True: 48, False: 16}


def test_a_head_is_that_of_the_architecture() -> None:
    causal = change("meta-llama--Meta-Llama-3.1-8B")
    heads = {
        name: build({**causal, "architectures": [f"Llama{name}"], "num_labels": 3})
        for name in ("ForCausalLM", "ForSequenceClassification", "ForTokenClassification", "Model")
    }
    hidden, vocab = causal["hidden_size"], causal["vocab_size"]
    base = heads["Model"].parameters
    assert heads["ForCausalLM"].parameters == base + hidden * vocab
    assert heads["ForSequenceClassification"].parameters == base + 3 * hidden
    assert heads["ForTokenClassification"].parameters == base + 3 * hidden + 3
    with pytest.raises(InputError, match="LlamaRewardModel"):
        build({**causal, "architectures": ["LlamaRewardModel"]})


def test_infinity_is_a_number() -> None:
    text = json.dumps(change("nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", time_step_limit=[0.0, float("inf")]))
    assert "Infinity" in text
    assert read_huggingface_config(text, "c", "n").spec.layers == 52


def test_both_vocabularies_of_layers_are_read() -> None:
    new = change("nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", hybrid_override_pattern="MEM*-", num_hidden_layers=5)
    names = ["mamba", "moe", "mamba", "attention", "mlp"]
    old = change(
        "nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
        hybrid_override_pattern="missing",
        num_hidden_layers="missing",
        layers_block_type=names,
    )
    new.pop("layers_block_type", None)
    new.pop("layer_types", None)
    old.pop("layer_types", None)
    assert build(new).parameters == build(old).parameters
    assert build(new).layer_count == 5


def test_keys_that_a_class_lacks_are_ignored_as_by_the_library() -> None:
    plain = change("granite-3.1-3b-a800m")
    assert build({**plain, "sliding_window": 64, "n_shared_experts": 4}).parameters == build(plain).parameters
    windows = [
        op.window
        for run in build({**plain, "sliding_window": 64}).layer_runs
        for op in run.layer.operators
        if isinstance(op, AttentionCore)
    ]
    assert set(windows) == {0}


def test_a_refusal_says_what_is_missing_and_what_is_near() -> None:
    config = {"model_type": "deepseek_v9", "hidden_size": 7168, "num_hidden_layers": 61, "hc_mult": 4}
    with pytest.raises(InputError) as refused:
        read(config)
    message = str(refused.value)
    for part in ("hyper-connections", "deepseek-v3", "model TOML"):
        assert part in message
    with pytest.raises(InputError, match=r"layer_types\[1\]"):
        build(change("gemma-2-9b", layer_types=["full_attention", "ring_attention"] * 21))


def test_programs_of_decoders_refuse_what_they_do_not_have() -> None:
    parts = {
        "gemma-2-9b": {"norm_placement", "pattern"},
        "Qwen--Qwen3.5-27B": {"attention_gate", "pattern"},
        "meta-llama--Meta-Llama-3.1-8B": set(),
    }
    for name, expected in parts.items():
        assert set(find_uncommon_parts(read(MODELS[name]["config"]).spec)) == expected


def test_tensor_parallelism_divides_what_mixers_have() -> None:
    for name in ("Qwen--Qwen3.5-27B", "mamba2-2.7b", "lfm2-1.2b", "jamba-1.5-mini", "minimax-text-01"):
        for layer in build(MODELS[name]["config"]).layer_types:
            columns = [op for op in layer.operators if isinstance(op, Linear) and op.shard == "column"]
            rows = [op for op in layer.operators if isinstance(op, Linear) and op.shard == "row"]
            assert columns, (name, layer.name)
            assert rows, (name, layer.name)


def test_each_family_is_in_the_module_that_is_named_for_it() -> None:
    for name in FAMILY_NAMES:
        assert callable(find_family_reader(name))


def test_flags_change_the_count_as_in_the_library() -> None:
    """Differences that transformers 5.24.0 gives when a key is changed (fuzzed against it)."""
    causal = change("meta-llama--Meta-Llama-3.1-8B")
    with pytest.raises(InputError, match="add_cross_attention"):
        build({**causal, "add_cross_attention": True})
    mpt = change("mpt-7b")
    assert build({**mpt, "expansion_ratio": 8}).parameters == build(mpt).parameters
    mimo = change("XiaomiMiMo--MiMo-V2-Flash")
    bias = build({**mimo, "attention_bias": True}).parameters - build(mimo).parameters
    # of queries, keys and values, not of the output; keys and values of two shapes
    windowed, full = 39, 9
    assert bias == windowed * (64 * 192 + 8 * (192 + 128)) + full * (64 * 192 + 4 * (192 + 128))
    experts = change("Qwen--Qwen3-30B-A3B")
    renamed = {key: value for key, value in experts.items() if key not in ("num_experts", "num_local_experts")}
    counts = {build({**renamed, key: 64}).parameters for key in ("num_experts", "num_local_experts")}
    assert len(counts) == 1
