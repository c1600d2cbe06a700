"""A list of what is known by name as a report: one record an entry."""

from __future__ import annotations

from planner.documents.listing import ClusterEntry, FamilyEntry, ListingDocument, ModelEntry
from planner.report.report import Report, ReportRecord, ReportTable, build_columns
from planner.units import format_parameter_count

_LISTING_HEADINGS = {
    "models": ("name", "model", "parameters", "active", "layers", "sequence"),
    "families": ("name",),
    "clusters": ("name", "cluster", "accelerator", "devices/node", "default nodes"),
}
_FIRST_NUMBER_COLUMNS = {"models": 2, "families": 1, "clusters": 3}


def build_listing_report(document: ListingDocument) -> Report:
    """The whole list."""
    rows = [_build_listing_row(entry) for entry in document.entries]
    columns = build_columns(
        _LISTING_HEADINGS[document.listed], range(_FIRST_NUMBER_COLUMNS[document.listed]), ("model", "cluster")
    )
    return Report(
        command=document.listed,
        title=document.listed.capitalize(),
        facts=[],
        records=[_build_listing_record(entry) for entry in document.entries],
        tables=[ReportTable(document.listed.capitalize(), columns, rows)],
    )


def _build_listing_record(entry: ModelEntry | FamilyEntry | ClusterEntry) -> ReportRecord:
    return {name: getattr(entry, name) for name in entry.__struct_fields__}


def _build_listing_row(entry: ModelEntry | FamilyEntry | ClusterEntry) -> tuple[str, ...]:
    if isinstance(entry, ModelEntry):
        sizes = (format_parameter_count(entry.parameters), format_parameter_count(entry.active_parameters))
        length = entry.sample if entry.seq_length is None else f"{entry.seq_length:,}"
        return (entry.name, entry.title, *sizes, str(entry.layers), length)
    if isinstance(entry, ClusterEntry):
        return (entry.name, entry.title, entry.accelerator, str(entry.devices_per_node), str(entry.nodes))
    return (entry.name,)
