"""GitHub's workflow commands: an error beside a line of the file that is at fault.

Escapes as in github.com/actions/toolkit, packages/core/src/command.ts.
"""

from __future__ import annotations

from planner.documents.check import CheckDocument
from planner.report.console import printable

_DATA = (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"))
_PROPERTY = (*_DATA, (":", "%3A"), (",", "%2C"))


def annotation(file: str, line: int, title: str, message: str) -> str:
    """One error, on one line."""
    lines = "\n".join(printable(one) for one in message.split("\n"))
    places = f"file={_escaped(printable(file), _PROPERTY)},line={line},title={_escaped(printable(title), _PROPERTY)}"
    return f"::error {places}::{_escaped(lines, _DATA)}\n"


def check_annotations(document: CheckDocument, file: str) -> str:
    """An error for each requirement that is not met and each plan that does not fit; `file`: as GitHub knows it."""
    told = []
    for one in document.checked:
        if one.outcome == "nothing fits":
            told.append(annotation(file, one.line, f"{one.name}: no plan fits", one.obstacle))
        for required in one.requirements:
            if not required.met:
                title = f"{one.name}: {required.requirement}"
                told.append(annotation(file, required.line or one.line, title, required.told))
    return "".join(told)


def _escaped(text: str, signs: tuple[tuple[str, str], ...]) -> str:
    for sign, written in signs:
        text = text.replace(sign, written)
    return text
