"""What failures leave of the first plan, in a few sentences with what was assumed."""

from __future__ import annotations

from planner.documents.plan import ModelPart
from planner.documents.site import AssumptionPart, ReliabilityPart
from planner.report.views.plan_words import convert_to_throughput_units, get_throughput_unit
from planner.units import format_count, format_counted_noun, format_duration, format_si

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


def is_run_endless(part: ReliabilityPart) -> bool:
    """Whether failures leave nothing to speak of."""
    return part.goodput_share < _MIN_GOODPUT_SHARE


def format_failure_sentences(part: ReliabilityPart, model: ModelPart) -> list[str]:
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
    if is_run_endless(part):
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
