"""Charts as SVG inside a page: stacked bars and scatters. Each shape has a title that shows when it is pointed at.

A unit is about a pixel of a phone; colours and texts are the page's own, so that they follow light, dark and print.
"""

from __future__ import annotations

CHART_PALETTE = (
    "#4e79a7", "#86aed1", "#9c755f", "#f28e2b", "#b07aa1", "#e15759",
    "#edc948", "#bab0ac", "#59a14f", "#76b7b2", "#ff9da7", "#8a8a80",
)  # fmt: skip
"""Of pieces, in the order in which their names first appear."""
