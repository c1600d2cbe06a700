"""An answer as one HTML file: nothing is loaded from elsewhere, no script runs; it is read on a phone and printed.

Its policy forbids the browser every request and every script, should a name ever slip through.
"""

from __future__ import annotations

from collections.abc import Sequence

from planner.report.formats.xml_text import escape_xml
from planner.report.report import Chart, Report, ReportTable

_PAGE_STYLE = """
:root { color-scheme: light dark;
  --ink: #1b1f24; --paper: #ffffff; --line: #d0d4d9; --soft: #5b6470; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --paper: #14171a; --line: #3a4048; --soft: #9aa3ad; }
}
* { box-sizing: border-box; }
body { font: 16px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.35rem; } h2, figcaption { font-size: 1.05rem; font-weight: 600; margin: 1.5rem 0 0.4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1rem; }
dt { color: var(--soft); } dd { margin: 0; }
div.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 0 2rem; }
figure { margin: 0; max-width: 34rem; } figure svg, div.drawing svg { display: block; width: 100%; height: auto; }
div.drawing { margin: 0 -1rem; } div.drawing svg { max-width: 44rem; }
figure svg text { font-family: system-ui, sans-serif; }
figure svg path:has(title) { stroke: var(--paper); stroke-width: 0.5; }
figure svg path:has(title):hover { stroke: var(--ink); stroke-width: 2; }
div.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.9rem; }
th, td { padding: 0.2rem 0.9rem 0.2rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th.word, td.word { text-align: left; } td.word { white-space: normal; overflow-wrap: normal; }
tbody tr:hover { background: var(--line); }
@media (max-width: 40rem) {
  table { font-size: 0.8rem; } th, td { padding-right: 0.5rem; } th { white-space: normal; overflow-wrap: normal; }
  th:first-child, td:first-child { position: sticky; left: 0; background: var(--paper); }
}
@media print {
  :root { color-scheme: light;
  --ink: #000000; --paper: #ffffff; --line: #bbbbbb; --soft: #444444; }
  body { max-width: none; padding: 0; font-size: 10pt; } figure, tr { break-inside: avoid; }
  h2, figcaption { break-after: avoid; } div.wide { overflow: visible; } table { font-size: 7.5pt; }
  th, td { white-space: normal; padding-right: 0.4rem; overflow-wrap: normal; }
  svg { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
_CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render_html_page(report: Report, drawings: Sequence[tuple[str, str]] = ()) -> str:
    """The page's text. `drawings`: titles with SVG of a command's own, as of a fabric."""
    title = escape_xml(report.title)
    drawing_sections = [f'<h2>{escape_xml(name)}</h2><div class="drawing">{svg}</div>' for name, svg in drawings]
    facts = "".join(
        f"<dt>{escape_xml(name)}</dt><dd>{escape_xml(fact_text)}</dd>" for name, fact_text in report.facts
    )
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_CONTENT_SECURITY_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title><style>{_PAGE_STYLE}</style></head><body>",
            f"<h1>{title}</h1>",
            f"<dl>{facts}</dl>",
            *drawing_sections,
            *_render_charts(report.charts),
            *(_render_html_table(item) for item in report.tables),
            *(f"<p>{escape_xml(item)}</p>" for item in report.sentences),
            "</body></html>",
            "",
        ]
    )


def _render_charts(charts: Sequence[Chart]) -> list[str]:
    """Figures side by side where there is room; without charts the drawing library is not loaded."""
    if not charts:
        return []
    from planner.report.charts.chart_svg import render_chart_svg

    figures = [
        f"<figure><figcaption>{escape_xml(chart.title)}</figcaption>{render_chart_svg(chart)}</figure>"
        for chart in charts
    ]
    return ['<div class="charts">', *figures, "</div>"]


def _render_html_table(table: ReportTable) -> str:
    classes = [' class="word"' if column.is_text else "" for column in table.columns]

    def render_row(tag: str, row: Sequence[str]) -> str:
        cells = (f"<{tag}{name}>{escape_xml(cell)}</{tag}>" for name, cell in zip(classes, row, strict=True))
        return f"<tr>{''.join(cells)}</tr>"

    head = render_row("th", [column.heading for column in table.columns])
    body = "\n".join(render_row("td", row) for row in table.rows)
    title = f"<h2>{escape_xml(table.title)}</h2>" if table.title else ""
    return f'{title}<div class="wide"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'
