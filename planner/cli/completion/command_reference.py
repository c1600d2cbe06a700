"""Every command as data, read from the commands themselves: manual pages and the reference are made of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import cast

from planner.cli.completion.complete import Command, Parameter

EXIT = (
    ("0", "Done."),
    ("1", "A fault of the program's, or output that cannot be written."),
    ("2", "Bad input or usage; the message names the file, the key and what was expected."),
    ("3", "No plan fits; the message tells the nearest miss and what would make it fit."),
    ("4", "A requirement is not met."),
    ("130", "Interrupted (128 and the number of the signal). No file is left half written."),
)
"""Every code that a program ends with, and what it means."""


@dataclass(frozen=True)
class Option:
    """An option as it is typed: its names, its value ("" of a switch), and what it does."""

    names: tuple[str, ...]
    value: str
    does: str


@dataclass(frozen=True)
class CommandText:
    """A command. `arguments` and `commands`: pairs of a name and what it is; `examples`: the lines of each block."""

    name: str
    first: str
    paragraphs: tuple[str, ...]
    arguments: tuple[tuple[str, str], ...]
    options: tuple[Option, ...]
    commands: tuple[tuple[str, str], ...]
    examples: tuple[tuple[str, ...], ...]
    others: tuple[str, ...]
    """Commands that a reader may look for as well."""


def described_commands() -> dict[str, CommandText]:
    """Every command that is shown, by name; `planner plan` is `plan`."""
    import typer

    from planner.cli.app import plan_app, planner_app

    alone = cast(Command, typer.main.get_command(plan_app()))
    whole = cast(Command, typer.main.get_command(planner_app()))
    found = {"plan": _described("plan", alone, ("planner",))}
    commands = dict(_commands("planner", whole))
    for name, command in commands.items():
        if name != "planner plan":
            others = [one for one in commands if one.startswith(f"{name} ") and one.count(" ") == name.count(" ") + 1]
            above = name.rpartition(" ")[0] if " " in name else "plan"
            found[name] = _described(name, command, (above, *others))
    return found


def _commands(name: str, command: Command) -> Iterator[tuple[str, Command]]:
    """A command and those within it that are shown."""
    yield name, command
    inner: dict[str, Command] = getattr(command, "commands", {})
    for word, one in inner.items():
        if not one.hidden:
            yield from _commands(f"{name} {word}", one)


def _described(name: str, command: Command, others: tuple[str, ...]) -> CommandText:
    paragraphs = re.split(r"\n\s*\n", (getattr(command, "help", "") or "").strip())
    inner: dict[str, Command] = getattr(command, "commands", {})
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
    examples = [one.splitlines()[2:] for one in paragraphs if one.startswith("\b")]
    return CommandText(
        name=name,
        first=" ".join(paragraphs[0].split()),
        paragraphs=tuple(one for one in paragraphs if not one.startswith("\b")),
        arguments=tuple((_value(one), one.help or "") for one in arguments),
        options=(*map(_option, options), Option(("-h", "--help"), "", "Show the help and stop.")),
        commands=tuple((word, one.get_short_help_str(200)) for word, one in inner.items() if not one.hidden),
        examples=tuple(tuple(line.strip() for line in lines if line.strip() != "\b") for lines in examples),
        others=others,
    )


def _option(one: Parameter) -> Option:
    return Option((*one.opts, *one.secondary_opts), "" if one.is_flag else _value(one), _does(one))


def _value(one: Parameter) -> str:
    """The name of a value in the usage."""
    if one.metavar:
        return one.metavar
    choices = getattr(one.type, "choices", None)
    if choices:
        return "|".join(str(word.value if isinstance(word, Enum) else word) for word in choices)
    kind = getattr(one.type, "name", "")
    return "FILE" if kind == "path" else "NUMBER" if re.match("int|float", kind) else "TEXT"


def _does(one: Parameter) -> str:
    """What an option does, and its default where it is one of a list."""
    default = getattr(one, "default", None)
    known = getattr(one.type, "choices", None) and default is not None
    word = default.value if isinstance(default, Enum) else default
    return f"{one.help or ''} Default: {word}." if known else one.help or ""
