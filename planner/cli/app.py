"""The two programs: `planner` with its commands, and `plan`, which is `planner plan`."""

from __future__ import annotations

import atexit
import gc
import itertools
import re
import sys
from collections.abc import Callable, Iterator, MutableMapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from planner.cli.io.output import build_write_error, write_stderr, write_stdout
from planner.errors import InputError, PlannerError
from planner.request.options import GROUPS

_APP_SETTINGS = {
    "context_settings": {"help_option_names": ["-h", "--help"]},
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "add_completion": False,  # the scripts of `planner completion` also complete files, and words joined by : and +
}
_DEFAULT_SAMPLES = 200
"""The value of `--uncertainty` without a number."""
_COMMANDS = {
    "plan": "plan",
    "estimate": "estimate",
    "explain": "explain",
    "export": "export",
    "what-if": "what_if",
    "check": "check",
    "diff": "diff",
    "topology": "topology",
    "size": "size",
    "compare": "compare",
    "sweep": "sweep",
    "plot": "plot",
    "validate": "validate",
    "schema": "schema",
    "completion": "completion",
    "models": "models",
    "cluster": "cluster",
    "clusters": "cluster",
    "hardware": "hardware",
}
"""The modules of the commands, in the order of the help; each is imported when it is needed."""
_HIDDEN_COMMANDS = ("clusters",)
"""Other names of commands."""


class PanelCommand(TyperCommand):
    """A command whose help shows its options in panels."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options in panels, in the order of the table of options."""
        panels: dict[str, list[tuple[str, str]]] = {group: [] for group in ("Arguments", *GROUPS, "Options")}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_argument = parameter.param_type_name == "argument"
                panel = getattr(parameter, "rich_help_panel", None) or ("Arguments" if is_argument else "Options")
                panels[panel].append(record)
        for panel, records in panels.items():
            if records:
                with formatter.section(panel):
                    formatter.write_dl(records)


class LazyCommands(MutableMapping[str, Any]):
    """The commands of `planner` by name; each is built at its first use."""

    def __init__(self) -> None:
        self._commands: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._commands:
            self._commands[name] = _build_command(name, _COMMANDS[name])
        return self._commands[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._commands[name] = command

    def __delitem__(self, name: str) -> None:
        del self._commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


class LazyGroup(TyperGroup):
    """`planner`, which imports only the command that it runs."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = LazyCommands()


def _build_command(name: str, module_name: str) -> Any:
    """The command of a module, or its group of commands."""
    module = import_module(f"planner.cli.commands.{module_name}")
    app = getattr(module, f"{module_name}_app", None)
    if app is None:
        app = typer.Typer(**_APP_SETTINGS)  # type: ignore[arg-type]
        app.command(name, cls=PanelCommand)(getattr(module, module_name))
    command = typer.main.get_command(app)
    command.name, command.hidden = name, name in _HIDDEN_COMMANDS
    return command


def build_planner_app() -> typer.Typer:
    """`planner` with all its commands."""
    app = typer.Typer(
        name="planner",
        cls=LazyGroup,
        help="Plan distributed training runs.",
        no_args_is_help=True,
        **_APP_SETTINGS,  # type: ignore[arg-type]
    )
    app.callback(invoke_without_command=True)(_print_version)
    return app


def build_plan_app() -> typer.Typer:
    """`plan` alone, without the imports of other commands."""
    from planner.cli.commands.plan import plan

    app = typer.Typer(name="plan", **_APP_SETTINGS)  # type: ignore[arg-type]
    app.command("plan", cls=PanelCommand)(plan)
    return app


def _print_version(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
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


def _run_program(program: Callable[[], object]) -> None:
    """Run a program; a PlannerError becomes a message on stderr and an exit code."""
    # the process ends after the answer: garbage collection would cost more time than it saves
    gc.disable()
    atexit.register(gc.freeze)
    try:
        try:
            _check_model_size_sign(sys.argv[1:])
            sys.argv[1:] = _fill_default_samples(sys.argv[1:])
            program()
        except OSError as error:
            # errors of the user's files are reported where they are read: this is an error of writing the help
            raise build_write_error(error) from None
    except PlannerError as error:
        write_stderr(f"error: {error}\n")
        sys.exit(error.exit_code)


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
