"""GitHub's workflow commands: an error beside a line of the file that is at fault.

Escapes as in github.com/actions/toolkit, packages/core/src/command.ts.
"""

from __future__ import annotations

from planner.documents.check import CheckDocument
from planner.report.console import strip_nonprintable

_DATA_ESCAPES = (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"))
_PROPERTY_ESCAPES = (*_DATA_ESCAPES, (":", "%3A"), (",", "%2C"))


def format_github_annotation(file: str, line: int, title: str, message: str) -> str:
    """One error, on one line."""
    lines = "\n".join(strip_nonprintable(text_line) for text_line in message.split("\n"))
    properties = (
        f"file={_escape_command_text(strip_nonprintable(file), _PROPERTY_ESCAPES)},line={line}"
        f",title={_escape_command_text(strip_nonprintable(title), _PROPERTY_ESCAPES)}"
    )
    return f"::error {properties}::{_escape_command_text(lines, _DATA_ESCAPES)}\n"


def render_check_annotations(document: CheckDocument, file: str) -> str:
    """An error for each requirement that is not met and each plan that does not fit; `file`: as GitHub knows it."""
    commands = []
    for checked_plan in document.checked:
        if checked_plan.outcome == "nothing fits":
            commands.append(
                format_github_annotation(
                    file, checked_plan.line, f"{checked_plan.name}: no plan fits", checked_plan.obstacle
                )
            )
        for requirement in checked_plan.requirements:
            if not requirement.met:
                title = f"{checked_plan.name}: {requirement.requirement}"
                commands.append(
                    format_github_annotation(file, requirement.line or checked_plan.line, title, requirement.reason)
                )
    return "".join(commands)


def _escape_command_text(text: str, escapes: tuple[tuple[str, str], ...]) -> str:
    for character, escape in escapes:
        text = text.replace(character, escape)
    return text
