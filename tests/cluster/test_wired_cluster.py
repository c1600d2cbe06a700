"""Wired clusters, and regular clusters with failed parts: what is routed, and what is reported when it cannot be."""

from __future__ import annotations

import itertools

import msgspec
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.build.wired_cluster import select_nodes
from planner.cluster.model import presets
from planner.cluster.model.cluster import Cluster, WiredCluster
from planner.cluster.model.spec import FailedPartSpec, parse_cluster_spec
from planner.cluster.network.build import build_network
from planner.cluster.network.ecmp_routing import build_port_flows, build_routes
from planner.cluster.network.network import Network, TrafficPattern
from planner.cluster.network.routed_network import RoutedNetwork
from planner.cluster.wired.failed_parts import parse_failed_part
from planner.errors import InputError
from planner.hardware import database
from tests.examples import DEFAULTS, LAB, lab, wired
from tests.sample import mark_full

PATTERNS: tuple[TrafficPattern, ...] = ("ring", "all-to-all")


def degraded(*parts: str, nodes: int = 4, **figures: float) -> Cluster:
    spec = parse_cluster_spec(LAB.format(**{**DEFAULTS, "nodes": nodes, **figures}), "toml", "lab.toml")
    return resolve_cluster(spec, "lab.toml", failed_parts=tuple(map(parse_failed_part, parts)))


def compute_seconds(network: Network, size: int, stride: int, pattern: TrafficPattern) -> float:
    """What a byte of a group's collective takes in the slowest tier, as the cost model counts it."""
    sizes, strides = np.array([[size]]), np.array([[stride]])
    members = network.compute_members(sizes, strides)[0]
    below = np.concatenate([[1.0], members[:-1]])
    rates = network.compute_rates_bytes_per_s(sizes, strides, pattern)[0]
    sent = 1.0 / below if pattern == "ring" else (size - below) / size
    return float(np.where(members > below, sent / rates, 0.0).max())


@pytest.mark.parametrize("oversubscription", [1.0, 4.0])
def test_a_regular_cluster_described_link_by_link_gives_groups_the_same_time(oversubscription: float) -> None:
    by_level, by_link = build_network(lab(oversubscription=oversubscription)), build_network(wired(oversubscription))
    assert isinstance(by_link, RoutedNetwork)
    for size, stride in itertools.product((2, 4, 8, 16), (1, 2, 4, 8)):
        if size * stride <= 16:
            for pattern in PATTERNS:
                expected = compute_seconds(by_level, size, stride, pattern)
                assert compute_seconds(by_link, size, stride, pattern) == pytest.approx(expected), (
                    size,
                    stride,
                    pattern,
                )


@pytest.mark.parametrize("name", ["dgx-h100", "dgx-a100", "gb200-nvl72"])
def test_a_preset_written_out_gives_groups_the_same_time(name: str) -> None:
    spec = presets.load_cluster_spec(name)
    node = presets.load_node_spec(str(spec.node))
    nodes = 36 if "nvl72" in name else 64
    regular = resolve_cluster(spec, name, nodes=nodes)
    # a failed part that loses nothing: the cluster is written out and routed
    written = resolve_cluster(spec, name, nodes=nodes, failed_parts=(FailedPartSpec(part="node-0:0", rate=1.0),))
    assert isinstance(written, WiredCluster)
    by_level, degraded = build_network(regular), build_network(written)
    assert isinstance(degraded, RoutedNetwork)
    # what the links alone give
    by_link = degraded.healthy_network
    assert by_link is not None
    # sizes that racks of 18 and leaves of 32 are a multiple of: no group straddles two of them
    sizes = (9, 18, 36) if nodes == 36 else (8, 32, 64)
    outside = [*((size, node.devices) for size in sizes), (nodes // 2, 2 * node.devices), (2 * node.devices, 1)]
    for size, stride in outside:
        for pattern in PATTERNS:
            expected = compute_seconds(by_level, size, stride, pattern)
            assert compute_seconds(by_link, size, stride, pattern) == pytest.approx(expected, rel=1e-6), (
                size,
                stride,
                pattern,
            )


@pytest.mark.parametrize("name", mark_full(database.list_database_names("clusters"), every=4))
def test_a_slightly_failed_part_changes_little_and_no_failed_part_makes_a_preset_faster(name: str) -> None:
    spec = presets.load_cluster_spec(name)
    nodes = min(16, spec.max_nodes or 16)
    if nodes == 1:
        pytest.skip("one node")
    regular = build_network(resolve_cluster(spec, name, nodes=nodes))
    per_node = resolve_cluster(spec, name, nodes=1).devices
    groups = [(2, 1), (per_node, 1), (nodes, per_node), (nodes // 2, per_node), (2, per_node), (nodes * per_node, 1)]
    for failed, least, most in (("node-0=1", 1.0, 1.0), ("node-0=0.999", 1.0, 1.01), ("node-0=0.5", 1.0, 2.0 + 1e-9)):
        degraded = build_network(resolve_cluster(spec, name, nodes=nodes, failed_parts=(parse_failed_part(failed),)))
        for size, stride in groups:
            for pattern in PATTERNS:
                was, now = (compute_seconds(network, size, stride, pattern) for network in (regular, degraded))
                assert was * least * (1 - 1e-9) <= now <= was * most * (1 + 1e-9), (failed, size, stride, pattern)
            if size > 1:
                hops = np.array([stride]), np.array([size])
                was_hop, now_hop = regular.compute_slowest_hop(*hops), degraded.compute_slowest_hop(*hops)
                assert was_hop[0] / most * (1 - 1e-9) <= now_hop[0] <= was_hop[0] * (1 + 1e-9), (failed, size, stride)
                assert now_hop[1] == was_hop[1]


@pytest.mark.parametrize("name", ["tpu-v5p", "tpu-v3", "gaudi3", "dgx-h100", "gb200-nvl72", "aws-trn2"])
def test_a_missing_node_makes_no_group_faster(name: str) -> None:
    spec = presets.load_cluster_spec(name)
    regular = build_network(resolve_cluster(spec, name, nodes=16))
    less = resolve_cluster(spec, name, nodes=16, failed_parts=(parse_failed_part("node-5"),))
    degraded = build_network(less)
    assert less.nodes == 15
    for size, stride in ((less.devices_per_node, 1), (3, less.devices_per_node), (15, less.devices_per_node)):
        for pattern in PATTERNS:
            was, now = (compute_seconds(network, size, stride, pattern) for network in (regular, degraded))
            assert now >= was * (1 - 1e-9), (size, stride, pattern)


def test_hosts_of_a_single_rack_need_no_uplink() -> None:
    spec = presets.load_cluster_spec("gb200-nvl72")
    whole, half = (
        build_network(resolve_cluster(spec, "gb200", nodes=18, failed_parts=(parse_failed_part(failed),)))
        for failed in ("node-3=1", "node-3=0.5")
    )
    # devices have no links but those that lead to the rack's switch
    for size, stride in ((4, 1), (18, 4), (72, 1)):
        assert compute_seconds(half, size, stride, "ring") == pytest.approx(
            2 * compute_seconds(whole, size, stride, "ring")
        )


def test_hosts_that_failed_links_cut_off_are_left_out() -> None:
    spec = presets.load_cluster_spec("gb200-nvl72")
    left = resolve_cluster(spec, "gb200", nodes=18, failed_parts=(parse_failed_part("node-3 - nvl72-0"),))
    assert isinstance(left, WiredCluster)
    assert "node-3" not in left.wiring.hosts
    assert left.nodes == 17


def test_reducing_switches_stay_where_a_cluster_is_written_out() -> None:
    spec = presets.load_cluster_spec("dgx-a100")
    adding = tuple(msgspec.structs.replace(level, in_network=True) for level in spec.fabric)
    full_rate = (FailedPartSpec(part="node-0:0", rate=1.0),)
    for fabric, expected in ((adding, True), (spec.fabric, False)):
        cluster = resolve_cluster(msgspec.structs.replace(spec, fabric=fabric), "a", nodes=32, failed_parts=full_rate)
        assert cluster.levels[-1].in_network is expected


@st.composite
def draw_failed_parts(draw: st.DrawFn) -> list[str]:
    host, nic = st.integers(0, 3), st.integers(0, 3)
    rate = draw(st.sampled_from(["", "=0.5", "=25%", "=1"]))
    parts = [
        st.builds("node-{}:{}".format, host, nic),
        st.builds("node-{} - leaf-{}".format, st.integers(0, 1), st.just(0)),
    ]
    return [name + rate for name in draw(st.lists(st.one_of(*parts), min_size=1, max_size=2, unique=True))]


@settings(max_examples=40, deadline=None)
@given(draw_failed_parts(), st.sampled_from([(2, 4), (4, 4), (8, 2), (16, 1), (2, 8)]), st.sampled_from(PATTERNS))
def test_a_failed_part_never_makes_a_group_faster(
    failed: list[str], group: tuple[int, int], pattern: TrafficPattern
) -> None:
    whole = build_network(degraded("node-0:0=1"))
    try:
        broken = build_network(degraded(*failed))
    except InputError as error:
        assert "has no uplink" in str(error)
        return
    assert compute_seconds(broken, *group, pattern) >= compute_seconds(whole, *group, pattern) * (1 - 1e-9)


def test_a_nic_at_half_rate_halves_the_groups_that_use_it_alone() -> None:
    whole, half = build_network(degraded("node-0:0=1")), build_network(degraded("node-3:2=50%"))
    # across nodes, one ring a NIC: the slowest NIC sets the pace
    assert compute_seconds(half, 4, 4, "ring") == pytest.approx(2 * compute_seconds(whole, 4, 4, "ring"))
    # inside a node it is not used
    assert compute_seconds(half, 4, 1, "ring") == compute_seconds(whole, 4, 1, "ring")


def test_the_devices_of_a_missing_nic_share_the_next_nic() -> None:
    whole, less = build_network(degraded("node-0:0=1")), build_network(degraded("node-3:2"))
    assert compute_seconds(less, 4, 4, "ring") == pytest.approx(2 * compute_seconds(whole, 4, 4, "ring"))


def test_a_host_that_is_gone_is_not_planned_for() -> None:
    cluster = degraded("node-2")
    assert (cluster.nodes, cluster.devices) == (3, 12)
    assert isinstance(cluster, WiredCluster)
    assert "node-2" not in cluster.wiring.hosts
    assert degraded("node-[0-1]").nodes == 2


def test_a_number_of_nodes_selects_the_healthiest_nodes() -> None:
    text = LAB.format(**DEFAULTS).partition("[[fabric]]")[0].replace("nodes = 4", "")
    hosts = '[[hosts]]\nname = "n[0-5]"\n[[switches]]\nname = "s[0-1]"\n'
    links = '[[links]]\nends = ["n[0-2]", "s0"]\nbandwidth = "100Gb/s"\n[[links]]\nends = ["n[3-5]", "s1"]\n'
    links += 'bandwidth = "100Gb/s"\n[[links]]\nends = ["s0", "s1"]\nbandwidth = "100Gb/s"\n'
    spec = parse_cluster_spec(f'{text}{hosts}{links}[[faults]]\npart = "n1 - s0"\nrate = 0.5\n', "toml", "lab.toml")
    chosen = resolve_cluster(spec, "lab.toml", nodes=3)
    assert chosen.listed_hosts == ("n3", "n4", "n5")
    most = resolve_cluster(spec, "lab.toml", nodes=5)
    assert most.listed_hosts == ("n0", "n2", "n3", "n4", "n5")


def test_a_number_of_nodes_of_a_degraded_regular_cluster_keeps_its_levels() -> None:
    cluster = degraded("node-1=0.5")
    assert isinstance(cluster, WiredCluster)
    for nodes in (1, 2, 3, 4):
        chosen = select_nodes(cluster, nodes)
        assert (chosen.nodes, len(chosen.wiring.hosts)) == (nodes, nodes)
        assert ("node-1" in chosen.wiring.hosts) == (nodes == 4)
        assert [level.name for level in chosen.levels] == (["node"] if nodes == 1 else ["node", "leaf", "spine"])
        assert build_network(chosen).tier_count == len(chosen.levels)
    with pytest.raises(InputError, match="out of range"):
        select_nodes(cluster, 5)


def test_failed_parts_of_a_very_large_cluster_are_refused() -> None:
    with pytest.raises(InputError, match="too many nodes for failed parts"):
        degraded("node-0", nodes=200_000)


def test_hosts_with_fewer_devices_are_left_out() -> None:
    spec = parse_cluster_spec(
        build_wired_text().replace('name = "n[0-3]"', 'name = "n[0-2]"\n[[hosts]]\nname = "n3"\ndevices = 3'),
        "toml",
        "w.toml",
    )
    assert resolve_cluster(spec, "w.toml").nodes == 3


def build_wired_text() -> str:
    from tests.examples import WIRED

    return LAB.format(**DEFAULTS).partition("[[fabric]]")[0].replace("nodes = 4", "") + WIRED.format(up=1600)


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        ('"leaf0"]', '"laef0"]', ["links[0].ends", "laef0", "did you mean leaf0?"]),
        ('"n[0-1]"', '"n[0-"', ["links[0].ends", "n[0-"]),
        ('name = "n[0-3]"', 'name = "n[0-3],n1"', ["hosts", "duplicate name", "n1"]),
        ('name = "spine"', 'name = "n2"', ["switches", "duplicate name", "n2"]),
        ('name = "n[0-3]"', 'name = "n[0-4]"', ["links", "n4", "has no uplink"]),
        ('ends = ["leaf[0-1]", "spine"]', 'ends = ["leaf0", "spine"]', ["cannot reach n0", "n2"]),
        ('name = "n[0-3]"', 'name = "n[0-3]"\ndevices = 9', ["hosts[0].devices", "9", "at most the node's 4"]),
        (
            'name = "n[0-3]"',
            'name = "n[0-3]"\nnode = "dgx-h100"\n[[hosts]]\nname = "x"',
            ["different nodes", "[[pools]]"],
        ),
        ('ends = ["n[0-1]", "leaf0"]', 'ends = ["n0", "n0"]', ["connects a part to itself"]),
        ('"1600Gb/s"', '"1600"', ["links[2].bandwidth", "without a unit"]),
        ("cables = 4", "cabels = 4", ["did you mean cables?"]),
        ("cables = 4", "cables = 99", ["links[0].cables: more links than NIC ports", "99", "at most 8", "4 NICs"]),
        (
            'name = "spine"',
            'name = "spine"\n[[links]]\nends = ["n0", "spine"]\nbandwidth = "1Gb/s"\ncables = 5',
            ["links[1].cables", "9 on one host", "at most 8"],
        ),
        (
            '"n[0-1]", "leaf0"]',
            '"n[0-1]:4", "leaf0"]',
            ["links[0].ends: no NIC has this number", "n0:4", "from 0 to 3"],
        ),
        ('"n[0-1]", "leaf0"]', '"n[0-1]:3", "leaf0"]', ["links[0].cables", "4", "at most 2 per NIC"]),
        ('"n[0-1]", "leaf0"]', '"n[0-1]", "leaf0:1"]', ["links[0].ends", "ports have no numbers", "leaf0"]),
    ],
)
def test_a_wrong_wiring_is_reported(old: str, new: str, messages: list[str]) -> None:
    text = build_wired_text()
    assert old in text
    with pytest.raises(InputError) as caught:
        resolve_cluster(parse_cluster_spec(text.replace(old, new, 1), "toml", "w.toml"), "w.toml")
    for part in ["w.toml", *messages]:
        assert part in str(caught.value)


@pytest.mark.parametrize("seed", range(6))
def test_flows_take_all_shortest_paths_by_their_bandwidth(seed: int) -> None:
    """Against a recursion over a networkx graph, one flow at a time."""
    random = np.random.default_rng(seed)
    graph = nx.gnm_random_graph(9, 16, seed=seed)
    text = 'name = "w"\nnode = "dgx-h100"\n[[hosts]]\nname = "h[0-8]"\n[[switches]]\nname = "s[0-8]"\n'
    for node in graph:
        text += f'[[links]]\nends = ["h{node}", "s{node}"]\nbandwidth = "400Gb/s"\n'
    for low, high in graph.edges:
        rate = int(random.choice([100, 200, 400]))
        graph.edges[low, high]["rate"] = rate * 1e9 / 8
        text += f'[[links]]\nends = ["s{low}", "s{high}"]\nbandwidth = "{rate}Gb/s"\n'
    if not nx.is_connected(graph):
        with pytest.raises(InputError, match="cannot reach"):
            resolve_cluster(parse_cluster_spec(text, "toml", "w"), "w")
        return
    cluster = resolve_cluster(parse_cluster_spec(text, "toml", "w"), "w")
    assert isinstance(cluster, WiredCluster)
    wiring = cluster.wiring
    routes, ports = build_routes(wiring)
    source, target = random.integers(0, 9, (2, 12))
    amount = random.uniform(0.5, 2.0, 12)
    load: dict[tuple[int, int], float] = {}

    def push(at: int, to: int, much: float) -> None:
        if at == to:
            return
        far = nx.shortest_path_length(graph, at, to)
        nearer = [n for n in graph[at] if nx.shortest_path_length(graph, n, to) == far - 1]
        whole = sum(graph.edges[at, n]["rate"] for n in nearer)
        for n in nearer:
            part = much * graph.edges[at, n]["rate"] / whole
            load[at, n] = load.get((at, n), 0.0) + part / graph.edges[at, n]["rate"]
            push(n, to, part)

    sent, got = np.zeros(9), np.zeros(9)
    for at, to, much in zip(source.tolist(), target.tolist(), amount.tolist(), strict=True):
        push(at, to, much)
        sent[at] += much
        got[to] += much
    worst = max([*load.values(), (sent / 50e9).max(), (got / 50e9).max()])
    flows = build_port_flows(source, target, amount, len(ports))
    assert routes.compute_bottleneck_bytes_per_s(flows) == pytest.approx(1 / worst)


def build_rail_cluster(*parts: str) -> Cluster:
    spec = presets.load_cluster_spec("dgx-h100")
    return resolve_cluster(spec, "dgx-h100", nodes=8, failed_parts=tuple(map(parse_failed_part, parts)))


@pytest.mark.parametrize(
    "cluster",
    [
        degraded("node-1:3", "node-2 - leaf-1=0.5", nodes=8, oversubscription=2.0),
        # NICs that neighbours lack: only what both ends have can be used where rails do not meet
        build_rail_cluster("node-0:2", "node-1:1", "node-2:3", "node-3:2=0.5"),
    ],
)
def test_large_all_to_alls_are_summed_up_as_pair_by_pair(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = np.array([[32], [16]]), np.array([[1], [2]])
    by_pair = build_network(cluster).compute_rates_bytes_per_s(*groups, "all-to-all")
    monkeypatch.setattr("planner.cluster.network.traffic_patterns._MAX_EXPLICIT_PAIRS", 0)
    np.testing.assert_allclose(
        build_network(cluster).compute_rates_bytes_per_s(*groups, "all-to-all"), by_pair, rtol=1e-9
    )


def test_switches_with_the_same_links_are_routed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, failed = presets.load_cluster_spec("dgx-h100"), parse_failed_part("leaf-3 - spine-2=0.5")
    cluster = resolve_cluster(spec, "dgx-h100", nodes=70, failed_parts=(failed,))
    assert isinstance(cluster, WiredCluster)
    wiring = cluster.wiring
    together, ports = build_routes.__wrapped__(wiring)
    monkeypatch.setattr(
        "planner.cluster.network.ecmp_routing._find_equivalent_routers",
        lambda endpoints, rate, entered, routers: np.arange(routers),
    )
    apart, _ = build_routes.__wrapped__(wiring)
    # three groups of 8 rails; of 12 spines the spine with the slow link stands alone
    assert (len(set(together.tail.tolist())), len(set(apart.tail.tolist()))) == (24 + 2, 24 + 12)
    draw = np.random.default_rng(3)
    for _ in range(5):
        source, target = draw.integers(0, len(ports), (2, 200))
        flows = build_port_flows(source, target, draw.uniform(0.5, 2.0, 200), len(ports))
        assert together.compute_bottleneck_bytes_per_s(flows) == pytest.approx(
            apart.compute_bottleneck_bytes_per_s(flows)
        )


def join_hosts(*links: tuple[str, str]) -> Network:
    """Four hosts of one NIC and the switches a and b, joined by links: their ends and bandwidth."""
    node = LAB.format(**{**DEFAULTS, "devices": 1}).partition("[[fabric]]")[0].replace("nodes = 4", "")
    switches = '\n[[hosts]]\nname = "n[0-3]"\n\n[[switches]]\nname = "a"\n\n[[switches]]\nname = "b"\n'
    wires = "".join(f'\n[[links]]\nends = {ends}\nbandwidth = "{rate}"\n' for ends, rate in links)
    return build_network(resolve_cluster(parse_cluster_spec(node + switches + wires, "toml", "w.toml"), "w.toml"))


def test_a_host_on_two_switches_uses_both_and_prefers_the_nearer() -> None:
    on_both = join_hosts(('["n[0-3]", "a"]', "100Gb/s"), ('["n[0-3]", "b"]', "100Gb/s"))
    wide = join_hosts(('["n[0-3]", "a"]', "200Gb/s"), ('["a", "b"]', "1Gb/s"))
    # n2 and n3 are on b alone: to them all goes through b, and nothing over the slow link between the switches
    apart = join_hosts(('["n[0-1]", "a"]', "100Gb/s"), ('["n[0-3]", "b"]', "100Gb/s"), ('["a", "b"]', "1Gb/s"))
    for pattern in PATTERNS:
        assert compute_seconds(on_both, 4, 1, pattern) == pytest.approx(compute_seconds(wide, 4, 1, pattern))
        # the slower of two groups of two: n2 and n3 have half
        assert compute_seconds(apart, 2, 1, pattern) == pytest.approx(2 * compute_seconds(wide, 2, 1, pattern))
        assert compute_seconds(apart, 4, 1, pattern) < 4 * compute_seconds(on_both, 4, 1, pattern)
