"""A table of options, of a file or of Python's keywords, as the arguments that `plan` or `estimate` is called with.

The command reads them by its own options, so that names, checks and messages are the same as on the command line.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal

import typer

from planner.cli.options.goal import DEFAULT_SAMPLES
from planner.errors import InputError, find_nearest_name
from planner.units import check_count_range

if TYPE_CHECKING:
    from typing import Any

MODEL_KEY = "model"
"""The key of what is an argument without a name on the command line."""
FILE_KEYS = (MODEL_KEY, "cluster", "distil", "space")
"""Keys whose values may be files."""
OptionValue = str | int | float | bool | list["str | int | float | bool"]
"""What a key of such a table may hold. A list is of an option's several values."""


OUTPUT_OPTION_KEYS = ("format", "output", "hostfile", "rankfile", "require")
"""Options that say where an answer goes, or what it has to meet: they change nothing in it."""

PlanCommandName = Literal["plan", "estimate"]
"""The commands that ask about one model on one cluster."""


def list_option_keys(command: PlanCommandName = "plan") -> tuple[str, ...]:
    """The options of a command as keys of a table, `global_batch` for `--global-batch`; the model first."""
    keys = [option.key for option in _read_command_options(command).values()]
    return (MODEL_KEY, *(key for key in keys if key != MODEL_KEY))


def extract_option_key(message_key: str) -> str:
    """The key of a table that a message about `--global-batch` is of; of several options the first one's."""
    first_option = message_key.split(",")[0].strip()
    return first_option.removeprefix("--").replace("-", "_").casefold()


def check_option_keys(keys: Collection[str], known_keys: Collection[str], origin: str, table_path: str = "") -> None:
    """Every key is the name of an option, with dashes or underlines. Raises InputError with the nearest name."""
    for key in keys:
        if key.replace("-", "_") not in known_keys:
            raise InputError(
                "unknown key",
                origin=origin,
                key=f"{table_path}.{key}" if table_path else key,
                expected=f"one of {', '.join(known_keys)}",
                suggestion=find_nearest_name(key.replace("-", "_"), known_keys),
            )


def check_option_value(value: object, origin: str, key: str) -> OptionValue:
    """A value of a file as an entry. Raises InputError for what is none."""
    values = value if isinstance(value, list) else [value]
    check_count_range(values, reported_value=value, origin=origin, key=key)
    if any(isinstance(item, str) and "\0" in item for item in values):
        # no shell can pass one, so that typer asks the system for a file of this name
        raise InputError("holds a null character", origin=origin, key=key, value=value, expected="a text without one")
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list) and value and all(isinstance(item, str | int | float | bool) for item in value):
        return value
    problem = "an empty list" if isinstance(value, list) and not value else "wrong type"
    expected = "a text, a number, true or false, or a list of them"
    raise InputError(problem, origin=origin, key=key, value=value, expected=expected)


def parse_command_arguments(
    table: Mapping[str, OptionValue], origin: str, command: PlanCommandName = "plan"
) -> dict[str, object]:
    """What the command is called with where the options are those of a table, its keys checked before.

    Raises InputError that names the origin and the key.
    """
    words: list[str] = []
    options = {option.key: option for option in _read_command_options(command).values()}
    for key, option_value in table.items():
        if key != MODEL_KEY:
            words += options[key].format_words(option_value, origin)
    for required_key in (MODEL_KEY, "cluster", "global_batch"):
        if required_key not in table:
            raise InputError(
                "is missing", origin=origin, key=required_key, expected=f"what `plan` takes as {required_key}"
            )
    try:
        words += ["--", str(table[MODEL_KEY])]
        arguments: dict[str, object] = _build_capturing_command(command).main(
            args=words, prog_name=command, standalone_mode=False
        )
    except typer.BadParameter as error:
        raise _convert_bad_parameter(error, table, origin) from None
    return arguments


class _CommandOption:
    """An option of `plan` as a key of a table: whether it is a switch, and whether it may be given several times."""

    def __init__(self, parameter: Any) -> None:
        long_names = [name for name in parameter.opts if name.startswith("--")]
        self.name = long_names[0] if long_names else ""
        self.key = self.name.removeprefix("--").replace("-", "_") or MODEL_KEY
        self.off_name = next(iter(parameter.secondary_opts), "")
        self.is_switch = bool(getattr(parameter, "is_flag", False))
        self.is_repeated = bool(parameter.multiple) if hasattr(parameter, "multiple") else False

    def format_words(self, option_value: OptionValue, origin: str) -> list[str]:
        """The option as it stands on the command line."""
        if self.is_switch:
            if not isinstance(option_value, bool):
                value, expected = str(option_value), "true or false"
                raise InputError("wrong type", origin=origin, key=self.key, value=value, expected=expected)
            return [self.name] if option_value else [self.off_name] if self.off_name else []
        if option_value is True and self.key == "uncertainty":
            return [f"{self.name}={DEFAULT_SAMPLES}"]
        if self.is_repeated and isinstance(option_value, list):
            return [f"{self.name}={format_option_value(item)}" for item in option_value]
        return [f"{self.name}={format_option_value(option_value)}"]


def format_option_value(option_value: OptionValue) -> str:
    """An entry as it would be on the command line: several values with commas between."""
    if isinstance(option_value, bool):
        return "yes" if option_value else "no"
    if isinstance(option_value, list):
        return ",".join(format_option_value(item) for item in option_value)
    return str(option_value)


@functools.cache
def _build_capturing_command(name: PlanCommandName) -> Any:
    """A command as typer reads its options, which answers nothing: it hands back what it would be called with."""
    from planner.cli.commands.estimate import estimate
    from planner.cli.commands.plan import plan

    @functools.wraps(plan if name == "plan" else estimate)
    def capture_arguments(**arguments: object) -> dict[str, object]:
        return arguments

    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(capture_arguments)
    return typer.main.get_command(app)


@functools.cache
def _read_command_options(name: PlanCommandName) -> dict[str, _CommandOption]:
    return {
        parameter.name: _CommandOption(parameter)
        for parameter in _build_capturing_command(name).params
        if parameter.name != "help"
    }


def _convert_bad_parameter(error: typer.BadParameter, table: Mapping[str, OptionValue], origin: str) -> InputError:
    """Typer's refusal of a value as ours; of a choice with the nearest one."""
    key = _CommandOption(error.param).key if error.param is not None else ""
    value = table.get(key)
    choices = [
        str(getattr(choice, "value", choice)) for choice in getattr(getattr(error.param, "type", None), "choices", ())
    ]
    expected = f"one of {', '.join(choices)}" if choices else re.sub(r"\s+", " ", error.message).rstrip(".")
    text = None if value is None else format_option_value(value)
    return InputError(
        "unknown value" if choices else "wrong value",
        origin=origin,
        key=key,
        value=text,
        expected=expected,
        suggestion=find_nearest_name(text or "", choices),
    )
