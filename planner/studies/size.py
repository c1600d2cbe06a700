"""Size a run: the fewest nodes that meet a deadline, what a budget pays for, and the curve of sizes around it.

Sizes are numbers of nodes whose devices have valid degrees; lost time is included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from planner.cost.scenario import choose_precision
from planner.documents.size import ComputeOptimalPart, RunSizePart, TrainingRunPart
from planner.errors import InputError
from planner.studies.run_estimate import (
    ClusterOffer,
    RunEstimate,
    TrainingRun,
    compute_run_lower_bound,
    estimate_run,
    get_max_nodes,
    iterate_splittable_sizes,
)
from planner.units import J_PER_KWH

_CURVE_RATIOS = ((4, 3), (3, 2), (2, 1), (3, 1), (4, 1), (8, 1))
"""Ratios of the curve's sizes to the answer; only whole numbers are taken, others are hard to split."""
_MAX_TRIALS = 6
"""Sizes that `approximate_fewest_nodes` tries."""
_MAX_SIZES_FROM_TOP = 256
"""Sizes, from the largest down, among which the largest with valid degrees is searched."""
_MAX_EXTRA_NODES = 8
"""The search for a first size that fits stops after this many additional nodes."""
_TOKENS_PER_PARAMETER = 20.0
"""Hoffmann et al. 2022 (Training compute-optimal large language models, arXiv 2203.15556), table 3, rounded."""


def find_fewest_nodes(run: TrainingRun, offer: ClusterOffer, deadline_days: float) -> RunEstimate | None:
    """The fewest nodes that train within the deadline, failures included; None where no size does.

    Sizes are doubled from the lower bound until one meets the deadline; if none does, the largest is tried. Then all
    sizes between it and the last one that failed are tried, from the smallest. No monotonicity is assumed.
    """
    largest, lower_bound = get_max_nodes(offer), compute_run_lower_bound(run, offer)
    first_size = max(1, -int(-lower_bound.node_days // deadline_days))
    if first_size > largest or lower_bound.days > deadline_days:
        return None
    largest_failed, best_estimate = first_size - 1, None
    nodes = first_size
    while nodes <= largest and best_estimate is None:
        estimate = _find_first_fitting_size(run, offer, nodes, min(2 * nodes - 1, largest))
        if estimate is not None and estimate.days <= deadline_days:
            best_estimate = estimate
        else:
            largest_failed, nodes = nodes if estimate is None else estimate.nodes, 2 * nodes
    if best_estimate is None:
        last = _find_largest_size(run, offer, largest_failed)
        best_estimate = None if last is None else estimate_run(run, offer, last)
        if best_estimate is None or best_estimate.days > deadline_days:
            return None
    for size in iterate_splittable_sizes(run, offer, range(largest_failed + 1, best_estimate.nodes)):
        estimate = estimate_run(run, offer, size)
        if estimate is not None and estimate.days <= deadline_days:
            return estimate
    return best_estimate


def approximate_fewest_nodes(run: TrainingRun, offer: ClusterOffer, deadline_days: float) -> RunEstimate | None:
    """Few nodes that train within the deadline, by a handful of trials; None where no trial meets it.

    Each trial gives the next size, on the assumption that days are inversely proportional to nodes.
    """
    largest, lower_bound = get_max_nodes(offer), compute_run_lower_bound(run, offer)
    best_estimate: RunEstimate | None = None
    largest_failed, nodes = 0, max(1, -int(-2 * lower_bound.node_days // deadline_days))
    for _ in range(_MAX_TRIALS):
        if 2 * nodes > largest:
            nodes = min(nodes, _find_largest_size(run, offer, largest_failed) or 0)
        if nodes <= largest_failed or lower_bound.days > deadline_days:
            break
        estimate = _find_first_fitting_size(run, offer, nodes, min(2 * nodes, largest))
        if estimate is None:
            largest_failed, nodes = nodes, 2 * nodes
        elif estimate.days <= deadline_days:
            best_estimate = estimate
            fewer = int(estimate.nodes * estimate.days / deadline_days)
            if not largest_failed < fewer < estimate.nodes:
                break
            nodes = fewer
        else:
            largest_failed, nodes = (
                estimate.nodes,
                max(-int(-estimate.nodes * estimate.days // deadline_days), estimate.nodes + 1),
            )
            if best_estimate is not None and nodes >= best_estimate.nodes:
                break
    return best_estimate


def _find_largest_size(run: TrainingRun, offer: ClusterOffer, above: int) -> int | None:
    """The largest size above `above` with valid degrees, of the _MAX_SIZES_FROM_TOP largest sizes."""
    largest = get_max_nodes(offer)
    return next(
        iterate_splittable_sizes(run, offer, range(largest, max(above, largest - _MAX_SIZES_FROM_TOP), -1)), None
    )


def _find_first_fitting_size(run: TrainingRun, offer: ClusterOffer, nodes: int, last: int) -> RunEstimate | None:
    """The estimate of the first size from `nodes` to `last` on which a plan fits; None where no size nearby fits."""
    for size in iterate_splittable_sizes(run, offer, range(nodes, last + 1)):
        estimate = estimate_run(run, offer, size)
        if estimate is not None:
            return estimate
        if size >= nodes + _MAX_EXTRA_NODES:
            break
    return None


def find_fastest_within_budget(run: TrainingRun, offer: ClusterOffer, budget_usd: float) -> RunEstimate | None:
    """The fastest size whose rental cost stays within the budget, of sizes that double; None where none does."""
    within = [
        estimate
        for estimate in estimate_doubling_sizes(run, offer)
        if estimate.cost_usd is not None and estimate.cost_usd <= budget_usd
    ]
    return min(within, key=lambda estimate: estimate.days, default=None)


def refine_fastest_within_budget(run: TrainingRun, offer: ClusterOffer, budget_usd: float) -> RunEstimate | None:
    """The same, improved by sizes around it that are not powers of two apart."""
    coarse_estimate = find_fastest_within_budget(run, offer, budget_usd)
    if coarse_estimate is None:
        return None
    return _climb_size_curve(
        run,
        offer,
        coarse_estimate,
        lambda estimate: (
            estimate.days if estimate.cost_usd is not None and estimate.cost_usd <= budget_usd else math.inf
        ),
    )


def _climb_size_curve(
    run: TrainingRun, offer: ClusterOffer, best: RunEstimate, get_cost: Callable[[RunEstimate], float]
) -> RunEstimate:
    """Local search: go to the size around `best` with the least cost as long as it is better."""
    while True:
        better = min(estimate_sizes_around(run, offer, best), key=get_cost)
        if get_cost(better) >= get_cost(best):
            return best
        best = better


def find_fastest_size(run: TrainingRun, offer: ClusterOffer) -> RunEstimate | None:
    """The fastest of the sizes that double and the largest size; None where no plan fits on any of them."""
    estimates = estimate_doubling_sizes(run, offer)
    if offer.listed_cluster is not None or offer.spec.max_nodes is not None:
        last = _find_largest_size(run, offer, estimates[-1].nodes if estimates else 0)
        estimates += [] if last is None else filter(None, [estimate_run(run, offer, last)])
    return min(estimates, key=lambda estimate: estimate.days, default=None)


def estimate_doubling_sizes(run: TrainingRun, offer: ClusterOffer) -> list[RunEstimate]:
    """Sizes that double from the smallest on which a plan fits, until a larger size is not faster."""
    estimates: list[RunEstimate] = []
    nodes, largest = 1, get_max_nodes(offer)
    while nodes <= largest:
        estimate = _find_first_fitting_size(run, offer, nodes, min(2 * nodes - 1, largest))
        if estimate is not None:
            if estimates and estimate.days >= estimates[-1].days:
                break
            estimates.append(estimate)
        elif estimates:
            break
        nodes *= 2
    return estimates


def estimate_sizes_around(run: TrainingRun, offer: ClusterOffer, answer: RunEstimate) -> tuple[RunEstimate, ...]:
    """The curve of sizes around an answer, ascending, the answer among them."""
    largest = get_max_nodes(offer)
    estimates_by_nodes = {answer.nodes: answer}
    for numerator, denominator in _CURVE_RATIOS:
        for nodes, remainder in (
            divmod(answer.nodes * numerator, denominator),
            divmod(answer.nodes * denominator, numerator),
        ):
            if remainder == 0 and 1 <= nodes <= largest and nodes not in estimates_by_nodes:
                estimate = estimate_run(run, offer, nodes)
                if estimate is not None:
                    estimates_by_nodes[nodes] = estimate
    return tuple(estimates_by_nodes[nodes] for nodes in sorted(estimates_by_nodes))


def find_affordable_run(
    run: TrainingRun, offer: ClusterOffer, budget_usd: float, nodes: int | None = None
) -> tuple[TrainingRun, RunEstimate] | None:
    """The run with as many tokens as the budget pays for, and its estimate, on `nodes` or on the cheapest size.

    The rental cost is proportional to the tokens, so that one run gives the price per token. None where no plan fits.
    Raises InputError where no rental price is known.
    """
    estimates: Sequence[RunEstimate | None] = (
        estimate_doubling_sizes(run, offer) if nodes is None else [estimate_run(run, offer, nodes)]
    )
    priced = [
        (estimate.cost_usd, estimate)
        for estimate in estimates
        if estimate is not None and estimate.cost_usd is not None
    ]
    if not priced:
        if any(estimates):
            raise InputError(
                "no rental price of this accelerator is known", key="--budget", expected="prices in its file"
            )
        return None
    price_usd, cheapest = min(priced, key=lambda estimate: estimate[0])
    if nodes is None:
        cheapest = _climb_size_curve(
            run, offer, cheapest, lambda estimate: math.inf if estimate.cost_usd is None else estimate.cost_usd
        )
        price_usd = cheapest.cost_usd or price_usd
    affordable_run = replace(
        run, tokens=max(int(run.tokens * budget_usd / price_usd) // run.tokens_per_step, 1) * run.tokens_per_step
    )
    final_estimate = estimate_run(affordable_run, offer, cheapest.nodes)
    return None if final_estimate is None else (affordable_run, final_estimate)


def build_training_run_part(run: TrainingRun) -> TrainingRunPart:
    """The training run part of a document."""
    return TrainingRunPart(
        tokens=run.tokens,
        steps=run.steps,
        global_batch=run.global_batch,
        tokens_per_step=run.tokens_per_step,
        precision=run.precision,
        memory_limit=None if run.memory_limit is None else str(run.memory_limit),
    )


def build_run_size_part(run: TrainingRun, estimate: RunEstimate, intensity_g_per_kwh: float | None) -> RunSizePart:
    """The whole run on one size; carbon where the intensity of the grid is given."""
    energy_kwh = None if estimate.energy_j is None else estimate.energy_j / J_PER_KWH
    goodput_share, plan = estimate.reliability.goodput_share, estimate.plan
    low, high = plan.step_time_p10_s / plan.step_time_s, plan.step_time_p90_s / plan.step_time_s
    return RunSizePart(
        nodes=estimate.nodes,
        devices=estimate.devices,
        spare_nodes=estimate.reliability.spares.recommended,
        days=estimate.days,
        days_p10=estimate.days * low,
        days_p90=estimate.days * high,
        days_without_failures=estimate.days * goodput_share,
        goodput_share=goodput_share,
        usd=estimate.cost_usd,
        usd_p10=None if estimate.cost_usd is None else estimate.cost_usd * low,
        usd_p90=None if estimate.cost_usd is None else estimate.cost_usd * high,
        energy_kwh=energy_kwh,
        carbon_kg=None
        if energy_kwh is None or intensity_g_per_kwh is None
        else energy_kwh * intensity_g_per_kwh / 1000,
        step_time_s=plan.step_time_s,
        step_time_p10_s=plan.step_time_p10_s,
        step_time_p90_s=plan.step_time_p90_s,
        tokens_per_s=plan.tokens_per_s * goodput_share,
        tokens_per_s_p10=plan.tokens_per_s_p10 * goodput_share,
        tokens_per_s_p90=plan.tokens_per_s_p90 * goodput_share,
        tokens_per_usd=run.tokens / estimate.cost_usd if estimate.cost_usd else None,
        tokens_per_joule=run.tokens / estimate.energy_j if estimate.energy_j else None,
        mfu=plan.mfu,
        mfu_peak=choose_precision(run.precision, estimate.cluster.accelerator),
        mfu_bf16=plan.mfu_bf16,
        strategy=plan.strategy,
    )


def build_compute_optimal_part(run: TrainingRun) -> ComputeOptimalPart | None:
    """The model that Chinchilla's rule trains with the run's FLOPs: C = 6 N D with D = 20 N; None without tokens."""
    if run.workload.sample_name != "sequence":
        return None
    flops = 6.0 * run.workload.active_parameters * run.tokens
    parameters = (flops / (6.0 * _TOKENS_PER_PARAMETER)) ** 0.5
    return ComputeOptimalPart(
        parameters=parameters,
        tokens=_TOKENS_PER_PARAMETER * parameters,
        tokens_per_parameter=run.tokens / run.workload.active_parameters,
    )
