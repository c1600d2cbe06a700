"""Warn of settings that have no effect on the printed plans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.documents.plan import PlanPart, StrategyPart
from planner.search.settings import (
    SEARCH_SETTINGS,
)

_APPLIES_TO: dict[str, tuple[Callable[[StrategyPart], bool], str]] = {
    "schedule": (lambda s: s.pp > 1, "pp 1"),
    "tp_overlap": (lambda s: s.tp > 1, "tp 1"),
    "dp_overlap": (lambda s: s.dp * s.cp > 1, "dp 1"),
    "cp_exchange": (lambda s: s.cp > 1, "cp 1"),
    "communication": (lambda s: s.dp * s.cp > 1, "dp 1"),
    "shard_group": (lambda s: s.zero_stage > 0, "ZeRO 0"),
    "recompute_layers": (lambda s: s.recompute == "full", "no full recomputation"),
}
"""For each setting: whether it affects a strategy, and what strategies have that it does not affect."""


def iterate_ineffective_settings(plans: Sequence[PlanPart], allowed: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """A sentence for each setting that is pinned to a non-default value and affects none of the plans."""
    for name, (is_applicable, reason) in _APPLIES_TO.items():
        values = allowed.get(name, ())
        is_pinned = len(values) == 1 and values[0] != SEARCH_SETTINGS[name].value_names[0]
        if is_pinned and not any(is_applicable(plan.strategy) for plan in plans):
            subject = "the plan has" if len(plans) == 1 else "all reported plans have"
            yield f"--{name.replace('_', '-')} {values[0]} makes no difference: {subject} {reason}"
