"""The what-if document for people: both plans in one table, then the old plan's fate and the elasticities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from planner.documents.plan import ModelPart, PlanPart
from planner.documents.what_if import ChangePart, SidePart, WhatIfDocument
from planner.report.console import (
    console,
    first_that_fits,
    plain_table,
    print_lines,
    printable,
    text_of,
)
from planner.report.views.plan_words import per_second, sample, samples, term_name, unit_of
from planner.report.views.plans_table import half_of
from planner.units import format_bytes, format_seconds, format_si

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Row = tuple[str, str, str, str]
"""A name, the value as it is, the value with the changes, the difference."""

HEADINGS: Row = ("", "as it is", "changed", "difference")
"""Of the rows."""
FIGURES = {
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
NEGLIGIBLE = 5e-4
"""An elasticity below which a figure decides nothing."""
_FORMATS: dict[str, Callable[[float], str]] = {
    "bytes": format_bytes,
    "bytes_per_s": lambda value: format_si(value, "B/s"),
    "s": format_seconds,
    "flops": lambda value: format_si(value, "FLOP/s"),
    "w": lambda value: format_si(value, "W"),
    "usd": lambda value: f"{value:.2f} USD",
    "": lambda value: f"{value:,.0f}",
}


def what_if_text(document: WhatIfDocument) -> str:
    """The whole answer as text for stdout."""
    out = console()
    print_what_if(document, out)
    return text_of(out)


def print_what_if(document: WhatIfDocument, out: Console) -> None:
    """Print the whole answer on a console."""
    print_lines(out, heading(document))
    out.print()
    _print_table(HEADINGS, list(rows(document)), out)
    print_lines(out, sentences(document))
    out.print()
    _print_table(("% of step time per % of", "as it is", "changed"), slopes(document), out)


def heading(document: WhatIfDocument) -> Iterator[str]:
    """The question and its changes."""
    before, training = document.before, document.before.training
    cluster = before.cluster
    model = before.model
    yield f"Model     {printable(model.title)}: {sample(model)}"
    yield (
        f"Cluster   {printable(cluster.title)}: {cluster.devices:,} x {printable(cluster.accelerator)}, "
        f"{training.global_batch:,} {samples(model)} a step, {training.precision}, {training.framework}"
    )
    for change in document.changes:
        given = f" ({printable(change.given)})" if change.given[-1] in "xX%" else ""
        values = f"{_value(change, change.before)} -> {_value(change, change.after)}"
        yield f"Change    {printable(change.key)}: {values}{given}"


def _value(change: ChangePart, value: float | str | None) -> str:
    if value is None:
        return "not known"
    return printable(value) if isinstance(value, str) else _FORMATS[change.unit](value)


def rows(document: WhatIfDocument) -> Iterator[Row]:
    """Both plans, figure by figure. Empty rows stand between groups; an indented name is a part of the one above."""
    before, after = document.before, document.after
    yield from _choices(before, after)
    old, new = before.plan, after.plan
    yield "", "", "", ""
    yield _times("step", old.step_time_s, new.step_time_s)
    for name, seconds in old.terms.items():
        if seconds or new.terms[name]:
            yield _times(f"  {term_name(name)}", seconds, new.terms[name])
    for name, seconds in old.hidden.items():
        if seconds or new.hidden[name]:
            yield _times(f"  {term_name(name)}, hidden", seconds, new.hidden[name])
    yield "", "", "", ""
    yield from _memory(old, new)
    yield "", "", "", ""
    yield from _yields(before.model, after.model, old, new)


def _choices(before: SidePart, after: SidePart) -> Iterator[Row]:
    """Devices, batch, strategy and settings of both plans, and which of them differ."""
    old, new = before.plan, after.plan
    pairs: list[tuple[str, object, object]] = [
        ("devices", f"{before.cluster.devices:,}", f"{after.cluster.devices:,}"),
        ("global batch", f"{old.global_batch:,}", f"{new.global_batch:,}"),
    ]
    for part in ("strategy", "settings"):
        one, other = getattr(old, part), getattr(new, part)
        for name in one.__struct_fields__:
            first, second = getattr(one, name), getattr(other, name)
            if name in ("gradients", "communication"):
                first, second = half_of(first, before.training.precision), half_of(second, after.training.precision)
            pairs.append((name.replace("_", " "), first, second))
    for name, first, second in pairs:
        yield name, _word(first), _word(second), "" if first == second else "differs"


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "+".join(value) or "none"
    return "all" if value is None else str(value)


def _memory(old: PlanPart, new: PlanPart) -> Iterator[Row]:
    pairs = [("memory", old.memory.total_bytes, new.memory.total_bytes)]
    kinds = (name for name in old.memory.__struct_fields__ if name not in ("total_bytes", "capacity_bytes"))
    for name in kinds:
        first, second = float(getattr(old.memory, name)), float(getattr(new.memory, name))
        if first or second:
            pairs.append((f"  {name.removesuffix('_bytes')}", first, second))
    pairs.append(("capacity", old.memory.capacity_bytes, new.memory.capacity_bytes))
    for name, first, second in pairs:
        yield name, format_bytes(first), format_bytes(second), _percent(first, second)


def _yields(was: ModelPart, becomes: ModelPart, old: PlanPart, new: PlanPart) -> Iterator[Row]:
    both = zip(per_second(was, old), per_second(becomes, new), strict=True)
    for where, (first, second) in zip(("", " a device"), both, strict=True):
        name = f"{unit_of(was)}s/s{where}"
        yield name, format_si(first), format_si(second), _percent(first, second)
    for name, first, second in (("MFU", old.mfu, new.mfu), ("HFU", old.hfu, new.hfu)):
        yield name, f"{first:.1%}", f"{second:.1%}", f"{100 * (second - first):+.1f} points"
    for name, unit, one, other in (
        ("cost of a step", "USD", old.cost_usd_per_step, new.cost_usd_per_step),
        ("energy of a step", "J", old.energy_j_per_step, new.energy_j_per_step),
    ):
        if one is not None or other is not None:
            told = ["not known" if value is None else format_si(value, unit) for value in (one, other)]
            yield name, told[0], told[1], _percent(one, other) if one and other else ""


def _times(name: str, first: float, second: float) -> Row:
    return name, format_seconds(first), format_seconds(second), _percent(first, second)


def _percent(first: float, second: float) -> str:
    if first == second:
        return ""
    return (
        f"{second / first - 1.0:+.1%}" if first and second / first < 100 else "new" if not first else "x 100 and more"
    )


def _slope(value: float) -> str:
    return "0" if abs(value) < NEGLIGIBLE else f"{value:+.3f}"


def slopes(document: WhatIfDocument) -> list[tuple[str, str, str]]:
    """Elasticities of both plans by the name of their figure."""
    return [(FIGURES[one.figure], _slope(one.before), _slope(one.after)) for one in document.elasticities]


def sentences(document: WhatIfDocument) -> Iterator[str]:
    """What became of the best plan, and of the old one."""
    kept, speedup = document.kept, document.difference.speedup
    change = (
        f"{abs(speedup - 1.0):.1%} {'more' if speedup >= 1 else 'fewer'} {unit_of(document.before.model)}s a second"
    )
    yield f"{'The best plan stays the same' if document.same_plan else 'Another plan is the best'}: {change}."
    if kept.plan is None or kept.regret is None:
        yield f"The old plan would not run with the changes: {kept.obstacle}."
    elif not document.same_plan:
        step = format_seconds(kept.plan.step_time_s)
        width = f" with dp {kept.plan.strategy.dp}" if kept.plan.strategy != document.before.plan.strategy else ""
        yield f"The old plan{width} would take {step} a step with the changes, {kept.regret:.1%} more than the best."


def _print_table(headings: tuple[str, ...], rows: list[Row] | list[tuple[str, str, str]], out: Console) -> None:
    """The rows as wide as fits: without the last column, or one line a figure."""
    table = first_that_fits(out, lambda count: _table(headings[:count], [row[:count] for row in rows]), (4, 3))
    if table is not None:
        out.print(table)
        return
    for name, *values in rows:
        told = [f"{heading} {value}" for heading, value in zip(headings[1:], values, strict=True) if value]
        out.print("\n  ".join([name.strip(), *told]), markup=False)


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = plain_table()
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table
