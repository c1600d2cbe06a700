"""How many nodes a run needs, for people: the answer, the curve around it, and Chinchilla's line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.documents.plan import ModelPart, StrategyPart
from planner.documents.size import SizeDocument
from planner.documents.sizing import RunPart, SizePart
from planner.report.console import (
    console,
    first_that_fits,
    plain_table,
    print_lines,
    printable,
    text_of,
)
from planner.report.views.plan_words import amount, model_line, plan_in_words
from planner.units import (
    DAY_S,
    J_PER_KWH,
    format_counted_noun,
    format_days,
    format_duration,
    format_energy,
    format_mass,
    format_parameter_count,
    format_si,
)

if TYPE_CHECKING:
    from rich.table import Table

_BAR = 24


def size_text(document: SizeDocument) -> str:
    """The whole answer as text for stdout."""
    out = console()
    print_lines(out, heading(document))
    out.print()
    table = first_that_fits(out, lambda form: _curve(document, bar=form[0], short=form[1]), _FORMS)
    out.print(table or _curve(document, bar=0, short=True))
    print_lines(out, sentences(document))
    return text_of(out)


_FORMS = ((_BAR, False), (_BAR // 2, False), (0, False), (0, True))


def heading(document: SizeDocument) -> list[str]:
    """The run and the answer."""
    model, run, answer = document.model, document.run, document.answer
    limits = [f"in {format_days(document.deadline_days)}"] if document.deadline_days is not None else []
    limits += [f"for {format_usd(document.budget_usd)}"] if document.budget_usd is not None else []
    return [
        model_line(model),
        f"Run       {run_words(model, run)} {' '.join(limits)}".rstrip(),
        f"Answer    {format_counted_noun(answer.nodes, 'node')} of {printable(document.cluster)} = {answer.devices:,} "
        f"{printable(document.accelerator)}: {run_time(answer)}, {format_usd(answer.usd)}",
        f"Plan      {split(answer.strategy)}; MFU {answer.mfu:.1%}, goodput {answer.goodput_share:.1%}, "
        f"{format_counted_noun(answer.spare_nodes, 'spare node')} beside",
    ]


def sentences(document: SizeDocument) -> list[str]:
    """Chinchilla's line, energy, and what was assumed."""
    best, told = document.compute_optimal, []
    if best is not None:
        told.append(
            f"Chinchilla: {_few(best.tokens_per_parameter)} tokens a parameter; the same FLOPs are best spent on "
            f"{format_parameter_count(best.parameters)} parameters and {format_si(best.tokens)} tokens (20 a parameter)."
        )
    answer = document.answer
    if answer.energy_kwh is not None:
        carbon = "" if answer.carbon_kg is None else f", {format_mass(answer.carbon_kg)} CO2e"
        told.append(f"Energy: {energy_text(answer)} at the meter{carbon}.")
    return told + [f"Note: {printable(note)}." for note in document.notes]


def _few(value: float) -> str:
    """One decimal, of less than one three digits: a short run is not none."""
    return f"{value:,.1f}" if value >= 1 else f"{value:.3g}"


def run_words(model: ModelPart, run: RunPart) -> str:
    """So many tokens, or images, in so many steps."""
    steps, batch = (
        format_counted_noun(run.steps, "step"),
        format_counted_noun(run.global_batch, printable(model.sample)),
    )
    return f"{amount(model, run.tokens)} in {steps} of {batch}"


def _curve(document: SizeDocument, *, bar: int, short: bool) -> Table:
    """Sizes, days and dollars, the answer in bold; days as bars."""
    table = plain_table()
    rows = document.curve
    longest = max(row.days for row in rows)
    headings = ["nodes", "devices", "time", "rent", *([] if short else ["energy", "MFU", "goodput"])]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    if bar:
        table.add_column("", no_wrap=True)
    for row in rows:
        cells = [f"{row.nodes:,}", f"{row.devices:,}", run_time(row), format_usd(row.usd)]
        if not short:
            cells += [energy_text(row), f"{row.mfu:.1%}", f"{row.goodput_share:.1%}"]
        drawn = [("#" * max(1, round(bar * row.days / longest)))] if bar else []
        table.add_row(*cells, *drawn, style="bold" if row.nodes == document.answer.nodes else "")
    return table


def run_time(size: SizePart) -> str:
    """How long the run takes, failures included."""
    return format_duration(DAY_S * size.days)


def energy_text(size: SizePart) -> str:
    """Energy at the meter; empty where it is not known."""
    return "" if size.energy_kwh is None else format_energy(J_PER_KWH * size.energy_kwh)


def format_usd(value: float | None) -> str:
    """`1.26 M USD`, `12,300 USD`; `no known rent` where there is none."""
    if value is None:
        return "no known rent"
    if value < 10:
        return f"{value:.2f} USD"
    return f"{format_si(value)} USD" if value >= 1e6 else f"{value:,.0f} USD"


def split(strategy: StrategyPart) -> str:
    """A plan in a few words, without degrees of one."""
    return plan_in_words(strategy, always=())
