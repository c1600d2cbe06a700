"""The explain document as a report: one record a part of the step; a waterfall, memory by stage and a roofline."""

from __future__ import annotations

import math
from collections.abc import Sequence

from planner.cost.memory import MEMORY_CATEGORIES
from planner.documents.explain import ExplainDocument, OperatorPart, StagePart, WaterfallPart
from planner.report.report import (
    BarChart,
    BarSegment,
    ChartAxis,
    Report,
    ReportCase,
    ReportRecord,
    ReportTable,
    RooflineChart,
    RooflinePoint,
    StackedBar,
    WaterfallChart,
    build_columns,
)
from planner.report.views.plan_report import build_memory_bars
from planner.report.views.plan_words import format_term_name
from planner.units import format_bytes, format_seconds, format_si

_MAX_STAGES = 16
_NEGLIGIBLE_SHARE = 5e-5
_CATEGORY_LETTERS = "wgoalbr"
"""Of the memory's categories, in bars."""


def build_explain_report(document: ExplainDocument) -> Report:
    """The whole answer of `explain`."""
    cluster, strategy, roof = document.cluster, document.strategy, document.roofline
    title = f"{document.model.title} on {cluster.devices:,} {cluster.accelerator}"
    split = " ".join(f"{name} {getattr(strategy, name)}" for name in ("tp", "pp", "dp", "cp", "ep", "vpp"))
    settings = f"mbs {strategy.micro_batch}, ZeRO {strategy.zero_stage}, recompute {strategy.recompute}"
    overlapped = format_overlapped_terms(document)
    return Report(
        command="explain",
        title=title,
        facts=[
            ("Plan", f"{document.plan}: {split} {settings}"),
            ("Step", f"{format_seconds(document.step_time_s)}, MFU {document.mfu:.1%}"),
            (
                "Roofline",
                f"{format_si(roof.peak_flops_per_s, 'FLOP/s')}, "
                f"{format_si(roof.memory_bandwidth_bytes_per_s, 'B/s')}, "
                f"ridge {roof.ridge_flops_per_byte:.0f} FLOP/B",
            ),
        ],
        records=[_build_explain_record(document, item) for item in document.waterfall],
        tables=[
            _build_waterfall_table(document),
            _build_stage_table(document.stages),
            _build_operator_table(document),
        ],
        charts=[
            _build_waterfall_chart(document),
            _build_stage_memory_chart(document.stages),
            _build_roofline_chart(document),
        ],
        sentences=[
            f"Bottleneck: {document.bottleneck}",
            format_schedule_line(document),
            *([f"Overlapped with compute: {', '.join(overlapped)}."] if overlapped else []),
        ],
        cases=[_build_stage_case(title, item) for item in document.stages],
    )


def _build_explain_record(document: ExplainDocument, part: WaterfallPart) -> ReportRecord:
    head = {"model": document.model.name, "cluster": document.cluster.name, "plan": document.plan}
    return {**head, "step_time_s": document.step_time_s, **{name: getattr(part, name) for name in _WATERFALL_FIELDS}}


def _build_stage_case(title: str, stage: StagePart) -> ReportCase:
    """A stage passes where its devices hold what it needs; the time is one micro-batch's on it."""
    used_bytes, capacity_bytes = stage.memory.total_bytes, stage.memory.capacity_bytes
    failure = (
        f"{format_bytes(used_bytes)}, more than {format_bytes(capacity_bytes)}" if used_bytes > capacity_bytes else ""
    )
    return ReportCase(title, f"stage {stage.stage} fits", stage.forward_s + stage.backward_s, failure=failure)


_KERNEL_PARTS = frozenset(
    ("ideal", "attention", "other_arithmetic", "efficiency", "memory", "launches", "host", "imbalance")
)
"""Parts of the waterfall that are no term of the step but forward and backward passes."""
_WATERFALL_FIELDS = ("name", "title", "seconds", "share")


def _build_waterfall_table(document: ExplainDocument) -> ReportTable:
    """One row a part, its bar where those before it end; savings have a sign of their own."""
    parts = select_visible_parts(document.waterfall)
    rows = [(part.title, format_time_or_saving(part.seconds), f"{part.share:.1%}") for part in parts]
    rows.append(("step", format_seconds(document.step_time_s), "100.0%"))
    bars: list[list[tuple[float, str]]] = []
    offset = 0.0
    for part in parts:
        low, high = sorted((offset, offset + part.share))
        bars.append([(low, " "), (high - low, "#" if part.seconds > 0 else "-")])
        offset += part.share
    columns = build_columns(("part", "time", "share"))
    return ReportTable("From the ideal to the step", columns, rows, bars=[*bars, [(1.0, "#")]])


def _build_stage_table(stages: list[StagePart]) -> ReportTable:
    rows = [
        (
            str(stage.stage),
            str(stage.layers),
            format_seconds(stage.forward_s),
            format_seconds(stage.backward_s),
            f"{stage.micro_batches_in_flight:.1f}",
            format_bytes(stage.memory.total_bytes),
            f"{stage.memory.total_bytes / stage.memory.capacity_bytes:.0%}",
        )
        for stage in stages
    ]
    headings = ("stage", "layers", "forward", "backward", "in flight", "memory", "of it")
    letters = list(zip(_CATEGORY_LETTERS, MEMORY_CATEGORIES, strict=True))
    bars = [
        [
            (getattr(stage.memory, f"{category}_bytes") / stage.memory.capacity_bytes, letter)
            for letter, category in letters
        ]
        + [(max(0.0, 1 - stage.memory.total_bytes / stage.memory.capacity_bytes), ".")]
        for stage in stages
    ]
    return ReportTable(
        "Stages",
        build_columns(headings, (), ("in flight", "backward", "forward")),
        rows,
        bars=bars,
        bar_legend=f"memory: {', '.join(f'{letter} {category}' for letter, category in letters)}, . free",
        max_rows=_MAX_STAGES,
    )


def _build_operator_table(document: ExplainDocument) -> ReportTable:
    rows = [
        (
            format_operator_name(operator),
            f"{share:.1%}",
            f"{operator.flops_per_byte:,.0f}" if operator.flops_per_byte else "-",
            f"{operator.peak_share:.1%}",
            operator.bound,
        )
        for operator, share in rank_operators(document.roofline.operators)
    ]
    headings = ("operator, both passes", "of kernels", "FLOP/B", "of peak", "bound by")
    return ReportTable("Operators", build_columns(headings, (0, 4), ("bound by",)), rows)


def _build_waterfall_chart(document: ExplainDocument) -> WaterfallChart:
    """The parts that are worth a line, each from where the ones before it end; what is no term is the kernels'."""
    parts = []
    for part in select_visible_parts(document.waterfall):
        time_text, share_text = format_time_or_saving(part.seconds), f"{part.share:.1%}"
        name = "kernels" if part.name in _KERNEL_PARTS else format_term_name(part.name)
        segment = BarSegment(name, part.seconds, f"{part.title}: {time_text}, {share_text} of the step")
        parts.append(StackedBar(part.title, f"{time_text}, {share_text}", [segment]))
    step_text = format_seconds(document.step_time_s)
    total = StackedBar("step", step_text, [BarSegment("step", document.step_time_s, f"step: {step_text}")])
    return WaterfallChart("From the ideal to the step", ChartAxis("time", "s"), parts, total)


def _build_stage_memory_chart(stages: list[StagePart]) -> BarChart:
    bars = [
        (f"stage {stage.stage}: {stage.layers} layers, {stage.micro_batches_in_flight:.3g} in flight", stage.memory)
        for stage in stages
    ]
    return build_memory_bars("Memory of each stage's devices", bars, "stage")


def _build_roofline_chart(document: ExplainDocument) -> RooflineChart:
    """All operators that multiply something; what moves nothing has no intensity."""
    roofline = document.roofline
    points = [
        RooflinePoint(
            name=format_operator_name(operator),
            flops_per_byte=operator.flops_per_byte,
            flops_per_s=operator.flops_per_s,
            weight=share,
            bound=operator.bound,
            tooltip=_format_operator_tooltip(operator, share),
        )
        for operator, share in rank_operators(roofline.operators)
        if operator.flops_per_byte and operator.flops
    ]
    return RooflineChart(
        "Roofline of the operators", points, roofline.peak_flops_per_s, roofline.memory_bandwidth_bytes_per_s
    )


def _format_operator_tooltip(operator: OperatorPart, share: float) -> str:
    """One operator with all its figures."""
    lower_bound, upper_bound = (" at least", " at most") if operator.traffic_hidden else ("", "")
    return (
        f"{format_operator_name(operator)}: {operator.flops_per_byte:,.0f} FLOP/B{upper_bound}, "
        f"{format_si(operator.flops_per_s, 'FLOP/s')} ({operator.peak_share:.0%} of its peak), "
        f"{share:.1%} of kernels' time, bound by {operator.bound}, "
        f"moves {format_bytes(operator.traffic_bytes)}{lower_bound}"
    )


def select_visible_parts(parts: Sequence[WaterfallPart]) -> list[WaterfallPart]:
    """The parts that are worth a line."""
    return [part for part in parts if abs(part.share) >= _NEGLIGIBLE_SHARE]


def format_time_or_saving(seconds: float) -> str:
    """Seconds that may be below zero."""
    return f"-{format_seconds(-seconds)}" if seconds < 0 else format_seconds(seconds)


def format_overlapped_terms(document: ExplainDocument) -> list[str]:
    """What of each exchange runs beside compute, where something does: `data parallel 4.56 ms`."""
    return [f"{name.replace('_', ' ')} {format_seconds(s)}" for name, s in document.hidden.items() if s > 0]


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
