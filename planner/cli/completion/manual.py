"""Manual pages, made from the commands themselves: `python -m planner.cli.completion.manual FOLDER` writes them.

The pages are in the language of man(7), of which groff and mandoc both know what is used here.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from planner.cli.completion.command_reference import EXIT, CommandText, Option, described_commands

_RELEASED = "2026-11-25"
"""When this version was; every page wants a date, and it must not be that of the day on which the page is made."""
_WIDTH = 68


def pages() -> dict[str, str]:
    """Every page by the name of its file."""
    made = {name.replace(" ", "-"): _page(one) for name, one in described_commands().items()}
    made["planner-plan"] = ".so man1/plan.1\n"
    return {f"{name}.1": text for name, text in made.items()}


def _page(command: CommandText) -> str:
    from planner import __version__

    title = _text(command.name.replace(" ", "-"))
    lines = [
        f'.TH {title.upper()} 1 "{_RELEASED}" "planner {__version__}" "User Commands"',
        ".ad l",
        ".nh",
        ".SH NAME",
        f"{title} \\- {_text(command.first.rstrip('.'))}",
        ".SH SYNOPSIS",
        f"{_bold(command.name)} {_usage(command)}".rstrip(),
        ".SH DESCRIPTION",
        *_joined(command.paragraphs),
    ]
    if command.arguments:
        lines += [".SH ARGUMENTS", *_listed((f"\\fI{_text(name)}\\fR", what) for name, what in command.arguments)]
    if command.commands:
        lines += [".SH COMMANDS", *_listed((_bold(word), what) for word, what in command.commands)]
    lines += [".SH OPTIONS", *_listed((_names(one), one.does) for one in command.options)]
    if not command.commands:
        lines += [".SH EXIT STATUS", *_listed((_bold(code), words) for code, words in EXIT)]
    for one in command.examples:
        lines += [".SH EXAMPLES", ".EX", *map(_text, one), ".EE"]
    lines += [".SH SEE ALSO", ", ".join(f"{_bold(one.replace(' ', '-'))}(1)" for one in command.others)]
    return "\n".join(lines) + "\n"


def _usage(command: CommandText) -> str:
    """What follows the name of a command."""
    words = ["[\\fIOPTIONS\\fR]", *(f"\\fI{_text(name)}\\fR" for name, _ in command.arguments)]
    return " ".join([*words, "\\fICOMMAND\\fR"] if command.commands else words)


def _names(one: Option) -> str:
    """An option with its value, as it is typed."""
    names = ", ".join(map(_bold, one.names))
    return f"{names} \\fI{_text(one.value)}\\fR" if one.value else names


def _listed(entries: Iterable[tuple[str, str]]) -> list[str]:
    """Tagged paragraphs; the tags are of the language already."""
    return [line for tag, words in entries for line in (".TP", tag, *_lines(words))]


def _joined(paragraphs: Iterable[str]) -> list[str]:
    return [line for number, one in enumerate(paragraphs) for line in [*([".PP"] if number else []), *_lines(one)]]


def _lines(words: str) -> list[str]:
    """A text in lines that can be read in the file as well."""
    lines = textwrap.wrap(" ".join(words.split()), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [_text(one) for one in lines]


def _bold(words: str) -> str:
    return f"\\fB{_text(words)}\\fR"


def _text(words: str) -> str:
    """Text as the language holds it: no sign of it is taken for a command, and hyphens can be copied."""
    held = words.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    held = held.replace("~", "\\(ti").replace("^", "\\(ha")
    return f"\\&{held}" if held.startswith(".") else held


def main(folder: Path) -> None:
    """Write all pages into a folder, and remove those of commands that are gone."""
    made = pages()
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.1"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
