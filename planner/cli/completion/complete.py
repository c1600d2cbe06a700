"""Completion for shells: prints the words that can follow on a command line, a word per line.

A shell's script (planner/cli/completion/shells) calls the program itself with `_PLANNER_COMPLETE` set and the words
up to the cursor, of which the last may be incomplete. A line is a word, a tab and its meaning. A line that begins
with a tab makes the shell complete names of files, with these endings or, without endings, any.

This is not click's own protocol: that has no endings and no joined words, and importing it takes half of the time.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.cli.commands import COMMANDS, HIDDEN_COMMANDS, load_command
from planner.cli.options.command import Command, CommandGroup, list_option_flags
from planner.cli.options.words import complete_option
from planner.request.options import Option


@dataclass(frozen=True)
class _Cursor:
    """The cursor's position on the command line: the command, the number of arguments before the cursor, the option
    whose value is being typed, and whether `--` has ended the options. `command`: None for `planner` itself.
    """

    command: Command | CommandGroup | None
    argument_count: int
    option: Option | None
    options_are_over: bool


def print_completions(command_line: Sequence[str]) -> None:
    """Print the completions of `command_line`: program, words, and the last word as far as it is typed.

    Prints nothing where there are none, and never a traceback, which would appear in the user's command line.
    """
    try:
        command = load_command("plan") if Path(command_line[0]).name == "plan" else None
        typed = command_line[-1] if command_line[1:] else ""
        lines = list(_enumerate_completions(_locate_cursor(command, command_line[1:-1]), typed))
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    except Exception:
        return


def _enumerate_completions(cursor: _Cursor, typed: str) -> Iterator[str]:
    """The lines for the shell."""
    options = _map_options_by_flag(cursor.command)
    if cursor.option is not None:
        yield from complete_option(cursor.option, typed)
    elif typed.startswith("-") and not cursor.options_are_over:
        name, equals, value = typed.partition("=")
        if not equals:
            yield from _enumerate_flags(cursor.command, typed)
        elif name in options and not options[name].is_switch:
            for line in complete_option(options[name], value):
                yield line if line.startswith("\t") else f"{name}={line}"
    elif not isinstance(cursor.command, Command):
        names = COMMANDS if cursor.command is None else cursor.command.commands
        for name in names:
            if name.startswith(typed) and name not in HIDDEN_COMMANDS:
                yield f"{name}\t{_find_subcommand(cursor.command, name).summary}"
    else:
        arguments = [option for option in cursor.command.options if option.is_argument]
        if arguments and cursor.argument_count >= len(arguments) and arguments[-1].is_repeatable:
            yield from complete_option(arguments[-1], typed)
        elif cursor.argument_count < len(arguments):
            yield from complete_option(arguments[cursor.argument_count], typed)


def _locate_cursor(command: Command | CommandGroup | None, words: Sequence[str]) -> _Cursor:
    """Parse the words before the cursor."""
    argument_count, option, options_are_over = 0, None, False
    for word in words:
        if option is not None:
            option = None
        elif word == "--":
            options_are_over = True
        elif word.startswith("-") and not options_are_over:
            matched_option = _map_options_by_flag(command).get(word)
            option = matched_option if matched_option is not None and not matched_option.is_switch else None
        elif not isinstance(command, Command) and word in (COMMANDS if command is None else command.commands):
            command, argument_count = _find_subcommand(command, word), 0
        else:
            argument_count += 1
    return _Cursor(command, argument_count, option, options_are_over)


def _find_subcommand(group: CommandGroup | None, name: str) -> Command | CommandGroup:
    return load_command(name) if group is None else group.commands[name]


def _map_options_by_flag(command: Command | CommandGroup | None) -> Mapping[str, Option]:
    """The options by all of their names."""
    options = command.options if isinstance(command, Command) else ()
    return {flag: option for option in options if not option.is_argument for flag in list_option_flags(option)}


def _enumerate_flags(command: Command | CommandGroup | None, typed: str) -> Iterator[str]:
    """The long names of options, and a short name that is typed in full."""
    options = _map_options_by_flag(command)
    meanings = {name: option.help for name, option in options.items() if not option.is_hidden}
    if command is None:
        meanings["--version"] = "Print the version and exit."
    for name, meaning in {**meanings, "--help": "Show this help and exit."}.items():
        if name.startswith(typed) and (name.startswith("--") or name == typed):
            yield f"{name}\t{re.split(r'(?<=[.;]) ', meaning, maxsplit=1)[0]}"
