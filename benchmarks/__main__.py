"""`make bench`: start-up and search, each as medians of several runs beside a yardstick of the same run.

The yardstick is the bare interpreter (`python -c pass`), so that a table of one machine can be read on another.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 7
BIN = Path(sys.executable).parent
QUESTION = ["gpt-3-175b", "--cluster", "dgx-h100", "--global-batch", "1536"]


def main() -> None:
    """Print both tables."""
    commands = {
        "interpreter alone": [sys.executable, "-c", "pass"],
        "import msgspec": [sys.executable, "-c", "import msgspec"],
        "plan --help": [str(BIN / "plan"), "--help"],
        "plan, 4,096 devices": [str(BIN / "plan"), *QUESTION, "--nodes", "512"],
        "plan, 131,072 devices": [str(BIN / "plan"), *QUESTION, "--nodes", "16384"],
    }
    print(f"whole processes, medians of {RUNS} runs in turn")
    print(f"{'command':24} {'seconds':>8} {'x interpreter':>14}")
    timed = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            timed[name].append(_seconds(command))
    base = statistics.median(timed["interpreter alone"])
    for name, seconds in timed.items():
        median = statistics.median(seconds)
        print(f"{name:24} {median:8.3f} {median / base:14.1f}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"largest process: {peak:.0f} MB\n")
    _search()


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def _search() -> None:
    """Candidates a second: the search, every candidate scored as arrays, and one at a time."""
    from dataclasses import replace

    import numpy as np

    from planner.cluster import database
    from planner.cluster.cluster import resolve_cluster
    from planner.cost.step import score
    from planner.cost.strategies import join
    from planner.cost.training import training
    from planner.search.search import search
    from planner.search.space import Space, Tally, layouts
    from planner.workload.build import build_workload
    from planner.workload.presets import preset

    cluster = resolve_cluster(database.cluster_spec("dgx-h100"), "dgx-h100", nodes=512)
    question = training(build_workload(preset("gpt-3-175b")), cluster, global_batch=1536)
    space = Space(cluster.devices, 1536)

    def searched() -> int:
        tally = search(question, space).tally
        return tally.feasible + tally.cut_by["memory"]

    blocks = list(layouts(space, question.workload, Tally()))
    every = join(
        [
            replace(b, zero_stage=b.zero_stage + z, recompute=b.recompute + r)
            for b in blocks
            for z in range(4)
            for r in range(3)
        ]
    )
    pick = np.linspace(0, len(every) - 1, 200).astype(np.int64)

    def as_arrays() -> int:
        for start in range(0, len(every), 100_000):
            score(question, every.take(np.arange(start, min(start + 100_000, len(every)))))
        return len(every)

    def one_by_one() -> int:
        for index in pick:
            score(question, every.take(np.array([index])))
        return len(pick)

    print("GPT-3 175B, 4,096 devices, candidates that the divisibility rules allow")
    print(f"{'how':42} {'candidates':>11} {'a second':>12} {'x loop':>8}")
    rates = {}
    for name, how in (
        ("one at a time, arrays of length one", one_by_one),
        ("every candidate's time, arrays", as_arrays),
        ("search: memory of all, time by bound", searched),
    ):
        seconds, count = [], 0
        for _ in range(5):
            start = time.perf_counter()
            count = how()
            seconds.append(time.perf_counter() - start)
        rates[name] = count / statistics.median(seconds)
        print(f"{name:42} {count:11,} {rates[name]:12,.0f} {rates[name] / next(iter(rates.values())):8.0f}")


if __name__ == "__main__":
    main()
