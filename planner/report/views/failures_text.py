"""What failures leave of the first plan, in a few sentences with what was assumed."""

from __future__ import annotations

from planner.documents.plan import ModelPart
from planner.documents.site import AssumedPart, ReliabilityPart
from planner.report.views.plan_words import in_units, unit_of
from planner.units import format_counted_noun, format_duration, format_si

_NAMES = {
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

_NEVER = 1e-6
"""Goodput below which a day's work takes thousands of years."""
_MAIN = ("device_mtbf_s", "node_mtbf_s", "software_mtbf_s", "write_bytes_per_s")
"""Figures that are always told; others where an option or the cluster's file says them."""
_CLUSTER_FILE = "the cluster's file"


def never_ends(part: ReliabilityPart) -> bool:
    """Whether failures leave nothing to speak of."""
    return part.goodput_share < _NEVER


def failures_text(part: ReliabilityPart, model: ModelPart) -> list[str]:
    """How often the job stops, what checkpoints take, what is left, and where the figures are from."""
    saved, spares, wasted = part.checkpoint, part.spares, part.wasted
    behind = " and is written behind it" if saved.asynchronous else ""
    steps = format_counted_noun(saved.interval_steps, "step")
    causes = {
        "checkpoints": wasted.checkpoint,
        "work done again": wasted.lost,
        "restarts": wasted.detection + wasted.restart + wasted.load,
        "missing nodes": wasted.repair,
    }
    lost = ", ".join(f"{name} {share:.1%}" for name, share in causes.items())
    assumed = f"Assumed: {_assumed(part.assumed)}; --format json tells all with their sources."
    if never_ends(part):
        return [
            f"Failures: one every {format_duration(part.mtbf_s)}; a checkpoint every {steps} "
            f"stops training for {format_duration(saved.blocked_s)}: the run never ends (goodput 0).",
            assumed,
        ]
    pause, goodput = format_duration(saved.blocked_s), format_si(in_units(model, part.goodput_tokens_per_s))
    return [
        f"Failures: one every {format_duration(part.mtbf_s)}; a checkpoint of {format_si(saved.bytes, 'B')} every "
        f"{format_duration(saved.interval_s)} ({steps}) stops training for {pause}{behind}; "
        f"goodput {part.goodput_share:.1%} = {goodput} {unit_of(model)}s/s (lost: {lost}); "
        f"{_spare_nodes(spares.nodes, spares.recommended)}.",
        assumed,
    ]


def _spare_nodes(nodes: int, recommended: int) -> str:
    told = {0: "no spare node", 1: "1 spare node"}.get(nodes, f"{nodes:,} spare nodes")
    return told if nodes == recommended else f"{told}, {recommended:,} would pay off"


def _assumed(figures: list[AssumedPart]) -> str:
    """The figures that decide most, and those that were told, with where; the document has all."""
    told = []
    for one in figures:
        own = one.source.startswith("--") or one.source == _CLUSTER_FILE
        if one.value and (own or one.name in _MAIN):
            amount = format_si(one.value, "B/s") if one.name.endswith("bytes_per_s") else format_duration(one.value)
            told.append(f"{_NAMES[one.name]} {amount}" + (f" ({one.source})" if own else ""))
    return ", ".join(told)
