"""Settings that a search can leave open in addition to the degrees: each combination is a scenario.

A setting changes the whole scenario (overlap of communication, offloading, rank order), while a degree changes a
candidate. The search goes through the combinations one after the other, with one list of the best plans.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import get_args

from planner.cost.offload import Offload
from planner.cost.rank_groups import RANK_ORDERS
from planner.cost.scenario import (
    CpCommType,
    PipelineSchedule,
    Scenario,
    replace_grad_reduce_dtype,
    replace_gradient_dtype,
    replace_offload,
)
from planner.cost.strategies import FULL_RECOMPUTE
from planner.errors import InputError
from planner.trainers.names import GradientDtype

_OFFLOADABLE_STATES = ("optimizer", "activations", "weights")


@dataclass(frozen=True)
class SearchSetting:
    """One setting: the names of its values, and a function that applies a value to a scenario.

    `has_integer_values`: whole numbers are valid too.
    """

    value_names: tuple[str, ...]
    apply: Callable[[Scenario, str], Scenario]
    has_integer_values: bool = False


def _parse_offload(text: str) -> Offload:
    parts = set(text.split("+")) - {"none"}
    return Offload(optimizer="optimizer" in parts, activations="activations" in parts, weights="weights" in parts)


def _parse_count(text: str) -> int | None:
    return None if text == "all" else int(text)


def _parse_yes_no(text: str) -> bool:
    return text == "yes"


SEARCH_SETTINGS: dict[str, SearchSetting] = {
    "schedule": SearchSetting(get_args(PipelineSchedule), lambda t, v: replace(t, pipeline_schedule=v)),  # type: ignore[arg-type]
    "tp_overlap": SearchSetting(("no", "yes"), lambda t, v: replace(t, tp_overlap=_parse_yes_no(v))),
    "dp_overlap": SearchSetting(("yes", "no"), lambda t, v: replace(t, dp_overlap=_parse_yes_no(v))),
    "cp_exchange": SearchSetting(
        get_args(CpCommType),
        lambda t, v: replace(t, cp_comm_type=v),  # type: ignore[arg-type]
    ),
    "gradients": SearchSetting(get_args(GradientDtype), lambda t, v: replace_gradient_dtype(t, v)),  # type: ignore[arg-type]
    "communication": SearchSetting(
        get_args(GradientDtype),
        lambda t, v: replace_grad_reduce_dtype(t, v),  # type: ignore[arg-type]
    ),
    "offload": SearchSetting(
        ("none", *("+".join(parts) for n in (1, 2, 3) for parts in itertools.combinations(_OFFLOADABLE_STATES, n))),
        lambda t, v: replace_offload(t, _parse_offload(v)),
    ),
    "order": SearchSetting(RANK_ORDERS, lambda t, v: replace(t, rank_order=v)),
    "shard_group": SearchSetting(
        ("all",),
        lambda t, v: replace(t, shard_group=_parse_count(v)),
        has_integer_values=True,
    ),
    "recompute_layers": SearchSetting(
        ("all",),
        lambda t, v: replace(t, recompute_layers=_parse_count(v)),
        has_integer_values=True,
    ),
}


def check_allowed_settings(
    scenario: Scenario,
    allowed: Mapping[str, tuple[str, ...]],
    recompute_modes: Collection[int],
    zero_stages: Collection[int],
) -> None:
    """Raise InputError for a setting without effect on any plan with these `recompute_modes` and `zero_stages`."""
    layers = scenario.workload.layer_count
    for value in allowed.get("shard_group", ("all",)):
        if value != "all" and not any(zero_stages):
            raise InputError(
                "has no effect with --zero 0, which shards nothing",
                key="--shard-group",
                value=value,
                expected="--zero 1, 2 or 3",
            )
    for value in allowed.get("recompute_layers", ("all",)):
        if value == "all":
            continue
        if int(value) > layers:
            raise InputError(
                f"the model has {layers} layers",
                key="--recompute-layers",
                value=value,
                expected=f"all, or from 1 to {layers}",
            )
        if FULL_RECOMPUTE not in recompute_modes:
            raise InputError(
                "only valid with full recomputation",
                key="--recompute-layers",
                value=value,
                expected="--recompute full",
            )


def enumerate_setting_scenarios(scenario: Scenario, allowed: Mapping[str, tuple[str, ...]]) -> Iterator[Scenario]:
    """The scenario with every combination of the allowed values; settings without allowed values stay unchanged."""
    names = [name for name in SEARCH_SETTINGS if name in allowed]
    for values in itertools.product(*(allowed[name] for name in names)):
        changed_scenario = scenario
        for name, value in zip(names, values, strict=True):
            changed_scenario = SEARCH_SETTINGS[name].apply(changed_scenario, value)
        yield changed_scenario
