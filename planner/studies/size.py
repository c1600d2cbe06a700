"""The answers of `size` and `compare` on one cluster, and their parts of documents: the size that a deadline or a
budget asks for, the tokens that a budget pays for, and the sizes around the answer, all from one `SizeSearch`.
"""

from __future__ import annotations

from dataclasses import replace

from planner.cost.scenario import choose_precision
from planner.documents.size import BatchPart, ComputeOptimalPart, RunSizePart, TrainingRunPart
from planner.errors import InputError
from planner.studies.batch_choice import choose_single_batch
from planner.studies.run_estimate import RunEstimate, TrainingRun
from planner.studies.size_search import SizeSearch
from planner.units import J_PER_KWH

_CURVE_RATIOS = ((4, 3), (3, 2), (2, 1), (3, 1), (4, 1), (8, 1))
"""Ratios of the curve's sizes to the answer; only whole numbers are taken, others are hard to split."""
_TOKENS_PER_PARAMETER = 20.0
"""Hoffmann et al. 2022 (Training compute-optimal large language models, arXiv 2203.15556), table 3, rounded."""


def find_size(search: SizeSearch, deadline_days: float | None, budget_usd: float | None) -> RunEstimate | None:
    """The answer of `size`, and of `compare` for a cluster without a number of nodes: the fewest nodes that meet the
    deadline and the budget; without a deadline the fastest size within the budget. None where no size does.
    """
    if deadline_days is not None:
        return search.find_fewest_nodes(deadline_days, budget_usd)
    return search.find_fastest(budget_usd)


def estimate_sizes_around(search: SizeSearch, answer: RunEstimate) -> tuple[RunEstimate, ...]:
    """The curve of sizes around an answer, ascending, the answer among them."""
    estimates_by_nodes = {answer.nodes: answer}
    for numerator, denominator in _CURVE_RATIOS:
        for nodes, remainder in (
            divmod(answer.nodes * numerator, denominator),
            divmod(answer.nodes * denominator, numerator),
        ):
            if remainder == 0 and search.first <= nodes <= search.largest and nodes not in estimates_by_nodes:
                estimate = search.estimate(nodes)
                if estimate is not None:
                    estimates_by_nodes[nodes] = estimate
    return tuple(estimates_by_nodes[nodes] for nodes in sorted(estimates_by_nodes))


def find_affordable_run(search: SizeSearch, budget_usd: float) -> tuple[SizeSearch, RunEstimate] | None:
    """The run with as many tokens as the budget pays for, on the size on which a token is cheapest, and its estimate
    there. None where no plan fits.

    The rental cost is proportional to the tokens, so that one run gives the price per token. Raises InputError where
    no rental price is known.
    """
    cheapest = search.find_cheapest()
    if cheapest is None:
        return None
    if not cheapest.cost_usd:
        raise InputError(
            "no rental price of this accelerator is known", key="--budget", expected="prices in its file"
        )
    run, step_usd = search.run, cheapest.cost_usd / cheapest.steps
    tokens_per_step = cheapest.global_batch * run.workload.seq_length
    # the size and its batch are those of the cheapest token, whatever the rounding of steps
    tokens = max(int(budget_usd / step_usd), 1) * tokens_per_step
    affordable = replace(search, run=replace(run, tokens=tokens))
    single = replace(affordable.run, batch=choose_single_batch(cheapest.global_batch))
    estimate = SizeSearch(single, search.offer, plans=search.plans).estimate(cheapest.nodes)
    return None if estimate is None else (affordable, estimate)


def build_training_run_part(run: TrainingRun, answer: RunEstimate | None = None) -> TrainingRunPart:
    """The training run part of a document; `answer`: the size whose batch is that of the document, where sizes have
    different ones.
    """
    choice, batch = run.batch, run.batch.single_batch if answer is None else answer.global_batch
    return TrainingRunPart(
        tokens=run.tokens,
        steps=None if batch is None else run.count_steps(batch),
        global_batch=batch,
        tokens_per_step=None if batch is None else batch * run.workload.seq_length,
        batch=BatchPart(rule=choice.rule, low=choice.low, high=choice.high, critical_tokens=choice.critical_tokens),
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
        global_batch=estimate.global_batch,
        steps=estimate.steps,
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
