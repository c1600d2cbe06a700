"""Sizes of made-up clusters, compared with all sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import inf
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from planner.errors import InputError
from planner.studies import size as sizing
from planner.studies.run_estimate import ClusterOffer, RunLowerBound, TrainingRun
from tests.examples import tiny


@dataclass(frozen=True)
class Size:
    """A result of the search of a size."""

    nodes: int
    days: float
    cost_usd: float | None
    tokens: int


@dataclass(frozen=True)
class World:
    """A cluster of up to `largest` nodes: `work` node-days and `least` days, plans fit from `fits` nodes on, and only
    multiples of `every` can be split. `bound`: how near the bound is that no plan beats.
    """

    largest: int
    work: float
    least: float
    fits: int
    every: int
    bound: float = 0.8
    rent: float | None = 24.0
    hosts: bool = False
    has_max_nodes: bool = False

    def outcome(self, run: TrainingRun, offer: ClusterOffer, nodes: int) -> Size | None:
        assert offer is not None
        if nodes < self.fits or nodes % self.every:
            return None
        days = (self.work / nodes + self.least) * run.tokens / 1e12
        return Size(nodes, days, None if self.rent is None else self.rent * nodes * days, run.tokens)

    def usable(self, run: TrainingRun, offer: ClusterOffer, nodes: Iterable[int]) -> Iterator[int]:
        assert isinstance(run, TrainingRun)
        assert offer is not None
        return (n for n in nodes if n % self.every == 0)

    def sizes(self, run: TrainingRun) -> list[Size]:
        """All of them."""
        outcomes = (self.outcome(run, OFFER, nodes) for nodes in range(1, self.largest + 1))
        return [size for size in outcomes if size is not None]


OFFER: ClusterOffer = SimpleNamespace()  # type: ignore[assignment]  # a world reads no field of it
RUN = TrainingRun(tiny(), 8, 10**12)
random_worlds = st.builds(
    World,
    largest=st.integers(1, 300),
    work=st.floats(1, 5000),
    least=st.floats(0, 3),
    fits=st.integers(1, 20),
    every=st.sampled_from([1, 1, 2, 3, 8]),
    bound=st.floats(0.2, 1.0),
)


@contextmanager
def simulate_world(world: World) -> Iterator[ClusterOffer]:
    """The sizes of this world, and the offer that has them."""
    with ExitStack() as stack:
        for name, fake in {
            "estimate_run": world.outcome,
            "get_max_nodes": lambda _: world.largest,
            "compute_run_lower_bound": lambda *_: RunLowerBound(world.bound * world.work, world.bound * world.least),
            "iterate_splittable_sizes": world.usable,
        }.items():
            stack.enter_context(patch.object(sizing, name, fake))
        spec = SimpleNamespace(max_nodes=world.largest if world.has_max_nodes else None)
        yield SimpleNamespace(listed_cluster=object() if world.hosts else None, spec=spec)  # type: ignore[misc]


@given(random_worlds, st.floats(0.5, 200))
def test_the_fewest_nodes_are_those_of_all_sizes(world, days) -> None:
    with simulate_world(world) as offer:
        result = sizing.find_fewest_nodes(RUN, offer, days)
        fewest = next((size for size in world.sizes(RUN) if size.days <= days), None)
        assert result == fewest


@given(random_worlds, st.floats(0.5, 200))
def test_the_approximate_fewest_nodes_meet_the_deadline_where_any_size_does(world, days) -> None:
    assume(world.least < days / 2)  # else days go down far more slowly than nodes go up, and six trials may not do
    with simulate_world(world) as offer:
        result = sizing.approximate_fewest_nodes(RUN, offer, days)
        meeting = [size for size in world.sizes(RUN) if size.days <= days]
        assert (result is None) == (not meeting)
        if result is not None:
            assert result in meeting
            assert result.nodes <= 2 * meeting[0].nodes + 8


@given(random_worlds)
def test_a_curve_doubles_from_where_plans_fit_until_more_is_no_faster(world) -> None:
    with simulate_world(world) as offer:
        curve = sizing.estimate_doubling_sizes(RUN, offer)
        every = world.sizes(RUN)
        assert [size.nodes for size in curve] == sorted({size.nodes for size in curve})
        assert [size.days for size in curve] == sorted((size.days for size in curve), reverse=True)
        if world.every == 1 and every:
            first = 1
            while first < world.fits:
                first *= 2
            # the first that fits of those from a power of two to the next, and from there the powers of two
            if first // 2 < world.fits < first and first // 2 + 8 >= world.fits:
                assert curve[0].nodes == world.fits
            elif first <= world.largest:
                assert curve[0].nodes == first
            assert all((size.nodes & (size.nodes - 1)) == 0 for size in curve[1:])
            if world.least == 0:
                assert 2 * curve[-1].nodes > world.largest
        within_budget = [size for size in curve if size.cost_usd <= 2000]
        fastest = sizing.find_fastest_within_budget(RUN, offer, 2000)
        assert fastest == min(within_budget, key=lambda size: size.days, default=None)


@given(random_worlds, st.integers(1, 300))
def test_a_curve_around_has_whole_multiples_and_parts(world, nodes) -> None:
    with simulate_world(replace(world, fits=1, every=1)) as offer:
        here = world.outcome(RUN, offer, nodes) or Size(nodes, 1.0, 1.0, RUN.tokens)
        curve = sizing.estimate_sizes_around(RUN, offer, here)
        ratios = (4 / 3, 3 / 2, 2, 3, 4, 8)
        wanted = {nodes} | {
            round(nodes * by) for ratio in ratios for by in (ratio, 1 / ratio) if _is_whole(nodes * by)
        }
        assert [ratio.nodes for ratio in curve] == sorted(n for n in wanted if n == nodes or 1 <= n <= world.largest)
        assert here in curve


def _is_whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-9


@given(random_worlds, st.floats(1e3, 1e7))
def test_a_budget_buys_as_many_whole_steps_as_it_pays_for(world, usd) -> None:
    with simulate_world(world) as offer:
        bought = sizing.find_affordable_run(RUN, offer, usd)
        if not sizing.estimate_doubling_sizes(RUN, offer):
            assert bought is None
            return
        run, size = bought
        assert run.tokens % run.tokens_per_step == 0
        assert run.tokens == size.tokens
        step = size.cost_usd * run.tokens_per_step / run.tokens
        if run.tokens > run.tokens_per_step:
            assert usd - 1.001 * step < size.cost_usd <= usd * (1 + 1e-9)
        assert min(other.cost_usd for other in sizing.estimate_sizes_around(run, offer, size)) >= size.cost_usd * (
            1 - 1e-9
        )
    unpriced = replace(world, rent=None)
    with (
        simulate_world(unpriced) as offer,
        pytest.raises(InputError, match="no rental price of this accelerator is known"),
    ):
        sizing.find_affordable_run(RUN, offer, usd)


def test_a_budget_for_given_nodes_uses_those_nodes() -> None:
    with simulate_world(World(100, 1000.0, 0.0, 4, 1)) as offer:
        _, size = sizing.find_affordable_run(RUN, offer, 1e5, nodes=12)
        assert size.nodes == 12
        assert sizing.find_affordable_run(RUN, offer, 1e5, nodes=3) is None


def test_the_nearest_miss_may_be_the_whole_cluster() -> None:
    for changes, nodes in (({}, 64), ({"hosts": True}, 100), ({"has_max_nodes": True}, 100)):
        with simulate_world(replace(World(100, 1000.0, 0.0, 1, 1), **changes)) as offer:
            assert sizing.find_fastest_size(RUN, offer).nodes == nodes
        with simulate_world(replace(World(100, 1000.0, 0.0, 101, 1), **changes)) as offer:
            assert sizing.find_fastest_size(RUN, offer) is None


def test_the_fastest_size_in_a_budget_need_not_double() -> None:
    """48 nodes are faster than 32, and the rent of all is the same: only the budget's sizes count."""
    with simulate_world(World(60, 1000.0, 0.0, 1, 1)) as offer:
        assert sizing.find_fastest_within_budget(RUN, offer, inf).nodes == 32
        assert sizing.refine_fastest_within_budget(RUN, offer, inf).nodes > 32
        assert sizing.refine_fastest_within_budget(RUN, offer, 1.0) is None
