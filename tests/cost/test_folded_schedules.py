"""ZB-V, DualPipe and DualPipeV: the orders of torch 2.13 played out by another simulation than the planner's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from planner.cost.memory.activations import count_micro_batches_in_flight
from planner.cost.memory.peak import compute_peak_memory_bytes
from planner.cost.pipeline.stages import build_all_stage_plan_tables, build_plan_tables
from planner.cost.rank_groups import RankLayout, build_data_group, build_expert_data_group
from planner.cost.scenario import Scenario
from planner.cost.schedules.catalog import compute_folded_waits
from planner.cost.schedules.orders import build_dualpipe_v_order, build_zb_v_order
from planner.cost.settings import PipelineSchedule
from planner.cost.step import compute_pipeline_bound_s, compute_step_costs
from planner.cost.strategies import build_strategy
from planner.cost.timeline import StageTimes, compute_simulated_step_s, simulate_pipeline, simulate_slots
from planner.search.search import SearchTarget, search_plans
from planner.search.space import Space
from tests.cost.test_breakdown import build_large_scenario
from tests.examples import lab_scenario, tiny

ORDERS = Path("tests/fixtures/schedule_orders.txt")
Pass = tuple[str, int, int]
"""F, I, W or B (I and W at once), the chunk of the rank, the micro-batch."""
LETTERS = {"forward": "F", "backward": "I", "weight": "W"}
PASSES = ((1, 1, 1), (2, 3, 1), (1, 1.5, 0.5), (2, 1, 1), (3, 1, 2), (1, 1, 0), (1, 0.5, 1), (1, 1, 0.9), (2, 2.2, 2))
"""Seconds of F, I and W."""


def read_orders() -> dict[tuple[PipelineSchedule, int, int], list[list[tuple[Pass, ...]]]]:
    """torch's orders by schedule, ranks and micro-batches: of each rank its groups of passes."""
    orders: dict = {}
    for line in ORDERS.read_text().splitlines():
        if line.startswith("#"):
            schedule, ranks, micro_batches = line[1:].split()
            rank_orders = orders[schedule, int(ranks), int(micro_batches)] = []
        elif not line.startswith(";"):
            rank_orders.append(
                [
                    tuple((text[0], *map(int, text[1:].split("."))) for text in group.split("&"))
                    for group in line.split()
                ]
            )
    return orders


def play_out(rank_orders: list[list[tuple[Pass, ...]]], f: float, i: float, w: float) -> tuple[float, list[int]]:
    """The step's seconds, and the most chunks in flight on each rank, when passes take so long."""
    ranks = len(rank_orders)
    seconds = {"F": f, "I": i, "W": w, "B": i + w}
    stage_of = [(rank, 2 * ranks - 1 - rank) for rank in range(ranks)]
    done: dict[tuple[str, int, int], float] = {}
    position, free, kept, peak = [0] * ranks, [0.0] * ranks, [0] * ranks, [0] * ranks
    while any(position[rank] < len(rank_orders[rank]) for rank in range(ranks)):
        before = list(position)
        for rank, order in enumerate(rank_orders):
            while position[rank] < len(order):
                group, needs = order[position[rank]], []
                for letter, chunk, micro_batch in group:
                    stage = stage_of[rank][chunk]
                    if letter == "F":
                        needs += [("F", stage - 1, micro_batch)] if stage else []
                    elif letter == "W":
                        needs.append(("I", stage, micro_batch))
                    else:
                        last = stage == 2 * ranks - 1
                        needs.append(("F", stage, micro_batch) if last else ("I", stage + 1, micro_batch))
                if not all(need in done for need in needs):
                    break
                free[rank] = max([free[rank], *(done[need] for need in needs)]) + sum(seconds[p[0]] for p in group)
                for letter, chunk, micro_batch in group:
                    done["I" if letter == "B" else letter, stage_of[rank][chunk], micro_batch] = free[rank]
                    kept[rank] += {"F": 1, "I": 0, "W": -1, "B": -1}[letter]
                    peak[rank] = max(peak[rank], kept[rank])
                position[rank] += 1
        assert position != before, "a schedule that waits for itself"
    return max(free), peak


def split_backward(groups: list[tuple[Pass, ...]]) -> list[tuple[Pass, ...]]:
    """The groups with each whole backward pass as its two parts."""
    return [
        tuple(part for p in group for part in ([("I", *p[1:]), ("W", *p[1:])] if p[0] == "B" else [p]))
        for group in groups
    ]


@pytest.mark.parametrize("key", read_orders(), ids=lambda key: "-".join(map(str, key)))
def test_stages_do_what_torch_does(key: tuple[PipelineSchedule, int, int]) -> None:
    schedule, ranks, micro_batches = key
    build_order = build_zb_v_order if schedule == "zb-v" else build_dualpipe_v_order
    for rank, groups in enumerate(read_orders()[key]):
        ours = [tuple((LETTERS[p[0]], *p[1:]) for p in group) for group in build_order(rank, ranks, micro_batches)]
        assert ours == split_backward(groups)


@pytest.mark.parametrize("key", read_orders(), ids=lambda key: "-".join(map(str, key)))
def test_the_step_and_what_is_in_flight_are_the_equations(key: tuple[PipelineSchedule, int, int]) -> None:
    schedule, ranks, micro_batches = key
    exact = 0
    for f, i, w in PASSES:
        step_s, peak = play_out(read_orders()[key], f, i, w)
        (wait_s,) = np.max([compute_folded_waits(schedule, *np.array([[f], [i], [w]]))], axis=1)
        work_s = 2 * micro_batches * (f + i + w)
        assert work_s <= step_s <= work_s + (ranks - 1) * wait_s + 1e-9
        # never far above: what a few passes take, whatever the number of stages
        assert step_s >= work_s + (ranks - 1) * wait_s - max(f, i) - 1e-9
        exact += step_s == pytest.approx(work_s + (ranks - 1) * wait_s)
        assert peak == [2 * ranks + (schedule == "dualpipe-v")] * ranks
        full = np.ones((2, ranks))
        slots = simulate_slots(
            StageTimes(f * full, 0 * full, (i + w) * full, 0 * full, w * full), micro_batches, schedule
        )
        assert max(slot.end_s for slot in slots) == pytest.approx(step_s)
    assert exact >= 5


def test_dualpipe_is_dualpipe_v_on_half_of_the_ranks_from_both_ends() -> None:
    times = [np.full((2, 6), seconds) for seconds in (1.0, 0.0, 2.0, 0.0, 0.5)]
    both, half = simulate_slots(StageTimes(*times), 12, "dualpipe"), StageTimes(*(t[:, :3] for t in times))
    one_end = simulate_slots(half, 6, "dualpipe-v")
    assert max(slot.end_s for slot in both) == max(slot.end_s for slot in one_end)
    # every stage of either direction sees each of its micro-batches once: even ones from the front, odd ones back
    seen = {(slot.stage, slot.chunk, slot.micro_batch) for slot in both if slot.pass_type == "forward"}
    assert len(seen) == 6 * 12
    for stage in range(6):
        assert {m % 2 for s, c, m in seen if s == stage and c == 0} == {int(stage >= 3)}


def fold(schedule: PipelineSchedule, scenario: Scenario | None = None) -> Scenario:
    return replace(scenario or lab_scenario(tiny(layers=16, vocab_size=64), batch=64), pipeline_schedule=schedule)


@pytest.mark.parametrize(
    ("schedule", "split", "passes"),
    [("zb-v", {"pp": 4, "vpp": 2}, 4), ("dualpipe-v", {"pp": 4, "vpp": 2}, 4.5), ("dualpipe", {"pp": 4}, 2.5)],
)
def test_memory_is_that_of_the_papers(schedule: PipelineSchedule, split: dict[str, int], passes: float) -> None:
    """V-ZB of arXiv 2405.15362, and DeepSeek's table: p, p + 1/2 and p + 1 stages' activations, DualPipe's twice
    the parameters.
    """
    scenario, s = fold(schedule), build_strategy(dp=4, zero_stage=1, **split)
    tables = build_all_stage_plan_tables(scenario, s)
    assert count_micro_batches_in_flight(scenario, s, tables).tolist() == [[passes] * 4]
    scenario = replace(scenario, trainer=replace(scenario.trainer, keeps_dummy_gradients=False))
    plain = replace(scenario, pipeline_schedule="1f1b")
    ours, theirs = (compute_peak_memory_bytes(q, build_strategy(dp=4, zero_stage=1, pp=4)) for q in (scenario, plain))
    if schedule == "dualpipe":
        # all layers are alike, the ends small: two stages, sharded over twice as many ranks
        assert ours["weights"][0] == pytest.approx(2 * theirs["weights"][0], rel=0.02)
        assert ours["gradients"][0] == pytest.approx(2 * theirs["gradients"][0], rel=0.02)
        assert ours["optimizer"][0] == pytest.approx(theirs["optimizer"][0], rel=0.02)
        assert ours["activations"][0] == pytest.approx(theirs["activations"][0] * 5 / 4, rel=0.02)


def test_ends_are_on_one_stage_of_a_v() -> None:
    scenario, s = fold("zb-v"), build_strategy(pp=4, dp=4, vpp=2)
    counts = build_all_stage_plan_tables(scenario, s).stages.layer_counts[0]
    assert counts[:, -2:].tolist() == [[1, 1], [0, 0], [0, 0], [0, 0]]
    mirrored = build_all_stage_plan_tables(fold("dualpipe"), build_strategy(pp=4, dp=4)).stages.layer_counts[0]
    assert mirrored.tolist() == [[8, 1, 1], [8, 0, 0], [8, 0, 0], [8, 1, 1]]


@pytest.mark.parametrize(
    ("schedule", "split"),
    [("zb-v", {"pp": 4, "vpp": 2}), ("dualpipe-v", {"pp": 4, "vpp": 2}), ("dualpipe", {"pp": 4})],
)
def test_a_real_models_step_is_near_its_simulation(schedule: PipelineSchedule, split: dict[str, int]) -> None:
    scenario, s = fold(schedule, build_large_scenario()), build_strategy(tp=2, dp=4, **split)
    costs = compute_step_costs(scenario, s)
    simulated_s = compute_simulated_step_s(costs, simulate_pipeline(scenario, s))
    # the head's stage sets the pace: while the others fill it has more of its own to do than the equation has
    step_s = float(costs.step_time_s[0])
    assert 0.94 * step_s < simulated_s <= step_s * 1.001
    # the search relies on the bound with any recomputation
    bound_s = compute_pipeline_bound_s(scenario, s, build_plan_tables(scenario, s))[0]
    for recompute in (0, 1, 2):
        repeated = build_strategy(tp=2, dp=4, recompute=recompute, **split)
        assert bound_s <= float(compute_step_costs(scenario, repeated).step_time_s[0]) * (1 + 1e-12)


def test_less_waits_than_under_1f1b() -> None:
    scenario, split = build_large_scenario(), {"tp": 2, "pp": 4, "dp": 4}
    plain = compute_step_costs(scenario, build_strategy(**split))
    interleaved = compute_step_costs(scenario, build_strategy(vpp=2, **split))
    folded = compute_step_costs(fold("zb-v", scenario), build_strategy(vpp=2, **split))
    dual = compute_step_costs(fold("dualpipe", scenario), build_strategy(**split))
    bubbles_s = [float(costs.terms["pipeline_bubble"][0]) for costs in (folded, interleaved, plain)]
    assert bubbles_s == sorted(bubbles_s)
    assert dual.terms["pipeline_bubble"][0] < bubbles_s[-1]
    # the gradients of both copies of a stage are reduced
    dual_s, plain_s = (costs.terms["data_parallel"] + costs.overlapped["data_parallel"] for costs in (dual, plain))
    assert dual_s[0] > 1.7 * plain_s[0]


def test_ranks_of_the_mirrored_stage_hold_the_same_parameters() -> None:
    s = build_strategy(tp=2, pp=4, dp=2, ep=2)
    mirrored, plain = (RankLayout("tp-cp-dp-pp", mirrors_stages=mirrors) for mirrors in (True, False))
    for build_group in (build_data_group, build_expert_data_group):
        assert build_group(mirrored, s).size.tolist() == (2 * build_group(plain, s).size).tolist()
    assert build_data_group(mirrored, s).strides[0, -1] == 3 * 4


@pytest.mark.parametrize(
    ("schedule", "is_valid"),
    [
        ("zb-v", lambda pp, vpp, n: vpp == 2 and n >= 2 * pp),
        ("dualpipe-v", lambda pp, vpp, n: vpp == 2 and n >= 2 * pp),
        ("dualpipe", lambda pp, vpp, n: vpp == 1 and n >= 2 * pp and n % 2 == 0),
    ],
)
def test_the_search_has_the_plans_that_can_be_folded(schedule: PipelineSchedule, is_valid) -> None:  # type: ignore[no-untyped-def]
    scenario = fold(schedule)
    target, space = SearchTarget(top=4000), Space(16, 64, {"tp": (1,), "cp": (1,), "recompute": (0,)})
    result = search_plans(scenario, space, target)
    rows = [result.best.get_row(index) for index in range(len(result.best))]
    split = {(row["pp"], row["vpp"], 64 // row["dp"] // row["micro_batch"]) for row in rows}
    expected = {
        (pp, vpp, pp * 64 // 16 // micro_batch)
        for pp in (1, 2, 4, 8, 16)
        for vpp in (1, 2, 3, 4)
        for micro_batch in (1, 2, 4, 8, 16, 32, 64)
        if pp * 64 // 16 % micro_batch == 0 and pp * vpp <= 18
        if (pp == 1 and vpp == 1) or (pp > 1 and is_valid(pp, vpp, pp * 64 // 16 // micro_batch))
        if pp * vpp <= 16 or pp * vpp == 18
    }
    assert split == expected
