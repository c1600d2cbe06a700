"""GitLab's code quality report: a list of findings, each with a fingerprint that stays the same while it is there.

Keys as in docs.gitlab.com/ci/testing/code_quality: description, check_name, fingerprint, severity, location.
"""

from __future__ import annotations

import hashlib
import json

from planner.documents.check import CheckDocument, format_obstacle_line
from planner.report.console import strip_nonprintable


def render_code_quality_report(document: CheckDocument, file: str) -> str:
    """What is not met, as JSON; an empty list where all is. `file`: the path from the top of the repository."""
    findings = []
    for checked_plan in document.checked:
        if checked_plan.outcome == "nothing fits":
            description = f"{checked_plan.name}: {format_obstacle_line(checked_plan)}"
            findings.append(
                _build_finding(
                    "planner/fits", description, (file, checked_plan.name, "fits"), file, checked_plan.line, "blocker"
                )
            )
        for number, requirement in enumerate(checked_plan.requirements):
            if requirement.met:
                continue
            description = f"{checked_plan.name}: requirement not met: {requirement.requirement}: {requirement.reason}"
            # the same requirement may be asked twice of one plan
            earlier_count = [other.requirement for other in checked_plan.requirements[:number]].count(
                requirement.requirement
            )
            key = (file, checked_plan.name, requirement.requirement, str(earlier_count))
            findings.append(
                _build_finding(
                    "planner/requirement", description, key, file, requirement.line or checked_plan.line, "major"
                )
            )
    return json.dumps(findings, indent=2, ensure_ascii=False) + "\n"


def _build_finding(
    check_name: str, description: str, key: tuple[str, ...], file: str, line: int, severity: str
) -> dict[str, object]:
    """One finding. Its fingerprint is made of what it is of, not of the figures that were found or of its line."""
    fingerprint = hashlib.sha256("\0".join((check_name, *key)).encode()).hexdigest()
    return {
        "description": strip_nonprintable(description),
        "check_name": check_name,
        "fingerprint": fingerprint,
        "severity": severity,
        "location": {"path": strip_nonprintable(file), "lines": {"begin": line}},
    }
