"""The fabric as one HTML page: the drawing inside it and the tables below; nothing is loaded from elsewhere."""

from __future__ import annotations

from planner.documents.topology import TopologyDocument
from planner.report.formats.html_page import render_html_page
from planner.report.views.topology_report import build_topology_report


def render_topology_page(drawing_svg: str, document: TopologyDocument) -> str:
    """The page's text."""
    return render_html_page(build_topology_report(document), [("The fabric", drawing_svg)])
