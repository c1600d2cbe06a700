"""A list of what is known by name, as text and as a report: one record an entry."""

from __future__ import annotations

from planner.documents.listing import ClusterEntry, FamilyEntry, ListingDocument, ModelEntry
from planner.report.listing_table import listing
from planner.report.report import Record, Report, Table
from planner.units import format_parameter_count

_HEADINGS = {
    "models": ("name", "model", "parameters", "active", "layers", "sequence"),
    "families": ("name",),
    "clusters": ("name", "cluster", "accelerator", "devices/node", "default nodes"),
}
_NUMBERS_FROM = {"models": 2, "families": 1, "clusters": 3}


def listing_text(document: ListingDocument) -> str:
    """The list as text for stdout."""
    rows = [_row(one) for one in document.entries]
    if document.listed == "families":
        return "".join(f"{name}\n" for (name,) in rows)
    return listing(_HEADINGS[document.listed], rows, numbers_from=_NUMBERS_FROM[document.listed])


def listing_report(document: ListingDocument) -> Report:
    """The whole list."""
    rows = [_row(one) for one in document.entries]
    words = frozenset(range(_NUMBERS_FROM[document.listed]))
    return Report(
        command=document.listed,
        title=document.listed.capitalize(),
        facts=[],
        records=[_record(one) for one in document.entries],
        tables=[Table(document.listed.capitalize(), _HEADINGS[document.listed], rows, words)],
    )


def _record(entry: ModelEntry | FamilyEntry | ClusterEntry) -> Record:
    return {name: getattr(entry, name) for name in entry.__struct_fields__}


def _row(entry: ModelEntry | FamilyEntry | ClusterEntry) -> tuple[str, ...]:
    if isinstance(entry, ModelEntry):
        sizes = (format_parameter_count(entry.parameters), format_parameter_count(entry.active_parameters))
        length = entry.sample if entry.seq_length is None else f"{entry.seq_length:,}"
        return (entry.name, entry.title, *sizes, str(entry.layers), length)
    if isinstance(entry, ClusterEntry):
        return (entry.name, entry.title, entry.accelerator, str(entry.devices_per_node), str(entry.nodes))
    return (entry.name,)
