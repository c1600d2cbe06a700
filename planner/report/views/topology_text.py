"""The answer of `planner topology` for people: the levels as a tree, the middle, and what each group gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.documents.topology import BisectionPart, FabricLevelPart, ParallelGroupPart, TopologyDocument
from planner.report.console import (
    build_console,
    build_plain_table,
    find_fitting_table,
    get_console_text,
    print_lines,
    strip_nonprintable,
)
from planner.units import format_bytes, format_counted_noun, format_seconds, format_si

if TYPE_CHECKING:
    from rich.table import Table

_ASCII_BRANCH, _UNICODE_BRANCH = ("`-- ", "    "), ("└── ", "    ")
_MAX_NAME_RANGES = 8
PARALLEL_GROUP_NAMES = {
    "tp": "tensor parallel",
    "scale-up": "scale-up domain",
    "ep": "experts",
    "pp": "neighbouring stages",
    "dp": "data parallel",
}


def render_topology_text(document: TopologyDocument) -> str:
    """The whole answer as text for stdout."""
    out = build_console()
    # a pipe may lead to where only ASCII is shown
    branch = _UNICODE_BRANCH if out.is_terminal else _ASCII_BRANCH
    print_lines(
        out,
        [
            *_format_topology_heading(document),
            "",
            *format_level_tree(document, branch),
            "",
            *format_topology_figures(document),
            "",
        ],
    )
    table = find_fitting_table(out, lambda short: _build_group_text_table(document, is_short=short), (False, True))
    if table is not None:
        out.print(table)
    else:
        for group in document.groups:
            line = f"{format_group_name(group)}: {format_si(group.bandwidth_bytes_per_s, 'B/s')} a device"
            out.print(line, markup=False, soft_wrap=True)
    return get_console_text(out)


def _format_topology_heading(document: TopologyDocument) -> list[str]:
    cluster = document.cluster
    node_text = f"{cluster.devices_per_node} {strip_nonprintable(cluster.accelerator)}"
    return [
        strip_nonprintable(cluster.title),
        f"{format_counted_noun(cluster.nodes, 'node')} x {node_text} = "
        f"{format_counted_noun(cluster.devices, 'device')}",
    ]


def format_level_tree(document: TopologyDocument, branch: tuple[str, str] = _ASCII_BRANCH) -> list[str]:
    """The levels from the outermost to the device, one line each; `branch`: what stands before a line that hangs on
    the one above, and what moves it in.
    """
    lines = []
    count_prefix = ""
    for depth, level in enumerate(reversed(document.levels)):
        stem = branch[1] * (depth - 1) + branch[0] if depth else ""
        lines.append(f"{stem}{count_prefix}{strip_nonprintable(level.name)}: {format_level_line(level)}")
        count_prefix = f"{format_count_range(level.fewest_inside, level.most_inside)} x "
    stem = branch[1] * (len(document.levels) - 1) + branch[0]
    lines.append(f"{stem}{count_prefix}{strip_nonprintable(document.cluster.accelerator)}")
    return lines


def format_count_range(fewest: int, most: int) -> str:
    """`32`, or `1 to 32` where parts are uneven."""
    return f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"


def format_level_line(level: FabricLevelPart) -> str:
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


def format_topology_figures(document: TopologyDocument) -> list[str]:
    """The middle, the diameter, how many parts there are and how they are called; a word, then what is said."""
    share = "" if document.bisection.share is None else f", {_format_percent(document.bisection.share)} of injection"
    lines = [
        f"Bisection  {format_bisection_line(document.bisection)}{share}",
        f"Diameter   {format_counted_noun(document.diameter_hops, 'hop')}, "
        f"{format_seconds(document.worst_latency_s)} at worst",
    ]
    if document.switches is not None and document.links is not None:
        switches, links = (
            format_counted_noun(document.switches, "switch", "switches"),
            format_counted_noun(document.links, "link"),
        )
        between = "nodes and switches" if document.switches else "nodes"
        lines.append(f"Parts      {switches}, {links} between {between}")
    if document.names:
        range_texts = [
            name_range.first if name_range.count == 1 else f"{name_range.first} to {name_range.last}"
            for name_range in document.names
        ]
        omitted_note = (
            f", and {len(range_texts) - _MAX_NAME_RANGES} more kinds" if len(range_texts) > _MAX_NAME_RANGES else ""
        )
        lines.append(f"Names      {strip_nonprintable(', '.join(range_texts[:_MAX_NAME_RANGES]))}{omitted_note}")
    return lines


def _format_percent(share: float) -> str:
    """Whole percents; of nearly all not all."""
    return f"{share:.0%}" if share == 1 or share < 0.995 else f"{min(share, 0.999):.1%}"


def format_bisection_line(bisection: BisectionPart) -> str:
    """What crosses the middle, in all and for each device."""
    bound = "" if bisection.exact else "at most "
    device_text = format_si(bisection.bytes_per_s_per_device, "B/s")
    return f"{bound}{format_si(bisection.bytes_per_s, 'B/s')} each way, {device_text} a device"


def format_group_name(group: ParallelGroupPart) -> str:
    """A group in a few words."""
    return (
        f"{group.group} {group.ranks:,}" if group.group in ("tp", "ep", "dp") else PARALLEL_GROUP_NAMES[group.group]
    )


def _build_group_text_table(document: TopologyDocument, *, is_short: bool = False) -> Table:
    """What each group gets; `is_short`: without what follows from its name."""
    table = build_plain_table()
    table.add_column("group", no_wrap=True)
    if not is_short:
        table.add_column("ranks", justify="right", no_wrap=True)
        table.add_column("apart", justify="right", no_wrap=True)
    table.add_column("across", no_wrap=True)
    table.add_column("a device has", justify="right", no_wrap=True)
    table.add_column("collective", no_wrap=True)
    message = format_bytes(document.groups[0].message_bytes) if document.groups else ""
    table.add_column(f"of {message}", justify="right", no_wrap=True)
    table.add_column("takes", justify="right", no_wrap=True)
    for group in document.groups:
        ranks = [] if is_short else [f"{group.ranks:,}", f"{group.stride:,}"]
        table.add_row(
            format_group_name(group) if is_short else PARALLEL_GROUP_NAMES[group.group],
            *ranks,
            strip_nonprintable(group.level),
            format_si(group.bandwidth_bytes_per_s, "B/s"),
            group.collective,
            format_si(group.algorithm_bytes_per_s, "B/s"),
            format_seconds(group.seconds),
        )
    return table
