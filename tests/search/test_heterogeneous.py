"""Two pools of nodes: the best shares and layers are those of a slow loop, and laws of balancing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cost.arrays import sum_in_order
from planner.cost.heterogeneous import BoundPools, bind_pools, compute_pipeline_terms, compute_replica_terms
from planner.cost.memory.peak import compute_peak_memory_bytes
from planner.cost.pipeline.partition import compute_layer_prefix
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import build_scenario
from planner.cost.step import compute_step_costs
from planner.cost.strategies import build_strategy
from planner.documents.figures import read_figure_values
from planner.documents.heterogeneous import HeterogeneousDocument
from planner.errors import InputError, NothingFits
from planner.search.heterogeneous.candidates import build_share_table
from planner.search.heterogeneous.data_parallel import find_best_shares, find_even_shares
from planner.search.heterogeneous.integer_balance import balance_shares
from planner.search.heterogeneous.layer_partition import (
    compute_backward_split,
    compute_forward_split,
    enumerate_stage_contents,
)
from planner.search.heterogeneous.pipeline import build_pipeline_segments, find_best_stages
from planner.search.search import SearchTarget, search_plans
from planner.search.space import Space
from planner.studies.conditions.figures import PLAN_FIGURES
from planner.studies.heterogeneous_plan import search_hetero_plans
from planner.workload.operators import Workload
from tests.examples import lab, pools, tiny
from tests.search.test_exact import can_run


def bind_small_pools(workload: Workload | None = None, batch: int = 32, **changes: float) -> BoundPools:
    return bind_pools(workload or tiny(), pools(**changes), global_batch=batch)


def search_small_pools(workload: Workload | None = None, batch: int = 32, **changes: float) -> HeterogeneousDocument:
    both = pools(**changes)
    bound = bind_pools(workload or tiny(), both, global_batch=batch)
    return search_hetero_plans(both, bound, Space(both.devices, batch, {"cp": (1,), "vpp": (1,)}), {}, tokens=None)


pool_figures = st.fixed_dictionaries(
    {
        "tflops": st.sampled_from([100, 300]),
        "slow_tflops": st.sampled_from([50, 100, 300]),
        "memory": st.sampled_from([3.1, 3.4, 3.9, 40]),
        "slow_memory": st.sampled_from([3.1, 3.4, 3.9, 40]),
        "slow_nodes": st.sampled_from([1, 2, 3]),
        "nic": st.sampled_from([25, 200]),
        "slow_nic": st.sampled_from([25, 200]),
    }
)


@settings(max_examples=100)
@given(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
    st.tuples(st.floats(0.01, 2), st.floats(0.01, 2)),
    st.tuples(st.floats(0, 9), st.floats(0, 9)),
    st.integers(1, 90),
)
def test_shares_are_the_best_of_all(weight, most, slope, start, total) -> None:
    x, y, value = (
        float(column[0]) for column in balance_shares(*build_columns(weight, most, slope, start), np.array([total]))
    )
    times = [
        max(slope[0] * first + start[0], slope[1] * second + start[1])
        for first in range(1, most[0] + 1)
        for second in range(1, most[1] + 1)
        if weight[0] * first + weight[1] * second == total
    ]
    assert value == min(times, default=np.inf)
    assert not times or weight[0] * x + weight[1] * y == total


def build_columns(*columns: tuple[float, float]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.array([first]), np.array([second])) for first, second in columns]


def slow_loop_over_shares(bound: BoundPools, batch: int, allowed: dict[str, tuple[int, ...]]) -> float:
    """The fastest step over every layout, and of each pool every micro-batch, mode and share."""
    devices, best = [pool.devices for pool in bound], np.inf
    names = ("tp", "pp", "cp", "vpp", "zero_stage", "sequence_parallel")
    for values in itertools.product(*(allowed[name] for name in names)):
        layout = dict(zip(names, values, strict=True))
        replica = layout["tp"] * layout["pp"] * layout["cp"]
        if devices[0] % replica or devices[1] % replica:
            continue
        own = [count // replica for count in devices]
        layout["dp"] = sum(own)
        options = [list(slow_loop_over_replicas(bound, at, layout, allowed, batch // own[at])) for at in (0, 1)]
        for (size, n, first_s), (other_size, other_n, second_s) in itertools.product(*options):
            if own[0] * size * n + own[1] * other_size * other_n == batch and (
                layout["zero_stage"] < 2 or n == other_n
            ):
                best = min(best, max(first_s, second_s))
    return best


def slow_loop_over_replicas(
    bound: BoundPools, at: int, layout: dict[str, int], allowed: dict[str, tuple[int, ...]], most: int
) -> Iterator[tuple[int, int, float]]:
    """Micro-batch, how many, and the time, for everything that a replica of one pool can run."""
    scenario = bound[at].shared_scenario
    unit = layout["pp"] if layout["vpp"] > 1 else 1
    for size, mode in itertools.product(allowed["micro_batch"], allowed["recompute"]):
        plan = {**layout, "ep": 1, "etp": 1, "micro_batch": size, "recompute": mode}
        n = np.arange(unit, most // size + 1, unit)
        if not len(n) or not can_run(replace(scenario, global_batch=layout["dp"] * unit * size), plan):
            continue
        s = build_strategy(**plan).take(np.zeros(len(n), dtype=np.int64))
        p = build_plan_tables(scenario, s)
        fits = (
            sum_in_order(compute_peak_memory_bytes(scenario, s, p, n).values()) <= scenario.accelerator.memory_bytes
        )
        times = sum_in_order(compute_replica_terms(bound, at, s, p, n)[0].values())
        yield from ((size, int(count), float(time)) for count, time in zip(n[fits], times[fits], strict=True))


@settings(max_examples=2)
@given(pool_figures, st.sampled_from([6, 7, 12]), st.sampled_from([(0, 3), (1, 2)]), st.sampled_from([(1,), (1, 2)]))
def test_the_best_shares_equal_a_slow_loops(changes, batch, zeros, chunks) -> None:
    bound = bind_small_pools(tiny(layers=4), batch, devices=2, **changes)
    allowed = {
        "tp": (1, 2),
        "pp": (1, 2),
        "cp": (1,),
        "vpp": chunks,
        "zero_stage": zeros,
        "sequence_parallel": (0,),
        "micro_batch": (1, 2, 3),
        "recompute": (0, 2),
    }
    result = find_best_shares(build_share_table(bound, Space(sum(pool.devices for pool in bound), batch, allowed)))
    best = slow_loop_over_shares(bound, batch, allowed)
    assert (np.inf if result is None else result.step_time_s) == pytest.approx(best, rel=1e-12)
    if result is not None:
        done = zip(result.strategies, result.micro_batches, result.replicas, strict=True)
        assert sum(int(s.micro_batch[0]) * n * replicas for s, n, replicas in done) == batch


def slow_loop_over_stages(bound: BoundPools, space: Space) -> float:
    """The fastest step over every plan and every number of layers of every stage."""
    batch, layers, best = space.global_batch, bound[0].shared_scenario.workload.layer_count, np.inf
    devices = [pool.devices for pool in bound]
    for tp, cp, dp in itertools.product((1, 2), (1,), (1, 2, 3, 4)):
        width = tp * cp * dp
        if devices[0] % width or devices[1] % width or batch % dp:
            continue
        stages = (devices[0] // width, devices[1] // width)
        if sum(stages) > layers:
            continue
        cuts = np.array(list(itertools.combinations(range(1, layers), sum(stages) - 1)))
        for zero, *modes in itertools.product((0, 1), (0, 2), (0, 2)):
            if zero and dp * cp == 1:
                continue
            plans = tuple(
                build_strategy(tp=tp, pp=sum(stages), cp=cp, dp=dp, zero_stage=zero, recompute=mode).take(
                    np.zeros(len(cuts), dtype=np.int64)
                )
                for mode in modes
            )
            n = np.full(len(cuts), batch // dp)
            for first in (0, 1):
                halves = build_pipeline_segments(bound, (plans[0], plans[1]), stages, first, cuts)
                step = sum_in_order(compute_pipeline_terms(halves, n).terms.values())
                for half in halves:
                    memory_bytes = sum_in_order(
                        compute_peak_memory_bytes(half.scenario, half.strategies, half.plan_tables, n).values()
                    )
                    step = np.where(memory_bytes <= half.scenario.accelerator.memory_bytes, step, np.inf)
                best = min(best, float(step.min()))
    return best


@settings(max_examples=2)
@given(pool_figures, st.sampled_from([5, 6, 8]), st.sampled_from([1, 4]))
def test_the_best_layers_equal_a_slow_loops(changes, layers, batch) -> None:
    bound = bind_small_pools(tiny(layers=layers), batch, devices=2, **changes)
    allowed = {"tp": (1, 2), "cp": (1,), "micro_batch": (1,), "recompute": (0, 2), "sequence_parallel": (0,)}
    space = Space(sum(pool.devices for pool in bound), batch, allowed)
    result = find_best_stages(bound, space)
    best = slow_loop_over_stages(bound, space)
    if result is None:
        assert best == np.inf
        return
    # the slowest stage is exact; what comes after the pipeline may be a little shorter with other layers on one pool
    assert best * (1 - 1e-9) <= result.step_time_s <= best * 1.002


@settings(max_examples=6)
@given(
    st.sampled_from([100, 300]), st.sampled_from([3.3, 3.9, 40]), st.sampled_from([25, 200]), st.sampled_from([8, 32])
)
def test_two_equal_pools_are_a_single_cluster(tflops, memory, nic, batch) -> None:
    """Replicas side by side in two equal halves are as fast as in the whole; to the last bit."""
    figures = {"tflops": tflops, "memory": memory, "nic": nic}
    bound = bind_small_pools(batch=batch, devices=2, nodes=2, **figures)
    whole = lab(devices=2, nodes=4, **figures)
    # an even number of replicas, which the halves can have, and one micro-batch for both
    space = Space(whole.devices, batch, {"dp": (2, 4, 8), "micro_batch": (1,)})
    scenario = build_scenario(tiny(), whole, global_batch=batch)
    best = search_plans(scenario, space, SearchTarget(top=1)).best
    expected = compute_step_costs(scenario, best).step_time_s.tolist()
    for result in (
        find_best_shares(build_share_table(bound, space)),
        find_even_shares(build_share_table(bound, space)),
    ):
        assert ([] if result is None else [result.step_time_s]) == expected


@pytest.mark.parametrize("batch", [4, 16])
def test_a_pipeline_over_two_equal_pools_is_an_ordinary_pipeline(batch) -> None:
    bound = bind_small_pools(batch=batch, devices=2, nodes=2)
    plan = build_strategy(tp=2, pp=4, dp=1, recompute=2)
    (ordinary,) = compute_step_costs(
        build_scenario(tiny(), lab(devices=2, nodes=4), global_batch=batch), plan
    ).step_time_s
    halves = build_pipeline_segments(bound, (plan, plan), (2, 2), 0, np.array([[2, 4, 6]]))
    joined = compute_pipeline_terms(halves, np.array([batch]))
    assert sum_in_order(joined.terms.values())[0] == pytest.approx(ordinary, rel=1e-12)
    ordinary_bytes = sum_in_order(
        compute_peak_memory_bytes(build_scenario(tiny(), lab(devices=2, nodes=4), global_batch=batch), plan).values()
    )
    memory_bytes = [
        sum_in_order(
            compute_peak_memory_bytes(half.scenario, half.strategies, half.plan_tables, np.array([batch])).values()
        )[0]
        for half in halves
    ]
    assert max(memory_bytes) == ordinary_bytes[0]


@settings(max_examples=2)
@given(pool_figures, st.sampled_from([6, 16]))
def test_the_best_plan_is_no_slower_than_either_pool_alone(changes, batch) -> None:
    workload = tiny(layers=4)
    try:
        document = search_small_pools(workload, batch, devices=2, **changes)
    except (NothingFits, InputError):
        return
    steps = [plan.step_time_s for plan in document.plans]
    assert steps == sorted(steps)
    for plan in document.plans:
        assert sum(plan.terms.values()) == pytest.approx(plan.step_time_s, rel=1e-9)
        assert all(pool.wait_s >= 0 for pool in plan.pools)
        assert min(pool.wait_s for pool in plan.pools) < plan.step_time_s
        assert all(pool.memory.total_bytes <= pool.memory.capacity_bytes for pool in plan.pools)
        if plan.pools[0].strategy.dp == sum(pool.replicas for pool in plan.pools):
            assert sum(pool.sequences for pool in plan.pools) == batch
            assert all(sum(pool.layers) == 4 for pool in plan.pools)
        else:
            assert sum(sum(pool.layers) for pool in plan.pools) == 4
    rest = {part.pool: part.step_time_s for part in document.answer.without}
    alone = {plan.pools[0].pool: plan.step_time_s for plan in document.plans if plan.layout == "only"}
    assert rest == {"fast": alone.get("slow"), "slow": alone.get("fast")}
    # a pool is left out where the other is fastest alone; of two pools that are as fast alone, one is kept
    able = [part for part in document.answer.without if part.step_time_s == steps[0]]
    left_out = [part for part in document.answer.without if not part.keep]
    assert len(left_out) == min(len(able), 1)
    assert all(part in able for part in left_out)


@pytest.mark.full
@settings(max_examples=2)
@given(pool_figures, st.sampled_from([1.5, 4.0]))
def test_a_faster_slow_pool_never_slows_the_best_plan(changes, factor) -> None:
    slow = {"tflops": changes["slow_tflops"], "hbm": 2000, "link": 300, "nic": changes["slow_nic"]}
    faster = {**changes, "devices": 2, **{f"slow_{name}": value * factor for name, value in slow.items()}}
    steps = []
    for figures in ({**changes, "devices": 2}, faster):
        try:
            steps.append(search_small_pools(tiny(layers=4), 16, **figures).plans[0].step_time_s)
        except (NothingFits, InputError):
            steps.append(np.inf)
    assert steps[1] <= steps[0] * (1 + 1e-9)


def test_where_a_pool_is_too_small_the_other_pool_is_used_alone() -> None:
    document = search_small_pools(slow_memory=1.55, slow_tflops=150)
    assert [plan.pools[0].pool for plan in document.plans] == ["fast"]
    assert document.left_out == ["shares", "stages", "even", "only slow"]
    assert document.answer.balanced_step_time_s is None
    assert document.answer.sentences == ["No plan on both pools fits: the fastest is 2 fast nodes alone."]
    assert [part.keep for part in document.answer.without] == [True, False]


def test_where_no_plan_fits_each_pool_reports_the_nearest_miss() -> None:
    with pytest.raises(NothingFits) as caught:
        search_small_pools(memory=1.55)
    assert "2 fast nodes alone" in str(caught.value)
    assert str(caught.value).count("what would make it fit") == 2


def test_each_pool_has_the_recomputation_that_its_memory_needs() -> None:
    """Of the slow pool more is repeated the less memory it has; of the fast one nothing."""
    repeated = []
    for slow_memory in np.arange(6.0, 2.0, -0.25):
        both = pools(slow_memory=float(slow_memory), devices=2)
        bound = bind_pools(tiny(seq_length=8192), both, global_batch=32)
        space = Space(both.devices, 32, {"cp": (1,), "tp": (1,), "pp": (1,), "micro_batch": (1,)})
        result = find_best_shares(build_share_table(bound, space))
        if result is None:
            break
        repeated.append([int(plan.recompute[0]) for plan in result.strategies])
    assert repeated == sorted(repeated)
    assert (repeated[0], repeated[-1]) == ([0, 0], [0, 2])


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_a_split_is_the_best_of_all(ahead, behind, seed) -> None:
    """Random stages, some of whose runs of layers do not fit: every cut against all bounds."""
    layers, rng = 8, np.random.default_rng(seed)
    contents = enumerate_stage_contents(compute_layer_prefix(tiny(layers=layers)))
    costs = []
    for _ in range(ahead + behind):
        cost = np.where(rng.random((1, layers)) < 0.15, np.inf, np.cumsum(rng.random((1, layers)), axis=1))
        costs.append(contents.expand_costs(cost))
    first, find_bounds_ahead = compute_forward_split(costs[:ahead])
    second, find_bounds_behind = compute_backward_split(costs[ahead:])
    for cut in range(layers + 1):
        least = np.inf
        for bounds in itertools.combinations(range(1, layers), ahead + behind - 1):
            if bounds[ahead - 1] == cut:
                least = min(least, compute_slowest_stage(costs, (0, *bounds, layers)))
        slowest_s = max(first[0, cut], second[0, cut])
        assert slowest_s == least
        if np.isfinite(slowest_s):
            state = np.array([0]), np.array([cut])
            edges = (0, *find_bounds_ahead(*state)[0].tolist(), cut, *find_bounds_behind(*state)[0].tolist(), layers)
            assert compute_slowest_stage(costs, edges) == slowest_s


def compute_slowest_stage(costs: list[np.ndarray], edges: tuple[int, ...]) -> float:
    return max(
        float(cost[0, start, end]) for cost, (start, end) in zip(costs, itertools.pairwise(edges), strict=True)
    )


def test_much_slower_devices_are_not_worth_keeping() -> None:
    document = search_small_pools(slow_tflops=3, slow_hbm=40, slow_nic=1)
    assert document.plans[0].layout == "only"
    assert [part.keep for part in document.answer.without] == [True, False]
    assert document.answer.sentences[0].startswith("Without the 2 slow nodes the step takes")
    assert "leave them out" in document.answer.sentences[0]


def test_a_slow_pool_is_worth_keeping_when_it_is_balanced() -> None:
    document = search_small_pools(tiny(layers=16, hidden_size=2048, ffn_size=8192), batch=256, slow_tflops=150)
    best, even = document.plans[0], document.answer.even_step_time_s
    assert best.layout == "shares"
    assert [part.keep for part in document.answer.without] == [True, True]
    assert even is not None and 1.2 < even / best.step_time_s < 1.6
    done = [pool.sequences for pool in best.pools]
    assert 1.6 < done[0] / done[1] < 2.4


def test_settings_and_pins_hold_for_both_pools() -> None:
    both = pools(slow_tflops=150)
    bound = bind_pools(tiny(), both, global_batch=32)
    space = Space(both.devices, 32, {"tp": (2,), "pp": (2,), "micro_batch": (1,)})
    document = search_hetero_plans(both, bound, space, {"schedule": ("zero-bubble",)}, tokens=10**9)
    for plan in document.plans:
        assert plan.settings.schedule == "zero-bubble"
        assert {(k.strategy.tp, k.strategy.pp, k.strategy.micro_batch) for k in plan.pools} == {(2, 2, 1)}
    assert document.run is not None and document.run.steps == -(-(10**9) // (32 * 1024))


def test_figures_of_two_pools_are_those_that_both_share() -> None:
    document = search_small_pools(tiny(layers=4), 16, slow_tflops=150, devices=2)
    values, plan = read_figure_values(document), document.best_plan
    assert set(values) <= set(PLAN_FIGURES)
    assert "strategy.tp" not in values
    assert values["settings.schedule"] == plan.settings.schedule
    assert values["samples_per_s"] == plan.samples_per_s
    assert values["nodes"] == sum(pool.nodes for pool in document.cluster.pools)
    assert values["memory.headroom"] == min(
        pool.memory.capacity_bytes - pool.memory.total_bytes for pool in plan.pools
    )
