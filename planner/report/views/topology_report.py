"""The topology document as a report: one record a parallel group. Its page has the drawing of the fabric."""

from __future__ import annotations

from collections.abc import Iterator

from planner.documents.figures import flatten_part
from planner.documents.topology import FabricLevelPart, ParallelGroupPart, TopologyDocument
from planner.report.report import Column, RecordValue, Report, ReportCase, ReportRecord, ReportTable, build_columns
from planner.units import format_bytes, format_counted_noun, format_seconds, format_si

_MAX_NAME_RANGES = 8
_GROUP_NAMES = {
    "tp": "tensor parallel",
    "scale-up": "scale-up domain",
    "ep": "expert parallel",
    "pp": "neighbouring stages",
    "dp": "data parallel",
}


def build_topology_report(document: TopologyDocument) -> Report:
    """The report of `topology`."""
    title = document.cluster.title
    return Report(
        command="topology",
        title=title,
        facts=list(_enumerate_facts(document)),
        records=[_build_group_record(document, group) for group in document.groups],
        tables=[_build_level_table(document.levels), _build_group_table(document)],
        cases=[ReportCase(title, _format_case_name(group), group.seconds) for group in document.groups],
    )


def _format_case_name(group: ParallelGroupPart) -> str:
    """A group's collective; no figure that a change of the fabric moves, so that it stays the same case."""
    ranks = f"{_GROUP_NAMES[group.group]}, {group.ranks:,} ranks, {group.stride:,} apart"
    return f"{ranks}: {group.collective} of {format_bytes(group.message_bytes)}"


def _build_group_record(document: TopologyDocument, group: ParallelGroupPart) -> ReportRecord:
    cluster, bisection = document.cluster, document.bisection
    head: dict[str, RecordValue] = {"cluster": cluster.name, "nodes": cluster.nodes, "devices": cluster.devices}
    head |= {"bisection_bytes_per_s": bisection.bytes_per_s, "bisection_exact": bisection.exact}
    return {**head, "diameter_hops": document.diameter_hops, **flatten_part(group)}


def _build_level_table(levels: list[FabricLevelPart]) -> ReportTable:
    inner_names = ["devices", *(f"x {level.name}" for level in levels[:-1])]
    rows = [
        (
            level.name,
            f"{level.parts:,}",
            f"{_format_count_range(level.fewest_inside, level.most_inside)} {inner_name}",
            _format_level(level),
        )
        for level, inner_name in zip(reversed(levels), reversed(inner_names), strict=True)
    ]
    headings = ("level", "parts", "each of", "topology, bandwidth, latency")
    return ReportTable("Levels, from the outermost", build_columns(headings, rows, (0, 2, 3)))


def _build_group_table(document: TopologyDocument) -> ReportTable:
    groups = document.groups
    message = f" of {format_bytes(groups[0].message_bytes)}" if groups else ""
    rates = [format_si(group.bandwidth_bytes_per_s, "B/s") for group in groups]
    algorithm_rates = [format_si(group.algorithm_bytes_per_s, "B/s") for group in groups]
    columns = [
        Column("group", [_GROUP_NAMES[group.group] for group in groups], is_text=True),
        Column("ranks", [f"{group.ranks:,}" for group in groups]),
        Column("stride", [f"{group.stride:,}" for group in groups], drop_rank=3),
        Column("level", [group.level for group in groups], is_text=True, drop_rank=2),
        Column("bandwidth per device", rates, short_heading="bandwidth", drop_rank=1),
        Column("collective", [group.collective for group in groups], is_text=True),
        Column("algorithm bandwidth", algorithm_rates, short_heading="algbw"),
        Column("time", [format_seconds(group.seconds) for group in groups]),
    ]
    return ReportTable(f"Collectives{message} in parallel groups", columns)


def _enumerate_facts(document: TopologyDocument) -> Iterator[tuple[str, str]]:
    """Size, bisection, diameter, numbers and names of parts."""
    cluster, bisection = document.cluster, document.bisection
    nodes, devices = format_counted_noun(cluster.nodes, "node"), format_counted_noun(cluster.devices, "device")
    yield "Devices", f"{nodes} x {cluster.devices_per_node} {cluster.accelerator} = {devices}"
    bound = "" if bisection.exact else "at most "
    rate, device_rate = (
        format_si(value, "B/s") for value in (bisection.bytes_per_s, bisection.bytes_per_s_per_device)
    )
    share = "" if bisection.share is None else f", {_format_percent(bisection.share)} of injection"
    yield "Bisection", f"{bound}{rate} each way, {device_rate} a device{share}"
    hops = format_counted_noun(document.diameter_hops, "hop")
    yield "Diameter", f"{hops}, {format_seconds(document.worst_latency_s)} at worst"
    if document.switches is not None and document.links is not None:
        switches = format_counted_noun(document.switches, "switch", "switches")
        ends = "nodes and switches" if document.switches else "nodes"
        yield "Parts", f"{switches}, {format_counted_noun(document.links, 'link')} between {ends}"
    names = [part.first if part.count == 1 else f"{part.first} to {part.last}" for part in document.names]
    if names:
        more = f", and {len(names) - _MAX_NAME_RANGES} more ranges" if len(names) > _MAX_NAME_RANGES else ""
        yield "Names", f"{', '.join(names[:_MAX_NAME_RANGES])}{more}"


def _format_count_range(fewest: int, most: int) -> str:
    """`32`, or `1 to 32` where parts are uneven."""
    return f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"


def _format_level(level: FabricLevelPart) -> str:
    """Topology, switches, bandwidth with oversubscription, and latency of a level."""
    words = [level.topology]
    if level.shape:
        sides = (f"{side}{'' if wrap else ' open'}" for side, wrap in zip(level.shape, level.wrap, strict=True))
        words[0] += f" {' x '.join(sides)}"
    if level.switches:
        # of one part of the level, where all parts are alike
        switches_per_part, remainder = divmod(level.switches, level.parts)
        switches = format_counted_noun(level.switches if remainder else switches_per_part, "switch", "switches")
        words.append(f"{switches} in all" if remainder else switches)
    bandwidth = f"{format_si(level.bandwidth_bytes_per_s, 'B/s')} a device"
    if level.oversubscription > 1.0005:
        bandwidth += f" ({level.oversubscription:.3g}:1)"
    return ", ".join([*words, bandwidth, format_seconds(level.latency_s)])


def _format_percent(share: float) -> str:
    """Whole percents; what is not all is not rounded to 100 %."""
    return f"{share:.0%}" if share == 1 or share < 0.995 else f"{min(share, 0.999):.1%}"
