"""A list of names that the planner knows as a report: one record an entry."""

from __future__ import annotations

from planner.documents.figures import flatten_part
from planner.documents.listing import ClusterEntry, FamilyEntry, ListingDocument, ModelEntry
from planner.report.report import Report, ReportTable, build_columns
from planner.units import format_parameter_count

_HEADINGS = {
    "models": ("name", "model", "parameters", "active", "layers", "sequence"),
    "families": ("name",),
    "clusters": ("name", "cluster", "accelerator", "devices/node", "default nodes"),
}
_TEXT_HEADINGS = ("name", "model", "cluster", "accelerator")


def build_listing_report(document: ListingDocument) -> Report:
    """The whole list."""
    title, headings = document.listed.capitalize(), _HEADINGS[document.listed]
    text_columns = [number for number, heading in enumerate(headings) if heading in _TEXT_HEADINGS]
    rows = [_build_row(entry) for entry in document.entries]
    return Report(
        command=document.listed,
        title=title,
        facts=[],
        records=[flatten_part(entry) for entry in document.entries],
        tables=[ReportTable(title, build_columns(headings, rows, text_columns, ("model", "cluster")))],
    )


def _build_row(entry: ModelEntry | FamilyEntry | ClusterEntry) -> tuple[str, ...]:
    if isinstance(entry, ModelEntry):
        sizes = (format_parameter_count(entry.parameters), format_parameter_count(entry.active_parameters))
        length = entry.sample if entry.seq_length is None else f"{entry.seq_length:,}"
        return (entry.name, entry.title, *sizes, str(entry.layers), length)
    if isinstance(entry, ClusterEntry):
        return (entry.name, entry.title, entry.accelerator, str(entry.devices_per_node), str(entry.nodes))
    return (entry.name,)
