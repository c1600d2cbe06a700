"""A command as data: its function, and its options, which are rows of the table of requests or of its own table.

From the options come typer's parameters, the panels of `--help`, completion and the manual pages; here they become
the arguments of the function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.cli.io.files import check_distinct_files
from planner.cli.io.output import DocumentOutput
from planner.errors import InputError
from planner.request.files import list_model_files
from planner.request.options import Option, list_options

OptionValues = Mapping[str, object]
"""The values of the options of a request by their names, as on the command line; None: not given."""


@dataclass(frozen=True, eq=False, repr=False)
class Command:
    """A command. `value_names`: the options that can change the answer to a request; they are passed together."""

    function: Callable[..., None]
    options: tuple[Option, ...]
    value_names: frozenset[str] = frozenset()

    @property
    def help(self) -> str:
        """The help, with its examples."""
        return self.function.__doc__ or ""

    @property
    def summary(self) -> str:
        """The first sentence of the help."""
        return self.help.partition("\n")[0]

    def run(self, arguments: Mapping[str, object]) -> None:
        """Check the files of the options, parse the options, and call the function.

        The options of a request are passed unparsed, as `values`; `--format` and `--output` together as `output`;
        every other option by its name. Raises InputError for an invalid value.
        """
        self._check_files(arguments)
        passed = {
            option.name: parse_argument(option, arguments[option.name])
            for option in self.options
            if option.name not in self.value_names
        }
        if self.value_names:
            passed["values"] = {name: value for name, value in arguments.items() if name in self.value_names}
        if "format" in passed:
            passed["output"] = DocumentOutput(passed.pop("format"), passed["output"])  # type: ignore[arg-type]
        self.function(**passed)

    def _check_files(self, arguments: Mapping[str, object]) -> None:
        """Raise InputError for an output of an unknown format, and one that is written twice or is read."""
        outputs, inputs = [], []
        for option in self.options:
            endings = option.completion.endings if option.completion else None
            for text in _list_texts(arguments[option.name]):
                if option.is_path and not option.in_answer:
                    check_ending(option, text)
                    outputs.append((option.key, Path(text)))
                elif option.in_answer and endings is not None:
                    # also the file of FILE:NODES
                    names = (text, text.rpartition(":")[0])
                    inputs += [file for name in names if name for file in list_model_files(option.key, name)]
        if outputs:
            check_distinct_files(outputs, inputs)


@dataclass(frozen=True, eq=False, repr=False)
class CommandGroup:
    """Commands that share the first word of their names."""

    help: str
    commands: Mapping[str, Command]

    @property
    def summary(self) -> str:
        """The help, which is one sentence."""
        return self.help


def declare_command(*options: Option, request: str = "") -> Callable[[Callable[..., None]], Command]:
    """Decorator: a function as a command with the options of a request (`plan`), then its own."""
    shared_options = list_options(request) if request else ()
    value_names = frozenset(option.name for option in shared_options if option.in_answer)
    return lambda function: Command(function, (*shared_options, *options), value_names)


def list_option_flags(option: Option) -> tuple[str, ...]:
    """The names of an option on the command line: --failures, --no-failures."""
    return tuple(flag for names in option.flags or (option.key,) for flag in names.split("/"))


def format_option_help(option: Option) -> str:
    """The help of an option, with its default where that is a name or a number."""
    return f"{option.help} Default: {option.default}." if isinstance(option.default, str) else option.help


def format_value_name(option: Option) -> str:
    """The name of an option's value in the usage; empty for a switch."""
    if option.is_switch:
        return ""
    return option.metavar or "|".join(option.choices) or ("FILE" if option.is_path else "TEXT")


def parse_argument(option: Option, value: object) -> object:
    """The value of an option, or its default: paths as Path, several values as a tuple. Raises InputError."""
    if value is None and option.default is None:
        return () if option.is_repeatable else None
    if option.is_path:
        paths = tuple(map(Path, _list_texts(value)))
        return paths if option.is_repeatable else paths[0]
    return option.parse(option.default if value is None else value, option.key)  # type: ignore[arg-type]


def check_ending(option: Option, text: str) -> None:
    """Raise InputError for a file whose ending is not one of the option's."""
    endings = option.completion.endings if option.completion else None
    if endings and Path(text).suffix.casefold() not in endings:
        expected = f"a file ending in {', '.join(endings)}"
        raise InputError("unknown file format", key=option.key, value=text, expected=expected)


def _list_texts(value: object) -> Sequence[str]:
    """The texts of an option that may be given several times, or once, or not at all."""
    if value is None:
        return ()
    return value if isinstance(value, list) else [str(value)]
