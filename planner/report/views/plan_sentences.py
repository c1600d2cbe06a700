"""What is said below the tables of a plan: bottleneck, placement, the run, energy, failures, uncertainty."""

from __future__ import annotations

import math
from collections.abc import Iterator

from planner.documents.plan import InputPart, ModelPart, PlacementPart, PlanDocument, UncertaintyPart
from planner.documents.site import AssumptionPart, ReliabilityPart
from planner.report.views import plan_words
from planner.units import (
    J_PER_KWH,
    format_bytes,
    format_count,
    format_counted_noun,
    format_duration,
    format_energy,
    format_mass,
    format_seconds,
    format_si,
    format_usd_interval,
    format_with_interval,
)

_FIGURE_LABELS = {
    "device_mtbf_s": "MTBF of a device",
    "node_mtbf_s": "MTBF of a node without its devices",
    "software_mtbf_s": "MTBF of a node's software",
    "detection_s": "detection",
    "restart_s": "restart",
    "repair_s": "repair",
    "write_bytes_per_s": "storage writes",
    "read_bytes_per_s": "storage reads",
    "pause_s": "pause of a checkpoint",
}
_MAIN_FIGURES = ("device_mtbf_s", "node_mtbf_s", "software_mtbf_s", "write_bytes_per_s")
"""Figures that are always listed; others where an option or the cluster's file gives them."""
_CLUSTER_FILE_SOURCE = "the cluster's file"
_LEAST_GAIN = 5e-4
"""Below that a gain is printed as 0.0 %."""
_MIN_GOODPUT_SHARE = 1e-6
"""Goodput below which a day's work takes thousands of years."""


def format_plan_sentences(document: PlanDocument) -> list[str]:
    """The sentences below the tables, a line each."""
    plan, run, reliability = document.plans[0], document.run, document.reliability
    lines = [
        _format_expectation(document),
        *_enumerate_preference_sentences(document),
        *(plan_words.enumerate_tie_sentences(document.plans) if len(document.search.objectives) == 1 else ()),
        *_enumerate_memory_sentences(document),
        *_enumerate_usual_sentences(document),
        f"Bottleneck: {plan.bottleneck}",
    ]
    if document.input_pipeline and _is_input_worth_saying(document.input_pipeline):
        lines.append(_format_input(document.input_pipeline, document.model, plan.terms["input"]))
    if document.placement is not None:
        lines.append(_format_placement(document.placement, plan.step_time_s))
    if run is not None:
        is_finishing = reliability is None or not _is_run_endless(reliability)
        lines.append(plan_words.format_run_sentence(document.model, run, is_finishing=is_finishing))
    for item in document.techniques:
        changes = "; ".join(item.changes)
        lines.append(f"Technique: {item.name}: {changes}. Accuracy: {item.accuracy}, not modelled.")
    lines += _enumerate_power_sentences(document)
    if reliability is not None:
        lines += _enumerate_failure_sentences(reliability, document.model)
    if document.uncertainty is not None:
        lines.append(_format_uncertainty(document.uncertainty))
    return lines


def _format_expectation(document: PlanDocument) -> str:
    """The first plan's step, throughput and rent with their intervals, and what these are from."""
    rent = []
    cost_usd, low_usd, high_usd = document.cost_usd, document.cost_usd_p10, document.cost_usd_p90
    if cost_usd and low_usd is not None and high_usd is not None:
        rent.append(f"{format_usd_interval(cost_usd, low_usd, high_usd)} for the run")
    return plan_words.format_expectation(document.model, document.scenario, document.plans[0], rent)


def _is_input_worth_saying(part: InputPart) -> bool:
    """Whether reading and preparing takes a core or more, or the step waits for it: tokens take next to nothing."""
    return part.starves or part.node_cores >= 1.0


def _format_input(part: InputPart, model: ModelPart, wait_s: float) -> str:
    """What the busiest node reads and prepares, beside what it has; and whether the step waits for it."""
    rate = f"{format_count(part.node_samples_per_s)} {model.sample}s/s"
    cores = f"{part.node_cores:,.1f} cores" + (f" of {part.host_cores:,.0f}" if part.host_cores else "")
    limits = [(part.node_bytes_per_s, part.node_read_bytes_per_s, "read")]
    limits.append((part.storage_bytes_per_s, part.storage_read_bytes_per_s, "from storage in all"))
    reads = [
        f"{format_si(needed, 'B/s')} {words}" + (f" of {format_si(available, 'B/s')}" if available else "")
        for needed, available, words in limits
    ]
    text = f"Input: the busiest node takes {rate}: {', '.join(reads)}, prepared on {cores}"
    if part.starves:
        return f"{text}. The plan starves: a step waits {format_seconds(wait_s)} for its samples."
    return f"{text}."


def _enumerate_preference_sentences(document: PlanDocument) -> Iterator[str]:
    """Why the first plan is not the best by the objective, and by how much."""
    search = document.search
    if search.excess <= 0.0:
        return
    number = ", plan 2," if len(document.plans) > 1 else ","
    if search.objectives != ["step-time"]:
        best = f"best by {search.objectives[0]}"
        yield (
            f"Plan 1 is worse by {search.excess:.1%} than the {best}{number} and is the simplest within "
            f"{search.within:.1%} of it; --within 0 puts that first."
        )
        return
    yield (
        f"Plan 1 takes {search.excess:.1%} longer than the fastest{number} and is the simplest within "
        f"{search.within:.1%} of it; --within 0 puts the fastest first, which `size`, `compare` and `what-if` count."
    )


def _enumerate_memory_sentences(document: PlanDocument) -> Iterator[str]:
    """What the memory beyond the limit would bring."""
    full, limit_bytes = document.full_memory, document.scenario.memory_limit_bytes
    if full is None or limit_bytes is None:
        return
    share = plan_words.format_memory_share(limit_bytes, document.best_plan.memory.capacity_bytes)
    text = f"Memory: plans stay within {share} of a device's"
    if full.gain < _LEAST_GAIN:
        yield f"{text}; the rest would bring nothing."
        return
    step = format_with_interval(full.step_time_s, full.step_time_p10_s, full.step_time_p90_s, format_seconds)
    used = format_bytes(full.total_bytes)
    split = plan_words.format_split(full.strategy)
    by = "" if document.search.objectives == ["step-time"] else f" by {document.search.objectives[0]}"
    yield (
        f"{text}; with the rest the best plan{by} would be better by {full.gain:.1%} ({split}: {step}, {used}): "
        "--memory-limit 100%."
    )


def _enumerate_usual_sentences(document: PlanDocument) -> Iterator[str]:
    """How far the usual layout of such a model on such hardware is from the first plan."""
    usual = document.usual
    if usual is None:
        return
    text = f"Usual layout ({usual.title})"
    if usual.plan is None:
        yield f"{text}: {usual.obstacle}."
    elif usual.rank:
        yield f"{text}: plan {usual.rank} has its degrees."
    else:
        excess = usual.excess or 0.0
        verdict = "slower" if excess > 0 else "faster"
        missing = f"; it {usual.obstacle}" if usual.obstacle else ""
        split = plan_words.format_split(usual.plan.strategy)
        yield f"{text}: {split}, {abs(excess):.1%} {verdict} than plan 1{missing}."


def _format_placement(placement: PlacementPart, step_time_s: float) -> str:
    """The placement of ranks, what it gains, and whether the slow hosts are worth having."""
    text = "Placement: ranks on the hosts in the order of the file; no other order was found to be faster."
    listed_s = placement.as_listed_step_time_s
    if listed_s > step_time_s:
        first, last = placement.hosts[0], placement.hosts[-1]
        text = (
            f"Placement: hosts from {first} to {last}, by --hostfile or --rankfile; in the order of the file "
            f"this plan's step takes {format_seconds(listed_s)} ({listed_s / step_time_s - 1:+.1%})."
        )
    removal = placement.without_slow
    if removal is None:
        return text
    hosts = removal.hosts[0] if len(removal.hosts) == 1 else f"the {len(removal.hosts)} slow hosts"
    if removal.step_time_s is None:
        return f"{text} Without {hosts} no plan fits on what is left."
    change = removal.step_time_s / step_time_s - 1
    verdict = "leave out" if change < 0 else "keep"
    return f"{text} Without {hosts} the step takes {format_seconds(removal.step_time_s)} ({change:+.1%}): {verdict}."


def _format_uncertainty(part: UncertaintyPart) -> str:
    """The quantiles of the first plan's step, how often it is first, and the regret of having chosen it."""
    low, median, high = map(format_seconds, (part.step_time_s.p10, part.step_time_s.p50, part.step_time_s.p90))
    text = (
        f"Uncertainty: over {part.samples:,} samples of the fitted parameters plan 1 takes {low} to {high} a step "
        f"(10 % to 90 %, median {median}) and is first of {part.plans} plans in {part.first_share:.1%}; having "
        f"chosen it costs {part.regret.mean:.1%} on average, at most {part.regret.p90:.1%} in 90 % of them."
    )
    rivals = [f"{plan_words.format_split(rival.strategy)} in {rival.share:.1%}" for rival in part.rivals]
    return f"{text} Others that are first: {', '.join(rivals)}." if rivals else text


def _enumerate_power_sentences(document: PlanDocument) -> Iterator[str]:
    """Power, energy by part, and carbon of the run or else of a day; none where the device's power is not known."""
    power, energy, carbon = document.power, document.plans[0].energy, document.carbon
    if power is None or energy is None:
        return
    parts = {"devices": energy.devices_j, "nodes": energy.node_j, "network": energy.network_j}
    total_j = math.fsum(parts.values()) + energy.cooling_j
    shares = [f"{name} {joules / total_j:.0%}" for name, joules in parts.items() if joules]
    shares.append(f"cooling {energy.cooling_j / total_j:.0%} at PUE {power.pue:.3g}")
    text = f"Energy: {format_si(power.mean_w, 'W')}, {format_energy(power.day_j)} a day ({', '.join(shares)})"
    if power.run_j is not None:
        text += f"; {format_energy(power.run_j)} for the run"
    if carbon is not None:
        mass_kg, period = carbon.kg_of_run, ""
        if mass_kg is None:
            mass_kg, period = power.day_j / J_PER_KWH * carbon.intensity_g_per_kwh / 1000, " a day"
        grid = f"{carbon.grid} {carbon.date}".strip()
        text += f" = {format_mass(mass_kg)} CO2e{period} at {grid} ({carbon.intensity_g_per_kwh:.4g} g/kWh)"
    yield f"{text}."


def _is_run_endless(part: ReliabilityPart) -> bool:
    """Whether failures leave next to no goodput."""
    return part.goodput_share < _MIN_GOODPUT_SHARE


def _enumerate_failure_sentences(part: ReliabilityPart, model: ModelPart) -> Iterator[str]:
    """Failures, checkpoints, goodput and spare nodes; then the assumed figures."""
    checkpoint, wasted = part.checkpoint, part.wasted
    steps, pause = format_counted_noun(checkpoint.interval_steps, "step"), format_duration(checkpoint.blocked_s)
    text = f"Failures: MTBF {format_duration(part.mtbf_s)}; a checkpoint"
    if _is_run_endless(part):
        yield f"{text} every {steps} stops training for {pause}: the run never ends (goodput 0)."
    else:
        interval = format_duration(checkpoint.interval_s)
        in_background = " and is written in the background" if checkpoint.asynchronous else ""
        causes = {
            "checkpoints": wasted.checkpoint,
            "lost work": wasted.lost,
            "restarts": wasted.detection + wasted.restart + wasted.load,
            "waiting for repair": wasted.repair,
        }
        lost = ", ".join(f"{name} {share:.1%}" for name, share in causes.items())
        goodput = _format_goodput(part, plan_words.convert_to_throughput_units(model, 1.0))
        yield (
            f"{text} of {format_si(checkpoint.bytes, 'B')} every {interval} ({steps}) stops training for "
            f"{pause}{in_background}; goodput {part.goodput_share:.1%} = {goodput} "
            f"{plan_words.get_throughput_unit(model)}s/s (lost: {lost}); "
            f"{_format_spare_nodes(part.spares.nodes, part.spares.recommended)}."
        )
    yield f"Assumed: {_format_assumed_figures(part.assumed)}; --format json lists all with their sources."


def _format_goodput(part: ReliabilityPart, units: float) -> str:
    """Throughput after failures with its interval; `units`: of throughput in a token."""
    low, high = part.goodput_tokens_per_s_p10, part.goodput_tokens_per_s_p90
    if low is None or high is None:
        return format_count(part.goodput_tokens_per_s * units)
    return format_with_interval(part.goodput_tokens_per_s * units, low * units, high * units, format_count)


def _format_spare_nodes(nodes: int, recommended: int) -> str:
    text = plan_words.format_spare_nodes(nodes)
    return text if nodes == recommended else f"{text}, {recommended:,} would pay off"


def _format_assumed_figures(figures: list[AssumptionPart]) -> str:
    """The figures that decide most, and with their source those that the user gave; the document has all."""
    texts = []
    for figure in figures:
        is_user_given = figure.source.startswith("--") or figure.source == _CLUSTER_FILE_SOURCE
        if figure.value and (is_user_given or figure.name in _MAIN_FIGURES):
            is_rate = figure.name.endswith("bytes_per_s")
            amount = format_si(figure.value, "B/s") if is_rate else format_duration(figure.value)
            texts.append(f"{_FIGURE_LABELS[figure.name]} {amount}" + (f" ({figure.source})" if is_user_given else ""))
    return ", ".join(texts)
