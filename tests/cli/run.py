"""Run the programs as a user does, in a process of their own."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import chdir, nullcontext, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from unittest.mock import patch


def run(
    program: str, *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `plan` or `planner` of this environment with stdout and stderr captured."""
    executable = Path(sys.executable).with_name(program)
    variables = {**os.environ, **environment}
    return subprocess.run(
        [str(executable), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=variables,
        check=False,
    )


def call(
    program: str, *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The same within this process: no start-up, so that many commands can run. Other exceptions are raised."""
    from planner.cli import app

    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        patch.object(sys, "argv", [program, *arguments]),
        patch.dict(os.environ, environment),
        patch.object(app, f"build_{program}_app", return_value=_command(program)),
        nullcontext() if cwd is None else chdir(cwd),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        gc.disable()  # as the programs do
        try:
            {"plan": app.run_plan_program, "planner": app.run_planner_program}[program]()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        finally:
            gc.enable()
    return subprocess.CompletedProcess([program, *arguments], code, out.getvalue(), err.getvalue())


@cache
def _command(program: str) -> Callable[[], object]:
    """A program's commands, made once: making them takes longer than most commands do."""
    from typer.main import get_command

    from planner.cli import app

    return get_command({"plan": app.build_plan_app, "planner": app.build_planner_app}[program]())


@cache
def call_cached(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The result of a command that depends on its arguments alone: run once, however many tests read it."""
    return call(program, *arguments)
