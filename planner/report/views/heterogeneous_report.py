"""The mixed document as a report: one record a way to use two kinds of accelerators."""

from __future__ import annotations

from planner.documents.heterogeneous import HeterogeneousDocument, HeteroPlanPart
from planner.report.report import Case, Report, Value
from planner.report.views.heterogeneous_text import NAMES, heading, kind_columns, way_columns
from planner.report.views.plan_report import (
    facts,
    fields,
    memory_bars,
    step_bars,
    step_table,
    table_of,
    time_fields,
)
from planner.report.views.plan_words import run_text


def mixed_report(document: HeterogeneousDocument) -> Report:
    """The whole answer of `plan` for two kinds of nodes."""
    ways, best = document.ways, document.ways[0]
    title = f"{document.model.title} on {document.cluster.title}"
    head: dict[str, Value] = {
        "model": document.model.name, "cluster": document.cluster.name, "devices": document.cluster.devices,
    }  # fmt: skip
    told = [run_text(document.model, run.tokens, run.steps, run.days) for run in [document.run] if run]
    named = [(NAMES[way.way], way) for way in ways]
    return Report(
        command="plan",
        title=title,
        facts=facts(heading(document)),
        records=[{"rank": n, **head, **way_record(way)} for n, way in enumerate(ways, 1)],
        tables=[
            table_of("Ways, the fastest first", way_columns(document.model, ways)),
            table_of("What each kind does in the best way", kind_columns(best.kinds)),
            step_table("Step of the best way", best.terms, best.hidden, best.step_time_s),
        ],
        charts=[
            step_bars("Where the step goes", [(name, way.terms) for name, way in named]),
            memory_bars("Fullest device of each kind, best way", [(kind.pool, kind.memory) for kind in best.kinds]),
        ],
        sentences=[*document.answer.sentences, *told],
        cases=[Case(title, f"{name} fits: {way.split}", way.step_time_s) for name, way in named]
        + [Case(title, name, skipped="nothing fits") for name in document.left_out],
    )


def way_record(way: HeteroPlanPart) -> dict[str, Value]:
    """One way, flat; what differs by kind is in JSON."""
    record: dict[str, Value] = {"way": way.way, "split": way.split, "pools": [one.pool for one in way.kinds]}
    record |= {**fields(way.settings), "step_time_s": way.step_time_s}
    return record | time_fields(way)
