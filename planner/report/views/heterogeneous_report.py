"""The mixed document as a report: one record a way to use two kinds of accelerators."""

from __future__ import annotations

from planner.documents.heterogeneous import HeterogeneousDocument, HeteroPlanPart
from planner.report.report import RecordValue, Report, ReportCase
from planner.report.views.heterogeneous_text import (
    HETERO_PLAN_NAMES,
    build_hetero_columns,
    build_pool_columns,
    format_hetero_heading,
)
from planner.report.views.plan_report import (
    build_memory_bars,
    build_report_table,
    build_step_bars,
    build_step_table,
    collect_part_fields,
    collect_time_fields,
    parse_heading_facts,
)
from planner.report.views.plan_words import format_run_sentence


def build_hetero_report(document: HeterogeneousDocument) -> Report:
    """The whole answer of `plan` for two kinds of nodes."""
    hetero_plans, best_plan = document.ways, document.ways[0]
    title = f"{document.model.title} on {document.cluster.title}"
    head: dict[str, RecordValue] = {
        "model": document.model.name, "cluster": document.cluster.name, "devices": document.cluster.devices,
    }  # fmt: skip
    run_sentences = [
        format_run_sentence(document.model, run.tokens, run.steps, run.days) for run in [document.run] if run
    ]
    named_plans = [(HETERO_PLAN_NAMES[hetero_plan.way], hetero_plan) for hetero_plan in hetero_plans]
    return Report(
        command="plan",
        title=title,
        facts=parse_heading_facts(format_hetero_heading(document)),
        records=[
            {"rank": n, **head, **build_hetero_record(hetero_plan)} for n, hetero_plan in enumerate(hetero_plans, 1)
        ],
        tables=[
            build_report_table("Ways, the fastest first", build_hetero_columns(document.model, hetero_plans)),
            build_report_table("What each kind does in the best way", build_pool_columns(best_plan.kinds)),
            build_step_table("Step of the best plan", best_plan.terms, best_plan.hidden, best_plan.step_time_s),
        ],
        charts=[
            build_step_bars("Where the step goes", [(name, hetero_plan.terms) for name, hetero_plan in named_plans]),
            build_memory_bars(
                "Fullest device of each kind, best way",
                [(pool_plan.pool, pool_plan.memory) for pool_plan in best_plan.kinds],
            ),
        ],
        sentences=[*document.answer.sentences, *run_sentences],
        cases=[
            ReportCase(title, f"{name} fits: {hetero_plan.split}", hetero_plan.step_time_s)
            for name, hetero_plan in named_plans
        ]
        + [ReportCase(title, name, skip_reason="nothing fits") for name in document.left_out],
    )


def build_hetero_record(hetero_plan: HeteroPlanPart) -> dict[str, RecordValue]:
    """One way, flat; what differs by kind is in JSON."""
    record: dict[str, RecordValue] = {
        "way": hetero_plan.way,
        "split": hetero_plan.split,
        "pools": [pool_plan.pool for pool_plan in hetero_plan.kinds],
    }
    record |= {**collect_part_fields(hetero_plan.settings), "step_time_s": hetero_plan.step_time_s}
    return record | collect_time_fields(hetero_plan)
