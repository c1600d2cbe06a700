"""Warn of settings that have no effect on the printed plans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from planner.cost.settings import SETTINGS

if TYPE_CHECKING:
    from planner.documents.plan import PlanPart


def iterate_ineffective_settings(plans: Sequence[PlanPart], allowed: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """A sentence for each setting that is pinned to a non-default value and affects none of the plans."""
    for name, setting in SETTINGS.items():
        values, affects = allowed.get(name, ()), setting.affects
        is_pinned = len(values) == 1 and values[0] != setting.values[0]
        if is_pinned and affects is not None and not any(affects(plan.strategy) for plan in plans):
            subject = "the plan has" if len(plans) == 1 else "all reported plans have"
            yield f"--{name.replace('_', '-')} {values[0]} makes no difference: {subject} {setting.otherwise}"
