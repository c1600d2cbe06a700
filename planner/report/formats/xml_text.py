"""Text as XML and HTML hold it."""

from __future__ import annotations

from xml.sax.saxutils import escape

from planner.report.console import strip_nonprintable


def escape_xml(text: str) -> str:
    """The text for an element or an attribute. What is not printable is left out, XML's forbidden signs with it."""
    return escape(strip_nonprintable(text), {'"': "&quot;"})
