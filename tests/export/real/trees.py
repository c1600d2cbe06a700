"""Packages of trainers that are read without being installed, without what needs a GPU, in .venv-export/trees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.export.real.needs import IN_FULL, skip_or_fail
from tests.export.real.words import KERNEL_VARIABLES, capture_arguments

TREES = Path(os.environ.get("PLANNER_EXPORT_TREES", Path(__file__).parents[3] / ".venv-export" / "trees"))


def find_tree(name: str) -> Path:
    """The folder of a package; skips the test, or under `make test-export` fails it, where it is not there.

    Other packages that it needs are in the environment of `make test-export` alone.
    """
    if not IN_FULL:
        skip_or_fail(f"{name} is read by `make test-export`")
    path = TREES / name
    if not path.is_dir():
        skip_or_fail(f"there is no {path} (`make test-export` makes it)")
    return path


def describe_launch(script: Path, devices: int) -> str:
    """Write beside an exported script what it is launched with, by its `train.sh` if there is one; its path."""
    start = script.with_name("train.sh")
    environment: dict[str, str] = {}
    if start.is_file():
        _, environment = capture_arguments("torchrun", start)
    kept = {key: value for key, value in environment.items() if key in KERNEL_VARIABLES}
    script.with_suffix(".json").write_text(json.dumps({"devices": devices, "env": kept}))
    return str(script)


def run_script(script: str, folders: Path | Sequence[Path], values: object, out: Path) -> object:
    """What a script of this folder, run by itself with `folders` on its path, writes about the values."""
    path = os.pathsep.join(map(str, [folders] if isinstance(folders, Path) else folders))
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), str(out)],
        env={**os.environ, "PYTHONPATH": path},
        input=json.dumps(values),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text())
