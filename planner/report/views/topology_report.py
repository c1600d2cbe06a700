"""The topology document as a report: one record a parallel group. Its page has the drawing of the fabric."""

from __future__ import annotations

from planner.documents.topology import FabricLevelPart, ParallelGroupPart, TopologyDocument
from planner.report.report import Report, ReportCase, ReportRecord, ReportTable
from planner.report.views.plan_report import parse_heading_facts
from planner.report.views.topology_text import (
    PARALLEL_GROUP_NAMES,
    format_count_range,
    format_level_line,
    format_topology_figures,
)
from planner.units import format_bytes, format_seconds, format_si


def build_topology_report(document: TopologyDocument) -> Report:
    """The whole answer of `topology`."""
    cluster = document.cluster
    size = f"{cluster.nodes:,} x {cluster.devices_per_node} {cluster.accelerator} = {cluster.devices:,}"
    return Report(
        command="topology",
        title=cluster.title,
        facts=[("Devices", size), *parse_heading_facts(format_topology_figures(document))],
        records=[_build_group_record(document, group) for group in document.groups],
        tables=[_build_level_table(document.levels), _build_group_table(document)],
        cases=[ReportCase(cluster.title, _format_case_name(group), group.seconds) for group in document.groups],
    )


def _format_case_name(group: ParallelGroupPart) -> str:
    """A group's collective; no figure that a change of the fabric moves, so that it stays the same case."""
    group_text = f"{PARALLEL_GROUP_NAMES[group.group]}, {group.ranks:,} ranks, {group.stride:,} apart"
    return f"{group_text}: {group.collective} of {format_bytes(group.message_bytes)}"


def _build_group_record(document: TopologyDocument, group: ParallelGroupPart) -> ReportRecord:
    cluster = document.cluster
    head = {"cluster": cluster.name, "nodes": cluster.nodes, "devices": cluster.devices}
    head |= {"bisection_bytes_per_s": document.bisection.bytes_per_s, "bisection_exact": document.bisection.exact}
    head |= {"diameter_hops": document.diameter_hops}
    return {**head, **{name: getattr(group, name) for name in group.__struct_fields__}}


def _build_level_table(levels: list[FabricLevelPart]) -> ReportTable:
    names = ["devices", *(f"x {level.name}" for level in levels[:-1])]
    rows = [
        (
            level.name,
            f"{level.parts:,}",
            f"{format_count_range(level.fewest_inside, level.most_inside)} {inner_name}",
            format_level_line(level),
        )
        for level, inner_name in zip(reversed(levels), reversed(names), strict=True)
    ]
    headings = ("level", "parts", "each of", "what it gives")
    return ReportTable("Levels, from the outermost", headings, rows, frozenset({0, 2, 3}))


def _build_group_table(document: TopologyDocument) -> ReportTable:
    message = format_bytes(document.groups[0].message_bytes) if document.groups else ""
    headings = ("group", "ranks", "apart", "across", "a device has", "collective", f"of {message}", "takes")
    rows = [
        (
            PARALLEL_GROUP_NAMES[group.group],
            f"{group.ranks:,}",
            f"{group.stride:,}",
            group.level,
            format_si(group.bandwidth_bytes_per_s, "B/s"),
            group.collective,
            format_si(group.algorithm_bytes_per_s, "B/s"),
            format_seconds(group.seconds),
        )
        for group in document.groups
    ]
    return ReportTable("What a parallel group gets", headings, rows, frozenset({0, 3, 5}))
