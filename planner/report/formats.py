"""Every answer in every form: the document's report, written as CSV, JSON Lines, Markdown, HTML or JUnit XML.

The table and JSON are not among them: these are the document itself.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from planner.report.report import Report

_REPORTS = {
    "planner.search.document.Document": "plan_report:plan_report",
    "planner.search.mixed_document.MixedDocument": "mixed_report:mixed_report",
    "planner.search.check_document.CheckDocument": "check_report:check_report",
    "planner.search.diff_document.DiffDocument": "diff_report:diff_report",
    "planner.search.whatif_document.WhatIfDocument": "whatif_report:what_if_report",
    "planner.search.size_document.SizeDocument": "size_report:size_report",
    "planner.search.compare_document.CompareDocument": "compare_report:compare_report",
    "planner.validation.document.ValidationDocument": "validation_report:validation_report",
    "planner.search.explain_document.ExplainDocument": "explain_report:explain_report",
    "planner.report.hardware_document.HardwareDocument": "hardware_report:hardware_report",
    "planner.report.topology_document.TopologyDocument": "topology_report:topology_report",
    "planner.report.listing_document.ListingDocument": "listing_report:listing_report",
}
"""What makes the report of a document, by the document's class: nothing is loaded for the others."""


def rendered(document: object, form: str) -> str:
    """The document as text in a form: csv, jsonl, markdown, html or junit."""
    report = report_of(document)
    if form in ("csv", "jsonl"):
        from planner.report.csv_jsonl import to_csv, to_jsonl

        return to_csv(report) if form == "csv" else to_jsonl(report)
    if form == "markdown":
        from planner.report.markdown import to_markdown

        return to_markdown(report)
    if form == "junit":
        from planner.report.junit import to_junit

        return to_junit(report)
    if form == "html":
        from planner.report.html_page import to_html
        from planner.search.explain_document import ExplainDocument

        if isinstance(document, ExplainDocument):
            from planner.report.explain_html import page

            return page(document)
        return to_html(report)
    raise ValueError(f"no form is called {form}")


def report_of(document: object) -> Report:
    """The report of a document of any command. Raises TypeError for what is none."""
    kind = type(document)
    made = _REPORTS.get(f"{kind.__module__}.{kind.__qualname__}")
    if made is None:
        raise TypeError(f"no report is made of a {kind.__name__}")
    module, _, function = made.partition(":")
    told = cast(Callable[[object], Report], getattr(import_module(f"planner.report.{module}"), function))
    return told(document)
