"""The what-if document as a report: one record a plan: as it is, with the changes, and the old plan under them."""

from __future__ import annotations

from collections.abc import Iterator

from planner.documents.plan import PlanPart
from planner.documents.what_if import FigureName, WhatIfDocument
from planner.report.report import (
    Bar,
    Bars,
    Case,
    Piece,
    Report,
    Table,
    Value,
)
from planner.report.views.plan_report import facts, memory_bars, plan_record, step_bars
from planner.report.views.plan_words import plan_in_words
from planner.report.views.what_if_text import (
    FIGURES,
    HEADINGS,
    NEGLIGIBLE,
    heading,
    rows,
    sentences,
    slopes,
)

_WORSE_ABOVE: frozenset[FigureName] = frozenset({"link_latency", "network_latency"})
"""Figures of which less is better."""
_BEFORE, _AFTER, _KEPT = "as it is", "changed", "the old plan, changed"


def what_if_report(document: WhatIfDocument) -> Report:
    """The whole answer of `what-if`."""
    model, cluster = document.before.model, document.before.cluster
    title = f"What if: {model.title} on {cluster.title}"
    plans = list(_plans(document))
    told = [tuple(cell.strip() for cell in row) for row in rows(document) if row[0]]
    return Report(
        command="what-if",
        title=title,
        facts=facts(list(heading(document))),
        records=[_record(document, name, plan) for name, plan in plans],
        tables=[
            Table("Both plans", HEADINGS, told, frozenset({0, 1, 2})),
            Table("Percent of the step's time for each percent of", ("figure", *HEADINGS[1:3]), slopes(document)),
        ],
        charts=[
            step_bars(
                "Where the step goes", [(f"{name}: {plan_in_words(one.strategy)}", one.terms) for name, one in plans]
            ),
            memory_bars("Memory of the fullest device", [(name, one.memory) for name, one in plans]),
            _gains(document),
        ],
        sentences=list(sentences(document)),
        cases=[Case(title, f"{name} fits: {plan_in_words(one.strategy)}", one.step_time_s) for name, one in plans]
        + ([] if document.kept.plan else [Case(title, f"{_KEPT} fits", skipped=document.kept.obstacle)]),
    )


def _plans(document: WhatIfDocument) -> Iterator[tuple[str, PlanPart]]:
    """The plans by what they are called; the old one under the changes where it can run."""
    yield _BEFORE, document.before.plan
    yield _AFTER, document.after.plan
    if document.kept.plan is not None:
        yield _KEPT, document.kept.plan


def _record(document: WhatIfDocument, name: str, plan: PlanPart) -> dict[str, Value]:
    """One plan, flat: its speedup to the first, and percents of step time per percent of a figure where known."""
    side = document.before if name == _BEFORE else document.after
    record: dict[str, Value] = {"which": name, "model": side.model.name, "cluster": side.cluster.name}
    record |= {"accelerator": side.cluster.accelerator, "nodes": side.cluster.nodes, "devices": side.cluster.devices}
    record["changes"] = [] if name == _BEFORE else [f"{one.key}={one.given}" for one in document.changes]
    ratios = {_BEFORE: 1.0, _AFTER: document.difference.speedup}
    record["speedup"] = ratios.get(name, plan.tokens_per_s / document.before.plan.tokens_per_s)
    record["regret"] = document.kept.regret if name == _KEPT else None
    record |= plan_record(plan)
    for one in document.elasticities:
        slopes_of: dict[str, Value] = {_BEFORE: one.before, _AFTER: one.after}
        record[f"elasticity_{one.figure}"] = slopes_of.get(name)
    return record


def _gains(document: WhatIfDocument) -> Bars:
    """What one percent better hardware takes off the step, figure by figure, for both plans."""
    drawn = []
    for one in document.elasticities:
        sign = 1.0 if one.figure in _WORSE_ABOVE else -1.0
        gains = [(_BEFORE, sign * one.before), (_AFTER, sign * one.after)]
        if all(gain < NEGLIGIBLE for _, gain in gains):
            continue
        for name, gain in gains:
            label, end = f"{FIGURES[one.figure]}, {name}", f"{gain:.3f} %"
            drawn.append(Bar(label, end, [Piece("percent of the step", max(gain, 0.0), f"{label}: {end}")]))
    return Bars("What one percent better hardware takes off the step", drawn)
