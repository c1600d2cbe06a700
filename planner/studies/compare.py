"""Compare clusters for one training run: time, cost and energy on each, the Pareto front, reasons of exclusion."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from msgspec.structs import replace

from planner.cost.uncertainty import is_change_told_apart
from planner.documents.compare import ClusterOfferPart, RankingFigure
from planner.documents.size import RunSizePart
from planner.errors import InputError, NothingFits
from planner.hardware import database
from planner.search.parallel import map_in_parallel
from planner.search.pareto import find_pareto_front
from planner.studies.plan_parts import read_step_bounds
from planner.studies.run_estimate import (
    ClusterOffer,
    RunEstimate,
    TrainingRun,
    explain_infeasible_size,
    read_offer_accelerator,
)
from planner.studies.size import build_run_size_part, find_size
from planner.studies.size_search import SizeSearch
from planner.units import format_counted_noun, format_days


@dataclass(frozen=True)
class ClusterCandidate:
    """A cluster, and its number of nodes (None: the number that the limits require)."""

    offer: ClusterOffer
    nodes: int | None = None


@dataclass(frozen=True)
class ComparisonLimits:
    """Limits that rule clusters out; None: no limit."""

    max_days: float | None = None
    max_usd: float | None = None
    framework: str | None = None
    """The trainer must support the accelerator."""
    cloud: str | None = None
    """The cloud must offer the accelerator."""


@dataclass(frozen=True)
class ComparedCluster:
    """The outcome of one cluster: the estimate, or None and the reason why it is ruled out."""

    candidate: ClusterCandidate
    estimate: RunEstimate | None
    ruled_out: str = ""
    exceeded_limit: Literal["", "--deadline", "--budget", "memory"] = ""
    """The limit that is exceeded; empty for other reasons."""
    excess_ratio: float = math.inf
    """The value of the exceeded figure divided by its limit."""


def compare_cluster(run: TrainingRun, candidate: ClusterCandidate, limits: ComparisonLimits) -> ComparedCluster:
    """The best plan of one cluster within the limits, or the reason why there is none."""
    accelerator = read_offer_accelerator(candidate.offer)
    for required_name, supported_names, relation in (
        (limits.framework, accelerator.frameworks, "supports"),
        (limits.cloud, accelerator.clouds, "offers"),
    ):
        if required_name is not None and required_name not in supported_names:
            return ComparedCluster(
                candidate, None, f"no source states that {required_name} {relation} {accelerator.name}"
            )
    try:
        estimate = _estimate_candidate(run, candidate, limits)
    except InputError as error:
        return ComparedCluster(candidate, None, _format_input_error(error))
    if isinstance(estimate, str):
        return ComparedCluster(candidate, None, estimate, "memory" if candidate.nodes is not None else "")
    _ = estimate.plan  # built here, in the process of this cluster
    nodes = format_counted_noun(estimate.nodes, "node")
    if limits.max_days is not None and estimate.days > limits.max_days:
        rejection = f"takes {format_days(estimate.days)} on {nodes}"
        return ComparedCluster(candidate, None, rejection, "--deadline", estimate.days / limits.max_days)
    if limits.max_usd is not None and estimate.cost_usd is None:
        return ComparedCluster(candidate, None, "no rental price is known")
    if limits.max_usd is not None and estimate.cost_usd is not None and estimate.cost_usd > limits.max_usd:
        rejection = f"costs {estimate.cost_usd:,.0f} USD on {nodes}"
        return ComparedCluster(candidate, None, rejection, "--budget", estimate.cost_usd / limits.max_usd)
    return ComparedCluster(candidate, estimate)


def _estimate_candidate(run: TrainingRun, candidate: ClusterCandidate, limits: ComparisonLimits) -> RunEstimate | str:
    """The estimate on the given nodes; else that of the size that `size` answers."""
    search = SizeSearch(run, candidate.offer)
    if candidate.nodes is not None:
        return search.estimate(candidate.nodes) or f"no plan fits on {format_counted_noun(candidate.nodes, 'node')}"
    if limits.max_days is None and limits.max_usd is None:
        raise InputError(
            "the number of nodes is missing", key="--on", expected="NAME:NODES, or --deadline or --budget"
        )
    return find_size(search, limits.max_days, limits.max_usd) or _describe_missed_limits(limits)


def _describe_missed_limits(limits: ComparisonLimits) -> str:
    if limits.max_usd is None:
        return "no size meets the deadline"
    return "no size stays within the budget" if limits.max_days is None else "no size meets deadline and budget"


def _format_input_error(error: InputError) -> str:
    """The option and its value, each once, and the problem."""
    value, name = str(error.value or ""), error.key.partition(",")[0].removeprefix("--").replace("-", "_")
    # what a trainer does not run names its settings: zero_stage 2, precision int8
    names_setting = " " in value and value.startswith(name)
    subject = value if names_setting else f"{error.key} {value}".strip()
    return f"{subject}: {error.problem}" if error.key else error.problem


_RANKING_FIGURES: dict[RankingFigure, Callable[[RunSizePart], float | None]] = {
    "time": lambda size: size.days,
    "cost": lambda size: size.usd,
    "energy": lambda size: size.energy_kwh,
    "carbon": lambda size: size.carbon_kg,
    "devices": lambda size: float(size.devices),
    "tokens-per-usd": lambda size: None if size.tokens_per_usd is None else -size.tokens_per_usd,
    "tokens-per-joule": lambda size: None if size.tokens_per_joule is None else -size.tokens_per_joule,
}


def get_ranking_value(size: RunSizePart, ranked_by: RankingFigure) -> float:
    """The value that a size is ranked by, smaller is better; infinite where it is not known."""
    value = _RANKING_FIGURES[ranked_by](size)
    return math.inf if value is None else value


def mark_pareto_front(sizes: Sequence[RunSizePart]) -> list[bool]:
    """Whether each size is on the Pareto front of days, cost and energy. Unknown values count as the worst."""
    if not sizes:
        return []
    values = np.array(
        [
            [get_ranking_value(size, "time"), get_ranking_value(size, "cost"), get_ranking_value(size, "energy")]
            for size in sizes
        ]
    )
    values[np.isinf(values)] = np.finfo(np.float64).max
    front = set(find_pareto_front(values).tolist())
    return [index in front for index in range(len(sizes))]


def compare_clusters(
    run: TrainingRun,
    candidates: Sequence[ClusterCandidate],
    limits: ComparisonLimits,
    ranked_by: RankingFigure,
    intensity_g_per_kwh: float | None,
) -> tuple[list[ClusterOfferPart], NothingFits | None]:
    """The outcome of every cluster: best first, ruled out last, ties by name. If all are ruled out, also the error
    with the nearest miss.
    """
    compared_clusters = map_in_parallel("comparing", partial(compare_cluster, run, limits=limits), candidates)
    sizes = [
        None
        if compared_cluster.estimate is None
        else build_run_size_part(run, compared_cluster.estimate, intensity_g_per_kwh)
        for compared_cluster in compared_clusters
    ]
    front = iter(mark_pareto_front([size for size in sizes if size is not None]))
    ranked, ruled_out = [], []
    for compared_cluster, size in zip(compared_clusters, sizes, strict=True):
        part = _build_offer_part(compared_cluster, size, on_front=size is not None and next(front))
        if size is None or compared_cluster.estimate is None:
            ruled_out.append(part)
        else:
            value = get_ranking_value(size, ranked_by)
            ranked.append(RankedOffer(part, value, compared_cluster.estimate))
    offers = rank_offers(ranked)
    told_apart = [offer is not offers[0] and is_offer_told_apart(offers[0], offer) for offer in offers]
    parts = [replace(offer.part, told_apart=apart) for offer, apart in zip(offers, told_apart, strict=True)]
    parts += sorted(ruled_out, key=lambda part: part.name)
    return parts, None if any(sizes) else _build_no_cluster_error(run, compared_clusters)


@dataclass(frozen=True)
class RankedOffer:
    """A cluster with its plan, and the value that it is ranked by, smaller is better."""

    part: ClusterOfferPart
    value: float
    estimate: RunEstimate

    @property
    def machine(self) -> tuple[str, str]:
        """Generation of accelerators and trainer."""
        return self.estimate.cluster.accelerator.architecture, self.estimate.trainer


def is_offer_told_apart(first: RankedOffer, second: RankedOffer) -> bool:
    """Whether the better of two clusters is the better one in 90 % of all cases."""
    values = sorted(abs(offer.value) for offer in (first, second))
    if values[0] == values[1] or not values[0]:
        return values[0] != values[1]
    # what is ranked by its negative is a rate: the larger one has the shorter step
    is_second_worse = second.value > first.value
    ratio = values[1] / values[0] if is_second_worse else values[0] / values[1]
    bounds = (read_step_bounds(first.estimate.plan), read_step_bounds(second.estimate.plan))
    return is_change_told_apart(ratio, bounds, is_same_machine=first.machine == second.machine)


def rank_offers(offers: Sequence[RankedOffer]) -> list[RankedOffer]:
    """The best first, ties by name; one that is not calibrated stands below all that it cannot be told apart from."""
    ordered = sorted(offers, key=lambda offer: (offer.value, offer.part.name))
    ranked = [offer for offer in ordered if offer.part.calibrated]
    for offer in ordered:
        if not offer.part.calibrated:
            is_above = [
                other.value <= offer.value or (other.part.calibrated and not is_offer_told_apart(offer, other))
                for other in ranked
            ]
            ranked.insert(max((index + 1 for index, above in enumerate(is_above) if above), default=0), offer)
    return ranked


def _build_no_cluster_error(run: TrainingRun, compared_clusters: Sequence[ComparedCluster]) -> NothingFits:
    """The error with the cluster that exceeds a limit least; if no plan fits, the first cluster's nearest miss."""
    summary = (
        "no cluster is left: "
        f"{'the only one is' if len(compared_clusters) == 1 else f'all {len(compared_clusters)} are'} ruled out"
    )
    nearest_miss = min(compared_clusters, key=lambda compared_cluster: compared_cluster.excess_ratio)
    name = nearest_miss.candidate.offer.name
    if nearest_miss.exceeded_limit in _LIMIT_ADVICE:
        return NothingFits(
            f"{summary}\n  nearest miss: {name} {nearest_miss.ruled_out}, {nearest_miss.excess_ratio:,.2f} "
            f"times {nearest_miss.exceeded_limit}"
            f"\n  what would make it fit: {_LIMIT_ADVICE[nearest_miss.exceeded_limit]}, or fewer --tokens"
        )
    for compared_cluster in compared_clusters:
        if compared_cluster.exceeded_limit == "memory" and compared_cluster.candidate.nodes is not None:
            return NothingFits(
                f"{summary}\n{compared_cluster.candidate.offer.name}: "
                f"{explain_infeasible_size(run, compared_cluster.candidate.offer, compared_cluster.candidate.nodes)}"
            )
    return NothingFits(f"{summary}\n  {name}: {nearest_miss.ruled_out}")


_LIMIT_ADVICE = {
    "--deadline": "a later --deadline, another number of nodes",
    "--budget": "a larger --budget, a later --deadline",
}


def _build_offer_part(
    compared_cluster: ComparedCluster, size: RunSizePart | None, *, on_front: bool
) -> ClusterOfferPart:
    offer = compared_cluster.candidate.offer
    accelerator = read_offer_accelerator(offer)
    return ClusterOfferPart(
        name=offer.name,
        title=offer.spec.title or offer.name,
        accelerator=accelerator.name,
        frameworks=list(accelerator.frameworks),
        clouds=list(accelerator.clouds),
        size=size,
        on_front=on_front,
        ruled_out=compared_cluster.ruled_out,
        told_apart=size is None,
        calibrated=accelerator.architecture in database.list_database_names("calibration/architectures"),
    )
