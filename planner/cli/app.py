"""The two programs: `planner` with its commands, and `plan`, which is `planner plan`."""

from __future__ import annotations

import atexit
import gc
import itertools
import re
import sys
from collections.abc import Callable

import typer

from planner.cli.commands.plan import plan
from planner.cli.io.output import build_write_error, write_stderr, write_stdout
from planner.cli.options.goal import DEFAULT_SAMPLES
from planner.errors import InputError, PlannerError

_APP_SETTINGS = {
    "context_settings": {"help_option_names": ["-h", "--help"]},
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "add_completion": False,  # `planner completion` prints scripts that know files and signs such as : and +
}


def build_planner_app() -> typer.Typer:
    """`planner` with all its commands."""
    from planner.cli.commands.check import check
    from planner.cli.commands.cluster import cluster_app
    from planner.cli.commands.compare import compare
    from planner.cli.commands.completion import completion
    from planner.cli.commands.diff import diff
    from planner.cli.commands.estimate import estimate
    from planner.cli.commands.explain import explain
    from planner.cli.commands.export import export
    from planner.cli.commands.hardware import hardware_app
    from planner.cli.commands.models import models_app
    from planner.cli.commands.plot import plot
    from planner.cli.commands.schema import schema
    from planner.cli.commands.size import size
    from planner.cli.commands.sweep import sweep
    from planner.cli.commands.topology import topology
    from planner.cli.commands.validate import validate
    from planner.cli.commands.what_if import what_if

    app = typer.Typer(
        name="planner",
        help="Plan distributed training runs.",
        no_args_is_help=True,
        **_APP_SETTINGS,  # type: ignore[arg-type]
    )
    app.callback(invoke_without_command=True)(_print_version)
    app.command("plan")(plan)
    app.command("estimate")(estimate)
    app.command("explain")(explain)
    app.command("export")(export)
    app.command("what-if")(what_if)
    app.command("check")(check)
    app.command("diff")(diff)
    app.command("topology")(topology)
    app.command("size")(size)
    app.command("compare")(compare)
    app.command("sweep")(sweep)
    app.command("plot")(plot)
    app.command("validate")(validate)
    app.command("schema")(schema)
    app.command("completion")(completion)
    app.add_typer(models_app, name="models")
    app.add_typer(cluster_app, name="cluster")
    app.add_typer(cluster_app, name="clusters", hidden=True)
    app.add_typer(hardware_app, name="hardware")
    return app


def build_plan_app() -> typer.Typer:
    """`plan` alone: what the other commands need is not loaded."""
    app = typer.Typer(name="plan", **_APP_SETTINGS)  # type: ignore[arg-type]
    app.command("plan")(plan)
    return app


def _print_version(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
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
    """Run a program; an error of the user's becomes its message on stderr and its exit code."""
    # the process ends with the answer: looking for cycles, now or at the exit, would cost more than it frees
    gc.disable()
    atexit.register(gc.freeze)
    try:
        try:
            _check_model_size_sign(sys.argv[1:])
            sys.argv[1:] = _fill_default_samples(sys.argv[1:])
            program()
        except OSError as error:
            # what goes wrong with the user's files is told where they are read: this is the help's text
            raise build_write_error(error) from None
    except PlannerError as error:
        write_stderr(f"error: {error}\n")
        sys.exit(error.exit_code)


def _fill_default_samples(arguments: list[str]) -> list[str]:
    """`--uncertainty` may stand without a number, which an option of typer's cannot: the usual one is filled in."""
    filled_arguments = []
    for argument, next_argument in itertools.pairwise([*arguments, ""]):
        filled_arguments.append(argument)
        if argument == "--uncertainty" and not re.fullmatch(r"-?[0-9][0-9.eE_]*", next_argument):
            filled_arguments.append(str(DEFAULT_SAMPLES))
    return filled_arguments


def _check_model_size_sign(arguments: list[str]) -> None:
    """A size below zero in the model's place, which would be told as an unknown option."""
    for previous_argument, argument in itertools.pairwise(["", *arguments]):
        if not previous_argument.startswith("-") and re.fullmatch(r"-[0-9.]+[kmbt]", argument, re.IGNORECASE):
            expected = "from 10M to 100T parameters"
            raise InputError("size out of range", key="MODEL", value=argument, expected=expected)
