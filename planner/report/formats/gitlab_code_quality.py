"""GitLab's code quality report: a list of findings, each with a fingerprint that stays the same while it is there.

Keys as in docs.gitlab.com/ci/testing/code_quality: description, check_name, fingerprint, severity, location.
"""

from __future__ import annotations

import hashlib
import json

from planner.documents.check import CheckDocument, obstacle_line
from planner.report.console import printable


def code_quality_report(document: CheckDocument, file: str) -> str:
    """What is not met, as JSON; an empty list where all is. `file`: the path from the top of the repository."""
    findings = []
    for one in document.checked:
        if one.outcome == "nothing fits":
            told = f"{one.name}: {obstacle_line(one)}"
            findings.append(_finding("planner/fits", told, (file, one.name, "fits"), file, one.line, "blocker"))
        for number, required in enumerate(one.requirements):
            if required.met:
                continue
            told = f"{one.name}: requirement not met: {required.requirement}: {required.told}"
            # the same requirement may be asked twice of one plan
            before = [other.requirement for other in one.requirements[:number]].count(required.requirement)
            key = (file, one.name, required.requirement, str(before))
            findings.append(_finding("planner/requirement", told, key, file, required.line or one.line, "major"))
    return json.dumps(findings, indent=2, ensure_ascii=False) + "\n"


def _finding(check: str, told: str, key: tuple[str, ...], file: str, line: int, severity: str) -> dict[str, object]:
    """One finding. Its fingerprint is made of what it is of, not of the figures that were found or of its line."""
    fingerprint = hashlib.sha256("\0".join((check, *key)).encode()).hexdigest()
    return {
        "description": printable(told),
        "check_name": check,
        "fingerprint": fingerprint,
        "severity": severity,
        "location": {"path": printable(file), "lines": {"begin": line}},
    }
