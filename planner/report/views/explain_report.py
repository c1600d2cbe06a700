"""The explain document as a report: one record a part of the step; its drawings are in `explain_html`."""

from __future__ import annotations

from planner.documents.explain import ExplainDocument, StagePart, WaterfallPart
from planner.report.report import Case, Record, Report, Table
from planner.report.views.explain_text import (
    heading,
    hidden_words,
    longest,
    operator_name,
    schedule_line,
    seconds_text,
    told_parts,
)
from planner.units import format_bytes, format_seconds


def explain_report(document: ExplainDocument) -> Report:
    """The whole answer of `explain`."""
    title, plan, step = heading(document)
    hidden = hidden_words(document)
    return Report(
        command="explain",
        title=title,
        facts=[("Plan", plan.removeprefix("plan ")), ("Step", step.removeprefix("step "))],
        records=[_record(document, one) for one in document.waterfall],
        tables=[_waterfall(document), _stages(document.stages), _operators(document)],
        sentences=[
            f"Bottleneck: {document.bottleneck}",
            schedule_line(document),
            *([f"Hidden beside compute: {', '.join(hidden)}."] if hidden else []),
        ],
        cases=[_case(title, one) for one in document.stages],
    )


def _record(document: ExplainDocument, part: WaterfallPart) -> Record:
    head = {"model": document.model.name, "cluster": document.cluster.name, "plan": document.plan}
    return {**head, "step_time_s": document.step_time_s, **{name: getattr(part, name) for name in _PARTS}}


def _case(title: str, stage: StagePart) -> Case:
    """A stage passes where its devices hold what it needs; the time is one micro-batch's on it."""
    held, room = stage.memory.total_bytes, stage.memory.capacity_bytes
    missed = f"{format_bytes(held)}, more than {format_bytes(room)}" if held > room else ""
    return Case(title, f"stage {stage.stage} fits", stage.forward_s + stage.backward_s, failure=missed)


_PARTS = ("name", "title", "seconds", "share")


def _waterfall(document: ExplainDocument) -> Table:
    rows = [(one.title, seconds_text(one.seconds), f"{one.share:.1%}") for one in told_parts(document.waterfall)]
    rows.append(("step", format_seconds(document.step_time_s), "100.0%"))
    return Table("From the ideal to the step", ("part", "time", "share"), rows)


def _stages(stages: list[StagePart]) -> Table:
    rows = [
        (
            str(one.stage),
            str(one.layers),
            format_seconds(one.forward_s),
            format_seconds(one.backward_s),
            f"{one.micro_batches_in_flight:.1f}",
            format_bytes(one.memory.total_bytes),
        )
        for one in stages
    ]
    headings = ("stage", "layers", "forward", "backward", "micro-batches in flight", "memory")
    return Table("Stages", headings, rows, frozenset())


def _operators(document: ExplainDocument) -> Table:
    rows = [
        (
            operator_name(one),
            f"{share:.1%}",
            f"{one.flops_per_byte:,.0f}" if one.flops_per_byte else "-",
            f"{one.peak_share:.1%}",
            one.bound,
        )
        for one, share in longest(document.roofline.operators)
    ]
    headings = ("operator, both passes", "of kernels", "FLOP/B", "of peak", "bound by")
    return Table("Operators", headings, rows, frozenset({0, 4}))
