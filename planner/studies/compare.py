"""The same run on several clusters: what it takes on each, which are on the front, what rules the others out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from planner.documents.compare import OfferPart, RankedBy
from planner.documents.sizing import SizePart
from planner.errors import InputError, NothingFits
from planner.hardware import database
from planner.search.parallel import in_order
from planner.search.pareto import on_the_front
from planner.studies.run_estimate import (
    Offer,
    Outcome,
    Run,
    accelerator_of,
    misfit,
    outcome,
)
from planner.studies.size import about_fewest_nodes, fastest_within
from planner.studies.size_parts import size_part
from planner.units import format_counted_noun, format_days


@dataclass(frozen=True)
class Asked:
    """A cluster, and how many nodes of it (None: as many as the limits ask for)."""

    offer: Offer
    nodes: int | None = None


@dataclass(frozen=True)
class Limits:
    """What rules a cluster out; None: no limit."""

    days: float | None = None
    usd: float | None = None
    framework: str | None = None
    """Must run on the accelerator."""
    cloud: str | None = None
    """Must rent it out."""


@dataclass(frozen=True)
class Compared:
    """One cluster's outcome, None where it is ruled out, and why."""

    asked: Asked
    outcome: Outcome | None
    ruled_out: str = ""
    limit: Literal["", "--deadline", "--budget", "memory"] = ""
    """What it is beyond, where it is that."""
    over: float = math.inf
    """How many times the limit it takes."""


def compared(run: Run, asked: Asked, limits: Limits) -> Compared:
    """The best plan of one cluster within the limits, or why there is none."""
    part = accelerator_of(asked.offer)
    for wanted, there, what in ((limits.framework, part.frameworks, "runs on"), (limits.cloud, part.clouds, "rents")):
        if wanted is not None and wanted not in there:
            return Compared(asked, None, f"nothing says that {wanted} {what} {part.name}")
    try:
        found = _outcome(run, asked, limits)
    except InputError as error:
        return Compared(asked, None, _sentence(error))
    if isinstance(found, str):
        return Compared(asked, None, found, "memory" if asked.nodes is not None else "")
    nodes = format_counted_noun(found.nodes, "node")
    if limits.days is not None and found.days > limits.days:
        told = f"takes {format_days(found.days)} on {nodes}"
        return Compared(asked, None, told, "--deadline", found.days / limits.days)
    if limits.usd is not None and found.usd is None:
        return Compared(asked, None, "no rent is known")
    if limits.usd is not None and found.usd is not None and found.usd > limits.usd:
        told = f"costs {found.usd:,.0f} USD on {nodes}"
        return Compared(asked, None, told, "--budget", found.usd / limits.usd)
    return Compared(asked, found)


def _outcome(run: Run, asked: Asked, limits: Limits) -> Outcome | str:
    """The outcome on the nodes that are asked for; else few that meet the deadline, or the fastest in the budget."""
    if asked.nodes is not None:
        return outcome(run, asked.offer, asked.nodes) or f"no plan fits on {format_counted_noun(asked.nodes, 'node')}"
    if limits.days is not None:
        return about_fewest_nodes(run, asked.offer, limits.days) or "no size meets the deadline"
    if limits.usd is not None:
        return fastest_within(run, asked.offer, limits.usd) or "no size stays within the budget"
    raise InputError("how many nodes is not told", key="--on", expected="NAME:NODES, or --deadline or --budget")


def _sentence(error: InputError) -> str:
    value = "" if error.value is None else f" {error.value}"
    return f"{error.key}{value}: {error.problem}" if error.key else error.problem


_FIGURES: dict[RankedBy, Callable[[SizePart], float | None]] = {
    "time": lambda size: size.days,
    "cost": lambda size: size.usd,
    "energy": lambda size: size.energy_kwh,
    "carbon": lambda size: size.carbon_kg,
    "devices": lambda size: float(size.devices),
    "tokens-per-usd": lambda size: None if size.tokens_per_usd is None else -size.tokens_per_usd,
    "tokens-per-joule": lambda size: None if size.tokens_per_joule is None else -size.tokens_per_joule,
}


def figure(size: SizePart, by: RankedBy) -> float:
    """What a size is ranked by, the smaller the better; infinite where it is not known."""
    value = _FIGURES[by](size)
    return math.inf if value is None else value


def on_front(sizes: Sequence[SizePart]) -> list[bool]:
    """Of each size whether no other is at least as good in days, dollars and energy and better in one.

    What is not known counts as the worst.
    """
    if not sizes:
        return []
    figures = np.array([[figure(size, "time"), figure(size, "cost"), figure(size, "energy")] for size in sizes])
    figures[np.isinf(figures)] = np.finfo(np.float64).max
    front = set(on_the_front(figures).tolist())
    return [place in front for place in range(len(sizes))]


def compare(
    run: Run, asked: Sequence[Asked], limits: Limits, by: RankedBy, intensity_g_per_kwh: float | None
) -> tuple[list[OfferPart], NothingFits | None]:
    """Every cluster's outcome, the best first, those that are ruled out last; equal ones by name. Where all are
    ruled out, also what comes nearest.
    """
    found = in_order("comparing", partial(compared, run, limits=limits), asked)
    sizes = [None if one.outcome is None else size_part(run, one.outcome, intensity_g_per_kwh) for one in found]
    front = iter(on_front([size for size in sizes if size is not None]))
    parts = [
        _offer_part(one, size, on_front=size is not None and next(front))
        for one, size in zip(found, sizes, strict=True)
    ]

    def rank(part: OfferPart) -> tuple[bool, float, str]:
        return part.size is None, math.inf if part.size is None else figure(part.size, by), part.name

    return sorted(parts, key=rank), None if any(sizes) else _nothing_left(run, found)


def _nothing_left(run: Run, found: Sequence[Compared]) -> NothingFits:
    """The cluster that is the least beyond a limit; where none fits at all, the first one's nearest miss."""
    told = f"no cluster is left: {'the only one is' if len(found) == 1 else f'all {len(found)} are'} ruled out"
    nearest = min(found, key=lambda one: one.over)
    name = nearest.asked.offer.name
    if nearest.limit in _WOULD:
        return NothingFits(
            f"{told}\n  nearest miss: {name} {nearest.ruled_out}, {nearest.over:,.2f} times {nearest.limit}"
            f"\n  what would make it fit: {_WOULD[nearest.limit]}, or fewer --tokens"
        )
    for one in found:
        if one.limit == "memory" and one.asked.nodes is not None:
            return NothingFits(f"{told}\n{one.asked.offer.name}: {misfit(run, one.asked.offer, one.asked.nodes)}")
    return NothingFits(f"{told}\n  {name}: {nearest.ruled_out}")


_WOULD = {
    "--deadline": "a later --deadline, another number of nodes",
    "--budget": "a larger --budget, a later --deadline",
}


def _offer_part(found: Compared, size: SizePart | None, *, on_front: bool) -> OfferPart:
    offer = found.asked.offer
    part = accelerator_of(offer)
    return OfferPart(
        name=offer.name,
        title=offer.spec.title or offer.name,
        accelerator=part.name,
        frameworks=list(part.frameworks),
        clouds=list(part.clouds),
        size=size,
        on_front=on_front,
        ruled_out=found.ruled_out,
        calibrated=part.architecture in database.names("calibration/architectures"),
    )
