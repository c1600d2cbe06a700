"""The two programs: `planner` with its commands, and `plan`, which is `planner plan`."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from planner.cli.clusters import clusters_app
from planner.cli.estimate import estimate
from planner.cli.models import models_app
from planner.cli.plan import plan
from planner.cli.schema import schema
from planner.errors import PlannerError

_SETTINGS = {
    "context_settings": {"help_option_names": ["-h", "--help"]},
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}

planner_app = typer.Typer(
    name="planner",
    help="Plan distributed training runs.",
    no_args_is_help=True,
    **_SETTINGS,  # type: ignore[arg-type]
)
planner_app.command("plan")(plan)
planner_app.command("estimate")(estimate)
planner_app.command("schema")(schema)
planner_app.add_typer(models_app, name="models")
planner_app.add_typer(clusters_app, name="clusters")

plan_app = typer.Typer(name="plan", add_completion=True, **_SETTINGS)  # type: ignore[arg-type]
plan_app.command("plan")(plan)


@planner_app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from planner import __version__

        typer.echo(f"planner {__version__}")
        raise typer.Exit


def planner_entry() -> None:
    """The program `planner`."""
    _run(planner_app)


def plan_entry() -> None:
    """The program `plan`."""
    _run(plan_app)


def _run(app: Callable[[], object]) -> None:
    """Run a program; an error of the user's becomes its message on stderr and its exit code."""
    try:
        app()
    except PlannerError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # the reader has left (`plan … | head`): nothing is wrong, and nothing more can be said
        sys.stdout = None
        sys.exit(0)
