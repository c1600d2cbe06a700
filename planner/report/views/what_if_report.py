"""The what-if document as a report: one record a plan: as it is, with the changes, and the old plan under them."""

from __future__ import annotations

from collections.abc import Iterator

from planner.documents.plan import PlanPart
from planner.documents.what_if import HardwareFigureName, WhatIfDocument
from planner.report.report import (
    BarChart,
    BarSegment,
    ChartAxis,
    RecordValue,
    Report,
    ReportCase,
    ReportTable,
    StackedBar,
)
from planner.report.views.plan_report import (
    build_memory_bars,
    build_plan_record,
    build_step_bars,
    parse_heading_facts,
)
from planner.report.views.plan_words import format_strategy
from planner.report.views.what_if_text import (
    HARDWARE_FIGURE_NAMES,
    NEGLIGIBLE_ELASTICITY,
    WHATIF_HEADINGS,
    build_elasticity_rows,
    build_whatif_rows,
    format_whatif_heading,
    format_whatif_sentences,
)

_LOWER_IS_BETTER: frozenset[HardwareFigureName] = frozenset({"link_latency", "network_latency"})
"""Figures of which less is better."""
_BEFORE_LABEL, _AFTER_LABEL, _KEPT_PLAN_LABEL = "as it is", "changed", "the old plan, changed"


def build_whatif_report(document: WhatIfDocument) -> Report:
    """The whole answer of `what-if`."""
    model, cluster = document.before.model, document.before.cluster
    title = f"What if: {model.title} on {cluster.title}"
    plans = list(_enumerate_named_plans(document))
    table_rows = [tuple(cell.strip() for cell in row) for row in build_whatif_rows(document) if row[0]]
    return Report(
        command="what-if",
        title=title,
        facts=parse_heading_facts(list(format_whatif_heading(document))),
        records=[_build_whatif_record(document, name, plan) for name, plan in plans],
        tables=[
            ReportTable("Both plans", WHATIF_HEADINGS, table_rows, frozenset({0, 1, 2})),
            ReportTable(
                "Percent of the step's time for each percent of",
                ("figure", *WHATIF_HEADINGS[1:3]),
                build_elasticity_rows(document),
            ),
        ],
        charts=[
            build_step_bars(
                "Where the step goes",
                [(f"{name}: {format_strategy(named_plan.strategy)}", named_plan.terms) for name, named_plan in plans],
            ),
            build_memory_bars("Peak memory (worst stage)", [(name, named_plan.memory) for name, named_plan in plans]),
            _build_gain_bars(document),
        ],
        sentences=list(format_whatif_sentences(document)),
        cases=[
            ReportCase(title, f"{name} fits: {format_strategy(named_plan.strategy)}", named_plan.step_time_s)
            for name, named_plan in plans
        ]
        + (
            []
            if document.kept.plan
            else [ReportCase(title, f"{_KEPT_PLAN_LABEL} fits", skip_reason=document.kept.obstacle)]
        ),
    )


def _enumerate_named_plans(document: WhatIfDocument) -> Iterator[tuple[str, PlanPart]]:
    """The plans by what they are called; the old one under the changes where it can run."""
    yield _BEFORE_LABEL, document.before.plan
    yield _AFTER_LABEL, document.after.plan
    if document.kept.plan is not None:
        yield _KEPT_PLAN_LABEL, document.kept.plan


def _build_whatif_record(document: WhatIfDocument, name: str, plan: PlanPart) -> dict[str, RecordValue]:
    """One plan, flat: its speedup to the first, and percents of step time per percent of a figure where known."""
    side = document.before if name == _BEFORE_LABEL else document.after
    record: dict[str, RecordValue] = {"which": name, "model": side.model.name, "cluster": side.cluster.name}
    record |= {"accelerator": side.cluster.accelerator, "nodes": side.cluster.nodes, "devices": side.cluster.devices}
    record["changes"] = [] if name == _BEFORE_LABEL else [f"{item.key}={item.given}" for item in document.changes]
    ratios = {_BEFORE_LABEL: 1.0, _AFTER_LABEL: document.difference.speedup}
    record["speedup"] = ratios.get(name, plan.tokens_per_s / document.before.plan.tokens_per_s)
    record["regret"] = document.kept.regret if name == _KEPT_PLAN_LABEL else None
    record |= build_plan_record(plan)
    for item in document.elasticities:
        slope_by_label: dict[str, RecordValue] = {_BEFORE_LABEL: item.before, _AFTER_LABEL: item.after}
        record[f"elasticity_{item.figure}"] = slope_by_label.get(name)
    return record


def _build_gain_bars(document: WhatIfDocument) -> BarChart:
    """What one percent better hardware takes off the step, figure by figure, for both plans."""
    bars = []
    for elasticity in document.elasticities:
        sign = 1.0 if elasticity.figure in _LOWER_IS_BETTER else -1.0
        gains = [(_BEFORE_LABEL, sign * elasticity.before), (_AFTER_LABEL, sign * elasticity.after)]
        if all(gain < NEGLIGIBLE_ELASTICITY for _, gain in gains):
            continue
        for name, gain in gains:
            label, end_label = f"{HARDWARE_FIGURE_NAMES[elasticity.figure]}, {name}", f"{gain:.3f} %"
            bars.append(
                StackedBar(
                    label, end_label, [BarSegment("percent of the step", max(gain, 0.0), f"{label}: {end_label}")]
                )
            )
    axis = ChartAxis("time taken off the step", "%")
    return BarChart("What one percent better hardware takes off the step", axis, bars, bar_title="hardware figure")
