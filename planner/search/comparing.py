"""The same run on several clusters: what it takes on each, which are on the front, what rules the others out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from planner.cluster import database
from planner.errors import InputError
from planner.search.compare_document import OfferPart, RankedBy
from planner.search.offers import Offer, Outcome, Run, accelerator_of, outcome
from planner.search.parallel import in_order
from planner.search.pareto import on_the_front
from planner.search.sizing import about_fewest_nodes, fastest_within
from planner.search.sizing_document import SizePart
from planner.search.sizing_parts import size_part


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
        return Compared(asked, None, found)
    if limits.days is not None and found.days > limits.days:
        return Compared(asked, None, f"takes {found.days:,.1f} days on {found.nodes:,} nodes")
    if limits.usd is not None and found.usd is None:
        return Compared(asked, None, "no rent is known")
    if limits.usd is not None and found.usd is not None and found.usd > limits.usd:
        return Compared(asked, None, f"costs {found.usd:,.0f} USD on {found.nodes:,} nodes")
    return Compared(asked, found)


def _outcome(run: Run, asked: Asked, limits: Limits) -> Outcome | str:
    """The outcome on the nodes that are asked for; else few that meet the deadline, or the fastest in the budget."""
    if asked.nodes is not None:
        return outcome(run, asked.offer, asked.nodes) or f"no plan fits on {asked.nodes:,} nodes"
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
) -> list[OfferPart]:
    """Every cluster's outcome, the best first, those that are ruled out last; equal ones by name."""
    found = in_order("comparing", partial(compared, run, limits=limits), asked)
    sizes = [None if one.outcome is None else size_part(run, one.outcome, intensity_g_per_kwh) for one in found]
    front = iter(on_front([size for size in sizes if size is not None]))
    parts = [
        _offer_part(one, size, on_front=size is not None and next(front))
        for one, size in zip(found, sizes, strict=True)
    ]

    def rank(part: OfferPart) -> tuple[bool, float, str]:
        return part.size is None, math.inf if part.size is None else figure(part.size, by), part.name

    return sorted(parts, key=rank)


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
