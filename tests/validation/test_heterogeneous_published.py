"""The speedup from balancing two pools, against published figures."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from planner.cluster.build.pools import resolve_pools
from planner.cluster.model.spec import parse_cluster_spec
from planner.cost.heterogeneous import bind_pools
from planner.search.heterogeneous.candidates import build_share_table
from planner.search.heterogeneous.data_parallel import find_best_shares, find_even_shares
from planner.search.space import Space
from planner.workload.presets import read_model_preset
from planner.workload.transformer import build_workload

ROWS = list(
    csv.DictReader((Path(__file__).parents[1] / "published" / "heterogeneous_runs.csv").open(encoding="utf-8"))
)
POOL = """
[[pools]]
nodes = 1

[pools.node]
name = "{part}"
accelerator = "{part}"
devices = {devices}

[pools.node.link]
bandwidth = "{link}GB/s"

[pools.node.nic]
count = 1
bandwidth = "{nic}Gb/s"
"""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_balancing_is_worth_what_was_published(row: dict[str, str]) -> None:
    links = {"link": row["link_gb_per_s"], "nic": row["nic_gbit_per_s"]}
    parts = [
        POOL.format(part=row[part_name], devices=row[f"{part_name}_devices"], **links)
        for part_name in ("first", "second")
    ]
    pools = resolve_pools(parse_cluster_spec('name = "both"\n' + "".join(parts), "toml", row["id"]), row["id"])
    batch = int(row["global_batch"])
    bound = bind_pools(
        build_workload(read_model_preset(row["model"]), seq_length=int(row["seq"])),
        pools,
        precision=row["precision"],
        attention="unfused",
        global_batch=batch,
    )
    pins = {"tp": (1,), "pp": (1,), "cp": (1,), "zero_stage": (0,), "recompute": (0,)}
    table = build_share_table(bound, Space(pools.devices, batch, {**pins, "micro_batch": tuple(range(1, 65))}))
    balanced, even = find_best_shares(table), find_even_shares(table)
    assert balanced is not None and even is not None
    faster = even.step_time_s / balanced.step_time_s
    # the source gives a range: a twentieth beyond either end
    assert float(row["published_low"]) * 0.95 < faster < float(row["published_high"]) * 1.05
