"""Clusters side by side, for people: the best first, the front marked, what rules the others out below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.documents.compare import CompareDocument, OfferPart
from planner.documents.plan import ModelPart
from planner.documents.sizing import SizePart
from planner.report.console import (
    console,
    ever_fewer,
    first_that_fits,
    plain_table,
    print_lines,
    printable,
    text_of,
)
from planner.report.views.plan_words import in_units, unit_of
from planner.report.views.size_text import energy_text, format_usd, run_time, run_words, split
from planner.units import format_days, format_mass, format_parameter_count, format_si

if TYPE_CHECKING:
    from rich.table import Table

_LEFT_OUT = (
    "frameworks",
    "clouds",
    "plan",
    "tokens/USD",
    "tokens/J",
    "MFU",
    "CO2e",
    "energy",
    "accelerator",
    "nodes",
)
"""Columns in the order in which they make room."""
WORDS = ("", "cluster", "accelerator", "plan", "frameworks", "clouds")
"""Columns that hold no numbers."""
_MANY = 3


def compare_text(document: CompareDocument) -> str:
    """The whole answer as text for stdout."""
    out = console(_WIDEST)
    out.print(heading(document), markup=False)
    rows = rows_of(document)
    if rows:
        left_out = [name.replace("tokens", f"{unit_of(document.model)}s") for name in _LEFT_OUT]
        kept = ever_fewer(list(rows[0]), left_out)
        table = first_that_fits(out, lambda names: _table(rows, names), kept)
        out.print(table or _table(rows, kept[-1]))
    ruled_out = [offer for offer in document.offers if offer.size is None]
    print_lines(out, [f"Ruled out: {printable(one.name)}: {printable(one.ruled_out)}" for one in ruled_out])
    print_lines(out, sentences(document))
    return text_of(out)


_WIDEST = 200


def heading(document: CompareDocument) -> str:
    """What is compared, by what."""
    model, run = document.model, document.run
    limits = [f"within {format_days(document.deadline_days)}"] if document.deadline_days is not None else []
    limits += [f"for at most {format_usd(document.budget_usd)}"] if document.budget_usd is not None else []
    told = (
        f"{printable(model.title)}, {format_parameter_count(model.parameters)} parameters: {run_words(model, run)} "
        f"{' and '.join(limits)}".rstrip()
    )
    return f"{told}; ranked by {document.ranked_by}, * on the front of time, money and energy"


def sentences(document: CompareDocument) -> list[str]:
    """What `~` says, and what was assumed."""
    unsure = any(offer.size is not None and not offer.calibrated for offer in document.offers)
    text = "~: no measured run of this generation is behind the model's numbers, only those of others"
    return [*([text] if unsure else []), *(f"Note: {printable(note)}" for note in document.notes)]


def rows_of(document: CompareDocument) -> list[dict[str, str]]:
    """A line for each cluster that is not ruled out: cells by their headings.

    A column without a single figure tells nothing and is left out.
    """
    rows = [_row(document.model, offer, offer.size) for offer in document.offers if offer.size is not None]
    return [{name: cell for name, cell in row.items() if any(one[name] for one in rows)} for row in rows]


def _row(model: ModelPart, offer: OfferPart, size: SizePart) -> dict[str, str]:
    """The cells of one line by their headings; empty where a figure is not known."""
    unit, per_usd, per_joule = unit_of(model), size.tokens_per_usd, size.tokens_per_joule
    return {
        "": "*" if offer.on_front else "",
        "cluster": printable(offer.name) + ("" if offer.calibrated else " ~"),
        "accelerator": printable(offer.accelerator),
        "nodes": f"{size.nodes:,}",
        "devices": f"{size.devices:,}",
        "time": run_time(size),
        "cost": "" if size.usd is None else format_usd(size.usd),
        "energy": energy_text(size),
        "CO2e": "" if size.carbon_kg is None else format_mass(size.carbon_kg),
        "MFU": f"{size.mfu:.1%}",
        f"{unit}s/USD": "" if per_usd is None else format_si(in_units(model, per_usd)),
        f"{unit}s/J": "" if per_joule is None else f"{in_units(model, per_joule):.3g}",
        "plan": split(size.strategy),
        "frameworks": _listed(offer.frameworks),
        "clouds": _listed(offer.clouds),
    }


def _listed(names: list[str]) -> str:
    rest = len(names) - _MANY
    return printable(", ".join(names[:_MANY]) + (f" +{rest}" if rest > 0 else ""))


def _table(rows: list[dict[str, str]], names: list[str]) -> Table:
    table = plain_table()
    for name in names:
        table.add_column(name, justify="left" if name in WORDS else "right", no_wrap=True)
    for number, row in enumerate(rows):
        table.add_row(*(row[name] for name in names), style="bold" if number == 0 else "")
    return table
