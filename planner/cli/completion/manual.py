"""Manual pages, made from the commands themselves: `python -m planner.cli.completion.manual FOLDER` writes them.

The pages are in the language of man(7), of which groff and mandoc both know what is used here.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from planner.cli.completion.command_reference import EXIT_CODES, CommandText, OptionText, describe_commands

_RELEASE_DATE = "2026-11-25"
"""When this version was; every page wants a date, and it must not be that of the day on which the page is made."""
_LINE_WIDTH = 68


def build_manual_pages() -> dict[str, str]:
    """Every page by the name of its file."""
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
    """What follows the name of a command."""
    words = ["[\\fIOPTIONS\\fR]", *(f"\\fI{_escape_roff(name)}\\fR" for name, _ in command.arguments)]
    return " ".join([*words, "\\fICOMMAND\\fR"] if command.commands else words)


def _format_option_names(option: OptionText) -> str:
    """An option with its value, as it is typed."""
    names = ", ".join(map(_format_bold, option.names))
    return f"{names} \\fI{_escape_roff(option.value)}\\fR" if option.value else names


def _format_tagged_paragraphs(entries: Iterable[tuple[str, str]]) -> list[str]:
    """Tagged paragraphs; the tags are of the language already."""
    return [line for tag, words in entries for line in (".TP", tag, *_wrap_text(words))]


def _format_paragraphs(paragraphs: Iterable[str]) -> list[str]:
    return [
        line
        for number, paragraph in enumerate(paragraphs)
        for line in [*([".PP"] if number else []), *_wrap_text(paragraph)]
    ]


def _wrap_text(words: str) -> list[str]:
    """A text in lines that can be read in the file as well."""
    lines = textwrap.wrap(" ".join(words.split()), _LINE_WIDTH, break_long_words=False, break_on_hyphens=False)
    return [_escape_roff(line) for line in lines]


def _format_bold(words: str) -> str:
    return f"\\fB{_escape_roff(words)}\\fR"


def _escape_roff(words: str) -> str:
    """Text as the language holds it: no sign of it is taken for a command, and hyphens can be copied."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    escaped = escaped.replace("~", "\\(ti").replace("^", "\\(ha")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def write_manual_pages(folder: Path) -> None:
    """Write all pages into a folder, and remove those of commands that are gone."""
    page_texts = build_manual_pages()
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.1"):
        if path.name not in page_texts:
            path.unlink()
    for name, text in page_texts.items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    write_manual_pages(Path(sys.argv[1]))
