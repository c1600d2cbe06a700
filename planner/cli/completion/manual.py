"""Writes the manual pages: `python -m planner.cli.completion.manual FOLDER`.

The pages use requests of man(7) that both groff and mandoc support.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from planner.cli.completion.command_reference import EXIT_CODES, CommandText, OptionText, describe_commands

_RELEASE_DATE = "2026-11-25"
"""Date of this version for the pages, fixed so that they do not depend on the day on which they are made."""
_LINE_WIDTH = 68


def build_manual_pages() -> dict[str, str]:
    """The text of every page by the name of its file."""
    page_texts = {name.replace(" ", "-"): _render_page(command) for name, command in describe_commands().items()}
    page_texts["planner-plan"] = ".so man1/plan.1\n"
    return {f"{name}.1": text for name, text in page_texts.items()}


def _render_page(command: CommandText) -> str:
    from planner import __version__

    title = _escape_roff(command.name.replace(" ", "-"))
    lines = [
        f'.TH {title.upper()} 1 "{_RELEASE_DATE}" "planner {__version__}" "User Commands"',
        ".ad l",
        ".nh",
        ".SH NAME",
        f"{title} \\- {_escape_roff(command.summary.rstrip('.'))}",
        ".SH SYNOPSIS",
        f"{_format_bold(command.name)} {_format_usage(command)}".rstrip(),
        ".SH DESCRIPTION",
        *_format_paragraphs(command.paragraphs),
    ]
    if command.arguments:
        lines += [
            ".SH ARGUMENTS",
            *_format_tagged_paragraphs(
                (f"\\fI{_escape_roff(name)}\\fR", description) for name, description in command.arguments
            ),
        ]
    if command.commands:
        lines += [
            ".SH COMMANDS",
            *_format_tagged_paragraphs((_format_bold(word), description) for word, description in command.commands),
        ]
    lines += [
        ".SH OPTIONS",
        *_format_tagged_paragraphs((_format_option_names(item), item.description) for item in command.options),
    ]
    if not command.commands:
        lines += [
            ".SH EXIT STATUS",
            *_format_tagged_paragraphs(
                (_format_bold(code), description_text) for code, description_text in EXIT_CODES
            ),
        ]
    for item in command.examples:
        lines += [".SH EXAMPLES", ".EX", *map(_escape_roff, item), ".EE"]
    lines += [
        ".SH SEE ALSO",
        ", ".join(f"{_format_bold(item.replace(' ', '-'))}(1)" for item in command.related_commands),
    ]
    return "\n".join(lines) + "\n"


def _format_usage(command: CommandText) -> str:
    """The synopsis after the name of a command."""
    words = ["[\\fIOPTIONS\\fR]", *(f"\\fI{_escape_roff(name)}\\fR" for name, _ in command.arguments)]
    return " ".join([*words, "\\fICOMMAND\\fR"] if command.commands else words)


def _format_option_names(option: OptionText) -> str:
    """An option's names and value in roff."""
    names = ", ".join(map(_format_bold, option.names))
    return f"{names} \\fI{_escape_roff(option.value)}\\fR" if option.value else names


def _format_tagged_paragraphs(entries: Iterable[tuple[str, str]]) -> list[str]:
    """Tagged paragraphs; the tags are roff already."""
    return [line for tag, words in entries for line in (".TP", tag, *_wrap_text(words))]


def _format_paragraphs(paragraphs: Iterable[str]) -> list[str]:
    return [
        line
        for number, paragraph in enumerate(paragraphs)
        for line in [*([".PP"] if number else []), *_wrap_text(paragraph)]
    ]


def _wrap_text(words: str) -> list[str]:
    """The text in wrapped lines, so that the source of the page is readable."""
    lines = textwrap.wrap(" ".join(words.split()), _LINE_WIDTH, break_long_words=False, break_on_hyphens=False)
    return [_escape_roff(line) for line in lines]


def _format_bold(words: str) -> str:
    return f"\\fB{_escape_roff(words)}\\fR"


def _escape_roff(words: str) -> str:
    """The text with roff's special characters escaped, and with hyphens that can be copied."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    escaped = escaped.replace("~", "\\(ti").replace("^", "\\(ha")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def write_manual_pages(folder: Path) -> None:
    """Write all pages into a folder, and remove pages of commands that no longer exist."""
    page_texts = build_manual_pages()
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.1"):
        if path.name not in page_texts:
            path.unlink()
    for name, text in page_texts.items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    write_manual_pages(Path(sys.argv[1]))
