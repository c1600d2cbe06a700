"""The sentence on what would help a plan most: the largest gain of all changes, scored without a bound."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from planner.cluster.model.cluster import Cluster, Host
from planner.cost.arrays import Floats
from planner.cost.pipeline.stages import build_plan_tables
from planner.cost.scenario import Offload, Scenario
from planner.cost.step import compute_step_costs
from planner.cost.strategies import Strategies, build_strategy, join_strategies
from planner.studies.bottleneck import explain_bottlenecks
from planner.studies.changes import HARDWARE_SCALES, rebind_scenario
from tests.examples import lab, lab_scenario, tiny

HOST = Host(memory_bytes=2e12, memory_bandwidth_bytes_per_s=4e11, link_bytes_per_s=3e10)
TITLES = {
    "peak": "twice the peak FLOP/s",
    "memory_bandwidth": "twice the memory bandwidth",
    "link_bandwidth": "twice the bandwidth of the scale-up links",
    "network_bandwidth": "twice the bandwidth of the NICs",
    "host_link": "twice the bandwidth of the link to the host",
    "host_bandwidth": "twice the memory bandwidth of the host",
}


PLANS = [
    build_strategy(zero_stage=3, dp=16),
    build_strategy(zero_stage=1, tp=4, dp=4, micro_batch=4),
    build_strategy(zero_stage=1, pp=4, dp=4, recompute=2),
    build_strategy(zero_stage=1, cp=4, dp=4),
]


def compute_gains(scenario: Scenario, cluster: Cluster, s: Strategies) -> dict[str, Floats]:
    """Of every change, each scored as a scenario of its own, [plans]."""
    changed = {
        title: rebind_scenario(scenario, HARDWARE_SCALES[name](cluster, 2.0)) for name, title in TITLES.items()
    }
    changed["twice the global batch"] = replace(scenario, global_batch=2 * scenario.global_batch)
    sequence_s = {
        title: compute_step_costs(of_change, s).step_time_s / of_change.global_batch
        for title, of_change in {"": scenario, **changed}.items()
    }
    return {title: sequence_s[""] / sequence_s[title] - 1 for title in changed}


def test_the_change_that_is_named_gains_most() -> None:
    named, large = set(), tiny(hidden_size=4096, ffn_size=16384, seq_length=4096)
    cases = [
        (large, Offload(), 0.01, 100.0),
        (large, Offload(), 1.0, 0.05),
        (large, Offload(activations=True), 1.0, 1.0),
        (tiny(), Offload(), 100.0, 100.0),
    ]
    for workload, offload, link_rate, network_rate in cases:
        cluster = HARDWARE_SCALES["network_bandwidth"](lab(), network_rate)
        cluster = replace(HARDWARE_SCALES["link_bandwidth"](cluster, link_rate), host=HOST)
        scenario = replace(lab_scenario(workload, cluster), offload=offload)
        gains = compute_gains(scenario, cluster, join_strategies(PLANS))
        for plan, s in enumerate(PLANS):
            tables = build_plan_tables(scenario, s)
            costs = compute_step_costs(scenario, s, tables)
            (sentence,) = explain_bottlenecks(scenario, cluster, s, costs, tables)
            title, percent = re.search(r"; (.*) would make this plan (\S+)% faster", sentence).groups()
            gain = float(gains[title][plan])
            assert gain == pytest.approx(max(float(of_change[plan]) for of_change in gains.values()), rel=1e-9)
            assert f"{gain:.0%}" == f"{percent}%"
            named.add(title)
    assert len(named) >= 5, named
