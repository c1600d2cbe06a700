"""JUnit XML: one test case for each plan or requirement, for the pages of continuous integration."""

from __future__ import annotations

from planner.report.formats.xml_text import escape_xml
from planner.report.report import Report, ReportCase


def render_junit(report: Report) -> str:
    """One suite; `time` of a case is the time that is predicted, in seconds, not how long planning took."""
    cases = report.cases
    failures, skipped = sum(bool(case.failure) for case in cases), sum(bool(case.skip_reason) for case in cases)
    counts = f'tests="{len(cases)}" failures="{failures}" errors="0" skipped="{skipped}"'
    suite = f'<testsuite name="{escape_xml(f"planner {report.command}: {report.title}")}" {counts}>'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites {counts}>", f"  {suite}"]
    for case in cases:
        lines += _render_test_case(case)
    return "\n".join([*lines, "  </testsuite>", "</testsuites>", ""])


def _render_test_case(case: ReportCase) -> list[str]:
    head = (
        f'    <testcase classname="{escape_xml(case.group)}" name="{escape_xml(case.name)}" '
        f'time="{case.predicted_s:.6f}"'
    )
    for outcome, message in (("failure", case.failure), ("skipped", case.skip_reason)):
        if message:
            return [f"{head}>", f'      <{outcome} message="{escape_xml(message)}"/>', "    </testcase>"]
    return [f"{head}/>"]
