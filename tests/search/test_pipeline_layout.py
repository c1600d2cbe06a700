"""A pipeline layout of one's own: its forms, what it changes in time and memory, and who can run it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.cost.flops import compute_required_flops
from planner.cost.memory.peak import compute_stage_memory_bytes
from planner.cost.pipeline.partition import list_chunk_layers
from planner.cost.pipeline.stages import build_all_stage_plan_tables
from planner.cost.scenario import Scenario
from planner.cost.step import compute_step_costs
from planner.cost.strategies import build_strategy
from planner.errors import InputError
from planner.request.values import parse_layouts
from planner.search.search import SearchTarget, search_plans
from planner.search.settings import enumerate_setting_scenarios
from planner.search.space import Space
from planner.trainers.pipeline_layout import find_mtp_chunk, format_layout, parse_layout
from tests.cli.run import call
from tests.examples import lab_scenario, tiny

# what megatron-core 0.16.1's PipelineParallelLayerLayout makes of these texts, as layers of each chunk
MEGATRON_LAYOUTS = {
    "Et*2|(tt|)*29m|L": [2, *[2] * 29, 0, 0],
    "Ettt|(tt|)*29,m|L": [3, *[2] * 29, 0, 0],
    "E|t*3|tttL": [0, 3, 3],
    "(Et|t|)*1tL": [1, 1, 1],
    "Et*6|t*6L": [6, 6],
}


@pytest.mark.parametrize("text", MEGATRON_LAYOUTS)
def test_megatrons_form_is_read_as_megatron_reads_it(text: str) -> None:
    layout = parse_layout(text)
    assert list(layout.chunk_layers) == MEGATRON_LAYOUTS[text]
    # written as numbers it is the same layout
    assert parse_layout(format_layout(layout)) == layout


@pytest.mark.parametrize(
    ("text", "layers", "pp", "vpp", "counts"),
    [
        ("E4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,1ML", 61, 4, 4, [4] * 15 + [1]),
        ("E8,8,8,8,8,8,8,5ML", 61, 8, 1, [8] * 7 + [5]),
        ("E6|6L", 12, 2, 1, [6, 6]),
        ("embedding-and-loss-as-layers", 126, 8, 8, [1, *[2] * 62, 1]),
        ("embedding-as-layer", 15, 4, 2, [1, *[2] * 7]),
        ("loss-as-layer", 15, 4, 2, [*[2] * 7, 1]),
        ("first-2-last-4", 18, 4, 1, [2, 6, 6, 4]),
        ("first-2", 20, 4, 2, [1, 3, 3, 3] * 2),
        ("last-2", 20, 4, 2, [3, 3, 3, 1] * 2),
        ("auto", 61, 4, 1, [16, 15, 15, 15]),
    ],
)
def test_layers_by_chunk(text: str, layers: int, pp: int, vpp: int, counts: list[int]) -> None:
    assert list_chunk_layers(tiny(layers=layers), pp, vpp, text) == counts
    layout = parse_layout(text)
    assert parse_layout(format_layout(layout)) == layout
    # no other number of chunks, and no rest
    if not layout.is_auto:
        assert layout.list_chunk_layers(layers, pp + 1, vpp) is None or layout.first_layers or layout.last_layers
        assert layout.list_chunk_layers(layers + 1, pp, vpp) is None or layout.chunk_layers


def test_mtp_is_where_it_is_put() -> None:
    assert [find_mtp_chunk(text, 3) for text in ("auto", "Et|tm|L", "Et|t|mL", "Et|t|L")] == [2, 1, 2, 2]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("4|4L", "the embedding E is not in the first chunk"),
        ("E4|E4L", "the embedding E is not in the first chunk"),
        ("E4|4", "the head with the loss L is not in the last chunk"),
        ("E4L|4L", "the head with the loss L is not in the last chunk"),
        ("E4M|4L", "prediction M are not after all others"),
        ("E4|xL", "chunk 'xl' is not E, layers, M and L"),
        ("E|L", "it has no layers"),
        ("Et*99999|t*99999L", "longer than any pipeline"),
        ("first-", "not the layers of the first and the last stage"),
    ],
)
def test_what_is_no_layout_is_refused_by_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(InputError, match="not a pipeline layout") as refusal:
        parse_layouts(text, "--layout")
    assert problem in str(refusal.value)


def test_a_list_of_layouts() -> None:
    assert parse_layouts("auto,E4,4L,Et*5|tttL,embedding-as-layer", "--layout") == (
        *("auto", "E4|4L", "E5|3L"),
        "embedding-as-layer",
    )
    with pytest.raises(InputError, match="did you mean embedding-as-layer"):
        parse_layouts("embeding-as-layer", "--layout")


def lay_out(scenario: Scenario, text: str) -> Scenario:
    (changed,) = enumerate_setting_scenarios(scenario, {"layout": (text,)})
    return changed


def test_other_layers_than_the_models_are_refused() -> None:
    with pytest.raises(InputError, match="the layout has 9 layers, the model has 8"):
        lay_out(lab_scenario(), "E5|4L")
    with pytest.raises(InputError, match="the layout has 1 layers M, the model has 0"):
        lay_out(lab_scenario(), "E4|4ML")


def test_time_and_memory_follow_the_layout() -> None:
    scenario, s = lab_scenario(tiny(layers=8, vocab_size=64)), build_strategy(pp=4, dp=4)
    even = compute_step_costs(scenario, s)
    # written out, the even partition is the same to the last bit
    assert compute_step_costs(lay_out(scenario, "E2|2|2|2L"), s).step_time_s == even.step_time_s
    uneven = lay_out(scenario, "E1|1|5|1L")
    forward_s, other_s = (
        compute_step_costs(lay_out(scenario, f"E1|{rest}|1L"), s).terms["forward"][0] for rest in ("1|5", "4|2")
    )
    assert forward_s / other_s == pytest.approx(5 / 4)
    tables = build_all_stage_plan_tables(uneven, s)
    assert tables.stages.layer_counts[0, :, 0].tolist() == [1, 1, 5, 1]
    weights = compute_stage_memory_bytes(uneven, s, tables)["weights"][0]
    assert weights[2] == pytest.approx(5 * weights[1])


def test_layers_of_multi_token_prediction_are_where_they_are_put() -> None:
    """The same work and parameters in all, on the stage that the layout says."""
    scenario = lab_scenario(tiny(layers=8, mtp_layers=1))
    s = build_strategy(pp=4, dp=4)
    beside, apart = (lay_out(scenario, text) for text in ("E2|2|2|2ML", "E2|3|3M|L"))
    assert compute_step_costs(beside, s).step_time_s == compute_step_costs(scenario, s).step_time_s
    assert compute_required_flops(apart) == pytest.approx(compute_required_flops(beside))
    assert apart.workload.parameters == beside.workload.parameters
    weights = [
        compute_stage_memory_bytes(q, s, build_all_stage_plan_tables(q, s))["weights"][0] for q in (beside, apart)
    ]
    embedding = 2 * scenario.workload.embedding.parameters
    layer = 2 * scenario.workload.layer_runs[0].layer.parameters
    prediction = 2 * scenario.workload.prediction.layer.parameters
    assert weights[1] == pytest.approx(
        [2 * layer + embedding, 3 * layer, 3 * layer + prediction + embedding, weights[1][3]]
    )
    assert weights[0][3] == pytest.approx(2 * layer + prediction + embedding + weights[1][3])
    # and back
    assert lay_out(apart, "auto").workload == scenario.workload


def test_the_search_has_plans_with_as_many_chunks_only() -> None:
    scenario = replace(lab_scenario(tiny(layers=8, vocab_size=64), batch=64))
    layouts = [lay_out(scenario, text) for text in ("auto", "E1|3|3|1L")]
    space = Space(16, 64, {"tp": (1,), "cp": (1,), "recompute": (0,)})
    result = search_plans(layouts[1], space, SearchTarget(top=500))
    chunks = {(result.best.get_row(i)["pp"], result.best.get_row(i)["vpp"]) for i in range(len(result.best))}
    assert chunks == {(4, 1), (2, 2)}
    assert result.stats.rejected_by["layout-has-chunks"] > 0
    assert sum(result.stats.rejected_by.values()) + result.stats.feasible == result.stats.candidates
    together = search_plans(layouts, space, SearchTarget(top=500))
    assert together.stats.feasible == result.stats.feasible + search_plans(layouts[0], space).stats.feasible


def test_an_option_that_fits_no_plan_is_refused_by_its_rule() -> None:
    command = "plan llama-3-8b --cluster dgx-h100 --nodes 2 --global-batch 64 --pp 4 --vpp 1"
    refused = call(*command.split(), "--layout", "E16|16L")
    assert refused.returncode == 2
    assert "--layout" in refused.stderr and "the layout partitions the layers into pp x vpp chunks" in refused.stderr
    refused = call(*command.split(), "--schedule", "zb-v")
    assert refused.returncode == 2
    assert "--schedule" in refused.stderr and "zb-v and dualpipe-v need vpp 2" in refused.stderr
    refused = call(*command.replace("--vpp 1", "--vpp 2 --dp 4 --micro-batch 4").split(), "--schedule", "zb-v")
    assert refused.returncode == 2
    assert "--schedule" in refused.stderr and "need 2 pp micro-batches or more" in refused.stderr
