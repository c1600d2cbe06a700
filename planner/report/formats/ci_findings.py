"""What a check finds, for continuous integration: GitHub's annotations and GitLab's code quality report.

GitHub: escapes as in github.com/actions/toolkit, packages/core/src/command.ts. GitLab: keys as in
docs.gitlab.com/ci/testing/code_quality; a fingerprint stays the same while the finding is there.
"""

from __future__ import annotations

import hashlib
import json

from planner.documents.check import CheckDocument, format_obstacle_line
from planner.report.console import strip_nonprintable

_DATA_ESCAPES = (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"))
_PROPERTY_ESCAPES = (*_DATA_ESCAPES, (":", "%3A"), (",", "%2C"))


def format_github_annotation(file: str, line: int, title: str, message: str) -> str:
    """One error, on one line."""
    lines = "\n".join(strip_nonprintable(text_line) for text_line in message.split("\n"))
    file, title = (_escape_command_text(strip_nonprintable(text), _PROPERTY_ESCAPES) for text in (file, title))
    return f"::error file={file},line={line},title={title}::{_escape_command_text(lines, _DATA_ESCAPES)}\n"


def render_check_annotations(document: CheckDocument, file: str) -> str:
    """An error for each requirement that is not met and each plan that does not fit; `file`: as GitHub knows it."""
    commands = []
    for checked in document.checked:
        if checked.outcome == "nothing fits":
            title = f"{checked.name}: no plan fits"
            commands.append(format_github_annotation(file, checked.line, title, checked.obstacle))
        for item in checked.requirements:
            if not item.met:
                title, line = f"{checked.name}: {item.requirement}", item.line or checked.line
                commands.append(format_github_annotation(file, line, title, item.reason))
    return "".join(commands)


def render_code_quality_report(document: CheckDocument, file: str) -> str:
    """The same as JSON for GitLab; an empty list where all is met. `file`: the path within the repository."""
    findings = []
    for checked in document.checked:
        if checked.outcome == "nothing fits":
            text = f"{checked.name}: {format_obstacle_line(checked)}"
            fits_key = (file, checked.name, "fits")
            findings.append(_build_finding("planner/fits", "blocker", text, fits_key, file, checked.line))
        earlier: list[str] = []
        for item in checked.requirements:
            # the same requirement may stand twice in one plan
            key = (file, checked.name, item.requirement, str(earlier.count(item.requirement)))
            earlier.append(item.requirement)
            if not item.met:
                text = f"{checked.name}: requirement not met: {item.requirement}: {item.reason}"
                line = item.line or checked.line
                findings.append(_build_finding("planner/requirement", "major", text, key, file, line))
    return json.dumps(findings, indent=2, ensure_ascii=False) + "\n"


def _build_finding(
    check_name: str, severity: str, description: str, key: tuple[str, ...], file: str, line: int
) -> dict[str, object]:
    """One finding. Its fingerprint is made of what it is of, not of its figures or its line."""
    return {
        "description": strip_nonprintable(description),
        "check_name": check_name,
        "fingerprint": hashlib.sha256("\0".join((check_name, *key)).encode()).hexdigest(),
        "severity": severity,
        "location": {"path": strip_nonprintable(file), "lines": {"begin": line}},
    }


def _escape_command_text(text: str, escapes: tuple[tuple[str, str], ...]) -> str:
    for character, escape in escapes:
        text = text.replace(character, escape)
    return text
