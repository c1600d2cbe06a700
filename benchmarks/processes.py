"""Whole processes, cold start to exit: seconds, ratio to the bare interpreter, peak memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.irregular import write_irregular

RUNS = 7
_BIN = Path(sys.executable).parent
_PLAN = [str(_BIN / "plan"), "gpt-3-175b", "--cluster", "dgx-h100", "--global-batch", "3072"]
_COMMANDS = {
    "interpreter alone": [sys.executable, "-c", "pass"],
    "import msgspec": [sys.executable, "-c", "import msgspec"],
    "import pydantic": [sys.executable, "-c", "import pydantic"],
    "import numpy, networkx": [sys.executable, "-c", "import numpy, networkx"],
    "plan --help": [str(_BIN / "plan"), "--help"],
    "plan, 4,096 devices": [*_PLAN, "--nodes", "512"],
    "plan --format json, the same": [*_PLAN, "--nodes", "512", "--format", "json"],
    "plan, 1,048,576 devices": [*_PLAN, "--nodes", "131072"],
}


def print_processes() -> None:
    """One line a command; those that are not installed here are left out."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = Path(folder) / "irregular.toml"
        write_irregular(cluster)
        irregular = [_PLAN[0], "gpt-3-175b", "--cluster", str(cluster), "--global-batch", "4096"]
        _print({**_COMMANDS, "plan, 16,384 devices, irregular": irregular})


def _print(commands: dict[str, list[str]]) -> None:
    commands = {name: command for name, command in commands.items() if _timed(command) is not None}
    print(f"whole processes, medians of {RUNS} runs in turn")
    print(f"{'command':34} {'seconds':>8} {'x interpreter':>14} {'peak MB':>8}")
    timed: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            timed[name].append(_timed(command) or (0.0, 0.0))
    seconds = {name: statistics.median(s for s, _ in runs) for name, runs in timed.items()}
    base = seconds["interpreter alone"]
    for name, runs in timed.items():
        peak = max(mb for _, mb in runs)
        print(f"{name:34} {seconds[name]:8.3f} {seconds[name] / base:14.1f} {peak:8.0f}")
    print()


def _timed(command: list[str]) -> tuple[float, float] | None:
    """Seconds and peak memory in MB of one run; None where it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False)
    _, status, usage = os.wait4(process.pid, 0)
    # told to the object too, so that it does not look for a child that is gone
    process.returncode = os.waitstatus_to_exitcode(status)
    kilobytes = usage.ru_maxrss if sys.platform != "darwin" else usage.ru_maxrss / 1024
    return (time.perf_counter() - start, kilobytes / 1024) if process.returncode == 0 else None
