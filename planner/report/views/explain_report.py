"""The explain document as a report: one record a part of the step; its drawings are in `explain_html`."""

from __future__ import annotations

from planner.documents.explain import ExplainDocument, StagePart, WaterfallPart
from planner.report.report import Report, ReportCase, ReportRecord, ReportTable
from planner.report.views.explain_text import (
    format_explain_heading,
    format_operator_name,
    format_overlapped_terms,
    format_schedule_line,
    format_time_or_saving,
    rank_operators,
    select_visible_parts,
)
from planner.units import format_bytes, format_seconds


def build_explain_report(document: ExplainDocument) -> Report:
    """The whole answer of `explain`."""
    title, plan, step = format_explain_heading(document)
    overlapped = format_overlapped_terms(document)
    return Report(
        command="explain",
        title=title,
        facts=[("Plan", plan.removeprefix("plan ")), ("Step", step.removeprefix("step "))],
        records=[_build_explain_record(document, item) for item in document.waterfall],
        tables=[
            _build_waterfall_table(document),
            _build_stage_table(document.stages),
            _build_operator_table(document),
        ],
        sentences=[
            f"Bottleneck: {document.bottleneck}",
            format_schedule_line(document),
            *([f"Hidden beside compute: {', '.join(overlapped)}."] if overlapped else []),
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


_WATERFALL_FIELDS = ("name", "title", "seconds", "share")


def _build_waterfall_table(document: ExplainDocument) -> ReportTable:
    rows = [
        (part.title, format_time_or_saving(part.seconds), f"{part.share:.1%}")
        for part in select_visible_parts(document.waterfall)
    ]
    rows.append(("step", format_seconds(document.step_time_s), "100.0%"))
    return ReportTable("From the ideal to the step", ("part", "time", "share"), rows)


def _build_stage_table(stages: list[StagePart]) -> ReportTable:
    rows = [
        (
            str(stage.stage),
            str(stage.layers),
            format_seconds(stage.forward_s),
            format_seconds(stage.backward_s),
            f"{stage.micro_batches_in_flight:.1f}",
            format_bytes(stage.memory.total_bytes),
        )
        for stage in stages
    ]
    headings = ("stage", "layers", "forward", "backward", "micro-batches in flight", "memory")
    return ReportTable("Stages", headings, rows, frozenset())


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
    return ReportTable("Operators", headings, rows, frozenset({0, 4}))
