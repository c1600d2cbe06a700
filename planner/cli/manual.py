"""Manual pages, made from the commands themselves: `python -m planner.cli.manual FOLDER` writes them.

The pages are in the language of man(7), of which groff and mandoc both know what is used here.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import cast

from planner.cli.complete import Command, Parameter

_RELEASED = "2026-11-25"
"""When this version was; every page wants a date, and it must not be that of the day on which the page is made."""
_WIDTH = 68
_EXIT = (
    ("0", "Done."),
    ("1", "A fault of the program's, or output that cannot be written."),
    ("2", "Bad input or usage; the message names the file, the key and what was expected."),
    ("3", "No plan fits; the message tells the nearest miss and what would make it fit."),
    ("4", "A requirement is not met."),
    ("130", "Interrupted (128 and the number of the signal). No file is left half written."),
)


def pages() -> dict[str, str]:
    """Every page by the name of its file."""
    import typer

    from planner.cli.app import plan_app, planner_app

    alone = cast(Command, typer.main.get_command(plan_app()))
    whole = cast(Command, typer.main.get_command(planner_app()))
    told = {"plan": _page("plan", alone, ["planner"])}
    commands = dict(_commands("planner", whole))
    for name, command in commands.items():
        others = [one for one in commands if one.startswith(f"{name} ") and one.count(" ") == name.count(" ") + 1]
        above = [name.rpartition(" ")[0]] if " " in name else ["plan"]
        told[name.replace(" ", "-")] = _page(name, command, [*above, *others])
    told["planner-plan"] = ".so man1/plan.1\n"
    return {f"{name}.1": text for name, text in told.items()}


def _commands(name: str, command: Command) -> Iterator[tuple[str, Command]]:
    """A command and those within it that are shown."""
    yield name, command
    inner: dict[str, Command] = getattr(command, "commands", {})
    for word, one in inner.items():
        if not one.hidden:
            yield from _commands(f"{name} {word}", one)


def _page(name: str, command: Command, others: list[str]) -> str:
    """One page; `others`: what is told under "see also"."""
    from planner import __version__

    title = name.replace(" ", "-")
    paragraphs = re.split(r"\n\s*\n", (getattr(command, "help", "") or "").strip())
    inner: dict[str, Command] = getattr(command, "commands", {})
    shown = {word: one for word, one in inner.items() if not one.hidden}
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
    examples = [one for one in paragraphs if one.startswith("\b")]
    first = " ".join(paragraphs[0].split())
    lines = [
        f'.TH {_text(title).upper()} 1 "{_RELEASED}" "planner {__version__}" "User Commands"',
        ".ad l",
        ".nh",
        ".SH NAME",
        f"{_text(title)} \\- {_text(first.rstrip('.'))}",
        ".SH SYNOPSIS",
        f"{_bold(name)} {_usage(arguments, bool(shown))}".rstrip(),
        ".SH DESCRIPTION",
        *_joined([one for one in paragraphs if not one.startswith("\b")]),
    ]
    if arguments:
        lines += [".SH ARGUMENTS", *_listed((f"\\fI{_text(_value(one))}\\fR", one.help or "") for one in arguments)]
    if shown:
        short = ((_bold(word), one.get_short_help_str(200)) for word, one in shown.items())
        lines += [".SH COMMANDS", *_listed(short)]
    help_line = ("\\fB\\-h\\fR, \\fB\\-\\-help\\fR", "Show the help and stop.")
    lines += [".SH OPTIONS", *_listed([*((_names(one), _said(one)) for one in options), help_line])]
    if not shown:
        lines += [".SH EXIT STATUS", *_listed((_bold(code), words) for code, words in _EXIT)]
    for one in examples:
        told = [line.strip() for line in one.splitlines()[2:] if line.strip() != "\b"]
        lines += [".SH EXAMPLES", ".EX", *map(_text, told), ".EE"]
    lines += [".SH SEE ALSO", ", ".join(f"{_bold(one.replace(' ', '-'))}(1)" for one in others)]
    return "\n".join(lines) + "\n"


def _usage(arguments: list[Parameter], group: bool) -> str:
    """What follows the name of a command."""
    words = ["[\\fIOPTIONS\\fR]", *(f"\\fI{_text(_value(one))}\\fR" for one in arguments)]
    return " ".join([*words, "\\fICOMMAND\\fR"] if group else words)


def _value(one: Parameter) -> str:
    """The name of a value in the usage."""
    if one.metavar:
        return one.metavar
    choices = getattr(one.type, "choices", None)
    if choices:
        return "|".join(str(word.value if isinstance(word, Enum) else word) for word in choices)
    kind = getattr(one.type, "name", "")
    return "FILE" if kind == "path" else "NUMBER" if re.match("int|float", kind) else "TEXT"


def _names(one: Parameter) -> str:
    """An option with its value, as it is typed."""
    names = ", ".join(_bold(name) for name in (*one.opts, *one.secondary_opts))
    return names if one.is_flag else f"{names} \\fI{_text(_value(one))}\\fR"


def _said(one: Parameter) -> str:
    """What an option does, and its default where it is one of a list."""
    default = getattr(one, "default", None)
    known = getattr(one.type, "choices", None) and default is not None
    word = default.value if isinstance(default, Enum) else default
    return f"{one.help or ''} Default: {word}." if known else one.help or ""


def _listed(entries: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> list[str]:
    """Tagged paragraphs; the tags are of the language already."""
    return [line for tag, words in entries for line in (".TP", tag, *_lines(words))]


def _joined(paragraphs: list[str]) -> list[str]:
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
    told = pages()
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.1"):
        if path.name not in told:
            path.unlink()
    for name, text in told.items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
