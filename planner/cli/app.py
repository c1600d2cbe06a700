"""The two programs: `planner` with its commands, and `plan`, which is `planner plan`."""

from __future__ import annotations

import inspect
import itertools
import re
import sys
from collections.abc import Callable, Iterator, MutableMapping
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from planner.cli.commands import COMMANDS, HIDDEN_COMMANDS, PLANNER_SUMMARY, load_command
from planner.cli.io.output import build_write_error, write_stderr, write_stdout
from planner.cli.options.command import Command, CommandGroup, format_option_help, format_value_name
from planner.errors import InputError, PlannerError
from planner.request.options import GROUPS, Option

_APP_SETTINGS = {
    "context_settings": {"help_option_names": ["-h", "--help"]},
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "add_completion": False,  # the scripts of `planner completion` also complete files, and words joined by : and +
}
_USAGE_ERROR: type[Exception] = cast("type[Exception]", typer.BadParameter.__mro__[1])
"""The base of typer's errors of usage, which it does not export."""
_OTHER_NAMES = {"--framework": "--to"}
"""Names of options of other commands that a user may mean."""
_DEFAULT_SAMPLES = 200
"""The value of `--uncertainty` without a number."""


class PanelCommand(TyperCommand):
    """A command whose help shows its options in panels."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options in panels: first those of this command alone, then those of all, in their order."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panels.setdefault(getattr(parameter, "rich_help_panel", None) or "Help", []).append(record)
        order = ("Arguments", *(panel for panel in panels if panel not in (*GROUPS, "Help")), *GROUPS, "Help")
        for panel in dict.fromkeys(order):
            if panel in panels:
                with formatter.section(panel):
                    formatter.write_dl(panels[panel])


class SummaryGroup(TyperGroup):
    """A group of commands whose help shows their whole summaries."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands with their summaries, wrapped, not cut."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, (command.help or "").partition("\n")[0]) for name, command in self.commands.items()]
            )


class LazyCommands(MutableMapping[str, Any]):
    """The commands of `planner` by name; each is built at its first use."""

    def __init__(self) -> None:
        self._commands: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._commands:
            self._commands[name] = _build_typer_command(name, load_command(name))
        return self._commands[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._commands[name] = command

    def __delitem__(self, name: str) -> None:
        del self._commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class LazyGroup(TyperGroup):
    """`planner`, which imports only the command that it runs."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = LazyCommands()

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands with their summaries; their parameters are not built for it."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, load_command(name).summary) for name in COMMANDS if name not in HIDDEN_COMMANDS]
            )


def _build_typer_command(name: str, command: Command | CommandGroup) -> Any:
    """A command, or a group of commands, for typer."""
    app = typer.Typer(cls=SummaryGroup, no_args_is_help=isinstance(command, CommandGroup), **_APP_SETTINGS)  # type: ignore[arg-type]
    if isinstance(command, CommandGroup):
        app.callback()(lambda: None)
        app.info.help = command.help
        for subname, subcommand in command.commands.items():
            _add_command(app, subname, subcommand)
    else:
        _add_command(app, name, command)
    typer_command = typer.main.get_command(app)
    typer_command.name, typer_command.hidden = name, name in HIDDEN_COMMANDS
    return typer_command


def _add_command(app: typer.Typer, name: str, command: Command) -> None:
    """Enter a command, whose options become the parameters that typer reads."""
    parameters = [build_parameter(option) for option in command.options]

    def run(**arguments: object) -> None:
        command.run(arguments)

    run.__doc__ = command.help
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
    app.command(name, cls=PanelCommand)(run)


def build_parameter(option: Option) -> inspect.Parameter:
    """An option as a parameter for typer. Values stay texts, which the table's parsers read."""
    value_type: object = bool if option.is_switch else str
    if option.is_repeatable:
        value_type = list[value_type]  # type: ignore[valid-type]
    if option.is_argument:
        info = typer.Argument(metavar=option.metavar, help=format_option_help(option), rich_help_panel=option.group)
    else:
        info = typer.Option(
            *(option.flags or (option.key,)),
            metavar=format_value_name(option) or None,
            help=format_option_help(option),
            rich_help_panel=option.group,
            show_default=False,
            hidden=option.is_hidden,
        )
    default = inspect.Parameter.empty if option.is_required else None
    annotation = Annotated[value_type if option.is_required else value_type | None, info]  # type: ignore[valid-type, operator]
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def build_planner_app() -> typer.Typer:
    """`planner` with all its commands."""
    app = typer.Typer(
        name="planner",
        cls=LazyGroup,
        help=PLANNER_SUMMARY,
        no_args_is_help=True,
        **_APP_SETTINGS,  # type: ignore[arg-type]
    )
    app.callback(invoke_without_command=True)(_print_version)
    return app


def build_plan_app() -> typer.Typer:
    """`plan` alone, without the imports of other commands."""
    app = typer.Typer(name="plan", **_APP_SETTINGS)  # type: ignore[arg-type]
    _add_command(app, "plan", cast(Command, load_command("plan")))
    return app


def _print_version(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        from planner import __version__

        write_stdout(f"planner {__version__}\n")
        raise typer.Exit


def run_planner_program() -> None:
    """The program `planner`."""
    _run_program(build_planner_app())


def run_plan_program() -> None:
    """The program `plan`."""
    _run_program(build_plan_app())


def _run_program(program: Callable[..., object]) -> None:
    """Run a program; a PlannerError becomes a message on stderr and an exit code."""
    try:
        try:
            _check_model_size_sign(sys.argv[1:])
            sys.argv[1:] = _fill_default_samples(sys.argv[1:])
            exit_code = program(standalone_mode=False)
        except _USAGE_ERROR as error:
            raise _convert_usage_error(error) from None
        except OSError as error:
            # errors of the user's files are reported where they are read: this is an error of writing the help
            raise build_write_error(error) from None
    except PlannerError as error:
        write_stderr(f"error: {error}\n")
        sys.exit(error.exit_code)
    if isinstance(exit_code, int):
        sys.exit(exit_code)


def _convert_usage_error(error: Any) -> InputError:
    """An error of typer in the form of all others. A command without arguments prints its help and exits."""
    if error.message == (help_text := error.ctx.get_help() if error.ctx else None):
        write_stderr(f"{help_text}\n")
        sys.exit(error.exit_code)
    parameter, key = getattr(error, "param", None), getattr(error, "option_name", "")
    if parameter is not None:
        key = (parameter.get_error_hint(error.ctx) or "").strip("'{}")
    message = (
        (error.message or "is missing")
        .removesuffix(".")
        .replace(f"Option {key!r} requires an argument", "needs a value")
    )
    possibilities = getattr(error, "possibilities", None)
    if key and "No such option" in message:
        message = "no such option"
        possibilities = [_OTHER_NAMES.get(key, ""), *(possibilities or ())]
        known_names = {name for item in error.ctx.command.params for name in item.opts}
        possibilities = [name for name in possibilities if name in known_names]
    return InputError(
        f"{message[:1].lower()}{message[1:]}",
        key=key,
        expected=f"see `{error.ctx.command_path} --help`" if error.ctx else "",
        suggestion=possibilities[0] if possibilities else "",
    )


def _fill_default_samples(arguments: list[str]) -> list[str]:
    """The arguments with the default for `--uncertainty` without a number, which typer does not support."""
    filled_arguments = []
    for argument, next_argument in itertools.pairwise([*arguments, ""]):
        filled_arguments.append(argument)
        if argument == "--uncertainty" and not re.fullmatch(r"-?[0-9][0-9.eE_]*", next_argument):
            filled_arguments.append(str(_DEFAULT_SAMPLES))
    return filled_arguments


def _check_model_size_sign(arguments: list[str]) -> None:
    """Raise InputError for a negative size as MODEL, which typer would report as an unknown option."""
    for previous_argument, argument in itertools.pairwise(["", *arguments]):
        if not previous_argument.startswith("-") and re.fullmatch(r"-[0-9.]+[kmbt]", argument, re.IGNORECASE):
            expected = "from 10M to 100T parameters"
            raise InputError("size out of range", key="MODEL", value=argument, expected=expected)
