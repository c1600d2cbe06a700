"""Every answer in every form: the document's report, written as CSV, JSON Lines, Markdown, HTML or JUnit XML.

The table and JSON are not among them: these are the document itself.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from planner.report.told import Report

_REPORTS = {
    "planner.search.document.Document": "told_plan:plan_report",
    "planner.search.mixed_document.MixedDocument": "told_mixed:mixed_report",
    "planner.search.check_document.CheckDocument": "told_check:check_report",
    "planner.search.diff_document.DiffDocument": "told_diff:diff_report",
    "planner.search.whatif_document.WhatIfDocument": "told_whatif:what_if_report",
    "planner.search.size_document.SizeDocument": "told_size:size_report",
    "planner.search.compare_document.CompareDocument": "told_compare:compare_report",
    "planner.validation.document.ValidationDocument": "told_validate:validation_report",
    "planner.search.explain_document.ExplainDocument": "told_explain:explain_report",
    "planner.report.hardware_document.HardwareDocument": "told_hardware:hardware_report",
    "planner.report.topology_document.TopologyDocument": "told_topology:topology_report",
    "planner.report.listing_document.ListingDocument": "told_listing:listing_report",
}
"""What makes the report of a document, by the document's class: nothing is loaded for the others."""


def rendered(document: object, form: str) -> str:
    """The document as text in a form: csv, jsonl, markdown, html or junit."""
    report = report_of(document)
    if form in ("csv", "jsonl"):
        from planner.report.records import to_csv, to_jsonl

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
