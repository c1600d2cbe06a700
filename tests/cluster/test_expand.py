"""A regular cluster written out: names, counts, and as much bandwidth at every level as the collapsed cluster has."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model import presets
from planner.cluster.model.cluster import Cluster, compute_group_devices
from planner.cluster.model.spec import parse_cluster_spec
from planner.cluster.model.wiring import Wiring
from planner.cluster.wired.build_links import build_regular_wiring


def load_preset(name: str, nodes: int) -> Cluster:
    return resolve_cluster(presets.load_cluster_spec(name), name, nodes=nodes)


def count_switches(wiring: Wiring) -> dict[str, int]:
    return dict(Counter(name.rsplit("-", 1)[0] for name in wiring.switches))


def test_a_superpod_has_the_switches_of_its_reference_architecture() -> None:
    # DGX SuperPOD, H100, four scalable units: 32 leaf and 16 spine switches
    wiring = build_regular_wiring(load_preset("dgx-h100", 128))
    assert count_switches(wiring) == {"leaf": 32, "spine": 16}
    assert len(set(wiring.vertex_names)) == len(wiring.vertex_names)
    assert wiring.hosts[3] == "node-3"


def test_nic_two_of_a_node_is_on_rail_two_of_its_group() -> None:
    wiring = build_regular_wiring(load_preset("dgx-h100", 64))
    names = np.array(wiring.vertex_names)
    for host, group in ((3, 0), (33, 1)):
        mine = (wiring.endpoints[:, 0] == host) & (wiring.nic_index == 2)
        assert names[wiring.endpoints[mine, 1]].tolist() == [f"leaf-{8 * group + 2}"]


@pytest.mark.parametrize(
    ("name", "nodes"), [("dgx-h100", 200), ("dgx-a100", 280), ("gb200-nvl72", 180), ("mi300x", 37)]
)
def test_uplinks_carry_the_bandwidth_of_the_devices_at_each_level(name: str, nodes: int) -> None:
    cluster = load_preset(name, nodes)
    wiring = build_regular_wiring(cluster)
    names = np.array([vertex.rsplit("-", 1)[0] for vertex in wiring.vertex_names])
    for level, joined in zip(cluster.levels[1:], compute_group_devices(cluster)[1:], strict=True):
        into = wiring.bandwidth_bytes_per_s[names[wiring.endpoints[:, 1]] == level.name].sum()
        assert into == pytest.approx(cluster.devices * level.bandwidth_bytes_per_s)
        assert (wiring.scale_up[names[wiring.endpoints[:, 1]] == level.name] == (level.topology == "nvswitch")).all()
        assert joined


def test_a_torus_joins_the_faces_of_blocks_and_closes_its_rings() -> None:
    cluster = load_preset("tpu-v4", 16)  # 4 x 4 x 4 chips in blocks of 2 x 2 x 1: 2 x 2 x 4 nodes
    wiring = build_regular_wiring(cluster)
    assert wiring.switches == ()
    assert len(wiring.endpoints) == 3 * 16
    assert not wiring.scale_up.any()
    link = cluster.levels[0].bandwidth_bytes_per_s / 6
    assert np.bincount(wiring.endpoints.ravel()).tolist() == [6] * 16
    assert sorted(set(np.round(wiring.bandwidth_bytes_per_s / link, 9))) == [2, 4]


DRAGONFLY = """
name = "dragon"
nodes = 12
node = "dgx-a100"
[[fabric]]
name = "leaf"
nodes = 2
[[fabric]]
name = "spine"
nodes = 4
[[fabric]]
name = "global"
topology = "dragonfly+"
oversubscription = 2
"""


def test_every_group_of_a_dragonfly_is_joined_with_every_other() -> None:
    cluster = resolve_cluster(parse_cluster_spec(DRAGONFLY, "toml", "dragon.toml"), "dragon.toml")
    wiring = build_regular_wiring(cluster)
    spines = [index for index, name in enumerate(wiring.vertex_names) if name.startswith("spine")]
    between = np.isin(wiring.endpoints, spines).all(axis=1)
    each = len(spines) // 3
    assert between.sum() == 3 * each
    out_of_group = wiring.bandwidth_bytes_per_s[between & np.isin(wiring.endpoints, spines[:each]).any(axis=1)].sum()
    assert out_of_group == pytest.approx(32 * cluster.levels[-1].bandwidth_bytes_per_s)


def test_latencies_up_to_each_level_are_those_of_the_levels() -> None:
    cluster = load_preset("dgx-h100", 200)
    wiring = build_regular_wiring(cluster)
    switch = dict(zip((name.rsplit("-", 1)[0] for name in wiring.switches), wiring.switch_latency_s, strict=True))
    reached = wiring.nic_latency_s[0]
    for level in cluster.levels[1:]:
        reached += switch[level.name]
        assert reached == pytest.approx(level.latency_s)
