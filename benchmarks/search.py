"""The search: candidates a second in one process, and how time and memory grow with their number."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model import presets
from planner.cost.memory.peak import compute_peak_memory_bytes
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.settings import RANK_ORDERS
from planner.cost.step import compute_step_costs
from planner.cost.strategies import Strategies, join_strategies
from planner.search.search import search_plans
from planner.search.settings import enumerate_setting_scenarios
from planner.search.space import SearchStats, Space, enumerate_parallel_layouts
from planner.workload.presets import read_model_preset
from planner.workload.transformer import build_workload

_RUNS = 5
_BATCH = 3072
_OPEN: tuple[dict[str, tuple[str, ...]], ...] = (
    {},
    {"schedule": ("1f1b", "zero-bubble"), "tp_overlap": ("no", "yes"), "dp_overlap": ("no", "yes")},
    {
        "schedule": ("1f1b", "zero-bubble"),
        "tp_overlap": ("no", "yes"),
        "dp_overlap": ("no", "yes"),
        "cp_exchange": ("ring", "all-gather", "all-to-all"),
        "order": RANK_ORDERS,
        "gradients": ("fp32", "bf16"),
    },
)


def _question(nodes: int = 512) -> tuple[Scenario, Space]:
    cluster = resolve_cluster(presets.load_cluster_spec("dgx-h100"), "dgx-h100", nodes=nodes)
    question = build_scenario(build_workload(read_model_preset("gpt-3-175b")), cluster, global_batch=_BATCH)
    return question, Space(cluster.devices, _BATCH)


def print_rates() -> None:
    """The search, every candidate scored in arrays, and the same functions one candidate at a time."""
    question, space = _question()
    every = _candidates(question, space)
    pick = np.linspace(0, len(every) - 1, 200).astype(np.int64)

    def one_by_one() -> int:
        for index in pick:
            one = every.take(np.array([index]))
            compute_step_costs(question, one)
            compute_peak_memory_bytes(question, one)
        return len(pick)

    def as_arrays() -> int:
        for start in range(0, len(every), 50_000):
            some = every.take(np.arange(start, min(start + 50_000, len(every))))
            compute_step_costs(question, some)
            compute_peak_memory_bytes(question, some)
        return len(every)

    print("GPT-3 175B, 4,096 devices, candidates that the divisibility rules allow, medians of", _RUNS)
    print(f"{'how':42} {'candidates':>12} {'a second':>12} {'x loop':>8}")
    loop = 0.0
    for name, how in (
        ("one at a time, arrays of length one", one_by_one),
        ("time and memory of every one, as arrays", as_arrays),
        ("search: memory of all, time by the bound", partial(_searched, [question], space)),
    ):
        count, seconds = _median(how)
        loop = loop or count / seconds
        print(f"{name:42} {count:12,} {count / seconds:12,.0f} {count / seconds / loop:8,.0f}")
    print()


def print_growth() -> None:
    """Time for ever more candidates, streamed in blocks, and for ever more devices."""
    question, space = _question()
    print("GPT-3 175B, 4,096 devices, more and more settings open")
    print(f"{'settings':>9} {'candidates':>12} {'seconds':>8} {'a second':>12} {'peak MB':>8}")
    for opened in _OPEN:
        questions = list(enumerate_setting_scenarios(question, opened))
        count, seconds = _median(
            lambda asked=questions: _searched(asked, space), runs=1 if len(questions) > 50 else 3
        )  # type: ignore[misc]
        print(f"{len(questions):9,} {count:12,} {seconds:8.2f} {count / seconds:12,.0f} {_peak_mb():8.0f}")
    print()
    print("GPT-3 175B, more and more devices")
    print(f"{'devices':>9} {'candidates':>12} {'seconds':>8} {'x 4,096':>12}")
    base = 0.0
    for nodes in (512, 8_192, 131_072):
        wide, wider = _question(nodes)
        count, seconds = _median(partial(_searched, [wide], wider))
        base = base or seconds
        print(f"{wider.devices:9,} {count:12,} {seconds:8.3f} {seconds / base:12.2f}")


def _candidates(question: Scenario, space: Space) -> Strategies:
    """Every candidate that the rules before memory allow."""
    blocks = list(enumerate_parallel_layouts(space, question.workload, SearchStats()))
    return join_strategies(
        [
            replace(block, zero_stage=block.zero_stage + zero, recompute=block.recompute + mode)
            for block in blocks
            for zero in range(4)
            for mode in range(3)
        ]
    )


def _searched(questions: Sequence[Scenario], space: Space) -> int:
    """How many candidates the search scored: those that fit and those that only memory cut."""
    tally = search_plans(questions, space).stats
    return tally.feasible + tally.rejected_by["memory"]


def _median(how: Callable[[], int], runs: int = _RUNS) -> tuple[int, float]:
    """What it counted, and the median of its seconds."""
    seconds, count = [], 0
    for _ in range(runs):
        start = time.perf_counter()
        count = how()
        seconds.append(time.perf_counter() - start)
    return count, statistics.median(seconds)


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 1024**2
