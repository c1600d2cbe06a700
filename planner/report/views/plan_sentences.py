"""What is said below the tables of a plan: bottleneck, placement, the run, energy, failures, uncertainty."""

from __future__ import annotations

import math

from planner.documents.plan import EnergyPart, ModelPart, PlanDocument, UncertaintyPart
from planner.documents.site import AssumptionPart, CarbonPart, PowerPart, ReliabilityPart
from planner.report.views.plan_words import (
    convert_to_throughput_units,
    format_run_sentence,
    format_split,
    get_throughput_unit,
)
from planner.units import (
    J_PER_KWH,
    format_count,
    format_counted_noun,
    format_duration,
    format_energy,
    format_mass,
    format_seconds,
    format_si,
)

_FIGURE_LABELS = {
    "device_mtbf_s": "a device fails every",
    "node_mtbf_s": "a node beside its devices every",
    "software_mtbf_s": "a node's software every",
    "detection_s": "detection",
    "restart_s": "restart",
    "repair_s": "repair",
    "write_bytes_per_s": "storage writes",
    "read_bytes_per_s": "storage reads",
    "pause_s": "pause of a checkpoint",
}

_MIN_GOODPUT_SHARE = 1e-6
"""Goodput below which a day's work takes thousands of years."""
_MAIN_FIGURES = ("device_mtbf_s", "node_mtbf_s", "software_mtbf_s", "write_bytes_per_s")
"""Figures that are always told; others where an option or the cluster's file says them."""
_CLUSTER_FILE_SOURCE = "the cluster's file"


def format_plan_sentences(document: PlanDocument) -> list[str]:
    """What is said below the tables, a line each."""
    lines = [f"Bottleneck: {document.plans[0].bottleneck}"]
    if document.placement is not None:
        lines.append(_format_placement(document))
    if document.run is not None:
        run = document.run
        is_endless = document.reliability is not None and _is_run_endless(document.reliability)
        lines.append(
            format_run_sentence(
                document.model, run.tokens, run.steps, run.days, run.days_with_failures, is_finishing=not is_endless
            )
        )
    for technique in document.techniques:
        text = (
            f"Technique: {technique.name}: {'; '.join(technique.changes)}. "
            f"Accuracy: {technique.accuracy}, not modelled."
        )
        lines.append(text)
    energy = _format_power_sentence(document)
    if energy is not None:
        lines.append(energy)
    if document.reliability is not None:
        lines += _format_failure_sentences(document.reliability, document.model)
    if document.uncertainty is not None:
        lines.append(_format_uncertainty(document.uncertainty))
    return lines


def _format_placement(document: PlanDocument) -> str:
    """Where ranks are, what it gains, and whether the slow hosts are worth having."""
    assert document.placement is not None
    plan, placement = document.plans[0], document.placement
    text = "Placement: ranks on the hosts in the order of the file; no other order was found to be faster."
    if placement.as_listed_step_time_s > plan.step_time_s:
        listed_order_time, gain = (
            format_seconds(placement.as_listed_step_time_s),
            placement.as_listed_step_time_s / plan.step_time_s - 1,
        )
        text = (
            f"Placement: hosts from {placement.hosts[0]} to "
            f"{placement.hosts[-1]}, by --hostfile or "
            f"--rankfile; in the order of the file this plan's step takes {listed_order_time} ({gain:+.1%})."
        )
    without_slow_hosts = placement.without_slow
    if without_slow_hosts is None:
        return text
    hosts = (
        without_slow_hosts.hosts[0]
        if len(without_slow_hosts.hosts) == 1
        else f"the {len(without_slow_hosts.hosts)} slow hosts"
    )
    if without_slow_hosts.step_time_s is None:
        return f"{text} Without {hosts} no plan fits on what is left."
    change = without_slow_hosts.step_time_s / plan.step_time_s - 1
    verdict = "leave out" if change < 0 else "keep"
    return (
        f"{text} Without {hosts} the step takes {format_seconds(without_slow_hosts.step_time_s)} "
        f"({change:+.1%}): {verdict}."
    )


def _format_uncertainty(part: UncertaintyPart) -> str:
    """How long the first plan takes, how often it is first, and what having chosen it costs."""
    low, median, high = (
        format_seconds(value) for value in (part.step_time_s.p10, part.step_time_s.p50, part.step_time_s.p90)
    )
    text = (
        f"Uncertainty: over {part.samples:,} samples of the fitted parameters plan 1 takes {low} to {high} a step "
        f"(10 % to 90 %, median {median}) and is first of {part.plans} plans in {part.first_share:.1%}; having "
        f"chosen it costs {part.regret.mean:.1%} on average, at most {part.regret.p90:.1%} in 90 % of them."
    )
    if not part.rivals:
        return text
    rivals = ", ".join(f"{format_split(rival.strategy)} in {rival.share:.1%}" for rival in part.rivals)
    return f"{text} Others that are first: {rivals}."


def _format_power_sentence(document: PlanDocument) -> str | None:
    """The sentence; None where the device's power is not known."""
    part, energy = document.power, document.plans[0].energy
    if part is None or energy is None:
        return None
    text = (
        f"Energy: {format_si(part.mean_w, 'W')}, {format_energy(part.day_j)} "
        f"a day ({_format_energy_parts(energy, part)})"
    )
    if part.run_j is not None:
        text += f"; {format_energy(part.run_j)} for the run"
    return f"{text}{_format_carbon(document.carbon, part)}."


def _format_energy_parts(energy: EnergyPart, part: PowerPart) -> str:
    """Where the joules go, and how good the site is."""
    parts = {"devices": energy.devices_j, "nodes": energy.node_j, "network": energy.network_j}
    total_j = math.fsum(parts.values()) + energy.cooling_j
    shares_text = ", ".join(f"{name} {joules / total_j:.0%}" for name, joules in parts.items() if joules)
    return f"{shares_text}, cooling {energy.cooling_j / total_j:.0%} at PUE {part.pue:.3g}"


def _format_carbon(carbon: CarbonPart | None, part: PowerPart) -> str:
    """What is emitted, of the run or of a day, and on which grid."""
    if carbon is None:
        return ""
    grid = f"{carbon.grid} {carbon.date}".strip()
    mass, period = carbon.kg_of_run, ""
    if mass is None:
        mass, period = part.day_j / J_PER_KWH * carbon.intensity_g_per_kwh / 1000, " a day"
    return f" = {format_mass(mass)} CO2e{period} at {grid} ({carbon.intensity_g_per_kwh:.4g} g/kWh)"


def _is_run_endless(part: ReliabilityPart) -> bool:
    """Whether failures leave nothing to speak of."""
    return part.goodput_share < _MIN_GOODPUT_SHARE


def _format_failure_sentences(part: ReliabilityPart, model: ModelPart) -> list[str]:
    """How often the job stops, what checkpoints take, what is left, and where the figures are from."""
    checkpoint, spares, wasted = part.checkpoint, part.spares, part.wasted
    async_note = " and is written behind it" if checkpoint.asynchronous else ""
    steps = format_counted_noun(checkpoint.interval_steps, "step")
    causes = {
        "checkpoints": wasted.checkpoint,
        "work done again": wasted.lost,
        "restarts": wasted.detection + wasted.restart + wasted.load,
        "missing nodes": wasted.repair,
    }
    lost = ", ".join(f"{name} {share:.1%}" for name, share in causes.items())
    assumed = f"Assumed: {_format_assumed_figures(part.assumed)}; --format json lists all with their sources."
    if _is_run_endless(part):
        return [
            f"Failures: one every {format_duration(part.mtbf_s)}; a checkpoint every {steps} "
            f"stops training for {format_duration(checkpoint.blocked_s)}: the run never ends (goodput 0).",
            assumed,
        ]
    pause, goodput = (
        format_duration(checkpoint.blocked_s),
        format_count(convert_to_throughput_units(model, part.goodput_tokens_per_s)),
    )
    return [
        f"Failures: one every {format_duration(part.mtbf_s)}; a checkpoint "
        f"of {format_si(checkpoint.bytes, 'B')} every "
        f"{format_duration(checkpoint.interval_s)} ({steps}) stops training for {pause}{async_note}; "
        f"goodput {part.goodput_share:.1%} = {goodput} {get_throughput_unit(model)}s/s (lost: {lost}); "
        f"{_format_spare_nodes(spares.nodes, spares.recommended)}.",
        assumed,
    ]


def _format_spare_nodes(nodes: int, recommended: int) -> str:
    text = {0: "no spare node", 1: "1 spare node"}.get(nodes, f"{nodes:,} spare nodes")
    return text if nodes == recommended else f"{text}, {recommended:,} would pay off"


def _format_assumed_figures(figures: list[AssumptionPart]) -> str:
    """The figures that decide most, and those that were told, with where; the document has all."""
    parts = []
    for figure in figures:
        is_user_given = figure.source.startswith("--") or figure.source == _CLUSTER_FILE_SOURCE
        if figure.value and (is_user_given or figure.name in _MAIN_FIGURES):
            amount = (
                format_si(figure.value, "B/s")
                if figure.name.endswith("bytes_per_s")
                else format_duration(figure.value)
            )
            parts.append(f"{_FIGURE_LABELS[figure.name]} {amount}" + (f" ({figure.source})" if is_user_given else ""))
    return ", ".join(parts)
