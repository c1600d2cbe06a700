"""The fabric as one HTML page: the drawing inside it and the tables below; nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from planner.report.svg import escaped
from planner.report.topology import GROUP_NAMES, counted, level_line
from planner.report.topology_document import TopologyDocument
from planner.units import format_bytes, format_seconds, format_si

_STYLE = """
body { font: 16px/1.4 system-ui, sans-serif; color: #1b1f24; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 1.5rem; }
svg { width: calc(100% + 2rem); margin: 0 -1rem; height: auto; max-width: 42rem; display: block; }
table { border-collapse: collapse; font-size: 0.9rem; }
th, td { padding: 0.2rem 0.8rem 0.2rem 0; text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; white-space: nowrap; }
th { border-bottom: 1px solid #8a8a80; }
div.wide { overflow-x: auto; }
"""


def page(picture: str, document: TopologyDocument) -> str:
    """The page's text."""
    cluster, middle = document.cluster, document.bisection
    figures = [
        ("Devices", f"{cluster.nodes:,} x {cluster.devices_per_node} {cluster.accelerator} = {cluster.devices:,}"),
        (
            "Bisection",
            f"{format_si(middle.bytes_per_s, 'B/s')} each way, "
            f"{format_si(middle.bytes_per_s_per_device, 'B/s')} a device",
        ),
        (
            "Diameter",
            f"{counted(document.diameter_hops, 'hop')}, {format_seconds(document.worst_latency_s)} at worst",
        ),
    ]
    levels = [(level.name, f"{level.parts:,}", level_line(level)) for level in reversed(document.levels)]
    title = escaped(cluster.title)
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{title}</h1>",
            _table(("", ""), figures, numbers=()),
            picture,
            "<h2>Levels, from the outermost</h2>",
            _table(("level", "parts", "what it gives"), levels, numbers=(1,)),
            "<h2>What a parallel group gets</h2>",
            _groups(document),
            "</body></html>",
            "",
        ]
    )


def _groups(document: TopologyDocument) -> str:
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
    return _table(headings, rows, numbers=(1, 2, 4, 6, 7))


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int]) -> str:
    def cells(tag: str, row: Sequence[str]) -> str:
        kinds = (' class="number"' if column in numbers else "" for column in range(len(row)))
        return "".join(f"<{tag}{kind}>{escaped(cell)}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    head = f"<tr>{cells('th', headings)}</tr>" if any(headings) else ""
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="wide"><table>{head}{body}</table></div>'
