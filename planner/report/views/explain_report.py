"""The explain document as a report: one record a part of the step; a waterfall, memory by stage and a roofline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from planner.cost.memory.moments import MEMORY_CATEGORIES
from planner.documents.explain import (
    CollectivePart,
    ExplainDocument,
    MeasuredPart,
    OperatorPart,
    RooflinePart,
    StagePart,
    WaterfallPart,
)
from planner.documents.figures import flatten_part
from planner.report.report import (
    BarSegment,
    ChartAxis,
    Column,
    RecordValue,
    Report,
    ReportCase,
    ReportRecord,
    ReportTable,
    RooflineChart,
    RooflinePoint,
    StackedBar,
    WaterfallChart,
)
from planner.report.views import breakdown, plan_words
from planner.report.views.plan_words import format_term_name
from planner.units import format_bytes, format_seconds, format_si, format_with_interval

_MAX_STAGES = 16
_NEGLIGIBLE_SHARE = 5e-5
_GIB_BYTES = 2**30
_CATEGORY_LETTERS = dict(zip(MEMORY_CATEGORIES, "wgoalbfcr", strict=True))
"""Of the categories of memory, in bars."""
_DROP_RANKS = dict(
    zip(
        (
            "activations",
            "logits",
            "gradients",
            "weights",
            "optimizer",
            "allocator",
            "communicators",
            "buffers",
            "reserve",
        ),
        range(1, 10),
        strict=True,
    )
)
"""Of the categories of memory: a narrow terminal leaves out the highest first."""
_KERNEL_PARTS = frozenset(
    ("ideal", "attention", "other_arithmetic", "efficiency", "memory", "launches", "host", "imbalance")
)
"""Parts of the waterfall that are no term of the step but forward and backward passes."""


def build_explain_report(document: ExplainDocument) -> Report:
    """The report of `explain`."""
    cluster = document.cluster
    title = f"{document.model.title} on {cluster.devices:,} {cluster.accelerator}"
    operators = _rank_operators(document.roofline.operators)
    parts = [part for part in document.waterfall if abs(part.share) >= _NEGLIGIBLE_SHARE]
    memories = [
        (f"stage {item.stage}: {item.layers} layers, {item.micro_batches_in_flight:.3g} in flight", item.memory)
        for item in document.stages
    ]
    fullest = max(document.stages, key=lambda stage: stage.memory.total_bytes)
    return Report(
        command="explain",
        title=title,
        facts=list(_enumerate_facts(document)),
        records=[_build_record(document, part) for part in document.waterfall],
        tables=[
            _build_waterfall_table(parts, document.step_time_s, document.measured or None),
            *([_build_suspect_table(document.measured)] if document.measured and document.measured.suspects else []),
            _build_stage_table(document.stages),
            _build_moment_table(fullest),
            _build_operator_table(operators),
            _build_collective_table(document.collectives),
        ],
        charts=[
            _build_waterfall_chart(parts, document.step_time_s, document.measured or None),
            breakdown.build_memory_bars("Memory of each stage's devices", memories, "stage"),
            breakdown.build_memory_bars(
                f"Memory over the step, stage {fullest.stage}",
                list(zip(_format_moments(fullest), fullest.moments, strict=True)),
                "moment",
            ),
            _build_roofline_chart(document.roofline, operators),
        ],
        sentences=list(_enumerate_sentences(document)),
        cases=[_build_stage_case(title, stage) for stage in document.stages],
    )


def _enumerate_facts(document: ExplainDocument) -> Iterator[tuple[str, str]]:
    """The plan, its step and the device's roofline."""
    strategy, roof = document.strategy, document.roofline
    degrees = " ".join(f"{name} {getattr(strategy, name)}" for name in ("tp", "pp", "dp", "cp", "ep", "vpp"))
    settings = f"mbs {strategy.micro_batch}, ZeRO {strategy.zero_stage}, recompute {strategy.recompute}"
    yield "Plan", f"{document.plan}: {degrees} {settings}"
    ends_s = (document.step_time_p10_s, document.step_time_p90_s)
    step = format_with_interval(document.step_time_s, *ends_s, format_seconds)
    peak, measured = document.scenario.precision, document.measured
    yield "Step", f"{step}, {plan_words.format_mfu(document.mfu, peak, document.mfu_bf16)}"
    if measured:
        mfu_bf16 = None if document.mfu_bf16 is None else document.mfu_bf16 * measured.mfu / document.mfu
        mfu = plan_words.format_mfu(measured.mfu, peak, mfu_bf16)
        yield "Measured", f"{format_seconds(measured.step_time_s)}, {mfu}"
    yield from plan_words.build_memory_limit_facts(document.scenario, document.stages[0].memory.capacity_bytes)
    peak, bandwidth = format_si(roof.peak_flops_per_s, "FLOP/s"), format_si(roof.memory_bandwidth_bytes_per_s, "B/s")
    yield "Roofline", f"{peak}, {bandwidth}, ridge point {roof.ridge_flops_per_byte:.0f} FLOP/B"


def _enumerate_sentences(document: ExplainDocument) -> Iterator[str]:
    """The bottleneck, the simulated schedule against the equations, and overlapped communication."""
    yield f"Bottleneck: {document.bottleneck}"
    if document.measured:
        yield from _enumerate_measured_sentences(document, document.measured)
    schedule = document.schedule
    step = f"step {format_seconds(schedule.step_time_s)}, {schedule.difference:+.1%} against the equations"
    yield f"Schedule simulated with {schedule.micro_batches} micro-batches: {step}."
    overlapped = [f"{format_term_name(name)} {format_seconds(s)}" for name, s in document.overlapped.items() if s > 0]
    if overlapped:
        yield f"Overlapped with compute: {', '.join(overlapped)}."


def _enumerate_measured_sentences(document: ExplainDocument, measured: MeasuredPart) -> Iterator[str]:
    """How far the measured step is from the predicted one, and whether that is more than such runs differ by."""
    longer = "longer" if measured.residual_s >= 0 else "shorter"
    gap = f"{format_seconds(abs(measured.residual_s))} ({abs(measured.residual_share):.1%}) {longer} than predicted"
    ends = f"{format_seconds(document.step_time_p10_s)} to {format_seconds(document.step_time_p90_s)}"
    verdict = (
        f"within the interval of the prediction, {ends}, in which 80 % of such runs lie"
        if measured.is_in_interval
        else f"outside the interval of the prediction, {ends}"
    )
    yield f"The measured step, {format_seconds(measured.step_time_s)}, is {gap}, {verdict}."
    if measured.suspects:
        first = measured.suspects[0]
        yield f"Nearest to all of it: {first.title} ({_format_time(first.seconds)}, {first.residual_share:.0%})."
    if measured.log is not None:
        log = measured.log
        spread = f"{format_seconds(log.step_time_p10_s)} to {format_seconds(log.step_time_p90_s)}"
        yield (
            f"Log of {log.trainer}: median of {log.used:,} iterations, {log.first_step:,} to {log.last_step:,}, of "
            f"which 80 % take {spread}; {log.left_out:,} left out."
        )


def _build_record(document: ExplainDocument, part: WaterfallPart) -> ReportRecord:
    head: dict[str, RecordValue] = {
        "model": document.model.name,
        "cluster": document.cluster.name,
        "plan": document.plan,
    }
    return {**head, "step_time_s": document.step_time_s, **flatten_part(part)}


def _build_stage_case(title: str, stage: StagePart) -> ReportCase:
    """A stage passes where its devices have room for it; the time is that of one micro-batch."""
    used, capacity = stage.memory.total_bytes, stage.memory.capacity_bytes
    failure = f"{format_bytes(used)}, more than {format_bytes(capacity)}" if used > capacity else ""
    return ReportCase(title, f"stage {stage.stage} fits", stage.forward_s + stage.backward_s, failure=failure)


def _build_waterfall_table(
    parts: Sequence[WaterfallPart], step_time_s: float, measured: MeasuredPart | None
) -> ReportTable:
    """One row a part, its bar where those before it end; savings have a sign of their own. Below the step come the
    residual and the measured step.
    """
    bars: list[list[tuple[float, str]]] = []
    offset = 0.0
    for part in parts:
        low, high = sorted((offset, offset + part.share))
        bars.append([(low, " "), (high - low, "#" if part.seconds > 0 else "-")])
        offset += part.share
    titles, seconds = [*(part.title for part in parts), "step"], [*(part.seconds for part in parts), step_time_s]
    bars.append([(1.0, "#")])
    if measured is not None:
        titles += ["residual", "measured step"]
        seconds += [measured.residual_s, measured.step_time_s]
        measured_share = measured.step_time_s / step_time_s
        low, high = sorted((1.0, measured_share))
        bars += [[(low, " "), (high - low, "#" if measured.residual_s > 0 else "-")], [(measured_share, "#")]]
        bars = [[(share / high, sign) for share, sign in bar] for bar in bars]
    columns = [
        Column("part", titles, is_text=True),
        Column("time", [_format_time(value) for value in seconds]),
        Column("share", [f"{value / step_time_s:.1%}" for value in seconds]),
    ]
    return ReportTable("From the ideal to the step", columns, bars=bars)


def _build_suspect_table(measured: MeasuredPart) -> ReportTable:
    """What would explain the residual, each alone."""
    suspects = measured.suspects
    columns = [
        Column("suspect", [suspect.title for suspect in suspects], is_text=True),
        Column("adds", [_format_time(suspect.seconds) for suspect in suspects]),
        Column("of the residual", [f"{suspect.residual_share:.0%}" for suspect in suspects]),
        Column("step with it", [format_seconds(suspect.step_time_s) for suspect in suspects], drop_rank=1),
    ]
    return ReportTable("What would explain the residual, each by itself", columns)


def _build_stage_table(stages: list[StagePart]) -> ReportTable:
    shares = [stage.memory.total_bytes / stage.memory.capacity_bytes for stage in stages]
    columns = [
        Column("stage", [str(stage.stage) for stage in stages]),
        Column("layers", [str(stage.layers) for stage in stages]),
        Column("forward", [format_seconds(stage.forward_s) for stage in stages], drop_rank=1),
        Column("backward", [format_seconds(stage.backward_s) for stage in stages], drop_rank=2),
        Column("in flight", [f"{stage.micro_batches_in_flight:.1f}" for stage in stages], drop_rank=3),
        Column("memory", [format_bytes(stage.memory.total_bytes) for stage in stages]),
        Column("share", [f"{share:.0%}" for share in shares]),
    ]
    bars = []
    for stage, share in zip(stages, shares, strict=True):
        sizes = ((letter, getattr(stage.memory, f"{name}_bytes")) for name, letter in _CATEGORY_LETTERS.items())
        bar = [(size / stage.memory.capacity_bytes, letter) for letter, size in sizes]
        bars.append([*bar, (max(0.0, 1 - share), ".")])
    legend = ", ".join(f"{letter} {category}" for category, letter in _CATEGORY_LETTERS.items())
    return ReportTable("Stages", columns, bars=bars, bar_legend=f"{legend}, . free", max_rows=_MAX_STAGES)


def _build_moment_table(stage: StagePart) -> ReportTable:
    """Memory of a stage in GiB at each moment of the step, by category."""
    totals = [memory.total_bytes for memory in stage.moments]
    columns = [Column("moment", _format_moments(stage), is_text=True), Column("total", _format_gib(totals))]
    for category in MEMORY_CATEGORIES:
        sizes = [getattr(memory, f"{category}_bytes") for memory in stage.moments]
        if any(sizes):
            columns.append(Column(category, _format_gib(sizes), drop_rank=_DROP_RANKS[category]))
    return ReportTable(f"Memory over the step, stage {stage.stage}, GiB", columns)


def _format_gib(sizes: Sequence[float]) -> list[str]:
    """Sizes in bytes as numbers of GiB; nothing where there is nothing."""
    return [f"{size / _GIB_BYTES:.2f}" if size else "" for size in sizes]


def _format_moments(stage: StagePart) -> list[str]:
    """The moments of the step; the fullest is marked."""
    return [
        breakdown.format_moment(memory) + (" (peak)" if memory.moment == stage.memory.moment else "")
        for memory in stage.moments
    ]


def _build_operator_table(operators: Sequence[tuple[OperatorPart, float]]) -> ReportTable:
    intensities = [f"{item.flops_per_byte:,.0f}" if item.flops_per_byte else "-" for item, _ in operators]
    columns = [
        Column("operator, both passes", [_format_operator_name(item) for item, _ in operators], is_text=True),
        Column("kernel time", [f"{share:.1%}" for _, share in operators]),
        Column("FLOP/B", intensities),
        Column("of peak", [f"{item.peak_share:.1%}" for item, _ in operators]),
        Column("bound by", [item.bound for item, _ in operators], is_text=True, drop_rank=1),
    ]
    return ReportTable("Operators", columns)


def _build_collective_table(collectives: Sequence[CollectivePart]) -> ReportTable:
    """One row a collective, with the algorithm that is the fastest for it."""
    columns = [
        Column("collective", [f"{item.axis}: {item.collective}" for item in collectives], is_text=True),
        Column("ranks", [f"{item.ranks:,}" for item in collectives]),
        Column("message", [format_bytes(item.message_bytes) for item in collectives], drop_rank=2),
        Column("algorithm", [item.algorithm for item in collectives], is_text=True),
        Column("protocol", [item.protocol for item in collectives], is_text=True, drop_rank=1),
        Column("time", [format_seconds(item.seconds) for item in collectives]),
    ]
    return ReportTable("Collectives", columns)


def _build_waterfall_chart(
    parts: Sequence[WaterfallPart], step_time_s: float, measured: MeasuredPart | None
) -> WaterfallChart:
    """A bar a part, from where the ones before it end; what is no term has the colour of kernels. Of a measured step
    the residual is the last part.
    """
    bars = []
    for part in parts:
        text, name = f"{_format_time(part.seconds)}, {part.share:.1%}", format_term_name(part.name)
        segment = BarSegment(
            "kernels" if part.name in _KERNEL_PARTS else name, part.seconds, f"{part.title}: {text} of the step"
        )
        bars.append(StackedBar(part.title, text, [segment]))
    title, total_s = "step", step_time_s
    if measured is not None:
        title, total_s = "measured step", measured.step_time_s
        text = f"{_format_time(measured.residual_s)}, {measured.residual_share:.1%}"
        segment = BarSegment("residual", measured.residual_s, f"residual: {text} of the predicted step")
        bars.append(StackedBar("residual", text, [segment]))
    step = format_seconds(total_s)
    total = StackedBar(title, step, [BarSegment("step", total_s, f"{title}: {step}")])
    return WaterfallChart("From the ideal to the step", ChartAxis("time", "s"), bars, total)


def _build_roofline_chart(roof: RooflinePart, operators: Sequence[tuple[OperatorPart, float]]) -> RooflineChart:
    """All operators that multiply something; what moves nothing has no intensity."""
    points = [
        RooflinePoint(
            name=_format_operator_name(operator),
            flops_per_byte=operator.flops_per_byte,
            flops_per_s=operator.flops_per_s,
            weight=share,
            bound=operator.bound,
            tooltip=_format_operator_tooltip(operator, share),
        )
        for operator, share in operators
        if operator.flops_per_byte and operator.flops
    ]
    title = "Roofline of the operators"
    return RooflineChart(title, points, roof.peak_flops_per_s, roof.memory_bandwidth_bytes_per_s)


def _format_operator_tooltip(operator: OperatorPart, share: float) -> str:
    """One operator with all its figures; of a fused kernel the traffic is the least that it moves."""
    at_least, at_most = (" at least", " at most") if operator.is_traffic_overlapped else ("", "")
    return (
        f"{_format_operator_name(operator)}: {operator.flops_per_byte:,.0f} FLOP/B{at_most}, "
        f"{format_si(operator.flops_per_s, 'FLOP/s')} ({operator.peak_share:.0%} of its peak), "
        f"{share:.1%} of kernels' time, bound by {operator.bound}, "
        f"moves {format_bytes(operator.traffic_bytes)}{at_least}"
    )


def _format_time(seconds: float) -> str:
    """Seconds, below zero where a part saves time."""
    return f"-{format_seconds(-seconds)}" if seconds < 0 else format_seconds(seconds)


def _format_operator_name(operator: OperatorPart) -> str:
    """The operator and the type of its layer: `dense: mlp up`."""
    return f"{operator.layer}: {operator.name}".replace("_", " ")


def _rank_operators(operators: Sequence[OperatorPart]) -> list[tuple[OperatorPart, float]]:
    """Operators with their share of all kernels' time in the model, the longest first."""
    total_s = math.fsum(operator.seconds * operator.layers for operator in operators)
    shares = [(operator, operator.seconds * operator.layers / total_s) for operator in operators]
    return sorted(shares, key=lambda pair: -pair[1])
