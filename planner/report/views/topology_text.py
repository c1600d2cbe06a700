"""The answer of `planner topology` for people: the levels as a tree, the middle, and what each group gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.documents.topology import BisectionPart, GroupPart, LevelPart, TopologyDocument
from planner.report.console import (
    console,
    first_that_fits,
    plain_table,
    print_lines,
    printable,
    text_of,
)
from planner.units import format_bytes, format_counted_noun, format_seconds, format_si

if TYPE_CHECKING:
    from rich.table import Table

_PLAIN, _DRAWN = ("`-- ", "    "), ("└── ", "    ")
_NAMES = 8
GROUP_NAMES = {
    "tp": "tensor parallel",
    "scale-up": "scale-up domain",
    "ep": "experts",
    "pp": "neighbouring stages",
    "dp": "data parallel",
}


def topology_text(document: TopologyDocument) -> str:
    """The whole answer as text for stdout."""
    out = console()
    # a pipe may lead to where only ASCII is shown
    branch = _DRAWN if out.is_terminal else _PLAIN
    print_lines(out, [*_heading(document), "", *tree(document, branch), "", *figures(document), ""])
    table = first_that_fits(out, lambda short: _groups(document, short=short), (False, True))
    if table is not None:
        out.print(table)
    else:
        for one in document.groups:
            line = f"{group_name(one)}: {format_si(one.bandwidth_bytes_per_s, 'B/s')} a device"
            out.print(line, markup=False, soft_wrap=True)
    return text_of(out)


def _heading(document: TopologyDocument) -> list[str]:
    cluster = document.cluster
    each = f"{cluster.devices_per_node} {printable(cluster.accelerator)}"
    return [
        printable(cluster.title),
        f"{format_counted_noun(cluster.nodes, 'node')} x {each} = {format_counted_noun(cluster.devices, 'device')}",
    ]


def tree(document: TopologyDocument, branch: tuple[str, str] = _PLAIN) -> list[str]:
    """The levels from the outermost to the device, one line each; `branch`: what stands before a line that hangs on
    the one above, and what moves it in.
    """
    lines = []
    times = ""
    for depth, level in enumerate(reversed(document.levels)):
        stem = branch[1] * (depth - 1) + branch[0] if depth else ""
        lines.append(f"{stem}{times}{printable(level.name)}: {level_line(level)}")
        times = f"{span(level.fewest_inside, level.most_inside)} x "
    stem = branch[1] * (len(document.levels) - 1) + branch[0]
    lines.append(f"{stem}{times}{printable(document.cluster.accelerator)}")
    return lines


def span(fewest: int, most: int) -> str:
    """`32`, or `1 to 32` where parts are uneven."""
    return f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"


def level_line(level: LevelPart) -> str:
    """What a level is and gives, in one line."""
    words = [level.topology]
    if level.shape:
        sides = " x ".join(
            f"{side}{'' if wrap else ' open'}" for side, wrap in zip(level.shape, level.wrap, strict=True)
        )
        words[0] += f" {sides}"
    if level.switches:
        # of one part of the level, where all parts are alike
        each, rest = divmod(level.switches, level.parts)
        in_all = " in all" if rest else ""
        words.append(format_counted_noun(level.switches if rest else each, "switch", "switches") + in_all)
    told = f"{format_si(level.bandwidth_bytes_per_s, 'B/s')} a device"
    if level.oversubscription > 1.0005:
        told += f" ({level.oversubscription:.3g}:1)"
    return ", ".join([*words, told, format_seconds(level.latency_s)])


def figures(document: TopologyDocument) -> list[str]:
    """The middle, the diameter, how many parts there are and how they are called; a word, then what is said."""
    share = "" if document.bisection.share is None else f", {_percent(document.bisection.share)} of injection"
    lines = [
        f"Bisection  {middle_line(document.bisection)}{share}",
        f"Diameter   {format_counted_noun(document.diameter_hops, 'hop')}, {format_seconds(document.worst_latency_s)} at worst",
    ]
    if document.switches is not None and document.links is not None:
        switches, links = (
            format_counted_noun(document.switches, "switch", "switches"),
            format_counted_noun(document.links, "link"),
        )
        between = "nodes and switches" if document.switches else "nodes"
        lines.append(f"Parts      {switches}, {links} between {between}")
    if document.names:
        told = [one.first if one.count == 1 else f"{one.first} to {one.last}" for one in document.names]
        more = f", and {len(told) - _NAMES} more kinds" if len(told) > _NAMES else ""
        lines.append(f"Names      {printable(', '.join(told[:_NAMES]))}{more}")
    return lines


def _percent(share: float) -> str:
    """Whole percents; of nearly all not all."""
    return f"{share:.0%}" if share == 1 or share < 0.995 else f"{min(share, 0.999):.1%}"


def middle_line(middle: BisectionPart) -> str:
    """What crosses the middle, in all and for each device."""
    bound = "" if middle.exact else "at most "
    each = format_si(middle.bytes_per_s_per_device, "B/s")
    return f"{bound}{format_si(middle.bytes_per_s, 'B/s')} each way, {each} a device"


def group_name(one: GroupPart) -> str:
    """A group in a few words."""
    return f"{one.group} {one.ranks:,}" if one.group in ("tp", "ep", "dp") else GROUP_NAMES[one.group]


def _groups(document: TopologyDocument, *, short: bool = False) -> Table:
    """What each group gets; `short`: without what follows from its name."""
    table = plain_table()
    table.add_column("group", no_wrap=True)
    if not short:
        table.add_column("ranks", justify="right", no_wrap=True)
        table.add_column("apart", justify="right", no_wrap=True)
    table.add_column("across", no_wrap=True)
    table.add_column("a device has", justify="right", no_wrap=True)
    table.add_column("collective", no_wrap=True)
    message = format_bytes(document.groups[0].message_bytes) if document.groups else ""
    table.add_column(f"of {message}", justify="right", no_wrap=True)
    table.add_column("takes", justify="right", no_wrap=True)
    for one in document.groups:
        ranks = [] if short else [f"{one.ranks:,}", f"{one.stride:,}"]
        table.add_row(
            group_name(one) if short else GROUP_NAMES[one.group],
            *ranks,
            printable(one.level),
            format_si(one.bandwidth_bytes_per_s, "B/s"),
            one.collective,
            format_si(one.algorithm_bytes_per_s, "B/s"),
            format_seconds(one.seconds),
        )
    return table
