"""How many nodes a run needs, for people: the answer, the curve around it, and Chinchilla's line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.documents.plan import ModelPart, StrategyPart
from planner.documents.size import SizeDocument
from planner.documents.sizing import RunSizePart, TrainingRunPart
from planner.report.console import (
    build_console,
    build_plain_table,
    find_fitting_table,
    get_console_text,
    print_lines,
    strip_nonprintable,
)
from planner.report.views.plan_words import format_model_line, format_strategy, format_token_amount
from planner.units import (
    DAY_S,
    J_PER_KWH,
    format_count,
    format_counted_noun,
    format_days,
    format_duration,
    format_energy,
    format_mass,
    format_parameter_count,
)

if TYPE_CHECKING:
    from rich.table import Table

_BAR_WIDTH = 24


def render_size_text(document: SizeDocument) -> str:
    """The whole answer as text for stdout."""
    out = build_console()
    print_lines(out, format_size_heading(document))
    out.print()
    table = find_fitting_table(
        out, lambda variant: _build_curve_table(document, bar_width=variant[0], is_short=variant[1]), _TABLE_VARIANTS
    )
    out.print(table or _build_curve_table(document, bar_width=0, is_short=True))
    print_lines(out, format_size_sentences(document))
    return get_console_text(out)


_TABLE_VARIANTS = ((_BAR_WIDTH, False), (_BAR_WIDTH // 2, False), (0, False), (0, True))


def format_size_heading(document: SizeDocument) -> list[str]:
    """The run and the answer."""
    model, run, answer = document.model, document.run, document.answer
    limits = [f"in {format_days(document.deadline_days)}"] if document.deadline_days is not None else []
    limits += [f"for {format_usd(document.budget_usd)}"] if document.budget_usd is not None else []
    return [
        format_model_line(model),
        f"Run       {format_run_length(model, run)} {' '.join(limits)}".rstrip(),
        f"Answer    {format_counted_noun(answer.nodes, 'node')} of "
        f"{strip_nonprintable(document.cluster)} = {answer.devices:,} "
        f"{strip_nonprintable(document.accelerator)}: {format_run_time(answer)}, {format_usd(answer.usd)}",
        f"Plan      {format_compact_strategy(answer.strategy)}; MFU {answer.mfu:.1%}"
        f", goodput {answer.goodput_share:.1%}, "
        f"{format_counted_noun(answer.spare_nodes, 'spare node')} beside",
    ]


def format_size_sentences(document: SizeDocument) -> list[str]:
    """Chinchilla's line, energy, and what was assumed."""
    compute_optimal, lines = document.compute_optimal, []
    if compute_optimal is not None:
        lines.append(
            f"Chinchilla: {_format_few_digits(compute_optimal.tokens_per_parameter)} "
            "tokens a parameter; the same FLOPs are best spent on "
            f"{format_parameter_count(compute_optimal.parameters)} parameters and "
            f"{format_count(compute_optimal.tokens)} tokens (20 a parameter)."
        )
    answer = document.answer
    if answer.energy_kwh is not None:
        carbon = "" if answer.carbon_kg is None else f", {format_mass(answer.carbon_kg)} CO2e"
        lines.append(f"Energy: {format_run_energy(answer)} at the meter{carbon}.")
    return lines + [f"Note: {strip_nonprintable(note)}." for note in document.notes]


def _format_few_digits(value: float) -> str:
    """One decimal, of less than one three digits: a short run is not none."""
    return f"{value:,.1f}" if value >= 1 else f"{value:.3g}"


def format_run_length(model: ModelPart, run: TrainingRunPart) -> str:
    """So many tokens, or images, in so many steps."""
    steps, batch = (
        format_counted_noun(run.steps, "step"),
        format_counted_noun(run.global_batch, strip_nonprintable(model.sample)),
    )
    return f"{format_token_amount(model, run.tokens)} in {steps} of {batch}"


def _build_curve_table(document: SizeDocument, *, bar_width: int, is_short: bool) -> Table:
    """Sizes, days and dollars, the answer in bold; days as bars."""
    table = build_plain_table()
    rows = document.curve
    max_days = max(row.days for row in rows)
    headings = ["nodes", "devices", "time", "rent", *([] if is_short else ["energy", "MFU", "goodput"])]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    if bar_width:
        table.add_column("", no_wrap=True)
    for row in rows:
        cells = [f"{row.nodes:,}", f"{row.devices:,}", format_run_time(row), format_usd(row.usd)]
        if not is_short:
            cells += [format_run_energy(row), f"{row.mfu:.1%}", f"{row.goodput_share:.1%}"]
        bar_cells = [("#" * max(1, round(bar_width * row.days / max_days)))] if bar_width else []
        table.add_row(*cells, *bar_cells, style="bold" if row.nodes == document.answer.nodes else "")
    return table


def format_run_time(size: RunSizePart) -> str:
    """How long the run takes, failures included."""
    return format_duration(DAY_S * size.days)


def format_run_energy(size: RunSizePart) -> str:
    """Energy at the meter; empty where it is not known."""
    return "" if size.energy_kwh is None else format_energy(J_PER_KWH * size.energy_kwh)


def format_usd(amount_usd: float | None) -> str:
    """`1.26 M USD`, `12,300 USD`; `no known rent` where there is none."""
    if amount_usd is None:
        return "no known rent"
    if amount_usd < 10:
        return f"{amount_usd:.2f} USD"
    return f"{format_count(amount_usd)} USD" if amount_usd >= 1e6 else f"{amount_usd:,.0f} USD"


def format_compact_strategy(strategy: StrategyPart) -> str:
    """A plan in a few words, without degrees of one."""
    return format_strategy(strategy, always_listed=())
