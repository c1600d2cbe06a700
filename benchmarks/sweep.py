"""`python -m benchmarks.sweep`: a sweep of 10,000 points, run through, and again killed half-way and gone on with.

Prints points a second of both, what the machine's processors did meanwhile, and whether the two tables have the same
bytes. Takes minutes: `make bench` leaves it out.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_PLANNER = Path(sys.executable).parent / "planner"
_WORKERS = "2"
SWEEP = """
[grid]
model = ["bert-large", "gpt-1.7b", "gpt-3.6b", "mistral-7b", "llama-3-8b"]
cluster = ["dgx-v100", "dgx-a100", "dgx-h100", "tpu-v3"]
tp = [1, 2, 4, 8, "1..8"]
precision = ["bf16", "fp16"]
nodes = [1, 2, 4, 8, 16]
global_batch = [64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048]

[fixed]
failures = false
"""


def command(folder: Path, name: str) -> list[str]:
    """The sweep, its table in a file of this name."""
    return [str(_PLANNER), "sweep", str(folder / "sweep.toml"), "-o", str(folder / name), "--workers", _WORKERS]


def through(folder: Path, name: str) -> float:
    """Seconds of a run to the end."""
    start = time.perf_counter()
    subprocess.run(command(folder, name), check=True)
    return time.perf_counter() - start


def killed(folder: Path, name: str, points: int) -> int:
    """Kill a run with SIGKILL, workers and all, once its journal has half of the points; how many it has then."""
    journal = folder / f"{name}.journal"
    process = subprocess.Popen(command(folder, name), start_new_session=True)
    while process.poll() is None and lines(journal) < points // 2:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return lines(journal) - 1


def lines(path: Path) -> int:
    """Lines of a file, none where it is not there."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def main() -> None:
    """Print the whole comparison."""
    points = 5 * 4 * 5 * 2 * 5 * 10
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sweep.toml").write_text(SWEEP)
        seconds = through(folder, "through.parquet")
        busy = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = busy.ru_utime + busy.ru_stime
        rate = f"{seconds:.0f} s, {points / seconds:.0f} a second, {used:.0f} s of processor"
        print(f"through: {points:,} points in {rate}", flush=True)
        had = killed(folder, "resumed.parquet", points)
        rest = through(folder, "resumed.parquet")
        same = (folder / "through.parquet").read_bytes() == (folder / "resumed.parquet").read_bytes()
        told = "the same bytes" if same else "OTHER BYTES"
        print(f"killed with {had:,} points in the journal, the rest in {rest:.0f} s: {told}")


if __name__ == "__main__":
    main()
