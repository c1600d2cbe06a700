"""Every document in every format: its report in a terminal, or as CSV, JSON Lines, Markdown, HTML or JUnit XML. JSON
is not among them: it is the document itself.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from planner.report.report import Report

_REPORT_BUILDERS = {
    "planner.documents.plan.PlanDocument": "plan_report:build_plan_report",
    "planner.documents.heterogeneous.HeterogeneousDocument": "heterogeneous_report:build_hetero_report",
    "planner.documents.check.CheckDocument": "check_report:build_check_report",
    "planner.documents.diff.DiffDocument": "diff_report:build_diff_report",
    "planner.documents.what_if.WhatIfDocument": "what_if_report:build_whatif_report",
    "planner.documents.size.SizeDocument": "size_report:build_size_report",
    "planner.documents.compare.CompareDocument": "compare_report:build_compare_report",
    "planner.evidence.validation_document.ValidationDocument": "validation_report:build_validation_report",
    "planner.documents.explain.ExplainDocument": "explain_report:build_explain_report",
    "planner.documents.hardware.HardwareDocument": "hardware_report:build_hardware_report",
    "planner.documents.topology.TopologyDocument": "topology_report:build_topology_report",
    "planner.documents.model.ModelDocument": "model_report:build_model_report",
    "planner.documents.listing.ListingDocument": "listing_report:build_listing_report",
    "planner.documents.trainers.TrainersDocument": "trainers_report:build_trainers_report",
}
"""The builder of the report, by the class of the document; its module is imported where it is needed."""


def render_document(document: object, output_format: str) -> str:
    """The document as text: `table` (for the terminal), csv, jsonl, markdown, html or junit. Raises ValueError."""
    report = build_report(document)
    if output_format == "table":
        from planner.report.formats.terminal import render_terminal

        return render_terminal(report)
    if output_format in ("csv", "jsonl"):
        from planner.report.formats.csv_jsonl import render_csv, render_jsonl

        return render_csv(report) if output_format == "csv" else render_jsonl(report)
    if output_format == "markdown":
        from planner.report.formats.markdown import render_markdown

        return render_markdown(report)
    if output_format == "junit":
        from planner.report.formats.junit import render_junit

        return render_junit(report)
    if output_format == "html":
        from planner.report.formats.html_page import render_html_page

        return render_html_page(report)
    raise ValueError(f"no form is called {output_format}")


def build_report(document: object) -> Report:
    """The report of a document of any command. Raises TypeError for another object."""
    document_type = type(document)
    builder_path = _REPORT_BUILDERS.get(f"{document_type.__module__}.{document_type.__qualname__}")
    if builder_path is None:
        raise TypeError(f"no report is made of a {document_type.__name__}")
    module, _, function = builder_path.partition(":")
    builder = cast(Callable[[object], Report], getattr(import_module(f"planner.report.views.{module}"), function))
    return builder(document)
