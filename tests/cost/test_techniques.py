"""Techniques against what their papers report, and for what must hold whatever the plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model import presets
from planner.cluster.model.cluster import Cluster
from planner.cluster.model.spec import parse_cluster_spec
from planner.cost.memory.peak import compute_memory_totals_bytes, compute_peak_memory_bytes
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.step import compute_pipeline_bound_s, compute_step_costs
from planner.cost.strategies import Strategies, build_strategy
from planner.cost.techniques import (
    OPTIMIZERS,
    apply_distillation,
    apply_lora,
    apply_low_rank,
    apply_optimizer,
    apply_pruning,
    describe_techniques,
)
from planner.errors import InputError
from planner.search.search import SearchTarget, search_plans
from planner.search.space import Space
from planner.trainers.registry import TRAINERS_BY_NAME
from planner.workload.presets import read_model_preset
from planner.workload.spec import ModelSpec
from planner.workload.techniques import LoraModules
from planner.workload.transformer import build_workload
from tests.examples import clusters, lab, lab_scenario, tiny, workloads

A6000 = """
name = "one GPU"
nodes = 1
[node]
devices = 1
link = { bandwidth = "56GB/s" }
[node.accelerator]
name = "rtx-a6000"
architecture = "ampere"
peak_flops = { bf16 = "154.8TFLOP/s" }
memory = { capacity = "48GB", bandwidth = "768GB/s" }
"""


def load_cluster(cluster: str, devices: int) -> Cluster:
    return resolve_cluster(presets.load_cluster_spec(cluster), "", devices=devices)


def compute_step_s(q: Scenario, s: Strategies) -> float:
    return float(compute_step_costs(q, s).step_time_s[0])


def compute_memory_bytes(q: Scenario, s: Strategies) -> dict[str, float]:
    return {category: float(value[0]) for category, value in compute_peak_memory_bytes(q, s).items()}


def test_lora_of_gpt3_is_as_much_faster_as_published() -> None:
    """Hu et al. 2021 (arXiv 2106.09685), section 4.2: 43.1 against 32.5 tokens/s a V100; 350 GB against 1.2 TB."""
    q = build_scenario(
        build_workload(read_model_preset("gpt-3-175b")),
        load_cluster("dgx-v100", 64),
        global_batch=64,
        precision="fp16",
    )
    plan = build_strategy(tp=8, pp=8)
    adapted = apply_lora(q, 4)
    assert compute_step_s(q, plan) / compute_step_s(adapted, plan) / (43.1 / 32.5) - 1 == pytest.approx(
        0.01, abs=0.03
    )
    state = ("weights", "gradients", "optimizer")
    state_bytes = 64 * sum(compute_memory_bytes(adapted, plan)[category] for category in state)
    assert state_bytes / 350e9 - 1 == pytest.approx(0.04, abs=0.02)
    # 1.2 TB is 6.9 bytes a parameter, less than 16-bit weights beside a 32-bit optimizer take
    assert 64 * sum(compute_memory_bytes(q, plan)[category] for category in state) > 2.5e12


def test_qlora_fits_65_billion_parameters_on_48_gb() -> None:
    """Dettmers et al. 2023 (arXiv 2305.14314): 65B on one 48 GB GPU, more than 780 GB in 16 bit."""
    spec = ModelSpec(
        name="llama-65b", hidden_size=8192, layers=80, heads=64, ffn_size=22016, vocab_size=32000, seq_length=512,
        gated_mlp=True, norm="rmsnorm",
    )  # fmt: skip
    gpu = resolve_cluster(parse_cluster_spec(A6000, "toml", "gpu.toml"), "gpu.toml")
    q = build_scenario(build_workload(spec), gpu, global_batch=16, framework="deepspeed")
    plan = build_strategy(recompute=2)
    assert sum(compute_memory_bytes(q, plan).values()) > 780e9
    quantised = apply_lora(apply_optimizer(q, "adam8bit"), 64, 4)
    assert 40e9 < sum(compute_memory_bytes(quantised, plan).values()) < 48e9
    assert quantised.techniques.lora is not None
    assert quantised.techniques.lora.frozen_bytes == pytest.approx(0.52, abs=0.01)


def test_pruned_models_train_as_much_faster_as_published() -> None:
    """PyTorch blog, June 2024: 6 % less for a ViT-L on A100 whose first 70 % of steps are sparse: 8.6 % a step."""
    v = build_workload(read_model_preset("vit-l-16"))
    q = build_scenario(v, load_cluster("dgx-a100", 4), global_batch=256, framework="ddp")
    plan = build_strategy(dp=4, micro_batch=64)
    less = 1 - compute_step_s(apply_pruning(q), plan) / compute_step_s(q, plan)
    assert less - 0.06 / 0.7 == pytest.approx(0.027, abs=0.01)


def test_eight_bit_adam_keeps_two_bytes_of_moments() -> None:
    """Dettmers et al. 2021 (arXiv 2110.02861): two bytes in place of eight."""
    q = build_scenario(build_workload(read_model_preset("gpt-1.7b")), load_cluster("dgx-a100", 1), global_batch=1)
    whole, narrow = (
        compute_memory_bytes(scenario, build_strategy())["optimizer"]
        for scenario in (q, apply_optimizer(q, "adam8bit"))
    )
    saved = whole - narrow
    assert saved == pytest.approx(6 * q.workload.parameters, rel=0.01)


@pytest.mark.parametrize(
    ("name", "state"), [("adamw", 12), ("lamb", 12), ("adam8bit", 6), ("sgd", 8), ("adafactor", 4), ("muon", 8)]
)
def test_optimizers_state(name, state) -> None:
    q = apply_optimizer(
        build_scenario(build_workload(read_model_preset("llama-3-8b")), load_cluster("dgx-h100", 8), global_batch=8),
        name,
    )
    assert q.trainer.optimizer_bytes == pytest.approx(state, rel=0.1)
    assert (q.techniques.optimizer_flops > 0) == (name == "muon")


def test_muon_multiplies_and_adam_does_not() -> None:
    q = lab_scenario()
    plan = build_strategy(dp=16)
    adam, muon = (
        float(compute_step_costs(apply_optimizer(q, optimizer), plan).terms["optimizer"][0])
        for optimizer in ("adamw", "muon")
    )
    assert muon > adam


def test_low_rank_factors_shrink_matrices_alone() -> None:
    q = lab_scenario(tiny())
    thin = apply_low_rank(q, 0.25)
    # of a square matrix two factors of a quarter of its rank have half its parameters
    (run,) = thin.workload.layer_runs
    out = {op.name: op for op in run.layer.operators}
    assert out["attention_out_narrow"].outputs == out["attention_out"].inputs == 128
    assert thin.workload.embedding == q.workload.embedding
    assert thin.workload.head == q.workload.head
    with pytest.raises(InputError, match="makes no matrix smaller"):
        apply_low_rank(lab_scenario(tiny(ffn_size=512, gated_mlp=False, kv_heads=2)), 0.95)


def test_a_teacher_costs_its_forward_pass() -> None:
    q = build_scenario(build_workload(read_model_preset("llama-3-8b")), load_cluster("dgx-h100", 8), global_batch=64)
    plan = build_strategy(tp=8, sequence_parallel=1)
    taught = apply_distillation(q, build_workload(read_model_preset("llama-3-70b")))
    more = compute_step_s(taught, plan) - compute_step_s(q, plan)
    # two FLOPs a parameter and token at what large multiplies reach of the peak
    least = 2 * 69.5e9 * 64 * 8192 / (8 * 989.4e12)
    assert least < more < 2 * least
    alone, both = compute_memory_bytes(q, plan), compute_memory_bytes(taught, plan)
    assert both["weights"] - alone["weights"] == pytest.approx(2 * 70.55e9 / 8, rel=0.01)
    assert both["logits"] > alone["logits"]
    with pytest.raises(InputError, match="same vocabulary"):
        apply_distillation(q, build_workload(read_model_preset("gpt-3-175b")))


def test_zeros_that_no_unit_skips_save_no_time() -> None:
    plan = build_strategy(dp=16)
    q = lab_scenario()  # a chip of no known architecture
    for pruned in (apply_pruning(q), apply_pruning(q, 0.9)):
        assert compute_step_s(pruned, plan) == compute_step_s(q, plan)
        assert compute_memory_bytes(pruned, plan)["weights"] > compute_memory_bytes(q, plan)["weights"]
    with pytest.raises(InputError, match="nothing to prune"):
        apply_pruning(lab_scenario(build_workload(read_model_preset("gpt-oss-20b"))))


CHANGES: dict[str, Callable[[Scenario], Scenario]] = {
    "lora": lambda q: apply_lora(q, 8),
    "qlora": lambda q: apply_lora(q, 8, 4),
    "low rank": lambda q: apply_low_rank(q, 0.2),
    "adam8bit": lambda q: apply_optimizer(q, "adam8bit"),
    "muon": lambda q: apply_optimizer(q, "muon"),
    "taught": lambda q: apply_distillation(q, replace(q.workload, name="teacher")),
}


@settings(max_examples=10)
@given(workloads(), clusters(), st.sampled_from(sorted(CHANGES)))
def test_the_search_is_exact_and_single_plans_agree_with_it(workload, cluster, name) -> None:
    q = CHANGES[name](build_scenario(workload, cluster, global_batch=4))
    space = Space(min(cluster.devices, 4), 4, {"vpp": (1,), "micro_batch": (1, 2)})
    result = search_plans(q, space, SearchTarget(top=50))
    if not len(result.best):
        return
    prepared = build_plan_tables(q, result.best)
    times = compute_step_costs(q, result.best, prepared).step_time_s
    assert times.tolist() == result.figures[:, 0].tolist()
    assert (compute_pipeline_bound_s(q, result.best, prepared) <= times * (1 + 1e-9)).all()
    totals = compute_memory_totals_bytes(q, result.best, prepared, (0, 1, 2, 3), (0, 1, 2))
    rows = np.arange(len(times))
    chosen = totals[rows, result.best.zero_stage, result.best.recompute]
    assert chosen == pytest.approx(sum(compute_peak_memory_bytes(q, result.best).values()))
    alone = result.best.take(np.array([0]))
    assert float(compute_step_costs(q, alone).step_time_s[0]) == float(times[0])


@settings(max_examples=8)
@given(workloads(), st.integers(1, 64))
def test_adapters_train_less_and_never_take_more_state(workload, rank) -> None:
    q = build_scenario(workload, lab(), global_batch=16)
    adapted, plan = apply_lora(q, rank), build_strategy(dp=16)
    assert adapted.techniques.lora is not None
    if adapted.techniques.lora.adapter_share < 0.5:
        before, after = compute_memory_bytes(q, plan), compute_memory_bytes(adapted, plan)
        assert after["gradients"] < before["gradients"]
        assert after["optimizer"] < before["optimizer"]
        assert (
            compute_step_costs(adapted, plan).terms["optimizer"][0]
            < compute_step_costs(q, plan).terms["optimizer"][0]
        )


def test_every_technique_describes_its_changes() -> None:
    q = build_scenario(tiny(), load_cluster("dgx-b200", 8), global_batch=8, precision="mxfp8")
    for change in CHANGES.values():
        techniques = list(describe_techniques(change(q)))
        assert techniques[0].name == "quantised training in mxfp8"
        assert all(technique.changes for technique in techniques)
        assert len(techniques) == 2
    assert not list(describe_techniques(lab_scenario()))
    assert len(OPTIMIZERS) == 6


@pytest.mark.parametrize(
    ("model", "modules", "parameters"),
    [
        ("llama-3-8b", "all", 41_943_040),
        ("llama-3-8b", "attention", 13_631_488),
        ("llama-3-70b", "all", 207_093_760),
        ("llama-3-70b", "attention", 65_536_000),
    ],
)
def test_adapters_of_peft(model, modules: LoraModules, parameters: int) -> None:
    """Of rank 16 by peft 0.17.1 on transformers 4.57: `target_modules="all-linear"`, and those of attention. Megatron
    joins queries, keys and values, gate and up.
    """
    plain = lab_scenario(build_workload(read_model_preset(model), seq_length=2048))
    joined, split = (
        apply_lora(replace(plain, trainer=TRAINERS_BY_NAME[trainer]), 16, modules=modules)
        for trainer in ("megatron", "hf-trainer")
    )
    shares = [scenario.techniques.lora.adapter_share for scenario in (joined, split) if scenario.techniques.lora]
    assert shares[1] * split.workload.parameters == pytest.approx(parameters, rel=1e-12)
    layers, hidden = split.workload.layer_count, split.workload.hidden_size
    copies = 16 * layers * hidden * (2 + (modules == "all"))
    assert shares[0] * joined.workload.parameters == pytest.approx(parameters - copies, rel=1e-12)
