"""What 8- and 4-bit training, frozen weights and Megatron's loss hold, parameter by parameter and value by value."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.cost.memory.peak import compute_peak_memory_bytes
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.setting_values import apply_setting
from planner.cost.settings import SETTINGS
from planner.cost.strategies import build_strategy
from planner.cost.techniques import apply_lora
from planner.request.inputs import read_cluster
from planner.workload.presets import read_model_preset
from planner.workload.spec import ModelSpec
from planner.workload.transformer import build_workload

VOCAB, HIDDEN, LAYERS, FFN, TOKENS = 128_256, 4096, 32, 14_336, 8192
ENDS = 2 * VOCAB * HIDDEN


def build(cluster: str, precision: str, weights: str = "") -> Scenario:
    """Llama 3 8B with Megatron-LM on one node."""
    spec = read_model_preset("llama-3-8b")
    assert isinstance(spec, ModelSpec)
    workload = build_workload(spec, seq_length=TOKENS)
    scenario = build_scenario(
        workload, read_cluster(cluster, nodes=1), global_batch=8, precision=precision, framework="megatron-classic"
    )
    return change(scenario, "weights", weights) if weights else scenario


def change(scenario: Scenario, name: str, value: str) -> Scenario:
    return apply_setting(scenario, SETTINGS[name], SETTINGS[name].parse_name(value))


def hold(scenario: Scenario, category: str) -> float:
    return float(compute_peak_memory_bytes(scenario, build_strategy(dp=8, zero_stage=1))[category][0])


@pytest.mark.parametrize(
    ("cluster", "precision", "weights", "matrix_bytes"),
    [
        ("dgx-h100", "bf16", "", 2.0),
        ("dgx-h100", "fp8", "", 4.0),
        ("dgx-h100", "fp8", "fp8", 2.0),
        ("dgx-b200", "fp8", "", 3.0),
        ("dgx-b200", "fp8", "fp8", 1.0),
        ("dgx-b200", "mxfp8", "", 2.0 + 2 * (1 + 1 / 32)),
        ("dgx-b200", "mxfp8", "fp8", 2 * (1 + 1 / 32)),
        ("dgx-b200", "nvfp4", "", 2.0 + 2 * (0.5 + 1 / 16)),
    ],
)
def test_matrices_have_their_narrow_copies_and_both_ends_stay_in_16_bit(
    cluster: str, precision: str, weights: str, matrix_bytes: float
) -> None:
    scenario = build(cluster, precision, weights)
    ends_bytes = 2 * (1 + 1 / 32) if precision == "mxfp8" and weights else 2.0
    expected = matrix_bytes * (scenario.workload.parameters - ENDS) + ends_bytes * ENDS
    assert hold(scenario, "weights") == pytest.approx(expected, rel=1e-4)


def test_frozen_multiplies_keep_what_their_adapters_read() -> None:
    scenario = build("dgx-h100", "bf16")
    adapted = {
        modules: apply_lora(scenario, 16, modules=modules)
        for modules in ("all", "attention")  # type: ignore[arg-type]
    }
    kept = {modules: hold(one, "activations") for modules, one in adapted.items()}
    assert kept["all"] == hold(scenario, "activations")
    assert kept["all"] - kept["attention"] == LAYERS * TOKENS * 2 * (HIDDEN + FFN)
    # of query, key, value and output projection the input after dropout, its mask, and attention's own output
    dropout = hold(apply_lora(scenario, 16, modules="attention", dropout=True), "activations")
    assert dropout - kept["attention"] == LAYERS * TOKENS * (2 * HIDDEN + 2 * HIDDEN)
    narrow = replace(adapted["all"], keeps_narrow_activation_inputs=True)
    assert kept["all"] - hold(narrow, "activations") == LAYERS * TOKENS * 2 * FFN


def test_attention_in_8_bit_keeps_its_values_so() -> None:
    scenario = build("dgx-h100", "fp8")
    wide, narrow = (hold(change(scenario, "attention_precision", name), "activations") for name in ("bf16", "fp8"))
    assert wide - narrow == LAYERS * TOKENS * (HIDDEN + 2 * 1024 + HIDDEN)


@pytest.mark.parametrize(("loss", "logit_bytes"), [("plain", 6), ("compiled", 6), ("fused", 4)])
def test_megatrons_loss_has_16_bit_logits_beside_32_bit_ones(loss: str, logit_bytes: int) -> None:
    logits = hold(change(build("dgx-h100", "bf16"), "loss", loss), "logits")
    assert logits == TOKENS * (VOCAB * logit_bytes + 2 * 2 * HIDDEN)


def test_gradients_have_the_dummy_ones_of_transformer_engine() -> None:
    scenario = build("dgx-h100", "bf16")
    shapes = HIDDEN * (6144 + 4096 + 2 * FFN + FFN + VOCAB)
    assert hold(scenario, "gradients") == 4 * scenario.workload.parameters + 2 * shapes
