"""The fabric as one HTML page: the drawing inside it and the tables below; nothing is loaded from elsewhere."""

from __future__ import annotations

from planner.documents.topology import TopologyDocument
from planner.report.formats.html_page import to_html
from planner.report.views.topology_report import topology_report


def page(picture: str, document: TopologyDocument) -> str:
    """The page's text."""
    return to_html(topology_report(document), [("The fabric", picture)])
