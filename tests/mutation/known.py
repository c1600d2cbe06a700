"""Survivors that somebody has looked at, and why each is left: survivors.txt beside this file.

A paragraph is a reason, in lines with `# `, and below it the mutants that it is the reason of, one a line:
`file:function: was -> now`, on one line each whatever they were in the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.mutation.mutants import Mutant

FILE = Path(__file__).with_name("survivors.txt")


def told(mutant: Mutant) -> str:
    """A mutant as the file has it: without its number, which changes with its function."""
    was, now = (" ".join(text.split()) for text in (mutant.was, mutant.now))
    return f"{mutant.file}:{mutant.function}: {was} -> {now}"


def reasons(text: str) -> dict[str, str]:
    """The reason of each mutant as `told`."""
    found: dict[str, str] = {}
    for paragraph in text.split("\n\n"):
        lines = paragraph.strip().splitlines()
        reason = " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))
        found |= dict.fromkeys((line for line in lines if not line.startswith("#")), reason)
    return found


def unknown(survivors: Iterable[Mutant]) -> list[Mutant]:
    """Those without a reason."""
    known = reasons(FILE.read_text("utf-8"))
    return [one for one in survivors if told(one) not in known]
