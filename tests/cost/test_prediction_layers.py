"""Layers of multi-token prediction, in parameters, time and memory."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import pytest

from planner.cost.flops import compute_token_forward_flops
from planner.cost.memory.peak import compute_stage_memory_bytes
from planner.cost.pipeline.partition import list_chunk_layers
from planner.cost.pipeline.stages import build_all_stage_plan_tables
from planner.cost.scenario import build_scenario
from planner.cost.step import compute_step_costs
from planner.cost.strategies import build_strategy
from planner.errors import InputError
from planner.workload.presets import read_transformer_preset
from planner.workload.spec import MoeSpec, check_model_spec
from planner.workload.transformer import build_workload
from tests.examples import lab, lab_scenario, tiny

COUNTS = Path(__file__).parents[1] / "fixtures" / "parameter_counts.csv"
LAYERS, HIDDEN, VOCAB, TOKENS = 8, 512, 8192, 1024


def test_parameters_of_deepseek_v3_are_those_that_its_model_card_states() -> None:
    """671B, 685B as stored, where the layer has copies of embedding and head."""
    rows = {row["name"]: int(row["parameters"]) for row in csv.DictReader(COUNTS.read_text().splitlines())}
    spec = read_transformer_preset("deepseek-v3")
    plain, predicting = (build_workload(msgspec.structs.replace(spec, mtp_layers=count)) for count in (0, 1))
    assert plain.parameters == rows["deepseek-v3/without-mtp"]
    assert predicting.parameters == rows["deepseek-v3"]
    copies = 2 * spec.vocab_size * spec.hidden_size
    assert predicting.parameters + copies == rows["deepseek-v3/with-mtp-as-stored"]
    # one layer more with the experts that a token visits, and the projection
    layer = plain.layer_runs[-1].layer
    added = predicting.active_parameters - plain.active_parameters
    assert added == layer.active_parameters + 2 * spec.hidden_size**2 + 3 * spec.hidden_size


def test_a_depth_adds_a_layer_a_projection_and_a_pass_of_the_head() -> None:
    plain, once, twice = (tiny(mtp_layers=count) for count in (0, 1, 2))
    layer = plain.layer_runs[-1].layer
    assert once.parameters - plain.parameters == layer.parameters + 2 * HIDDEN**2 + 3 * HIDDEN
    assert twice.parameters - once.parameters == once.parameters - plain.parameters
    flops = [compute_token_forward_flops(workload, "full") for workload in (plain, once, twice)]
    head_flops = 2 * HIDDEN * VOCAB
    layer_flops = (flops[0] - head_flops) / LAYERS
    assert flops[1] - flops[0] == pytest.approx(layer_flops + 2 * 2 * HIDDEN**2 + head_flops)
    assert flops[2] - flops[1] == pytest.approx(flops[1] - flops[0])


def test_time_and_memory_of_the_last_stage_grow() -> None:
    plain, predicting = (lab_scenario(tiny(mtp_layers=count)) for count in (0, 1))
    plan = build_strategy(pp=2, dp=8)
    before, after = (
        {
            name: part[0]
            for name, part in compute_stage_memory_bytes(q, plan, build_all_stage_plan_tables(q, plan)).items()
        }
        for q in (plain, predicting)
    )
    layer = plain.workload.layer_runs[-1].layer
    # the last stage has a copy of the embedding's matrix, for the tokens ahead
    added = layer.parameters + 2 * HIDDEN**2 + 3 * HIDDEN + VOCAB * HIDDEN
    assert (after["weights"] - before["weights"]).sum() == 2 * added
    assert (after["optimizer"] - before["optimizer"]).sum() == 12 * added
    assert predicting.trainer.held_logit_bytes is not None
    logit_bytes = predicting.trainer.held_logit_bytes * VOCAB
    # the logits, and what the final norm and their multiply save
    assert after["logits"][1] - before["logits"][1] == TOKENS * (logit_bytes + 2 * 2 * HIDDEN)
    # one micro-batch of the layer at work, beside what two layers in place of four keep
    assert after["activations"][1] > before["activations"][1] / 2
    times = [compute_step_costs(q, plan) for q in (plain, predicting)]
    assert times[1].step_time_s[0] > times[0].step_time_s[0]
    for costs in times:
        assert sum(float(term[0]) for term in costs.terms.values()) == pytest.approx(float(costs.step_time_s[0]))


def test_the_last_chunk_has_fewer_other_layers() -> None:
    """As in the layouts of Megatron-Bridge's recipes, `E4|4|...|1ML` and `E8|8|...|5ML`."""
    spec = msgspec.structs.replace(read_transformer_preset("deepseek-v3"), mtp_layers=1)
    workload = build_workload(spec)
    for pp, vpp in ((16, 1), (8, 2), (2, 8)):
        assert list_chunk_layers(workload, pp, vpp, "auto") == [4] * 15 + [1]
    assert list_chunk_layers(workload, 8, 1, "auto") == [8] * 7 + [5]
    # no chunk is left without a layer
    assert min(list_chunk_layers(workload, 32, 1, "auto")) == 1


def test_recomputation_repeats_them_and_not_the_head() -> None:
    def compute_recompute_s(layers: int, mtp_layers: int, mode: int) -> float:
        q = build_scenario(tiny(layers=layers, mtp_layers=mtp_layers), lab(), global_batch=16)
        return float(compute_step_costs(q, build_strategy(dp=16, recompute=mode)).terms["recompute"][0])

    for mode in (1, 2):
        one_layer_s = compute_recompute_s(9, 0, mode) - compute_recompute_s(8, 0, mode)
        added_s = compute_recompute_s(8, 1, mode) - compute_recompute_s(8, 0, mode)
        # of the layer before the head the projection of both inputs is not among the modules of selective
        assert one_layer_s <= added_s < 1.6 * one_layer_s
        assert mode == 1 or one_layer_s < added_s
    assert compute_recompute_s(8, 1, 0) == 0


def test_its_experts_communicate() -> None:
    moe = MoeSpec(experts=8, topk=2, expert_ffn_size=256)
    plan = build_strategy(dp=16, ep=4)
    seconds = [
        float(compute_step_costs(lab_scenario(tiny(moe=moe, mtp_layers=count)), plan).terms["expert_parallel"][0])
        for count in (0, 1, 2)
    ]
    assert seconds[1] - seconds[0] == pytest.approx(seconds[0] / LAYERS)
    assert seconds[2] - seconds[1] == pytest.approx(seconds[1] - seconds[0])


def test_only_a_decoder_of_language_predicts_tokens() -> None:
    spec = read_transformer_preset("bert-base")
    with pytest.raises(InputError, match="mtp_layers"):
        check_model_spec(msgspec.structs.replace(spec, mtp_layers=1), "bert.toml")
