"""The explain document for people: the waterfall, the stages' memory and the operators in 80 columns."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from textwrap import wrap

from planner.cost.memory import KINDS
from planner.documents.explain import ExplainDocument, OperatorPart, StagePart, WaterfallPart
from planner.report.console import printable, thinned
from planner.units import format_bytes, format_seconds, format_si

_WIDTH = 80
_BAR = 30
_MOST_STAGES = 16
_MOST_OPERATORS = 12
_NEGLIGIBLE = 5e-5
_LETTERS = "wgoalbr"


def explain_text(document: ExplainDocument) -> str:
    """The whole answer as text for stdout, 80 columns at most."""
    full, less = ("█", "░") if sys.stdout is not None and sys.stdout.isatty() else ("#", "-")
    lines = [*heading(document), "", *_waterfall(document.waterfall, full, less), "", *_hidden(document)]
    lines += [*_stages(document.stages), "", *_operators(document), "", schedule_line(document), ""]
    lines += wrap(f"Bottleneck: {document.bottleneck}", _WIDTH)
    return "\n".join([*(printable(line) for line in lines), ""])


def heading(document: ExplainDocument) -> list[str]:
    """What plan of what question it is, and what its step takes."""
    one, cluster = document.strategy, document.cluster
    split = " ".join(f"{name} {getattr(one, name)}" for name in ("tp", "pp", "dp", "cp", "ep", "vpp"))
    return [
        f"{document.model.title} on {cluster.devices:,} {cluster.accelerator}",
        f"plan {document.plan}: {split} mbs {one.micro_batch}, ZeRO {one.zero_stage}, recompute {one.recompute}",
        f"step {format_seconds(document.step_time_s)}, MFU {document.mfu:.1%}",
    ]


def told_parts(parts: Sequence[WaterfallPart]) -> list[WaterfallPart]:
    """The parts that are worth a line."""
    return [part for part in parts if abs(part.share) >= _NEGLIGIBLE]


def seconds_text(seconds: float) -> str:
    """Seconds that may be below zero."""
    return f"-{format_seconds(-seconds)}" if seconds < 0 else format_seconds(seconds)


def _waterfall(parts: Sequence[WaterfallPart], full: str, less: str) -> Iterator[str]:
    """One line a part, its bar where the ones before it end; what is saved in another sign."""
    at = 0.0
    for part in told_parts(parts):
        low, high = sorted((at, at + part.share))
        at += part.share
        first = min(round(low * _BAR), _BAR - 1)
        length = max(1, round(high * _BAR) - first)
        bar = " " * first + (full if part.seconds > 0 else less) * length
        yield f"{part.title:31} {seconds_text(part.seconds):>9} {part.share:6.1%}  {bar}".rstrip()
    total = math.fsum(part.seconds for part in parts)
    yield f"{'step':31} {format_seconds(total):>9} {1:6.1%}  {full * _BAR}"


def hidden_words(document: ExplainDocument) -> list[str]:
    """What of each exchange runs beside compute, where something does: `data parallel 4.56 ms`."""
    return [f"{name.replace('_', ' ')} {format_seconds(s)}" for name, s in document.hidden.items() if s > 0]


def _hidden(document: ExplainDocument) -> Iterator[str]:
    hidden = hidden_words(document)
    if hidden:
        yield "Hidden beside compute:"
        yield from (f"  {one}" for one in hidden)
        yield ""


def _stages(stages: Sequence[StagePart]) -> Iterator[str]:
    """One bar a stage of what a device's memory holds; of many stages so many, from end to end."""
    shown = thinned(stages, _MOST_STAGES)
    names = " ".join(f"{letter} {kind}" for letter, kind in zip(_LETTERS, KINDS, strict=True))
    yield "Memory by stage:"
    yield names
    for one in shown:
        held = one.memory
        bar, filled = "", 0.0
        for letter, kind in zip(_LETTERS, KINDS, strict=True):
            filled += getattr(held, f"{kind}_bytes") / held.capacity_bytes * _BAR
            bar += letter * (round(filled) - len(bar))
        share = held.total_bytes / held.capacity_bytes
        total = format_bytes(held.total_bytes)
        yield f"stage {one.stage:3} {one.layers:4} layers {total:>11} {share:5.0%} |{bar:{_BAR}}|"
    if len(shown) < len(stages):
        yield f"{len(stages) - len(shown)} stages between these are in --format json."


def _operators(document: ExplainDocument) -> Iterator[str]:
    """The operators that take longest, by all layers that have them."""
    roof = document.roofline
    yield (
        f"Roofline: {format_si(roof.peak_flops_per_s, 'FLOP/s')}, "
        f"{format_si(roof.memory_bandwidth_bytes_per_s, 'B/s')}, ridge {roof.ridge_flops_per_byte:.0f} FLOP/B"
    )
    yield f"{'operator, both passes':31} {'of kernels':>10} {'FLOP/B':>8} {'of peak':>8}  bound by"
    for one, share in longest(roof.operators)[:_MOST_OPERATORS]:
        intensity = "-" if not one.flops_per_byte else f"{one.flops_per_byte:,.0f}"
        yield f"{operator_name(one):31.31} {share:10.1%} {intensity:>8} {one.peak_share:8.1%}  {one.bound}"


def operator_name(one: OperatorPart) -> str:
    """The operator and the kind of layer that it is in."""
    return f"{one.layer}: {one.name}".replace("_", " ")


def longest(operators: Sequence[OperatorPart]) -> list[tuple[OperatorPart, float]]:
    """Operators with their share of all kernels' time in the model, the longest first."""
    total = math.fsum(one.seconds * one.layers for one in operators)
    shares = [(one, one.seconds * one.layers / total) for one in operators]
    return sorted(shares, key=lambda pair: -pair[1])


def schedule_line(document: ExplainDocument) -> str:
    """How the schedule, played slot by slot, compares with the equations."""
    part = document.schedule
    return (
        f"Schedule played with {part.micro_batches} micro-batches: step {format_seconds(part.step_time_s)}, "
        f"{part.difference:+.1%} to the equations."
    )
