"""What if: the best plans of two questions side by side, the first plan under the second, and elasticities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.cluster.model.cluster import Cluster
from planner.cost.arrays import Floats, settled
from planner.cost.memory import KINDS
from planner.cost.scenario import Training
from planner.cost.step import score
from planner.cost.strategies import Strategies
from planner.documents.plan import PlanPart
from planner.documents.what_if import (
    SCHEMA_VERSION,
    ChangePart,
    DifferencePart,
    ElasticityPart,
    FigureName,
    KeptPart,
    SidePart,
    WhatIfDocument,
)
from planner.errors import NothingFits
from planner.search.diagnosis.infeasible import explain_empty
from planner.search.search import Found, Wanted, search
from planner.search.space import RULES, Space
from planner.studies.changes import SCALES, Change, rebound
from planner.studies.plan import document_of, find
from planner.studies.plan_parts import plan_parts
from planner.units import format_bytes

_STEP = 0.01
"""Of a figure, up and down: the derivative is the central difference."""
_OPEN = ("dp",)
"""What of a plan follows from the number of devices."""


@dataclass(frozen=True)
class Side:
    """One question: its trainings (one for each combination of settings), its cluster, its space."""

    questions: tuple[Training, ...]
    cluster: Cluster
    space: Space

    def moved(self, cluster: Cluster) -> Side:
        """The same question on a cluster of the same size."""
        return replace(self, questions=tuple(rebound(one, cluster) for one in self.questions), cluster=cluster)


def what_if(before: Side, after: Side, changes: Sequence[Change]) -> WhatIfDocument:
    """Plan both and compare. Both sides have the same settings in the same order.

    Raises InputError where pins leave no candidate, NothingFits where none fits in memory on one of the sides.
    """
    old, new = _best(before, "as it is"), _best(after, "with the changes")
    old_side, new_side = _told(before, old), _told(after, new)
    first, second = old_side.plan, new_side.plan
    return WhatIfDocument(
        schema_version=SCHEMA_VERSION,
        changes=[_change_part(change) for change in changes],
        before=old_side,
        after=new_side,
        same_plan=first.strategy == second.strategy and first.settings == second.settings,
        difference=_difference(first, second),
        kept=_kept(after, old, second),
        elasticities=_elasticities((before, old), (after, new)),
    )


def _best(side: Side, which: str) -> Found:
    layouts = tuple(dict.fromkeys(one.order for one in side.questions))
    found = find(side.questions, side.cluster, side.space, Wanted(top=1), layouts)
    if not found.tally.feasible:
        error = explain_empty(side.cluster, side.space, found)
        raise NothingFits(f"{which}, {error}") if isinstance(error, NothingFits) else error
    return found


def _told(side: Side, found: Found) -> SidePart:
    document = document_of(side.cluster, found, Wanted(top=1), None)
    return SidePart(
        model=document.model,
        cluster=document.cluster,
        training=document.training,
        search=document.search,
        plan=document.plans[0],
    )


def _change_part(change: Change) -> ChangePart:
    unit = change.dimension or ""
    return ChangePart(key=change.key, given=change.given, unit=unit, before=change.before, after=change.after)


def _difference(first: PlanPart, second: PlanPart) -> DifferencePart:
    def less(new: float | None, old: float | None) -> float | None:
        return None if new is None or old is None else new - old

    return DifferencePart(
        speedup=second.tokens_per_s / first.tokens_per_s,
        step_time_s=second.step_time_s - first.step_time_s,
        terms={name: second.terms[name] - value for name, value in first.terms.items()},
        hidden={name: second.hidden[name] - value for name, value in first.hidden.items()},
        tokens_per_s=second.tokens_per_s - first.tokens_per_s,
        tokens_per_s_per_device=second.tokens_per_s_per_device - first.tokens_per_s_per_device,
        mfu=second.mfu - first.mfu,
        hfu=second.hfu - first.hfu,
        cost_usd_per_step=less(second.cost_usd_per_step, first.cost_usd_per_step),
        energy_j_per_step=less(second.energy_j_per_step, first.energy_j_per_step),
        memory_bytes={
            kind: getattr(second.memory, f"{kind}_bytes") - getattr(first.memory, f"{kind}_bytes") for kind in KINDS
        },
    )


def _kept(after: Side, old: Found, best: PlanPart) -> KeptPart:
    """The old plan in the new conditions, by a search of the space that holds nothing else."""
    training = after.questions[int(old.question[0])]
    pins: dict[str, tuple[int, ...]] = {
        name: (value,) for name, value in old.best.row(0).items() if name not in _OPEN
    }
    found = search(training, Space(after.space.devices, training.global_batch, pins), Wanted(top=1))
    if not found.tally.feasible:
        return KeptPart(plan=None, regret=None, obstacle=_obstacle(training, found))
    plan = plan_parts(found, after.cluster)[0]
    return KeptPart(plan=plan, regret=plan.step_time_s / best.step_time_s - 1.0, obstacle="")


def _obstacle(training: Training, found: Found) -> str:
    if found.tally.cut_by["memory"]:
        return f"it does not fit in {format_bytes(training.usable_memory_bytes)}"
    broken = [rule for rule, count in found.tally.cut_by.items() if count]
    return (
        f"it would break a rule: {RULES[broken[0]]}"
        if broken
        else f"it cannot be cut over {training.devices:,} devices"
    )


def _elasticities(before: tuple[Side, Found], after: tuple[Side, Found]) -> list[ElasticityPart]:
    names: tuple[FigureName, ...] = (
        "peak",
        "memory_bandwidth",
        "link_bandwidth",
        "network_bandwidth",
        "link_latency",
        "network_latency",
    )
    if any(found.questions[int(found.question[0])].offload.any for _, found in (before, after)):
        names += ("host_link", "host_bandwidth")
    parts = []
    for name in names:
        old, new = (_elasticity(side, found, name) for side, found in (before, after))
        parts.append(ElasticityPart(figure=name, before=old, after=new))
    return parts


def _elasticity(side: Side, found: Found, name: str) -> float:
    training = side.questions[int(found.question[0])]
    return float(elasticity(training, side.cluster, found.best, name)[0])


def elasticity(training: Training, cluster: Cluster, plans: Strategies, name: str) -> Floats:
    """d log(step time) / d log(figure) of each plan, nothing else changed; shape [plans]."""
    times = [
        score(rebound(training, SCALES[name](cluster, factor)), plans).step_time_s
        for factor in (1.0 - _STEP, 1.0 + _STEP)
    ]
    return settled(np.log(times[1] / times[0]) / np.log((1.0 + _STEP) / (1.0 - _STEP)), 32)
