"""A table of options, of a file or of Python's keywords, as the arguments that `plan` or `estimate` is called with.

The command reads them by its own options, so that names, checks and messages are the same as on the command line.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal

import typer

from planner.cli.options.goal import SAMPLES
from planner.errors import InputError, find_nearest_name
from planner.units import check_count_range

if TYPE_CHECKING:
    from typing import Any

MODEL = "model"
"""The key of what is an argument without a name on the command line."""
FILES = (MODEL, "cluster", "distil", "space")
"""Keys whose values may be files."""
Entry = str | int | float | bool | list["str | int | float | bool"]
"""What a key of such a table may hold. A list is of an option's several values."""


OF_THE_ANSWER = ("format", "output", "hostfile", "rankfile", "require")
"""Options that say where an answer goes, or what it has to meet: they change nothing in it."""

Asks = Literal["plan", "estimate"]
"""The commands that ask about one model on one cluster."""


def options_of_plan(command: Asks = "plan") -> tuple[str, ...]:
    """The options of a command as keys of a table, `global_batch` for `--global-batch`; the model first."""
    keys = [one.key for one in _options(command).values()]
    return (MODEL, *(key for key in keys if key != MODEL))


def key_named(message_key: str) -> str:
    """The key of a table that a message about `--global-batch` is of; of several options the first one's."""
    first = message_key.split(",")[0].strip()
    return first.removeprefix("--").replace("-", "_").casefold()


def check_keys(keys: Collection[str], known: Collection[str], origin: str, table: str = "") -> None:
    """Every key is the name of an option, with dashes or underlines. Raises InputError with the nearest name."""
    for key in keys:
        if key.replace("-", "_") not in known:
            raise InputError(
                "unknown key",
                origin=origin,
                key=f"{table}.{key}" if table else key,
                expected=f"one of {', '.join(known)}",
                suggestion=find_nearest_name(key.replace("-", "_"), known),
            )


def entry_of(value: object, origin: str, key: str) -> Entry:
    """A value of a file as an entry. Raises InputError for what is none."""
    values = value if isinstance(value, list) else [value]
    check_count_range(values, reported_value=value, origin=origin, key=key)
    if any(isinstance(one, str) and "\0" in one for one in values):
        # no shell can pass one, so that typer asks the system for a file of this name
        raise InputError("holds a null character", origin=origin, key=key, value=value, expected="a text without one")
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list) and value and all(isinstance(one, str | int | float | bool) for one in value):
        return value
    problem = "an empty list" if isinstance(value, list) and not value else "wrong type"
    expected = "a text, a number, true or false, or a list of them"
    raise InputError(problem, origin=origin, key=key, value=value, expected=expected)


def arguments_of(table: Mapping[str, Entry], origin: str, command: Asks = "plan") -> dict[str, object]:
    """What the command is called with where the options are those of a table, its keys checked before.

    Raises InputError that names the origin and the key.
    """
    words: list[str] = []
    options = {one.key: one for one in _options(command).values()}
    for key, entry in table.items():
        if key != MODEL:
            words += options[key].words(entry, origin)
    for needed in (MODEL, "cluster", "global_batch"):
        if needed not in table:
            raise InputError("is missing", origin=origin, key=needed, expected=f"what `plan` takes as {needed}")
    try:
        words += ["--", str(table[MODEL])]
        given: dict[str, object] = _command(command).main(args=words, prog_name=command, standalone_mode=False)
    except typer.BadParameter as error:
        raise _told(error, table, origin) from None
    return given


class _Option:
    """An option of `plan` as a key of a table: whether it is a switch, and whether it may be given several times."""

    def __init__(self, parameter: Any) -> None:
        long = [one for one in parameter.opts if one.startswith("--")]
        self.name = long[0] if long else ""
        self.key = self.name.removeprefix("--").replace("-", "_") or MODEL
        self.off = next(iter(parameter.secondary_opts), "")
        self.is_switch = bool(getattr(parameter, "is_flag", False))
        self.is_repeated = bool(parameter.multiple) if hasattr(parameter, "multiple") else False

    def words(self, entry: Entry, origin: str) -> list[str]:
        """The option as it stands on the command line."""
        if self.is_switch:
            if not isinstance(entry, bool):
                value, expected = str(entry), "true or false"
                raise InputError("wrong type", origin=origin, key=self.key, value=value, expected=expected)
            return [self.name] if entry else [self.off] if self.off else []
        if entry is True and self.key == "uncertainty":
            return [f"{self.name}={SAMPLES}"]
        if self.is_repeated and isinstance(entry, list):
            return [f"{self.name}={text_of(one)}" for one in entry]
        return [f"{self.name}={text_of(entry)}"]


def text_of(entry: Entry) -> str:
    """An entry as it would be on the command line: several values with commas between."""
    if isinstance(entry, bool):
        return "yes" if entry else "no"
    if isinstance(entry, list):
        return ",".join(text_of(one) for one in entry)
    return str(entry)


@functools.cache
def _command(name: Asks) -> Any:
    """A command as typer reads its options, which answers nothing: it hands back what it would be called with."""
    from planner.cli.commands.estimate import estimate
    from planner.cli.commands.plan import plan

    @functools.wraps(plan if name == "plan" else estimate)
    def given(**arguments: object) -> dict[str, object]:
        return arguments

    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(given)
    return typer.main.get_command(app)


@functools.cache
def _options(name: Asks) -> dict[str, _Option]:
    return {one.name: _Option(one) for one in _command(name).params if one.name != "help"}


def _told(error: typer.BadParameter, table: Mapping[str, Entry], origin: str) -> InputError:
    """Typer's refusal of a value as ours; of a choice with the nearest one."""
    key = _Option(error.param).key if error.param is not None else ""
    value = table.get(key)
    choices = [str(getattr(one, "value", one)) for one in getattr(getattr(error.param, "type", None), "choices", ())]
    expected = f"one of {', '.join(choices)}" if choices else re.sub(r"\s+", " ", error.message).rstrip(".")
    text = None if value is None else text_of(value)
    return InputError(
        "unknown value" if choices else "wrong value",
        origin=origin,
        key=key,
        value=text,
        expected=expected,
        suggestion=find_nearest_name(text or "", choices),
    )
