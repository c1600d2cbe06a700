"""Two kinds of devices: the shares and the layers that are found are those of a slow loop, and laws of balancing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cost.arrays import added
from planner.cost.memory import memory_of
from planner.cost.mixed import Kinds, bind, pipeline_terms, replica_terms
from planner.cost.prepared import prepare
from planner.cost.step import score
from planner.cost.strategies import one_strategy
from planner.errors import InputError, NothingFits
from planner.search.integer_shares import balanced
from planner.search.mixed import mixed_plans
from planner.search.mixed_document import MixedDocument
from planner.search.mixed_shares import best_shares, even_shares
from planner.search.mixed_stages import best_stages, halves_of
from planner.search.search import Wanted, search
from planner.search.space import Space
from planner.workload.operators import Workload
from tests.examples import lab, pools, tiny
from tests.search.test_exact import may_run


def kinds_of(workload: Workload | None = None, batch: int = 32, **changes: float) -> Kinds:
    return bind(workload or tiny(), pools(**changes), global_batch=batch)


def answer(workload: Workload | None = None, batch: int = 32, **changes: float) -> MixedDocument:
    both = pools(**changes)
    kinds = bind(workload or tiny(), both, global_batch=batch)
    return mixed_plans(both, kinds, Space(both.devices, batch), {}, tokens=None)


pairs = st.fixed_dictionaries(
    {
        "tflops": st.sampled_from([100, 300]),
        "slow_tflops": st.sampled_from([50, 100, 300]),
        "memory": st.sampled_from([2.2, 2.5, 3, 40]),
        "slow_memory": st.sampled_from([2.2, 2.5, 3, 40]),
        "slow_nodes": st.sampled_from([1, 2, 3]),
        "nic": st.sampled_from([25, 200]),
        "slow_nic": st.sampled_from([25, 200]),
    }
)


@settings(max_examples=300)
@given(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
    st.tuples(st.floats(0.01, 2), st.floats(0.01, 2)),
    st.tuples(st.floats(0, 9), st.floats(0, 9)),
    st.integers(1, 90),
)
def test_shares_are_the_best_of_all(weight, most, slope, start, total) -> None:
    x, y, value = (float(found[0]) for found in balanced(*_arrays(weight, most, slope, start), np.array([total])))
    times = [
        max(slope[0] * one + start[0], slope[1] * other + start[1])
        for one in range(1, most[0] + 1)
        for other in range(1, most[1] + 1)
        if weight[0] * one + weight[1] * other == total
    ]
    assert value == min(times, default=np.inf)
    assert not times or weight[0] * x + weight[1] * y == total


def _arrays(*columns: tuple[float, float]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.array([first]), np.array([second])) for first, second in columns]


def slow_shares(kinds: Kinds, batch: int, allowed: dict[str, tuple[int, ...]]) -> float:
    """The fastest step over every layout, and of each kind every micro-batch, mode and share."""
    devices, best = [kind.devices for kind in kinds], np.inf
    names = ("tp", "pp", "cp", "vpp", "zero_stage", "sequence_parallel")
    for values in itertools.product(*(allowed[name] for name in names)):
        layout = dict(zip(names, values, strict=True))
        replica = layout["tp"] * layout["pp"] * layout["cp"]
        if devices[0] % replica or devices[1] % replica:
            continue
        own = [count // replica for count in devices]
        layout["dp"] = sum(own)
        options = [list(slow_options(kinds, at, layout, allowed, batch // own[at])) for at in (0, 1)]
        for (size, n, time), (other, m, late) in itertools.product(*options):
            if own[0] * size * n + own[1] * other * m == batch and (layout["zero_stage"] < 2 or n == m):
                best = min(best, max(time, late))
    return best


def slow_options(
    kinds: Kinds, at: int, layout: dict[str, int], allowed: dict[str, tuple[int, ...]], most: int
) -> Iterator[tuple[int, int, float]]:
    """Micro-batch, how many, and the time: whatever a replica of one kind may do."""
    q = kinds[at].shared
    unit = layout["pp"] if layout["vpp"] > 1 else 1
    for size, mode in itertools.product(allowed["micro_batch"], allowed["recompute"]):
        plan = {**layout, "ep": 1, "etp": 1, "micro_batch": size, "recompute": mode}
        n = np.arange(unit, most // size + 1, unit)
        if not len(n) or not may_run(replace(q, global_batch=layout["dp"] * unit * size), plan):
            continue
        s = one_strategy(**plan).take(np.zeros(len(n), dtype=np.int64))
        p = prepare(q, s)
        fits = added(memory_of(q, s, p, n).values()) <= q.accelerator.memory_bytes
        times = added(replica_terms(kinds, at, s, p, n)[0].values())
        yield from ((size, int(one), float(time)) for one, time in zip(n[fits], times[fits], strict=True))


@settings(max_examples=12)
@given(pairs, st.sampled_from([6, 7, 12]), st.sampled_from([(0, 3), (1, 2)]), st.sampled_from([(1,), (1, 2)]))
def test_the_best_shares_equal_a_slow_loops(changes, batch, zeros, chunks) -> None:
    kinds = kinds_of(tiny(layers=4), batch, devices=2, **changes)
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
    found = best_shares(kinds, Space(sum(kind.devices for kind in kinds), batch, allowed))
    sizes = {**allowed, "micro_batch": tuple(size for size in allowed["micro_batch"] if batch % size == 0)}
    best = slow_shares(kinds, batch, sizes)
    assert (np.inf if found is None else found.step_time_s) == pytest.approx(best, rel=1e-12)
    if found is not None:
        done = zip(found.plans, found.micro_batches, found.replicas, strict=True)
        assert sum(int(s.micro_batch[0]) * n * replicas for s, n, replicas in done) == batch


def slow_stages(kinds: Kinds, space: Space) -> float:
    """The fastest step over every plan and every number of layers of every stage."""
    batch, layers, best = space.global_batch, kinds[0].shared.workload.layer_count, np.inf
    devices = [kind.devices for kind in kinds]
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
                one_strategy(tp=tp, pp=sum(stages), cp=cp, dp=dp, zero_stage=zero, recompute=mode).take(
                    np.zeros(len(cuts), dtype=np.int64)
                )
                for mode in modes
            )
            n = np.full(len(cuts), batch // dp)
            for first in (0, 1):
                halves = halves_of(kinds, (plans[0], plans[1]), stages, first, cuts)
                step = added(pipeline_terms(halves, n).terms.values())
                for half in halves:
                    held = added(memory_of(half.training, half.s, half.p, n).values())
                    step = np.where(held <= half.training.accelerator.memory_bytes, step, np.inf)
                best = min(best, float(step.min()))
    return best


@settings(max_examples=15)
@given(pairs, st.sampled_from([5, 6, 8]), st.sampled_from([1, 4]))
def test_the_best_layers_equal_a_slow_loops(changes, layers, batch) -> None:
    kinds = kinds_of(tiny(layers=layers), batch, devices=2, **changes)
    allowed = {"tp": (1, 2), "cp": (1,), "micro_batch": (1,), "recompute": (0, 2), "sequence_parallel": (0,)}
    space = Space(sum(kind.devices for kind in kinds), batch, allowed)
    found = best_stages(kinds, space)
    assert (np.inf if found is None else found.step_time_s) == pytest.approx(slow_stages(kinds, space), rel=1e-9)
