"""The plan document for people: tables in a terminal, plain text where stdout is not one.

Nothing is cut: in a narrow terminal columns are shortened or left out, tables stand below each other, and below
that the plans are told one line a figure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.cost.memory import MEMORY_CATEGORIES
from planner.documents.plan import PlanDocument, PlanPart, SearchPart, UncertaintyPart
from planner.report.console import (
    build_console,
    build_plain_table,
    find_fitting_table,
    get_console_text,
    measure_table_width,
    print_lines,
    strip_nonprintable,
)
from planner.report.views.failures_text import format_failure_sentences, is_run_endless
from planner.report.views.plan_words import (
    format_model_line,
    format_run_sentence,
    format_split,
    format_step_line,
    format_term_name,
)
from planner.report.views.plans_table import format_common_settings, print_plan_table
from planner.report.views.power_text import format_power_sentence
from planner.units import format_bytes, format_count, format_counted_noun, format_seconds

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from planner.documents.heterogeneous import HeteroPlanPart

_TABLE_GAP = 4


def render_plan_text(document: PlanDocument) -> str:
    """The whole answer as text for stdout."""
    out = build_console()
    print_plan_document(document, out)
    return get_console_text(out)


def print_plan_document(document: PlanDocument, out: Console) -> None:
    """Print the whole answer on a console."""
    print_lines(out, format_plan_heading(document))
    out.print()
    print_plan_table(document, out)
    _print_best_plan(document.plans[0], out)
    print_lines(out, format_plan_sentences(document))


def format_plan_sentences(document: PlanDocument) -> list[str]:
    """What is said below the tables, a line each."""
    lines = [f"Bottleneck: {document.plans[0].bottleneck}"]
    if document.placement is not None:
        lines.append(_format_placement(document))
    if document.run is not None:
        run = document.run
        is_endless = document.reliability is not None and is_run_endless(document.reliability)
        lines.append(
            format_run_sentence(
                document.model, run.tokens, run.steps, run.days, run.days_with_failures, is_finishing=not is_endless
            )
        )
    for technique in document.techniques:
        text = (
            f"Technique: {technique.name}: {'; '.join(technique.changes)}. "
            f"Accuracy: {technique.accuracy}, not modelled."
        )
        lines.append(strip_nonprintable(text))
    energy = format_power_sentence(document)
    if energy is not None:
        lines.append(strip_nonprintable(energy))
    if document.reliability is not None:
        lines += [
            strip_nonprintable(sentence)
            for sentence in format_failure_sentences(document.reliability, document.model)
        ]
    if document.uncertainty is not None:
        lines.append(_format_uncertainty(document.uncertainty))
    return lines


def _format_placement(document: PlanDocument) -> str:
    """Where ranks are, what it gains, and whether the slow hosts are worth having."""
    assert document.placement is not None
    plan, placement = document.plans[0], document.placement
    text = "Placement: ranks on the hosts in the order of the file; no other order was found to be faster."
    if placement.as_listed_step_time_s > plan.step_time_s:
        listed_order_time, gain = (
            format_seconds(placement.as_listed_step_time_s),
            placement.as_listed_step_time_s / plan.step_time_s - 1,
        )
        text = (
            f"Placement: hosts from {strip_nonprintable(placement.hosts[0])} to "
            f"{strip_nonprintable(placement.hosts[-1])}, by --hostfile or "
            f"--rankfile; in the order of the file this plan's step takes {listed_order_time} ({gain:+.1%})."
        )
    without_slow_hosts = placement.without_slow
    if without_slow_hosts is None:
        return text
    hosts = (
        strip_nonprintable(without_slow_hosts.hosts[0])
        if len(without_slow_hosts.hosts) == 1
        else f"the {len(without_slow_hosts.hosts)} slow hosts"
    )
    if without_slow_hosts.step_time_s is None:
        return f"{text} Without {hosts} no plan fits on what is left."
    change = without_slow_hosts.step_time_s / plan.step_time_s - 1
    verdict = "leave out" if change < 0 else "keep"
    return (
        f"{text} Without {hosts} the step takes {format_seconds(without_slow_hosts.step_time_s)} "
        f"({change:+.1%}): {verdict}."
    )


def _format_uncertainty(part: UncertaintyPart) -> str:
    """How long the first plan takes, how often it is first, and what having chosen it costs."""
    low, median, high = (
        format_seconds(value) for value in (part.step_time_s.p10, part.step_time_s.p50, part.step_time_s.p90)
    )
    text = (
        f"Uncertainty: over {part.samples:,} samples of the fitted parameters plan 1 takes {low} to {high} a step "
        f"(10 % to 90 %, median {median}) and is first of {part.plans} plans in {part.first_share:.1%}; having "
        f"chosen it costs {part.regret.mean:.1%} on average, at most {part.regret.p90:.1%} in 90 % of them."
    )
    if not part.rivals:
        return text
    rivals = ", ".join(f"{format_split(rival.strategy)} in {rival.share:.1%}" for rival in part.rivals)
    return f"{text} Others that are first: {rivals}."


def format_plan_heading(document: PlanDocument) -> list[str]:
    """What was understood, a line each: a word, then from the eleventh column on what is said of it."""
    model, cluster, search = document.model, document.cluster, document.search
    lines = [
        format_model_line(model),
        f"Cluster   {strip_nonprintable(cluster.title)}: {format_counted_noun(cluster.nodes, 'node')} "
        f"x {cluster.devices_per_node} "
        f"{strip_nonprintable(cluster.accelerator)} = {format_counted_noun(cluster.devices, 'device')}",
        format_step_line(model, document.training),
    ]
    settings = format_common_settings(document.plans, document.training.precision)
    if settings:
        lines.append(f"Settings  {settings}")
    if search.candidates > 1:
        lines += _format_search_lines(search)
    if model.note:
        lines.append(f"Note      {strip_nonprintable(model.note)}")
    return lines


def _format_search_lines(search: SearchPart) -> list[str]:
    """What was looked at, by what the plans are ordered, and which rule cut how many."""
    combinations_note = (
        f" under {search.questions} combinations of settings and batch" if search.questions > 1 else ""
    )
    first, *others = search.objectives
    if others:
        order = f"; the Pareto front of {' and '.join(search.objectives)}"
    else:
        order = "" if first == "step-time" else f"; ordered by {first}"
    if search.critical_batch_tokens is not None:
        critical = format_count(search.critical_batch_tokens)
        order += f"; a token of a step of B counts 1 / (1 + B / {critical})"
    rejections = ", ".join(f"{name} {format_count(count)}" for name, count in search.cut_by.items() if count)
    return [
        f"Search    {search.candidates:,} candidates{combinations_note}, {search.feasible:,} fit; exhaustive{order}",
        *([f"Rejected  {rejections}"] if rejections else []),
    ]


def _print_best_plan(plan: PlanPart, out: Console) -> None:
    """The best plan's step and memory: beside each other where that fits, else one below the other."""
    from rich.table import Table

    title = "step of the best plan"
    terms, memory = build_terms_table(plan, title), _build_best_memory_table(plan)
    if measure_table_width(out, terms) + _TABLE_GAP + measure_table_width(out, memory) <= out.width:
        grid = Table.grid(padding=(0, _TABLE_GAP, 0, 0))
        grid.add_row(terms, memory)
        out.print(grid)
        return
    terms_variant = find_fitting_table(out, lambda title: build_terms_table(plan, title), (title, "step"))
    out.print(terms_variant or build_terms_table(plan, "step", with_overlapped=False))
    out.print(memory)


def build_terms_table(part: PlanPart | HeteroPlanPart, title: str, *, with_overlapped: bool = True) -> Table:
    """Where a step goes; `with_overlapped`: with what runs beside other work."""
    table = build_plain_table(footer=True)
    table.add_column(title, "total", no_wrap=True)
    table.add_column("time", format_seconds(part.step_time_s), justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    if with_overlapped:
        table.add_column("overlapped", justify="right", no_wrap=True)
    for name, seconds in part.terms.items():
        overlapped_s = part.hidden.get(name, 0.0)
        if seconds == 0 and overlapped_s == 0:
            continue
        cells = [format_term_name(name), format_seconds(seconds), f"{seconds / part.step_time_s:.1%}"]
        table.add_row(*cells, *([format_seconds(overlapped_s) if overlapped_s else ""] if with_overlapped else []))
    return table


def _build_best_memory_table(plan: PlanPart) -> Table:
    """What the fullest device holds."""
    memory = plan.memory
    table = build_plain_table(footer=True)
    table.add_column("peak memory", f"total of {format_bytes(memory.capacity_bytes)}", no_wrap=True)
    table.add_column("memory", format_bytes(memory.total_bytes), justify="right", no_wrap=True)
    table.add_column("share", f"{memory.total_bytes / memory.capacity_bytes:.1%}", justify="right", no_wrap=True)
    for category in MEMORY_CATEGORIES:
        size = float(getattr(memory, f"{category}_bytes"))
        if size:
            table.add_row(category, format_bytes(size), f"{size / memory.capacity_bytes:.1%}")
    return table
