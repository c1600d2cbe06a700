"""Settings that a search can leave open beside the split: each combination is a question to the cost model.

A setting changes the whole question (how collectives are hidden, what is on the host, in which order ranks are laid
out), where a dimension of the split changes one candidate. The search goes through the combinations one after the
other, with one list of the best.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

from planner.cost.offload import Offload
from planner.cost.rank_groups import ORDERS
from planner.cost.scenario import (
    CpExchange,
    Gradients,
    Schedule,
    Training,
    with_communication,
    with_gradients,
    with_offload,
)
from planner.cost.strategies import FULL
from planner.errors import InputError

if TYPE_CHECKING:
    pass


_OFFLOADED = ("optimizer", "activations", "weights")


@dataclass(frozen=True)
class Setting:
    """One setting: the names of its values, and the training with one of them.

    `counts`: beside its names it takes whole numbers.
    """

    names: tuple[str, ...]
    apply: Callable[[Training, str], Training]
    counts: bool = False


def _offload(text: str) -> Offload:
    parts = set(text.split("+")) - {"none"}
    return Offload(optimizer="optimizer" in parts, activations="activations" in parts, weights="weights" in parts)


def _count(text: str) -> int | None:
    return None if text == "all" else int(text)


def _yes(text: str) -> bool:
    return text == "yes"


SETTINGS: dict[str, Setting] = {
    "schedule": Setting(get_args(Schedule), lambda t, v: replace(t, schedule=v)),  # type: ignore[arg-type]
    "tp_overlap": Setting(("no", "yes"), lambda t, v: replace(t, tp_overlap=_yes(v))),
    "dp_overlap": Setting(("yes", "no"), lambda t, v: replace(t, dp_overlap=_yes(v))),
    "cp_exchange": Setting(
        get_args(CpExchange),
        lambda t, v: replace(t, cp_exchange=v),  # type: ignore[arg-type]
    ),
    "gradients": Setting(get_args(Gradients), lambda t, v: with_gradients(t, v)),  # type: ignore[arg-type]
    "communication": Setting(
        get_args(Gradients),
        lambda t, v: with_communication(t, v),  # type: ignore[arg-type]
    ),
    "offload": Setting(
        ("none", *("+".join(parts) for n in (1, 2, 3) for parts in itertools.combinations(_OFFLOADED, n))),
        lambda t, v: with_offload(t, _offload(v)),
    ),
    "order": Setting(ORDERS, lambda t, v: replace(t, order=v)),
    "shard_group": Setting(
        ("all",),
        lambda t, v: replace(t, shard_group=_count(v)),
        counts=True,
    ),
    "recompute_layers": Setting(
        ("all",),
        lambda t, v: replace(t, recompute_layers=_count(v)),
        counts=True,
    ),
}


def check_settings(
    training: Training, allowed: Mapping[str, tuple[str, ...]], recompute: Collection[int], zero: Collection[int]
) -> None:
    """Raises InputError for a setting that no plan could heed; `recompute`, `zero`: modes and stages that may be
    chosen.
    """
    layers = training.workload.layer_count
    for value in allowed.get("shard_group", ("all",)):
        if value != "all" and not any(zero):
            raise InputError("ZeRO 0 shards nothing", key="--shard-group", value=value, expected="--zero 1, 2 or 3")
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


def combinations(training: Training, allowed: Mapping[str, tuple[str, ...]]) -> Iterator[Training]:
    """The training under every combination of the allowed values; what is not named stays as it is."""
    names = [name for name in SETTINGS if name in allowed]
    for values in itertools.product(*(allowed[name] for name in names)):
        changed = training
        for name, value in zip(names, values, strict=True):
            changed = SETTINGS[name].apply(changed, value)
        yield changed
