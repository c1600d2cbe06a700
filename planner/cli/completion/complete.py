"""What a shell asks while a command line is typed: the words that can stand at the cursor, one a line.

A shell's script (planner/cli/shells) calls the program itself with the words up to the cursor, the last one as far as
it is typed, and `_PLANNER_COMPLETE` set. A line is a word, a tab and what it means. A line that begins with a tab
says that the shell is to complete names of files, with these endings or, where there are none, any.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from planner.cli.completion.words import Place


class Parameter(Protocol):
    """An option or argument, as the command line's library has it."""

    param_type_name: str
    opts: list[str]
    secondary_opts: list[str]
    type: object
    nargs: int
    metavar: str | None
    hidden: bool
    is_flag: bool
    help: str | None


class Command(Protocol):
    """A command or a group of commands, as the command line's library has it."""

    name: str | None
    hidden: bool
    params: list[Parameter]

    def get_short_help_str(self, limit: int = 45) -> str:
        """Its first sentence."""


@dataclass(frozen=True)
class _Cursor:
    """Where on the command line the cursor is: the command, its name, arguments before it, the option whose value
    is typed, and whether options are over.
    """

    command: Command
    path: str
    arguments: int
    option: Parameter | None
    over: bool


def answer(line: Sequence[str]) -> None:
    """Print what can stand at the end of `line`: program, words, and the last word as far as it is typed.

    Prints nothing where that cannot be told; never a traceback: it would land in what the user types.
    """
    try:
        import typer

        from planner.cli.app import plan_app, planner_app

        app = plan_app() if Path(line[0]).name == "plan" else planner_app()
        command = cast(Command, typer.main.get_command(app))
        text = "".join(f"{one}\n" for one in completions(command, list(line[1:-1]), line[-1] if line[1:] else ""))
        sys.stdout.write(text)
    except Exception:
        return


def completions(command: Command, words: Sequence[str], typed: str) -> Iterator[str]:
    """The lines of the answer."""
    at = _cursor(command, words)
    if at.option is not None:
        yield from _values(at.option, at.path, typed)
    elif typed.startswith("-") and not at.over:
        name, equals, value = typed.partition("=")
        option = _options(at.command).get(name)
        if not equals:
            yield from _named_options(at.command, typed)
        elif option is not None and not option.is_flag:
            for line in _values(option, at.path, value):
                yield line if line.startswith("\t") else f"{name}={line}"
    elif _commands(at.command):
        for name, one in _commands(at.command).items():
            if not one.hidden and name.startswith(typed):
                yield f"{name}\t{one.get_short_help_str(60)}"
    else:
        argument = _argument(at)
        if argument is not None:
            yield from _values(argument, at.path, typed)


def _cursor(command: Command, words: Sequence[str]) -> _Cursor:
    """Go through the words before the cursor."""
    path: list[str] = []
    arguments, option, over = 0, None, False
    for word in words:
        if option is not None:
            option = None
        elif word == "--":
            over = True
        elif word.startswith("-") and not over:
            found = _options(command).get(word)
            option = found if found is not None and not found.is_flag else None
        elif word in _commands(command):
            command, arguments = _commands(command)[word], 0
            path.append(word)
        else:
            arguments += 1
    return _Cursor(command, " ".join(path), arguments, option, over)


def _commands(command: Command) -> dict[str, Command]:
    return getattr(command, "commands", {})


def _options(command: Command) -> dict[str, Parameter]:
    """The options by each of their names."""
    options = [one for one in command.params if one.param_type_name == "option"]
    return {name: one for one in options for name in (*one.opts, *one.secondary_opts)}


def _argument(at: _Cursor) -> Parameter | None:
    """The argument at the cursor; the last one may take any number."""
    arguments = [one for one in at.command.params if one.param_type_name == "argument"]
    if arguments and at.arguments >= len(arguments) and arguments[-1].nargs == -1:
        return arguments[-1]
    return arguments[at.arguments] if at.arguments < len(arguments) else None


def _named_options(command: Command, typed: str) -> Iterator[str]:
    """The long names of options, and of a short one that is typed whole."""
    for name, one in [*_options(command).items(), ("--help", None)]:
        if name.startswith(typed) and (name.startswith("--") or name == typed):
            if one is None:
                yield f"{name}\tShow the help and stop."
            elif not one.hidden:
                yield f"{name}\t{_first_sentence(one.help or '')}"


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.;]) ", " ".join(text.split()), maxsplit=1)[0]


def _values(parameter: Parameter, path: str, typed: str) -> Iterator[str]:
    """What a parameter can be."""
    choices = getattr(parameter.type, "choices", None)
    if choices is not None:
        yield from (str(one) for one in choices if str(one).startswith(typed.casefold()))
        return
    place = _place(parameter, path)
    if place is None:
        return
    for word, meaning in place.completed(typed):
        yield f"{word}\t{' '.join(meaning.split())}" if meaning else word
    if place.endings is not None:
        yield "\t" + " ".join(place.endings)


def _place(parameter: Parameter, path: str) -> Place | None:
    """What is known of a parameter; of files that nothing is known of, the endings that its help names."""
    from planner.cli.completion.words import OTHER_PLACES, PLACES, Place

    for name in (*parameter.opts, parameter.metavar or ""):
        place = OTHER_PLACES.get((path, name)) or PLACES.get(name)
        if place is not None:
            return place
    if getattr(parameter.type, "name", "") in ("path", "file", "directory"):
        return Place(endings=tuple(re.findall(r"\.[a-z]+\b", parameter.help or "")))
    return None
