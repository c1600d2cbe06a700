"""Small sweeps that tests share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from planner.cli.io.files import write_file_atomically
from planner.cli.sweeps.grid import read_sweep
from planner.cli.sweeps.points import PointAnswerer
from planner.cli.sweeps.results import build_results, render_results

SMALL = """
[grid]
model = ["bert-base", "bert-large"]
cluster = ["dgx-a100"]
nodes = [1, 2]
global_batch = [64, "65536 tokens", 99]

[fixed]
tp = [1, 2]
pp = 1
cp = 1
"""
"""12 points, of which a third has a batch that nothing divides."""

SINGLE_POINT = """
[grid]
model = "bert-base"
cluster = "dgx-a100"
nodes = 1
global_batch = 64
"""

MANY = """
[grid]
model = ["bert-base", "bert-large"]
cluster = ["dgx-a100"]
nodes = [1, 2]
global_batch = { from = 32, to = 448, step = 32 }

[fixed]
tp = 1
pp = 1
cp = 1
vpp = 1
micro-batch = 1
zero = 1
recompute = "none"
sequence-parallel = false
failures = false
"""
"""56 points."""


def write_sweep(folder: Path, text: str, name: str = "sweep.toml") -> Path:
    """The sweep's file in a folder."""
    path = folder / name
    path.write_text(text)
    return path


def run_sweep(folder: Path, text: str) -> list[dict[str, object]]:
    """The rows of a sweep."""
    write_results(folder, text, "results.jsonl")
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def write_results(folder: Path, text: str, *names: str) -> None:
    """The tables of a sweep, answered in this process by the answerer of its workers."""
    sweep, answerer = read_sweep(write_sweep(folder, text)), PointAnswerer()
    results = build_results(
        sweep, {number: answerer.encode_answer(point) for number, point in enumerate(sweep.points)}
    )
    for name in names:
        write_file_atomically(folder / name, render_results(results, folder / name, {}))


def start_sweep(folder: Path, text: str, output: str, *options: str) -> subprocess.Popen[str]:
    """A sweep that is under way, in a group of processes of its own."""
    program = Path(sys.executable).with_name("planner")
    arguments = [str(program), "sweep", str(write_sweep(folder, text)), "-o", str(folder / output), *options]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def count_answers(journal: Path) -> int:
    """How many points a journal has."""
    return max(journal.read_bytes().count(b"\n") - 1, 0) if journal.exists() else 0


def list_workers(process: subprocess.Popen[str]) -> list[int]:
    """The workers of a sweep: processes whose command line says that they were spawned."""
    tasks = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in tasks if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (OSError, ValueError):
        return False


def wait_until(there: Callable[[], bool]) -> None:
    """Wait for something to be so, for twenty seconds at most."""
    for _ in range(2_000):
        if there():
            return
        time.sleep(0.01)
    raise AssertionError("never came to be")
