"""The exact search over all sizes of a cluster: every answer of `size` and `compare` is an estimate of `SizeSearch`.

A size is a number of nodes; its estimate is that of the batch, of those that compete on it, with which the run takes
the fewest days. No monotonicity of days is assumed: sizes are left out by lower bounds alone (`size_bounds.py`), and
of the sizes that are left plans by the same bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from planner.cost.arrays import find_distinct_values
from planner.studies.run_estimate import (
    ClusterOffer,
    RunEstimate,
    RunPlan,
    TrainingRun,
    estimate_totals,
    get_max_nodes,
    search_run_plan,
)
from planner.studies.size_bounds import LayoutBounds, SizeBounds
from planner.units import DAY_S

_FIRST_SHARE = 3.0
"""A size's plans are searched first among those whose bound is at most so many times the least bound."""
_EXTRA_NODES = 8
"""Sizes beyond each doubling on which a first plan that fits is looked for."""
_MIN_WINDOW, _WINDOW_SHARE = 16, 16
"""Sizes are bounded in windows of so many, or of this part of their number of nodes."""


@dataclass(frozen=True)
class SizeSearch:
    """The sizes of one run on one cluster, from `first` to `last` nodes.

    `plans`: the best plan of each (nodes, batch) that was searched; where only plans up to a step time were searched
    and none is, that step time in seconds.
    """

    run: TrainingRun
    offer: ClusterOffer
    first: int = 1
    last: int | None = None
    plans: dict[tuple[int, int], RunPlan | float | None] = field(default_factory=dict)

    @cached_property
    def bounds(self) -> SizeBounds:
        """Lower bounds of the days on each size."""
        return SizeBounds(self.run, self.offer)

    @cached_property
    def largest(self) -> int:
        """The largest number of nodes."""
        largest = get_max_nodes(self.offer)
        return largest if self.last is None else min(self.last, largest)

    def estimate(self, nodes: int, most_days: float = math.inf) -> RunEstimate | None:
        """The run on this number of nodes; None where no plan fits, or where it takes more than `most_days`.

        Raises InputError where the cluster cannot have as many nodes, or does not train in this precision.
        """
        # raises where the cluster cannot have as many nodes
        devices = self.offer.build_cluster(nodes).devices
        batches = self.run.batch.list_batches(devices)
        pairs = [(nodes, batch) for batch in batches]
        layouts = [self.bounds.refined.get(pair) or self.bounds.list_layouts([pair]) for pair in pairs]
        share = float(self.bounds.compute_most_goodput(np.array([float(nodes)]))[0])
        if not share:
            return None
        least_step_s = [float(of_batch.step_s.min(initial=np.inf)) for of_batch in layouts]
        days_per_step_s = [self.run.count_steps(batch) / (DAY_S * share) for batch in batches]
        order = sorted(range(len(batches)), key=lambda i: (least_step_s[i] * days_per_step_s[i], batches[i]))
        best: RunEstimate | None = None
        for index in order:
            most_step_s = (most_days if best is None else best.days) / days_per_step_s[index]
            if not least_step_s[index] <= most_step_s or math.isinf(least_step_s[index]):
                continue
            plan = self._search_batch(nodes, batches[index], layouts[index], most_step_s)
            if plan is None:
                continue
            estimate = estimate_totals(self.run, plan)
            if estimate.days <= most_days and (best is None or estimate.days < best.days):
                best = estimate
        return best

    def _search_batch(self, nodes: int, batch: int, layouts: LayoutBounds, most_step_s: float) -> RunPlan | None:
        """The best plan of a batch; None where none fits, or takes at most `most_step_s`.

        Layouts are searched up to a bound of their step: where the best plan takes no longer than that, no layout
        that was left out can be better.
        """
        known = self.plans.get((nodes, batch), 0.0)
        if not isinstance(known, float) or known >= most_step_s:
            return None if isinstance(known, float) else known
        bound_s = min(_FIRST_SHARE * float(layouts.step_s.min()), most_step_s)
        while True:
            plan = search_run_plan(self.run, self.offer, nodes, batch, _narrow_to_layouts(layouts, bound_s))
            if plan is not None and plan.step_time_s <= bound_s:
                self.plans[nodes, batch] = plan
                return plan
            if bound_s == most_step_s:
                self.plans[nodes, batch] = None if math.isinf(most_step_s) else most_step_s
                return None
            bound_s = most_step_s if plan is None else min(plan.step_time_s, most_step_s)

    def find_fewest_nodes(self, deadline_days: float, budget_usd: float | None = None) -> RunEstimate | None:
        """The fewest nodes with which the run takes at most so many days, and costs at most so many dollars; None
        where no size does.
        """
        for window in self._iterate_windows():
            if self.bounds.compute_range_least_days(window[0], window[-1]) > deadline_days:
                continue
            limits = [min(deadline_days, self._compute_affordable_days(nodes, budget_usd)) for nodes in window]
            least = self.bounds.compute_least_days(window, np.array(limits))
            for nodes, most_days, least_days in zip(window, limits, least.tolist(), strict=True):
                estimate = self.estimate(nodes, most_days) if least_days <= most_days else None
                if estimate is not None and _is_within(estimate, budget_usd):
                    return estimate
        return None

    def find_fastest(self, budget_usd: float | None = None) -> RunEstimate | None:
        """The size with which the run takes the fewest days, of those that cost at most so many dollars, of equally
        fast ones the smallest; None where no size does, or no rental price is known for a budget.
        """
        return self._find_least(lambda nodes: 1.0, budget_usd)

    def find_cheapest(self) -> RunEstimate | None:
        """The size whose nodes are rented for the least time all together, of equal ones the smallest; None where no
        plan fits on any.
        """
        return self._find_least(float)

    def _find_least(self, weigh: Callable[[int], float], budget_usd: float | None = None) -> RunEstimate | None:
        """The size with the least days times `weigh(nodes)`. Doubling sizes come first, so that the bounds of most
        others are above what is known to be possible, then all windows, in each the size with the least bound first.
        """
        best: RunEstimate | None = None

        def compute_most_days(nodes: int) -> float:
            most_days = self._compute_affordable_days(nodes, budget_usd)
            return most_days if best is None else min(most_days, weigh(best.nodes) * best.days / weigh(nodes))

        def keep_better(nodes: int) -> None:
            nonlocal best
            estimate = self.estimate(nodes, compute_most_days(nodes))
            if (estimate is not None and _is_within(estimate, budget_usd)) and (
                best is None or (weigh(nodes) * estimate.days, nodes) < (weigh(best.nodes) * best.days, best.nodes)
            ):
                best = estimate

        for nodes in self._list_doublings(extra=0):
            keep_better(nodes)
        if best is None and budget_usd is None:
            # without a limit every plan of every size would be bounded: is there any size on which one fits?
            tried = iter(self._list_doublings(extra=_EXTRA_NODES))
            while best is None and (nodes := next(tried, 0)):
                keep_better(nodes)
            if best is None:
                return None
        for window in self._iterate_windows():
            least_of_range = self.bounds.compute_range_least_days(window[0], window[-1])
            if all(least_of_range > compute_most_days(nodes) for nodes in (window[0], window[-1])):
                continue
            limits = np.array([compute_most_days(nodes) for nodes in window])
            least_days = self.bounds.compute_least_days(window, limits)
            for index in np.argsort(least_days * [weigh(nodes) for nodes in window], kind="stable").tolist():
                if least_days[index] <= compute_most_days(window[index]):
                    keep_better(window[index])
        return best

    def _list_doublings(self, extra: int) -> list[int]:
        """Doublings of the smallest size, each followed by so many larger sizes, the smallest by many more."""
        sizes, nodes = list(range(self.first, min(self.first + _MIN_WINDOW * extra, self.largest) + 1)), self.first
        while nodes <= self.largest:
            sizes += range(nodes, min(nodes + extra, self.largest) + 1)
            nodes *= 2
        return list(dict.fromkeys(sizes))

    def _compute_affordable_days(self, nodes: int, budget_usd: float | None) -> float:
        """Days for which a budget rents so many nodes; without a known rent none."""
        if budget_usd is None:
            return math.inf
        rent_usd_per_hour = self.bounds.node.accelerator.usd_per_hour
        if rent_usd_per_hour is None:
            return -math.inf
        # the cost of an estimate, whose last digits are rounded otherwise, decides
        return 1.000_000_001 * budget_usd / (rent_usd_per_hour * nodes * self.offer.devices_per_node * 24)

    def _iterate_windows(self) -> Iterator[range]:
        """All sizes, ascending, in ranges that are the wider the larger the sizes are."""
        first = self.first
        while first <= self.largest:
            stop = min(first + max(_MIN_WINDOW, first // _WINDOW_SHARE), self.largest + 1)
            yield range(first, stop)
            first = stop


def _is_within(estimate: RunEstimate, budget_usd: float | None) -> bool:
    """Whether a run costs at most so many dollars."""
    return budget_usd is None or (estimate.cost_usd is not None and estimate.cost_usd <= budget_usd)


def _narrow_to_layouts(layouts: LayoutBounds, bound_s: float) -> dict[str, tuple[int, ...]]:
    """The values of the degrees among the layouts whose step may take at most `bound_s`."""
    rows = np.flatnonzero(layouts.step_s <= bound_s)
    columns = {"tp": layouts.tp, "pp": layouts.pp, "cp": layouts.cp, "dp": layouts.dp}
    columns["micro_batch"] = layouts.micro_batch
    return {name: tuple(find_distinct_values(column[rows]).tolist()) for name, column in columns.items()}
