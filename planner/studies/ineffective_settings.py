"""Settings that a search can leave open beside the split: each combination is a question to the cost model.

A setting changes the whole question (how collectives are hidden, what is on the host, in which order ranks are laid
out), where a dimension of the split changes one candidate. The search goes through the combinations one after the
other, with one list of the best.
"""

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
"""Which splits a setting makes a difference to, and what the others have."""


def iterate_ineffective_settings(plans: Sequence[PlanPart], allowed: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """A sentence on each setting that is pinned to other than its usual value and that none of the plans heeds."""
    for name, (is_applicable, reason) in _APPLIES_TO.items():
        values = allowed.get(name, ())
        is_pinned = len(values) == 1 and values[0] != SEARCH_SETTINGS[name].value_names[0]
        if is_pinned and not any(is_applicable(plan.strategy) for plan in plans):
            subject = "the plan has" if len(plans) == 1 else "all reported plans have"
            yield f"--{name.replace('_', '-')} {values[0]} makes no difference: {subject} {reason}"
