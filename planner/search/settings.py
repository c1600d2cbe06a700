"""Settings that a search can leave open beside the split: each combination is a question to the cost model.

A setting changes the whole question (how collectives are hidden, what is on the host, in which order ranks are laid
out), where a dimension of the split changes one candidate. The search goes through the combinations one after the
other, with one list of the best.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import get_args

from planner.cost.offload import Offload
from planner.cost.ranks import ORDERS
from planner.cost.strategies import FULL
from planner.cost.training import (
    CpExchange,
    Gradients,
    Schedule,
    Training,
    with_communication,
    with_gradients,
    with_offload,
)
from planner.errors import InputError

_OFFLOADS = ("none", "optimizer", "activations", "weights")


@dataclass(frozen=True)
class Setting:
    """One setting: the names of its values, what a training has, and the training with another value.

    `counts`: beside its names it takes whole numbers.
    """

    names: tuple[str, ...]
    value: Callable[[Training], str]
    apply: Callable[[Training, str], Training]
    counts: bool = False


def _offload(text: str) -> Offload:
    parts = set(text.split("+")) - {"none"}
    return Offload(optimizer="optimizer" in parts, activations="activations" in parts, weights="weights" in parts)


def _offload_name(offload: Offload) -> str:
    held = [name for name in _OFFLOADS[1:] if getattr(offload, name)]
    return "+".join(held) or "none"


def _count(text: str) -> int | None:
    return None if text == "all" else int(text)


def _yes(text: str) -> bool:
    return text == "yes"


def _said(value: bool) -> str:
    return "yes" if value else "no"


SETTINGS: dict[str, Setting] = {
    "schedule": Setting(get_args(Schedule), lambda t: t.schedule, lambda t, v: replace(t, schedule=v)),  # type: ignore[arg-type]
    "tp_overlap": Setting(("no", "yes"), lambda t: _said(t.tp_overlap), lambda t, v: replace(t, tp_overlap=_yes(v))),
    "dp_overlap": Setting(("yes", "no"), lambda t: _said(t.dp_overlap), lambda t, v: replace(t, dp_overlap=_yes(v))),
    "cp_exchange": Setting(
        get_args(CpExchange),
        lambda t: t.cp_exchange,
        lambda t, v: replace(t, cp_exchange=v),  # type: ignore[arg-type]
    ),
    "gradients": Setting(get_args(Gradients), lambda t: t.gradients, lambda t, v: with_gradients(t, v)),  # type: ignore[arg-type]
    "communication": Setting(
        get_args(Gradients),
        lambda t: t.communication,
        lambda t, v: with_communication(t, v),  # type: ignore[arg-type]
    ),
    "offload": Setting(
        ("none", *("+".join(parts) for n in (1, 2, 3) for parts in itertools.combinations(_OFFLOADS[1:], n))),
        lambda t: _offload_name(t.offload),
        lambda t, v: with_offload(t, _offload(v)),
    ),
    "order": Setting(ORDERS, lambda t: t.order, lambda t, v: replace(t, order=v)),
    "shard_group": Setting(
        ("all",),
        lambda t: "all" if t.shard_group is None else str(t.shard_group),
        lambda t, v: replace(t, shard_group=_count(v)),
        counts=True,
    ),
    "recompute_layers": Setting(
        ("all",),
        lambda t: "all" if t.recompute_layers is None else str(t.recompute_layers),
        lambda t, v: replace(t, recompute_layers=_count(v)),
        counts=True,
    ),
}


def check_settings(training: Training, allowed: Mapping[str, tuple[str, ...]], recompute: Collection[int]) -> None:
    """Raises InputError for a setting that no plan could heed; `recompute`: the modes that may be chosen."""
    layers = training.workload.layer_count
    for value in allowed.get("recompute_layers", ("all",)):
        if value == "all":
            continue
        if int(value) > layers:
            raise InputError(
                "more than there are", key="--recompute-layers", value=value, expected=f"all, or from 1 to {layers}"
            )
        if FULL not in recompute:
            raise InputError(
                "is of full recomputation", key="--recompute-layers", value=value, expected="--recompute full"
            )


def settings_of(training: Training) -> dict[str, str]:
    """The value of every setting."""
    return {name: setting.value(training) for name, setting in SETTINGS.items()}


def combinations(training: Training, allowed: Mapping[str, tuple[str, ...]]) -> Iterator[Training]:
    """The training under every combination of the allowed values; what is not named stays as it is."""
    names = [name for name in SETTINGS if name in allowed]
    for values in itertools.product(*(allowed[name] for name in names)):
        changed = training
        for name, value in zip(names, values, strict=True):
            changed = SETTINGS[name].apply(changed, value)
        yield changed
