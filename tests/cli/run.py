"""Run the programs as a user does, in a process of their own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
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
        timeout=60,
        check=False,
    )


def call(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The same within this process: no start-up, so that many questions can be asked. What is not an exit fails."""
    from planner.cli.app import plan_entry, planner_entry

    out, err, code = io.StringIO(), io.StringIO(), 0
    with patch.object(sys, "argv", [program, *arguments]), redirect_stdout(out), redirect_stderr(err):
        try:
            {"plan": plan_entry, "planner": planner_entry}[program]()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
    return subprocess.CompletedProcess([program, *arguments], code, out.getvalue(), err.getvalue())
