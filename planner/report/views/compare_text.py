"""Clusters side by side, for people: the best first, the front marked, what rules the others out below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.documents.compare import ClusterOfferPart, CompareDocument
from planner.documents.plan import ModelPart
from planner.documents.sizing import RunSizePart
from planner.report.console import (
    build_console,
    build_plain_table,
    enumerate_column_subsets,
    find_fitting_table,
    get_console_text,
    print_lines,
    strip_nonprintable,
)
from planner.report.views.plan_words import convert_to_throughput_units, get_throughput_unit
from planner.report.views.size_text import (
    format_compact_strategy,
    format_run_energy,
    format_run_length,
    format_run_time,
    format_usd,
)
from planner.units import format_count, format_days, format_mass, format_parameter_count

if TYPE_CHECKING:
    from rich.table import Table

_DROPPABLE_COLUMNS = (
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
COMPARE_TEXT_COLUMNS = ("", "cluster", "accelerator", "plan", "frameworks", "clouds")
"""Columns that hold no numbers."""
_MAX_LISTED_NAMES = 3


def render_compare_text(document: CompareDocument) -> str:
    """The whole answer as text for stdout."""
    out = build_console(_MAX_WIDTH)
    out.print(format_compare_heading(document), markup=False)
    rows = build_compare_rows(document)
    if rows:
        droppable_columns = [
            name.replace("tokens", f"{get_throughput_unit(document.model)}s") for name in _DROPPABLE_COLUMNS
        ]
        column_subsets = enumerate_column_subsets(list(rows[0]), droppable_columns)
        table = find_fitting_table(out, lambda names: _build_compare_table(rows, names), column_subsets)
        out.print(table or _build_compare_table(rows, column_subsets[-1]))
    ruled_out = [offer for offer in document.offers if offer.size is None]
    print_lines(
        out,
        [
            f"Ruled out: {strip_nonprintable(rejected.name)}: {strip_nonprintable(rejected.ruled_out)}"
            for rejected in ruled_out
        ],
    )
    print_lines(out, format_compare_sentences(document))
    return get_console_text(out)


_MAX_WIDTH = 200


def format_compare_heading(document: CompareDocument) -> str:
    """What is compared, by what."""
    model, run = document.model, document.run
    limits = [f"within {format_days(document.deadline_days)}"] if document.deadline_days is not None else []
    limits += [f"for at most {format_usd(document.budget_usd)}"] if document.budget_usd is not None else []
    title = (
        f"{strip_nonprintable(model.title)}, {format_parameter_count(model.parameters)} "
        f"parameters: {format_run_length(model, run)} "
        f"{' and '.join(limits)}".rstrip()
    )
    return f"{title}; ranked by {document.ranked_by}, * on the front of time, money and energy"


def format_compare_sentences(document: CompareDocument) -> list[str]:
    """What `~` says, and what was assumed."""
    has_uncalibrated = any(offer.size is not None and not offer.calibrated for offer in document.offers)
    text = "~: no measured run of this generation is behind the model's numbers, only those of others"
    return [*([text] if has_uncalibrated else []), *(f"Note: {strip_nonprintable(note)}" for note in document.notes)]


def build_compare_rows(document: CompareDocument) -> list[dict[str, str]]:
    """A line for each cluster that is not ruled out: cells by their headings.

    A column without a single figure tells nothing and is left out.
    """
    rows = [
        _build_compare_row(document.model, offer, offer.size) for offer in document.offers if offer.size is not None
    ]
    return [{name: cell for name, cell in row.items() if any(other_row[name] for other_row in rows)} for row in rows]


def _build_compare_row(model: ModelPart, offer: ClusterOfferPart, size: RunSizePart) -> dict[str, str]:
    """The cells of one line by their headings; empty where a figure is not known."""
    unit, per_usd, per_joule = get_throughput_unit(model), size.tokens_per_usd, size.tokens_per_joule
    return {
        "": "*" if offer.on_front else "",
        "cluster": strip_nonprintable(offer.name) + ("" if offer.calibrated else " ~"),
        "accelerator": strip_nonprintable(offer.accelerator),
        "nodes": f"{size.nodes:,}",
        "devices": f"{size.devices:,}",
        "time": format_run_time(size),
        "cost": "" if size.usd is None else format_usd(size.usd),
        "energy": format_run_energy(size),
        "CO2e": "" if size.carbon_kg is None else format_mass(size.carbon_kg),
        "MFU": f"{size.mfu:.1%}",
        f"{unit}s/USD": "" if per_usd is None else format_count(convert_to_throughput_units(model, per_usd)),
        f"{unit}s/J": "" if per_joule is None else f"{convert_to_throughput_units(model, per_joule):.3g}",
        "plan": format_compact_strategy(size.strategy),
        "frameworks": _format_name_list(offer.frameworks),
        "clouds": _format_name_list(offer.clouds),
    }


def _format_name_list(names: list[str]) -> str:
    remaining = len(names) - _MAX_LISTED_NAMES
    return strip_nonprintable(", ".join(names[:_MAX_LISTED_NAMES]) + (f" +{remaining}" if remaining > 0 else ""))


def _build_compare_table(rows: list[dict[str, str]], names: list[str]) -> Table:
    table = build_plain_table()
    for name in names:
        table.add_column(name, justify="left" if name in COMPARE_TEXT_COLUMNS else "right", no_wrap=True)
    for number, row in enumerate(rows):
        table.add_row(*(row[name] for name in names), style="bold" if number == 0 else "")
    return table
