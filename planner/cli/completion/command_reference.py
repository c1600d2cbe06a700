"""The description of every command, read from its declaration; manual pages and the reference are made from it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass

from planner.cli.commands import COMMANDS, HIDDEN_COMMANDS, PLANNER_SUMMARY, load_command
from planner.cli.options.command import (
    Command,
    CommandGroup,
    format_option_help,
    format_value_name,
    list_option_flags,
)
from planner.request.options import Option

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


_HELP_OPTION = OptionText(("-h", "--help"), "", "Show this help and exit.")
_VERSION_OPTION = OptionText(("--version",), "", "Print the version and exit.")


def describe_commands() -> dict[str, CommandText]:
    """Every visible command by name; `planner plan` is `plan`."""
    commands = {name: load_command(name) for name in COMMANDS if name not in HIDDEN_COMMANDS}
    descriptions = {
        "plan": _describe_command("plan", commands["plan"], ("planner",)),
        "planner": _describe_group("planner", PLANNER_SUMMARY, commands, "plan", _VERSION_OPTION),
    }
    for name, command in commands.items():
        if isinstance(command, CommandGroup):
            descriptions[f"planner {name}"] = _describe_group(
                f"planner {name}", command.summary, command.commands, "planner"
            )
            for subname, subcommand in command.commands.items():
                full_name = f"planner {name} {subname}"
                descriptions[full_name] = _describe_command(full_name, subcommand, (f"planner {name}",))
        elif name != "plan":
            descriptions[f"planner {name}"] = _describe_command(f"planner {name}", command, ("planner",))
    return descriptions


def _describe_group(
    name: str,
    summary: str,
    commands: Mapping[str, Command | CommandGroup],
    parent_command: str,
    *options: OptionText,
) -> CommandText:
    subcommands = tuple((word, command.summary) for word, command in commands.items())
    related_commands = (parent_command, *(f"{name} {word}" for word in commands))
    return CommandText(name, summary, (summary,), (), (*options, _HELP_OPTION), subcommands, (), related_commands)


def _describe_command(name: str, command: Command | CommandGroup, related_commands: tuple[str, ...]) -> CommandText:
    assert isinstance(command, Command)
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(command.help))
    options = [option for option in command.options if not (option.is_argument or option.is_hidden)]
    arguments = [option for option in command.options if option.is_argument]
    examples = [item.splitlines()[2:] for item in paragraphs if item.startswith("\b")]
    return CommandText(
        name=name,
        summary=" ".join(paragraphs[0].split()),
        paragraphs=tuple(item for item in paragraphs if not item.startswith("\b")),
        arguments=tuple((option.metavar, format_option_help(option)) for option in arguments),
        options=(*map(_describe_option, options), _HELP_OPTION),
        commands=(),
        examples=tuple(tuple(line.strip() for line in lines) for lines in examples),
        related_commands=related_commands,
    )


def _describe_option(option: Option) -> OptionText:
    return OptionText(list_option_flags(option), format_value_name(option), format_option_help(option))
