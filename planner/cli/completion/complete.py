"""Completion for shells: prints the words that can follow on a command line, a word per line.

A shell's script (planner/cli/completion/shells) calls the program itself with `_PLANNER_COMPLETE` set and the words
up to the cursor, of which the last may be incomplete. A line is a word, a tab and its meaning. A line that begins
with a tab makes the shell complete names of files, with these endings or, without endings, any.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from planner.cli.options.words import CompletionSource


class ClickParameter(Protocol):
    """The part of click's Parameter that is used here."""

    param_type_name: str
    opts: list[str]
    secondary_opts: list[str]
    type: object
    nargs: int
    metavar: str | None
    hidden: bool
    is_flag: bool
    help: str | None


class ClickCommand(Protocol):
    """The part of click's Command that is used here."""

    name: str | None
    hidden: bool
    params: list[ClickParameter]

    def get_short_help_str(self, limit: int = 45) -> str:
        """The first sentence of the help."""


@dataclass(frozen=True)
class _Cursor:
    """The cursor's position on the command line: the command, its name, the arguments before the cursor, the option
    whose value is being typed, and whether `--` has ended the options.
    """

    command: ClickCommand
    path: str
    argument_count: int
    option: ClickParameter | None
    options_are_over: bool


def print_completions(command_line: Sequence[str]) -> None:
    """Print the completions of `command_line`: program, words, and the last word as far as it is typed.

    Prints nothing where there are none, and never a traceback, which would appear in the user's command line.
    """
    try:
        import typer

        from planner.cli.app import build_plan_app, build_planner_app

        app = build_plan_app() if Path(command_line[0]).name == "plan" else build_planner_app()
        command = cast(ClickCommand, typer.main.get_command(app))
        text = "".join(
            f"{completion}\n"
            for completion in enumerate_completions(
                command, list(command_line[1:-1]), command_line[-1] if command_line[1:] else ""
            )
        )
        sys.stdout.write(text)
    except Exception:
        return


def enumerate_completions(command: ClickCommand, words: Sequence[str], typed: str) -> Iterator[str]:
    """The lines for the shell."""
    cursor = _locate_cursor(command, words)
    if cursor.option is not None:
        yield from _enumerate_values(cursor.option, cursor.path, typed)
    elif typed.startswith("-") and not cursor.options_are_over:
        name, equals, value = typed.partition("=")
        option = _map_options_by_name(cursor.command).get(name)
        if not equals:
            yield from _enumerate_option_names(cursor.command, typed)
        elif option is not None and not option.is_flag:
            for line in _enumerate_values(option, cursor.path, value):
                yield line if line.startswith("\t") else f"{name}={line}"
    elif _get_subcommands(cursor.command):
        for name, subcommand in _get_subcommands(cursor.command).items():
            if not subcommand.hidden and name.startswith(typed):
                yield f"{name}\t{subcommand.get_short_help_str(60)}"
    else:
        argument = _find_cursor_argument(cursor)
        if argument is not None:
            yield from _enumerate_values(argument, cursor.path, typed)


def _locate_cursor(command: ClickCommand, words: Sequence[str]) -> _Cursor:
    """Parse the words before the cursor."""
    path: list[str] = []
    argument_count, option, options_are_over = 0, None, False
    for word in words:
        if option is not None:
            option = None
        elif word == "--":
            options_are_over = True
        elif word.startswith("-") and not options_are_over:
            matched_option = _map_options_by_name(command).get(word)
            option = matched_option if matched_option is not None and not matched_option.is_flag else None
        elif word in _get_subcommands(command):
            command, argument_count = _get_subcommands(command)[word], 0
            path.append(word)
        else:
            argument_count += 1
    return _Cursor(command, " ".join(path), argument_count, option, options_are_over)


def _get_subcommands(command: ClickCommand) -> dict[str, ClickCommand]:
    return getattr(command, "commands", {})


def _map_options_by_name(command: ClickCommand) -> dict[str, ClickParameter]:
    """The options by all of their names."""
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    return {name: parameter for parameter in options for name in (*parameter.opts, *parameter.secondary_opts)}


def _find_cursor_argument(cursor: _Cursor) -> ClickParameter | None:
    """The argument at the cursor; the last one may take any number."""
    arguments = [parameter for parameter in cursor.command.params if parameter.param_type_name == "argument"]
    if arguments and cursor.argument_count >= len(arguments) and arguments[-1].nargs == -1:
        return arguments[-1]
    return arguments[cursor.argument_count] if cursor.argument_count < len(arguments) else None


def _enumerate_option_names(command: ClickCommand, typed: str) -> Iterator[str]:
    """The long names of options, and a short name that is typed in full."""
    for name, option in [*_map_options_by_name(command).items(), ("--help", None)]:
        if name.startswith(typed) and (name.startswith("--") or name == typed):
            if option is None:
                yield f"{name}\tShow the help and stop."
            elif not option.hidden:
                yield f"{name}\t{_extract_first_sentence(option.help or '')}"


def _extract_first_sentence(text: str) -> str:
    return re.split(r"(?<=[.;]) ", " ".join(text.split()), maxsplit=1)[0]


def _enumerate_values(parameter: ClickParameter, path: str, typed: str) -> Iterator[str]:
    """The completions of a parameter's value."""
    choices = getattr(parameter.type, "choices", None)
    if choices is not None:
        yield from (str(choice) for choice in choices if str(choice).startswith(typed.casefold()))
        return
    source = _find_completion_source(parameter, path)
    if source is None:
        return
    for word, meaning in source.complete_word(typed):
        yield f"{word}\t{' '.join(meaning.split())}" if meaning else word
    if source.suffixes is not None:
        yield "\t" + " ".join(source.suffixes)


def _find_completion_source(parameter: ClickParameter, path: str) -> CompletionSource | None:
    """The declared completion of a parameter; without it, for files, the endings that its help names."""
    from planner.cli.options.words import COMMAND_COMPLETION_SOURCES, COMPLETION_SOURCES, CompletionSource

    for name in (*parameter.opts, parameter.metavar or ""):
        source = COMMAND_COMPLETION_SOURCES.get((path, name)) or COMPLETION_SOURCES.get(name)
        if source is not None:
            return source
    if getattr(parameter.type, "name", "") in ("path", "file", "directory"):
        return CompletionSource(suffixes=tuple(re.findall(r"\.[a-z]+\b", parameter.help or "")))
    return None
