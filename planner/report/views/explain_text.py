"""The explain document for people: the waterfall, the stages' memory and the operators in 80 columns."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from textwrap import wrap

from planner.cost.memory import MEMORY_CATEGORIES
from planner.documents.explain import ExplainDocument, OperatorPart, StagePart, WaterfallPart
from planner.report.console import sample_evenly, strip_nonprintable
from planner.units import format_bytes, format_seconds, format_si

_WIDTH = 80
_BAR_WIDTH = 30
_MAX_STAGES = 16
_MAX_OPERATORS = 12
_NEGLIGIBLE_SHARE = 5e-5
_CATEGORY_LETTERS = "wgoalbr"


def render_explain_text(document: ExplainDocument) -> str:
    """The whole answer as text for stdout, 80 columns at most."""
    full_sign, saving_sign = ("█", "░") if sys.stdout is not None and sys.stdout.isatty() else ("#", "-")
    lines = [
        *format_explain_heading(document),
        "",
        *_format_waterfall(document.waterfall, full_sign, saving_sign),
        "",
        *_format_overlapped_lines(document),
    ]
    lines += [
        *_format_stage_lines(document.stages),
        "",
        *_format_operator_lines(document),
        "",
        format_schedule_line(document),
        "",
    ]
    lines += wrap(f"Bottleneck: {document.bottleneck}", _WIDTH)
    return "\n".join([*(strip_nonprintable(line) for line in lines), ""])


def format_explain_heading(document: ExplainDocument) -> list[str]:
    """What plan of what question it is, and what its step takes."""
    strategy, cluster = document.strategy, document.cluster
    split = " ".join(f"{name} {getattr(strategy, name)}" for name in ("tp", "pp", "dp", "cp", "ep", "vpp"))
    return [
        f"{document.model.title} on {cluster.devices:,} {cluster.accelerator}",
        f"plan {document.plan}: {split} mbs {strategy.micro_batch}, ZeRO "
        f"{strategy.zero_stage}, recompute {strategy.recompute}",
        f"step {format_seconds(document.step_time_s)}, MFU {document.mfu:.1%}",
    ]


def select_visible_parts(parts: Sequence[WaterfallPart]) -> list[WaterfallPart]:
    """The parts that are worth a line."""
    return [part for part in parts if abs(part.share) >= _NEGLIGIBLE_SHARE]


def format_time_or_saving(seconds: float) -> str:
    """Seconds that may be below zero."""
    return f"-{format_seconds(-seconds)}" if seconds < 0 else format_seconds(seconds)


def _format_waterfall(parts: Sequence[WaterfallPart], full_sign: str, saving_sign: str) -> Iterator[str]:
    """One line a part, its bar where the ones before it end; what is saved in another sign."""
    offset = 0.0
    for part in select_visible_parts(parts):
        low, high = sorted((offset, offset + part.share))
        offset += part.share
        first = min(round(low * _BAR_WIDTH), _BAR_WIDTH - 1)
        length = max(1, round(high * _BAR_WIDTH) - first)
        bar = " " * first + (full_sign if part.seconds > 0 else saving_sign) * length
        yield f"{part.title:31} {format_time_or_saving(part.seconds):>9} {part.share:6.1%}  {bar}".rstrip()
    total_s = math.fsum(part.seconds for part in parts)
    yield f"{'step':31} {format_seconds(total_s):>9} {1:6.1%}  {full_sign * _BAR_WIDTH}"


def format_overlapped_terms(document: ExplainDocument) -> list[str]:
    """What of each exchange runs beside compute, where something does: `data parallel 4.56 ms`."""
    return [f"{name.replace('_', ' ')} {format_seconds(s)}" for name, s in document.hidden.items() if s > 0]


def _format_overlapped_lines(document: ExplainDocument) -> Iterator[str]:
    overlapped = format_overlapped_terms(document)
    if overlapped:
        yield "Hidden beside compute:"
        yield from (f"  {term_text}" for term_text in overlapped)
        yield ""


def _format_stage_lines(stages: Sequence[StagePart]) -> Iterator[str]:
    """One bar a stage of what a device's memory holds; of many stages so many, from end to end."""
    sampled_stages = sample_evenly(stages, _MAX_STAGES)
    names = " ".join(
        f"{letter} {category}" for letter, category in zip(_CATEGORY_LETTERS, MEMORY_CATEGORIES, strict=True)
    )
    yield "Memory by stage:"
    yield names
    for stage in sampled_stages:
        memory = stage.memory
        bar, filled = "", 0.0
        for letter, category in zip(_CATEGORY_LETTERS, MEMORY_CATEGORIES, strict=True):
            filled += getattr(memory, f"{category}_bytes") / memory.capacity_bytes * _BAR_WIDTH
            bar += letter * (round(filled) - len(bar))
        share = memory.total_bytes / memory.capacity_bytes
        total = format_bytes(memory.total_bytes)
        yield f"stage {stage.stage:3} {stage.layers:4} layers {total:>11} {share:5.0%} |{bar:{_BAR_WIDTH}}|"
    if len(sampled_stages) < len(stages):
        yield f"{len(stages) - len(sampled_stages)} stages between these are in --format json."


def _format_operator_lines(document: ExplainDocument) -> Iterator[str]:
    """The operators that take longest, by all layers that have them."""
    roof = document.roofline
    yield (
        f"Roofline: {format_si(roof.peak_flops_per_s, 'FLOP/s')}, "
        f"{format_si(roof.memory_bandwidth_bytes_per_s, 'B/s')}, ridge {roof.ridge_flops_per_byte:.0f} FLOP/B"
    )
    yield f"{'operator, both passes':31} {'of kernels':>10} {'FLOP/B':>8} {'of peak':>8}  bound by"
    for operator, share in rank_operators(roof.operators)[:_MAX_OPERATORS]:
        intensity = "-" if not operator.flops_per_byte else f"{operator.flops_per_byte:,.0f}"
        yield (
            f"{format_operator_name(operator):31.31} {share:10.1%} {intensity:>8} "
            f"{operator.peak_share:8.1%}  {operator.bound}"
        )


def format_operator_name(operator: OperatorPart) -> str:
    """The operator and the kind of layer that it is in."""
    return f"{operator.layer}: {operator.name}".replace("_", " ")


def rank_operators(operators: Sequence[OperatorPart]) -> list[tuple[OperatorPart, float]]:
    """Operators with their share of all kernels' time in the model, the longest first."""
    total_s = math.fsum(operator.seconds * operator.layers for operator in operators)
    shares = [(operator, operator.seconds * operator.layers / total_s) for operator in operators]
    return sorted(shares, key=lambda pair: -pair[1])


def format_schedule_line(document: ExplainDocument) -> str:
    """How the schedule, played slot by slot, compares with the equations."""
    part = document.schedule
    return (
        f"Schedule played with {part.micro_batches} micro-batches: step {format_seconds(part.step_time_s)}, "
        f"{part.difference:+.1%} to the equations."
    )
