"""The plan document for people: tables in a terminal, plain text where stdout is not one.

Nothing is cut: in a narrow terminal columns are shortened or left out, tables stand below each other, and below
that the plans are told one line a figure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.cost.memory import KINDS
from planner.documents.plan import Document, PlanPart, SearchPart, UncertaintyPart
from planner.report.console import (
    console,
    first_that_fits,
    natural_width,
    plain_table,
    print_lines,
    printable,
    text_of,
)
from planner.report.views.failures_text import failures_text, never_ends
from planner.report.views.plan_words import model_line, run_text, split_words, step_line, term_name
from planner.report.views.plans_table import common_settings, print_plans
from planner.report.views.power_text import power_text
from planner.units import format_bytes, format_counted_noun, format_seconds, format_si

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from planner.documents.heterogeneous import HeteroPlanPart

_GAP = 4


def document_text(document: Document) -> str:
    """The whole answer as text for stdout."""
    out = console()
    print_document(document, out)
    return text_of(out)


def print_document(document: Document, out: Console) -> None:
    """Print the whole answer on a console."""
    print_lines(out, heading(document))
    out.print()
    print_plans(document, out)
    _print_best(document.plans[0], out)
    print_lines(out, sentences(document))


def sentences(document: Document) -> list[str]:
    """What is said below the tables, a line each."""
    told = [f"Bottleneck: {document.plans[0].bottleneck}"]
    if document.placement is not None:
        told.append(_placement_text(document))
    if document.run is not None:
        run = document.run
        never = document.reliability is not None and never_ends(document.reliability)
        told.append(run_text(document.model, run.tokens, run.steps, run.days, run.days_with_failures, ends=not never))
    for one in document.techniques:
        text = f"Technique: {one.name}: {'; '.join(one.changes)}. Accuracy: {one.accuracy}, not modelled."
        told.append(printable(text))
    energy = power_text(document)
    if energy is not None:
        told.append(printable(energy))
    if document.reliability is not None:
        told += [printable(sentence) for sentence in failures_text(document.reliability, document.model)]
    if document.uncertainty is not None:
        told.append(_uncertainty_text(document.uncertainty))
    return told


def _placement_text(document: Document) -> str:
    """Where ranks are, what it gains, and whether the slow hosts are worth having."""
    assert document.placement is not None
    plan, placed = document.plans[0], document.placement
    text = "Placement: ranks on the hosts in the order of the file; no other order was found to be faster."
    if placed.as_listed_step_time_s > plan.step_time_s:
        listed, gain = (
            format_seconds(placed.as_listed_step_time_s),
            placed.as_listed_step_time_s / plan.step_time_s - 1,
        )
        text = (
            f"Placement: hosts from {printable(placed.hosts[0])} to {printable(placed.hosts[-1])}, by --hostfile or "
            f"--rankfile; in the order of the file this plan's step takes {listed} ({gain:+.1%})."
        )
    without = placed.without_slow
    if without is None:
        return text
    hosts = printable(without.hosts[0]) if len(without.hosts) == 1 else f"the {len(without.hosts)} slow hosts"
    if without.step_time_s is None:
        return f"{text} Without {hosts} no plan fits on what is left."
    change = without.step_time_s / plan.step_time_s - 1
    verdict = "leave out" if change < 0 else "keep"
    return f"{text} Without {hosts} the step takes {format_seconds(without.step_time_s)} ({change:+.1%}): {verdict}."


def _uncertainty_text(part: UncertaintyPart) -> str:
    """How long the first plan takes, how often it is first, and what having chosen it costs."""
    low, middle, high = (
        format_seconds(value) for value in (part.step_time_s.p10, part.step_time_s.p50, part.step_time_s.p90)
    )
    text = (
        f"Uncertainty: over {part.samples:,} samples of the fitted parameters plan 1 takes {low} to {high} a step "
        f"(10 % to 90 %, median {middle}) and is first of {part.plans} plans in {part.first_share:.1%}; having "
        f"chosen it costs {part.regret.mean:.1%} on average, at most {part.regret.p90:.1%} in 90 % of them."
    )
    if not part.rivals:
        return text
    rivals = ", ".join(f"{split_words(rival.strategy)} in {rival.share:.1%}" for rival in part.rivals)
    return f"{text} Others that are first: {rivals}."


def heading(document: Document) -> list[str]:
    """What was understood, a line each: a word, then from the eleventh column on what is said of it."""
    model, cluster, search = document.model, document.cluster, document.search
    lines = [
        model_line(model),
        f"Cluster   {printable(cluster.title)}: {format_counted_noun(cluster.nodes, 'node')} x {cluster.devices_per_node} "
        f"{printable(cluster.accelerator)} = {format_counted_noun(cluster.devices, 'device')}",
        step_line(model, document.training),
    ]
    settings = common_settings(document.plans, document.training.precision)
    if settings:
        lines.append(f"Settings  {settings}")
    if search.candidates > 1:
        lines += _search_lines(search)
    if model.note:
        lines.append(f"Note      {printable(model.note)}")
    return lines


def _search_lines(search: SearchPart) -> list[str]:
    """What was looked at, by what the plans are ordered, and which rule cut how many."""
    asked = f" under {search.questions} combinations of settings and batch" if search.questions > 1 else ""
    first, *others = search.objectives
    if others:
        order = f"; the Pareto front of {' and '.join(search.objectives)}"
    else:
        order = "" if first == "step-time" else f"; ordered by {first}"
    if search.critical_batch_tokens is not None:
        critical = format_si(search.critical_batch_tokens)
        order += f"; a token of a step of B counts 1 / (1 + B / {critical})"
    cuts = ", ".join(f"{name} {format_si(count)}" for name, count in search.cut_by.items() if count)
    return [
        f"Search    {search.candidates:,} candidates{asked}, {search.feasible:,} fit; every one considered{order}",
        *([f"Cut by    {cuts}"] if cuts else []),
    ]


def _print_best(plan: PlanPart, out: Console) -> None:
    """The best plan's step and memory: beside each other where that fits, else one below the other."""
    from rich.table import Table

    title = "step of the best plan"
    terms, memory = terms_table(plan, title), _memory_table(plan)
    if natural_width(out, terms) + _GAP + natural_width(out, memory) <= out.width:
        beside = Table.grid(padding=(0, _GAP, 0, 0))
        beside.add_row(terms, memory)
        out.print(beside)
        return
    short = first_that_fits(out, lambda title: terms_table(plan, title), (title, "step"))
    out.print(short or terms_table(plan, "step", hidden=False))
    out.print(memory)


def terms_table(part: PlanPart | HeteroPlanPart, title: str, *, hidden: bool = True) -> Table:
    """Where a step goes; `hidden`: with what runs beside other work."""
    table = plain_table(footer=True)
    table.add_column(title, "total", no_wrap=True)
    table.add_column("time", format_seconds(part.step_time_s), justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    if hidden:
        table.add_column("hidden", justify="right", no_wrap=True)
    for name, seconds in part.terms.items():
        beside = part.hidden.get(name, 0.0)
        if seconds == 0 and beside == 0:
            continue
        cells = [term_name(name), format_seconds(seconds), f"{seconds / part.step_time_s:.1%}"]
        table.add_row(*cells, *([format_seconds(beside) if beside else ""] if hidden else []))
    return table


def _memory_table(plan: PlanPart) -> Table:
    """What the fullest device holds."""
    memory = plan.memory
    table = plain_table(footer=True)
    table.add_column("fullest device", f"total of {format_bytes(memory.capacity_bytes)}", no_wrap=True)
    table.add_column("memory", format_bytes(memory.total_bytes), justify="right", no_wrap=True)
    table.add_column("share", f"{memory.total_bytes / memory.capacity_bytes:.1%}", justify="right", no_wrap=True)
    for kind in KINDS:
        size = float(getattr(memory, f"{kind}_bytes"))
        if size:
            table.add_row(kind, format_bytes(size), f"{size / memory.capacity_bytes:.1%}")
    return table
