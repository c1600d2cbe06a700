"""Trainers that are read where they lie: packages without what they need a GPU for, in .venv-export/trees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.export.real.needs import missing

TREES = Path(os.environ.get("PLANNER_EXPORT_TREES", Path(__file__).parents[3] / ".venv-export" / "trees"))


def tree(name: str) -> Path:
    """The folder of a package; skips the test, or under `make test-export` fails it, where it is not there."""
    folder = TREES / name
    if not folder.is_dir():
        missing(f"there is no {folder} (`make test-export` makes it)")
    return folder


def run_script(script: str, where: Path, given: object, out: Path) -> object:
    """What a script of this folder, run by itself with `where` on its path, writes of what it is given."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), str(out)],
        env={**os.environ, "PYTHONPATH": str(where)},
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text())
