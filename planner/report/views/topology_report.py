"""The topology document as a report: one record a parallel group. Its page has the drawing of the fabric."""

from __future__ import annotations

from planner.documents.topology import BisectionPart, FabricLevelPart, ParallelGroupPart, TopologyDocument
from planner.report.report import Report, ReportCase, ReportRecord, ReportTable, build_columns
from planner.units import format_bytes, format_counted_noun, format_seconds, format_si

_MAX_NAME_RANGES = 8
_PARALLEL_GROUP_NAMES = {
    "tp": "tensor parallel",
    "scale-up": "scale-up domain",
    "ep": "experts",
    "pp": "neighbouring stages",
    "dp": "data parallel",
}


def build_topology_report(document: TopologyDocument) -> Report:
    """The whole answer of `topology`."""
    cluster = document.cluster
    nodes, devices = format_counted_noun(cluster.nodes, "node"), format_counted_noun(cluster.devices, "device")
    size = f"{nodes} x {cluster.devices_per_node} {cluster.accelerator} = {devices}"
    return Report(
        command="topology",
        title=cluster.title,
        facts=[("Devices", size), *_enumerate_facts(document)],
        records=[_build_group_record(document, group) for group in document.groups],
        tables=[_build_level_table(document.levels), _build_group_table(document)],
        cases=[ReportCase(cluster.title, _format_case_name(group), group.seconds) for group in document.groups],
    )


def _format_case_name(group: ParallelGroupPart) -> str:
    """A group's collective; no figure that a change of the fabric moves, so that it stays the same case."""
    group_text = f"{_PARALLEL_GROUP_NAMES[group.group]}, {group.ranks:,} ranks, {group.stride:,} apart"
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
            f"{_format_count_range(level.fewest_inside, level.most_inside)} {inner_name}",
            _format_level_line(level),
        )
        for level, inner_name in zip(reversed(levels), reversed(names), strict=True)
    ]
    headings = ("level", "parts", "each of", "what it gives")
    return ReportTable("Levels, from the outermost", build_columns(headings, (0, 2, 3)), rows)


def _build_group_table(document: TopologyDocument) -> ReportTable:
    message = format_bytes(document.groups[0].message_bytes) if document.groups else ""
    headings = ("group", "ranks", "apart", "across", "a device has", "collective", f"of {message}", "takes")
    rows = [
        (
            _PARALLEL_GROUP_NAMES[group.group],
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
    columns = build_columns(headings, (0, 3, 5), ("apart", "ranks", "across"))
    return ReportTable("What a parallel group gets", columns, rows)


def _enumerate_facts(document: TopologyDocument) -> list[tuple[str, str]]:
    """The middle, the diameter, how many parts there are and how they are called."""
    share = "" if document.bisection.share is None else f", {_format_percent(document.bisection.share)} of injection"
    lines = [
        ("Bisection", f"{_format_bisection_line(document.bisection)}{share}"),
        (
            "Diameter",
            f"{format_counted_noun(document.diameter_hops, 'hop')}, "
            f"{format_seconds(document.worst_latency_s)} at worst",
        ),
    ]
    if document.switches is not None and document.links is not None:
        switches, links = (
            format_counted_noun(document.switches, "switch", "switches"),
            format_counted_noun(document.links, "link"),
        )
        between = "nodes and switches" if document.switches else "nodes"
        lines.append(("Parts", f"{switches}, {links} between {between}"))
    if document.names:
        range_texts = [
            name_range.first if name_range.count == 1 else f"{name_range.first} to {name_range.last}"
            for name_range in document.names
        ]
        omitted_note = (
            f", and {len(range_texts) - _MAX_NAME_RANGES} more kinds" if len(range_texts) > _MAX_NAME_RANGES else ""
        )
        lines.append(("Names", f"{', '.join(range_texts[:_MAX_NAME_RANGES])}{omitted_note}"))
    return lines


def _format_count_range(fewest: int, most: int) -> str:
    """`32`, or `1 to 32` where parts are uneven."""
    return f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"


def _format_level_line(level: FabricLevelPart) -> str:
    """What a level is and gives, in one line."""
    words = [level.topology]
    if level.shape:
        sides = " x ".join(
            f"{side}{'' if wrap else ' open'}" for side, wrap in zip(level.shape, level.wrap, strict=True)
        )
        words[0] += f" {sides}"
    if level.switches:
        # of one part of the level, where all parts are alike
        switches_per_part, remainder = divmod(level.switches, level.parts)
        in_all = " in all" if remainder else ""
        words.append(
            format_counted_noun(level.switches if remainder else switches_per_part, "switch", "switches") + in_all
        )
    bandwidth_text = f"{format_si(level.bandwidth_bytes_per_s, 'B/s')} a device"
    if level.oversubscription > 1.0005:
        bandwidth_text += f" ({level.oversubscription:.3g}:1)"
    return ", ".join([*words, bandwidth_text, format_seconds(level.latency_s)])


def _format_percent(share: float) -> str:
    """Whole percents; of nearly all not all."""
    return f"{share:.0%}" if share == 1 or share < 0.995 else f"{min(share, 0.999):.1%}"


def _format_bisection_line(bisection: BisectionPart) -> str:
    """What crosses the middle, in all and for each device."""
    bound = "" if bisection.exact else "at most "
    device_text = format_si(bisection.bytes_per_s_per_device, "B/s")
    return f"{bound}{format_si(bisection.bytes_per_s, 'B/s')} each way, {device_text} a device"
