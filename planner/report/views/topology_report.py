"""The topology document as a report: one record a parallel group. Its page has the drawing of the fabric."""

from __future__ import annotations

from planner.documents.topology import GroupPart, LevelPart, TopologyDocument
from planner.report.report import Case, Record, Report, Table
from planner.report.views.plan_report import facts
from planner.report.views.topology_text import GROUP_NAMES, figures, level_line, span
from planner.units import format_bytes, format_seconds, format_si


def topology_report(document: TopologyDocument) -> Report:
    """The whole answer of `topology`."""
    cluster = document.cluster
    size = f"{cluster.nodes:,} x {cluster.devices_per_node} {cluster.accelerator} = {cluster.devices:,}"
    return Report(
        command="topology",
        title=cluster.title,
        facts=[("Devices", size), *facts(figures(document))],
        records=[_record(document, one) for one in document.groups],
        tables=[_levels(document.levels), _groups(document)],
        cases=[Case(cluster.title, _case_name(one), one.seconds) for one in document.groups],
    )


def _case_name(group: GroupPart) -> str:
    """A group's collective; no figure that a change of the fabric moves, so that it stays the same case."""
    where = f"{GROUP_NAMES[group.group]}, {group.ranks:,} ranks, {group.stride:,} apart"
    return f"{where}: {group.collective} of {format_bytes(group.message_bytes)}"


def _record(document: TopologyDocument, group: GroupPart) -> Record:
    cluster = document.cluster
    head = {"cluster": cluster.name, "nodes": cluster.nodes, "devices": cluster.devices}
    head |= {"bisection_bytes_per_s": document.bisection.bytes_per_s, "bisection_exact": document.bisection.exact}
    head |= {"diameter_hops": document.diameter_hops}
    return {**head, **{name: getattr(group, name) for name in group.__struct_fields__}}


def _levels(levels: list[LevelPart]) -> Table:
    names = ["devices", *(f"x {one.name}" for one in levels[:-1])]
    rows = [
        (one.name, f"{one.parts:,}", f"{span(one.fewest_inside, one.most_inside)} {inner}", level_line(one))
        for one, inner in zip(reversed(levels), reversed(names), strict=True)
    ]
    headings = ("level", "parts", "each of", "what it gives")
    return Table("Levels, from the outermost", headings, rows, frozenset({0, 2, 3}))


def _groups(document: TopologyDocument) -> Table:
    message = format_bytes(document.groups[0].message_bytes) if document.groups else ""
    headings = ("group", "ranks", "apart", "across", "a device has", "collective", f"of {message}", "takes")
    rows = [
        (
            GROUP_NAMES[one.group],
            f"{one.ranks:,}",
            f"{one.stride:,}",
            one.level,
            format_si(one.bandwidth_bytes_per_s, "B/s"),
            one.collective,
            format_si(one.algorithm_bytes_per_s, "B/s"),
            format_seconds(one.seconds),
        )
        for one in document.groups
    ]
    return Table("What a parallel group gets", headings, rows, frozenset({0, 3, 5}))
