"""Every answer in every form: the document's report, written as CSV, JSON Lines, Markdown, HTML or JUnit XML.

The table and JSON are not among them: these are the document itself.
"""

from __future__ import annotations

from planner.report.told import Report


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

        return to_html(report)
    raise ValueError(f"no form is called {form}")


def report_of(document: object) -> Report:
    """The report of a document of any command."""
    from planner.search.check_document import CheckDocument
    from planner.search.diff_document import DiffDocument
    from planner.search.document import Document
    from planner.search.mixed_document import MixedDocument

    if isinstance(document, Document):
        from planner.report.told_plan import plan_report

        return plan_report(document)
    if isinstance(document, MixedDocument):
        from planner.report.told_mixed import mixed_report

        return mixed_report(document)
    if isinstance(document, CheckDocument):
        from planner.report.told_check import check_report

        return check_report(document)
    if isinstance(document, DiffDocument):
        from planner.report.told_diff import diff_report

        return diff_report(document)
    raise TypeError(f"no report is made of a {type(document).__name__}")
