"""The what-if document for people: both plans in one table, then the old plan's fate and the elasticities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from planner.documents.plan import ModelPart, PlanPart
from planner.documents.what_if import InputChangePart, WhatIfDocument, WhatIfSidePart
from planner.report.console import (
    build_console,
    build_plain_table,
    find_fitting_table,
    get_console_text,
    print_lines,
    strip_nonprintable,
)
from planner.report.views.plan_words import (
    format_batch_sample,
    format_sample_plural,
    format_term_name,
    get_throughput_per_s,
    get_throughput_unit,
)
from planner.report.views.plans_table import resolve_gradient_format
from planner.units import format_bytes, format_count, format_seconds, format_si

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WhatifRow = tuple[str, str, str, str]
"""A name, the value as it is, the value with the changes, the difference."""

WHATIF_HEADINGS: WhatifRow = ("", "as it is", "changed", "difference")
"""Of the rows."""
HARDWARE_FIGURE_NAMES = {
    "peak": "peak FLOP/s",
    "memory_bandwidth": "memory bandwidth",
    "link_bandwidth": "link bandwidth",
    "network_bandwidth": "network bandwidth",
    "link_latency": "link latency",
    "network_latency": "network latency",
    "host_link": "link to the host",
    "host_bandwidth": "host's memory bandwidth",
}
"""Figures of hardware as people read them."""
NEGLIGIBLE_ELASTICITY = 5e-4
"""An elasticity below which a figure decides nothing."""
_UNIT_FORMATS: dict[str, Callable[[float], str]] = {
    "bytes": format_bytes,
    "bytes_per_s": lambda value: format_si(value, "B/s"),
    "s": format_seconds,
    "flops": lambda value: format_si(value, "FLOP/s"),
    "w": lambda value: format_si(value, "W"),
    "usd": lambda value: f"{value:.2f} USD",
    "": lambda value: f"{value:,.0f}",
}


def render_whatif_text(document: WhatIfDocument) -> str:
    """The whole answer as text for stdout."""
    out = build_console()
    print_whatif_document(document, out)
    return get_console_text(out)


def print_whatif_document(document: WhatIfDocument, out: Console) -> None:
    """Print the whole answer on a console."""
    print_lines(out, format_whatif_heading(document))
    out.print()
    _print_table(WHATIF_HEADINGS, list(build_whatif_rows(document)), out)
    print_lines(out, format_whatif_sentences(document))
    out.print()
    _print_table(("% of step time per % of", "as it is", "changed"), build_elasticity_rows(document), out)


def format_whatif_heading(document: WhatIfDocument) -> Iterator[str]:
    """The question and its changes."""
    before, scenario = document.before, document.before.training
    cluster = before.cluster
    model = before.model
    yield f"Model     {strip_nonprintable(model.title)}: {format_batch_sample(model)}"
    yield (
        f"Cluster   {strip_nonprintable(cluster.title)}: {cluster.devices:,} "
        f"x {strip_nonprintable(cluster.accelerator)}, "
        f"{scenario.global_batch:,} {format_sample_plural(model)} a step, {scenario.precision}, {scenario.framework}"
    )
    for change in document.changes:
        given = f" ({strip_nonprintable(change.given)})" if change.given[-1] in "xX%" else ""
        values = f"{_format_change_value(change, change.before)} -> {_format_change_value(change, change.after)}"
        yield f"Change    {strip_nonprintable(change.key)}: {values}{given}"


def _format_change_value(change: InputChangePart, value: float | str | None) -> str:
    if value is None:
        return "not known"
    return strip_nonprintable(value) if isinstance(value, str) else _UNIT_FORMATS[change.unit](value)


def build_whatif_rows(document: WhatIfDocument) -> Iterator[WhatifRow]:
    """Both plans, figure by figure. Empty rows stand between groups; an indented name is a part of the one above."""
    before, after = document.before, document.after
    yield from _enumerate_choice_rows(before, after)
    old, new = before.plan, after.plan
    yield "", "", "", ""
    yield _build_time_row("step", old.step_time_s, new.step_time_s)
    for name, seconds in old.terms.items():
        if seconds or new.terms[name]:
            yield _build_time_row(f"  {format_term_name(name)}", seconds, new.terms[name])
    for name, seconds in old.hidden.items():
        if seconds or new.hidden[name]:
            yield _build_time_row(f"  {format_term_name(name)}, overlapped", seconds, new.hidden[name])
    yield "", "", "", ""
    yield from _enumerate_memory_rows(old, new)
    yield "", "", "", ""
    yield from _enumerate_throughput_rows(before.model, after.model, old, new)


def _enumerate_choice_rows(before: WhatIfSidePart, after: WhatIfSidePart) -> Iterator[WhatifRow]:
    """Devices, batch, strategy and settings of both plans, and which of them differ."""
    old, new = before.plan, after.plan
    pairs: list[tuple[str, object, object]] = [
        ("devices", f"{before.cluster.devices:,}", f"{after.cluster.devices:,}"),
        ("global batch", f"{old.global_batch:,}", f"{new.global_batch:,}"),
    ]
    for part in ("strategy", "settings"):
        old_part, new_part = getattr(old, part), getattr(new, part)
        for name in old_part.__struct_fields__:
            first, second = getattr(old_part, name), getattr(new_part, name)
            if name in ("gradients", "communication"):
                first, second = (
                    resolve_gradient_format(first, before.training.precision),
                    resolve_gradient_format(second, after.training.precision),
                )
            pairs.append((name.replace("_", " "), first, second))
    for name, first, second in pairs:
        yield name, _format_choice(first), _format_choice(second), "" if first == second else "differs"


def _format_choice(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "+".join(value) or "none"
    return "all" if value is None else str(value)


def _enumerate_memory_rows(old: PlanPart, new: PlanPart) -> Iterator[WhatifRow]:
    pairs = [("memory", old.memory.total_bytes, new.memory.total_bytes)]
    memory_fields = (name for name in old.memory.__struct_fields__ if name not in ("total_bytes", "capacity_bytes"))
    for name in memory_fields:
        first, second = float(getattr(old.memory, name)), float(getattr(new.memory, name))
        if first or second:
            pairs.append((f"  {name.removesuffix('_bytes')}", first, second))
    pairs.append(("capacity", old.memory.capacity_bytes, new.memory.capacity_bytes))
    for name, first, second in pairs:
        yield name, format_bytes(first), format_bytes(second), _format_percent_change(first, second)


def _enumerate_throughput_rows(
    old_model: ModelPart, new_model: ModelPart, old: PlanPart, new: PlanPart
) -> Iterator[WhatifRow]:
    throughputs = zip(get_throughput_per_s(old_model, old), get_throughput_per_s(new_model, new), strict=True)
    for per_device_suffix, (first, second) in zip(("", " a device"), throughputs, strict=True):
        name = f"{get_throughput_unit(old_model)}s/s{per_device_suffix}"
        yield name, format_count(first), format_count(second), _format_percent_change(first, second)
    for name, first, second in (("MFU", old.mfu, new.mfu), ("HFU", old.hfu, new.hfu)):
        yield name, f"{first:.1%}", f"{second:.1%}", f"{100 * (second - first):+.1f} points"
    for name, unit, old_value, new_value in (
        ("cost of a step", "USD", old.cost_usd_per_step, new.cost_usd_per_step),
        ("energy of a step", "J", old.energy_j_per_step, new.energy_j_per_step),
    ):
        if old_value is not None or new_value is not None:
            value_texts = [
                "not known" if value is None else format_si(value, unit) for value in (old_value, new_value)
            ]
            yield (
                name,
                value_texts[0],
                value_texts[1],
                _format_percent_change(old_value, new_value) if old_value and new_value else "",
            )


def _build_time_row(name: str, first: float, second: float) -> WhatifRow:
    return name, format_seconds(first), format_seconds(second), _format_percent_change(first, second)


def _format_percent_change(first: float, second: float) -> str:
    if first == second:
        return ""
    return (
        f"{second / first - 1.0:+.1%}" if first and second / first < 100 else "new" if not first else "x 100 and more"
    )


def _format_elasticity(value: float) -> str:
    return "0" if abs(value) < NEGLIGIBLE_ELASTICITY else f"{value:+.3f}"


def build_elasticity_rows(document: WhatIfDocument) -> list[tuple[str, str, str]]:
    """Elasticities of both plans by the name of their figure."""
    return [
        (
            HARDWARE_FIGURE_NAMES[elasticity.figure],
            _format_elasticity(elasticity.before),
            _format_elasticity(elasticity.after),
        )
        for elasticity in document.elasticities
    ]


def format_whatif_sentences(document: WhatIfDocument) -> Iterator[str]:
    """What became of the best plan, and of the old one."""
    kept, speedup = document.kept, document.difference.speedup
    change = (
        f"{abs(speedup - 1.0):.1%} {'more' if speedup >= 1 else 'fewer'} "
        f"{get_throughput_unit(document.before.model)}s a second"
    )
    yield f"{'The best plan stays the same' if document.same_plan else 'Another plan is the best'}: {change}."
    if kept.plan is None or kept.regret is None:
        yield f"The old plan would not run with the changes: {kept.obstacle}."
    elif not document.same_plan:
        step = format_seconds(kept.plan.step_time_s)
        width = f" with dp {kept.plan.strategy.dp}" if kept.plan.strategy != document.before.plan.strategy else ""
        yield f"The old plan{width} would take {step} a step with the changes, {kept.regret:.1%} more than the best."


def _print_table(headings: tuple[str, ...], rows: list[WhatifRow] | list[tuple[str, str, str]], out: Console) -> None:
    """The rows as wide as fits: without the last column, or one line a figure."""
    table = find_fitting_table(
        out, lambda count: _build_whatif_table(headings[:count], [row[:count] for row in rows]), (4, 3)
    )
    if table is not None:
        out.print(table)
        return
    for name, *values in rows:
        details = [f"{heading} {value}" for heading, value in zip(headings[1:], values, strict=True) if value]
        out.print("\n  ".join([name.strip(), *details]), markup=False)


def _build_whatif_table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = build_plain_table()
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table
