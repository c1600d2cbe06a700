"""Checkpoints of a plan: which devices write them."""

from __future__ import annotations

import pytest

from planner.cluster.build.reliability import ReliabilityOverrides, resolve_reliability
from planner.search.search import SearchTarget, search_plans
from planner.search.space import Space
from planner.studies.goodput import build_reliability_part
from planner.studies.plan_parts import build_plan_parts
from planner.workload.spec import MoeSpec
from tests.examples import lab, lab_scenario, tiny


@pytest.mark.parametrize(
    ("split", "writers"),
    [
        ({"tp": 2, "dp": 8, "ep": 1}, 2),
        ({"tp": 2, "dp": 8, "ep": 2}, 2),  # within the tensor-parallel ranks of one replica
        ({"tp": 2, "dp": 8, "ep": 8}, 8),
        ({"tp": 4, "dp": 4, "ep": 16}, 16),
        ({"tp": 2, "dp": 8, "ep": 2, "etp": 2}, 4),
        ({"tp": 2, "dp": 8, "ep": 8, "zero_stage": 1}, 16),
    ],
)
def test_as_many_devices_write_as_have_their_own_part(split: dict[str, int], writers: int) -> None:
    cluster = lab(nodes=4)
    scenario = lab_scenario(tiny(moe=MoeSpec(experts=16, topk=2, expert_ffn_size=256)), cluster, batch=16)
    pins = {"pp": 1, "cp": 1, "etp": 1, "vpp": 1, "micro_batch": 1, "zero_stage": 0, "recompute": 0} | split
    result = search_plans(
        scenario, Space(cluster.devices, 16, {name: (value,) for name, value in pins.items()}), SearchTarget(top=1)
    )
    plan = build_plan_parts(result, cluster, with_bottlenecks=False)[0]
    # with storage that keeps up, the bandwidth of a device's own link decides
    overrides = ReliabilityOverrides({"write_bytes_per_s": (1e18, "here"), "pause_s": (1e-12, "here")})
    saved = build_reliability_part(scenario, cluster, plan, resolve_reliability(cluster, overrides)).checkpoint
    out = next(level.bandwidth_bytes_per_s for level in cluster.levels if level.through_nic)
    assert saved.blocked_s == pytest.approx(saved.bytes / writers / out)
