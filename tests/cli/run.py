"""Run the programs as a user does, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


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
