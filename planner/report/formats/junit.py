"""JUnit XML: one test case for each plan or requirement, for the pages of continuous integration."""

from __future__ import annotations

from planner.report.formats.xml_text import escaped
from planner.report.report import Case, Report


def to_junit(report: Report) -> str:
    """One suite; `time` of a case is the time that is predicted, in seconds, not how long planning took."""
    cases = report.cases
    failures, skipped = sum(bool(one.failure) for one in cases), sum(bool(one.skipped) for one in cases)
    counts = f'tests="{len(cases)}" failures="{failures}" errors="0" skipped="{skipped}"'
    suite = f'<testsuite name="{escaped(f"planner {report.command}: {report.title}")}" {counts}>'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites {counts}>", f"  {suite}"]
    for one in cases:
        lines += _case(one)
    return "\n".join([*lines, "  </testsuite>", "</testsuites>", ""])


def _case(case: Case) -> list[str]:
    head = f'    <testcase classname="{escaped(case.group)}" name="{escaped(case.name)}" time="{case.seconds:.6f}"'
    for kind, message in (("failure", case.failure), ("skipped", case.skipped)):
        if message:
            return [f"{head}>", f'      <{kind} message="{escaped(message)}"/>', "    </testcase>"]
    return [f"{head}/>"]
