"""Every answer in every form: the document's report, written as CSV, JSON Lines, Markdown, HTML or JUnit XML.

The table and JSON are not among them: these are the document itself.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from planner.report.report import Report

_REPORTS = {
    "planner.documents.plan.Document": "plan_report:plan_report",
    "planner.documents.heterogeneous.HeterogeneousDocument": "heterogeneous_report:mixed_report",
    "planner.documents.check.CheckDocument": "check_report:check_report",
    "planner.documents.diff.DiffDocument": "diff_report:diff_report",
    "planner.documents.what_if.WhatIfDocument": "what_if_report:what_if_report",
    "planner.documents.size.SizeDocument": "size_report:size_report",
    "planner.documents.compare.CompareDocument": "compare_report:compare_report",
    "planner.evidence.validation_document.ValidationDocument": "validation_report:validation_report",
    "planner.documents.explain.ExplainDocument": "explain_report:explain_report",
    "planner.documents.hardware.HardwareDocument": "hardware_report:hardware_report",
    "planner.documents.topology.TopologyDocument": "topology_report:topology_report",
    "planner.documents.listing.ListingDocument": "listing_report:listing_report",
}
"""What makes the report of a document, by the document's class: nothing is loaded for the others."""


def rendered(document: object, form: str) -> str:
    """The document as text in a form: csv, jsonl, markdown, html or junit."""
    report = report_of(document)
    if form in ("csv", "jsonl"):
        from planner.report.formats.csv_jsonl import to_csv, to_jsonl

        return to_csv(report) if form == "csv" else to_jsonl(report)
    if form == "markdown":
        from planner.report.formats.markdown import to_markdown

        return to_markdown(report)
    if form == "junit":
        from planner.report.formats.junit import to_junit

        return to_junit(report)
    if form == "html":
        from planner.documents.explain import ExplainDocument
        from planner.report.formats.html_page import to_html

        if isinstance(document, ExplainDocument):
            from planner.report.charts.explain_html import page

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
    told = cast(Callable[[object], Report], getattr(import_module(f"planner.report.views.{module}"), function))
    return told(document)
