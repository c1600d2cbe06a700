"""The description of every command, read from typer; manual pages and the reference are made from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import cast

from planner.cli.completion.complete import ClickCommand, ClickParameter

EXIT_CODES = (
    ("0", "Done."),
    ("1", "A bug, or output that cannot be written."),
    ("2", "Bad input or usage; the message names the file, the key and what was expected."),
    ("3", "No plan fits; the message reports the nearest miss and what would make it fit."),
    ("4", "A requirement is not met."),
    ("130", "Interrupted (128 and the number of the signal). No file is left half written."),
)
"""Every exit code, and its meaning."""


@dataclass(frozen=True)
class OptionText:
    """An option: its names, the name of its value ("" for a switch), and its help."""

    names: tuple[str, ...]
    value: str
    description: str


@dataclass(frozen=True)
class CommandText:
    """A command. `arguments` and `commands`: pairs of name and help; `examples`: the lines of each block."""

    name: str
    summary: str
    paragraphs: tuple[str, ...]
    arguments: tuple[tuple[str, str], ...]
    options: tuple[OptionText, ...]
    commands: tuple[tuple[str, str], ...]
    examples: tuple[tuple[str, ...], ...]
    related_commands: tuple[str, ...]
    """Commands for the section "see also"."""


def describe_commands() -> dict[str, CommandText]:
    """Every visible command by name; `planner plan` is `plan`."""
    import typer

    from planner.cli.app import build_plan_app, build_planner_app

    plan_command = cast(ClickCommand, typer.main.get_command(build_plan_app()))
    planner_command = cast(ClickCommand, typer.main.get_command(build_planner_app()))
    descriptions = {"plan": _describe_command("plan", plan_command, ("planner",))}
    commands = dict(_walk_commands("planner", planner_command))
    for name, command in commands.items():
        if name != "planner plan":
            subcommands = [
                subcommand
                for subcommand in commands
                if subcommand.startswith(f"{name} ") and subcommand.count(" ") == name.count(" ") + 1
            ]
            parent_command = name.rpartition(" ")[0] if " " in name else "plan"
            descriptions[name] = _describe_command(name, command, (parent_command, *subcommands))
    return descriptions


def _walk_commands(name: str, command: ClickCommand) -> Iterator[tuple[str, ClickCommand]]:
    """A command and its visible subcommands."""
    yield name, command
    subcommands: dict[str, ClickCommand] = getattr(command, "commands", {})
    for word, subcommand in subcommands.items():
        if not subcommand.hidden:
            yield from _walk_commands(f"{name} {word}", subcommand)


def _describe_command(name: str, command: ClickCommand, related_commands: tuple[str, ...]) -> CommandText:
    paragraphs = re.split(r"\n\s*\n", (getattr(command, "help", "") or "").strip())
    subcommands: dict[str, ClickCommand] = getattr(command, "commands", {})
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option" and not item.hidden]
    examples = [item.splitlines()[2:] for item in paragraphs if item.startswith("\b")]
    return CommandText(
        name=name,
        summary=" ".join(paragraphs[0].split()),
        paragraphs=tuple(item for item in paragraphs if not item.startswith("\b")),
        arguments=tuple((_format_value_name(item), item.help or "") for item in arguments),
        options=(*map(_describe_option, options), OptionText(("-h", "--help"), "", "Show this help and exit.")),
        commands=tuple((word, item.get_short_help_str(200)) for word, item in subcommands.items() if not item.hidden),
        examples=tuple(tuple(line.strip() for line in lines if line.strip() != "\b") for lines in examples),
        related_commands=related_commands,
    )


def _describe_option(parameter: ClickParameter) -> OptionText:
    return OptionText(
        (*parameter.opts, *parameter.secondary_opts),
        "" if parameter.is_flag else _format_value_name(parameter),
        _format_option_help(parameter),
    )


def _format_value_name(parameter: ClickParameter) -> str:
    """The name of an option's value in the usage."""
    if parameter.metavar:
        return parameter.metavar
    choices = getattr(parameter.type, "choices", None)
    if choices:
        return "|".join(str(word.value if isinstance(word, Enum) else word) for word in choices)
    type_name = getattr(parameter.type, "name", "")
    return "FILE" if type_name == "path" else "NUMBER" if re.match("int|float", type_name) else "TEXT"


def _format_option_help(parameter: ClickParameter) -> str:
    """The help of an option, with its default where its values are a list."""
    default = getattr(parameter, "default", None)
    has_listed_default = getattr(parameter.type, "choices", None) and default is not None
    default_text = default.value if isinstance(default, Enum) else default
    return f"{parameter.help or ''} Default: {default_text}." if has_listed_default else parameter.help or ""
