"""Descriptions of real clusters become cluster files: what stands in the samples comes back from the file."""

from collections import Counter
from pathlib import Path

import pytest

from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.importers.cluster_file import render_cluster_toml
from planner.cluster.importers.complete_draft import complete_cluster_draft
from planner.cluster.importers.detect_format import read_description
from planner.cluster.importers.imported_cluster import HostPatterns, merge_descriptions
from planner.cluster.importers.match_hardware import fold_label, read_foreign_names
from planner.cluster.importers.node_types import ImportDefaults
from planner.cluster.model.spec import ClusterSpec, NodeSpec, parse_cluster_spec
from planner.cluster.wired.hostlist import expand_hostlist
from planner.cluster.wired.wiring_file import resolve_wiring
from planner.errors import InputError
from planner.hardware import database
from planner.hardware.figures import parse_figure

FIXTURES = Path(__file__).parents[1] / "fixtures" / "clusters"
GBPS = 1e9 / 8

Endpoints = tuple[str, str]
"""The two ends of a link, a host's NIC left out."""


def import_fixtures(*names: str, hosts: str = "", **given: object) -> tuple[ClusterSpec, list[str]]:
    """The cluster file made from some fixtures, read again, and the notes."""
    patterns = HostPatterns(tuple(hosts.split(",")) if hosts else ())
    descriptions = [
        (name, read_description((FIXTURES / name).read_text("utf-8", "replace"), name, "auto", patterns)[1])
        for name in names
    ]
    draft, notes = complete_cluster_draft(
        merge_descriptions(descriptions), ImportDefaults(name="test", **given), "Test"
    )  # type: ignore[arg-type]
    text = render_cluster_toml(draft, names, notes)
    assert text == render_cluster_toml(draft, names, notes)
    return parse_cluster_spec(text, "toml", "test.toml"), list(notes)


def list_names(parts: tuple[object, ...]) -> list[str]:
    return [name for part in parts for name in expand_hostlist(part.name)]  # type: ignore[attr-defined]


def count_links(spec: ClusterSpec, link_type: str = "network") -> Counter[Endpoints]:
    """How many links there are between each two ends."""
    counts: Counter[Endpoints] = Counter()
    for link in spec.links:
        if link.kind == link_type:
            for low in expand_hostlist(link.ends[0]):
                for up in expand_hostlist(link.ends[1]):
                    counts[low.split(":")[0], up] += link.link_count
    return counts


def count_links_by_rate(spec: ClusterSpec, link_type: str = "network") -> Counter[float]:
    """How many links there are of each bandwidth, in Gb/s."""
    counts: Counter[float] = Counter()
    for link in spec.links:
        if link.kind == link_type:
            rate = round(parse_figure(link.bandwidth, "bytes_per_s", origin="", key="") / GBPS, 6)
            counts[rate] += link.link_count * len(expand_hostlist(link.ends[0])) * len(expand_hostlist(link.ends[1]))
    return counts


def check_endpoints(spec: ClusterSpec) -> None:
    """Every end of a link is a host or a switch, and every host has a link."""
    hosts, switches = set(list_names(spec.hosts)), set(list_names(spec.switches))
    assert not hosts & switches
    endpoints = {end for pair in count_links(spec) | count_links(spec, "scale-up") for end in pair}
    assert endpoints == hosts | switches


@pytest.mark.parametrize(
    ("name", "given", "topology", "devices", "inside_gb_s", "nics", "nic_gbps"),
    [
        ("topo-dgx-1.txt", {"node": "dgx-v100"}, "hybrid-cube-mesh", 8, 150, 4, 100),
        ("topo-a100.txt", {"node": "dgx-a100"}, "nvswitch", 8, 300, 8, 200),
        ("topo-h100.txt", {"node": "dgx-h100"}, "nvswitch", 8, 450, 8, 400),
        (
            "topo-h200-nics.txt",
            {"accelerator": "h200-sxm", "nic_link_bytes_per_s": 400 * GBPS},
            "nvswitch",
            8,
            450,
            8,
            400,
        ),
        ("topo-p40.txt", {"accelerator": "l40s", "nic_link_bytes_per_s": 100 * GBPS}, "pcie", 8, 32, 1, 100),
        ("topo-phb-pair.txt", {"accelerator": "rtx-4090", "node_bytes_per_s": 25e9}, "pcie", 2, 25, 0, 0),
        ("nccl-mi300x.xml", {}, "fully-connected", 8, 448, 8, 400),
        ("nccl-h200.xml", {}, "nvswitch", 3, 450, 3, 400),
        ("nccl-h200-vm.xml", {}, "nvswitch", 1, 450, 1, 400),
        ("nccl-ncv4.xml", {}, "pcie", 4, 32, 1, 100),
        ("nccl-ndv5.xml", {"node": "dgx-h100"}, "nvswitch", 8, 450, 8, 400),
        ("nccl-p4d.xml", {"node": "dgx-a100"}, "nvswitch", 8, 300, 4, 200),
    ],
)
def test_a_node_is_imported(
    name: str, given: dict[str, object], topology: str, devices: int, inside_gb_s: float, nics: int, nic_gbps: float
) -> None:
    spec, _ = import_fixtures(name, nodes=2 if nics else None, **given)
    node = spec.node
    assert isinstance(node, NodeSpec)
    assert (node.link.topology, node.devices) == (topology, devices)
    assert parse_figure(node.link.bandwidth, "bytes_per_s", origin="", key="") == inside_gb_s * 1e9
    assert (node.nic.count if node.nic else 0) == nics
    if node.nic:
        assert parse_figure(node.nic.bandwidth, "bytes_per_s", origin="", key="") == nic_gbps * GBPS
        assert resolve_cluster(spec, "test.toml").devices == 2 * devices


def test_an_infiniband_fabric_is_imported_link_by_link() -> None:
    spec, _ = import_fixtures("ibnetdiscover-ndr.txt", node="dgx-h100")
    check_endpoints(spec)
    assert list_names(spec.hosts) == [f"a08-p1-dgx-04-c{number:02d}" for number in range(1, 18)]
    leaves = [f"A09-P1-IBLEAF-{number:02d}-04" for number in range(1, 5)]
    assert sorted(list_names(spec.switches))[:4] == leaves
    assert len(list_names(spec.switches)) == 4 + 9
    # the aggregation node of each leaf says that it adds up what passes through it
    assert {name for switch in spec.switches if switch.in_network for name in expand_hostlist(switch.name)} == set(
        leaves
    )
    counts = count_links(spec)
    assert count_links_by_rate(spec) == {400.0: 17 * 4 + 2 * (4 * 9 - 2)}
    # the sample's fabric is not regular: two leaves lack one spine each
    assert counts["A09-P1-IBLEAF-04-04", "A10-P1-IBSPINE-02"] == 2
    assert ("A09-P1-IBLEAF-04-04", "A10-P1-IBSPINE-01") not in counts
    assert ("A09-P1-IBLEAF-02-04", "A10-P1-IBSPINE-04") not in counts
    # HCA-1 and mlx5_0 are one NIC: each host's four lie on four rails
    rails = {
        (end.split(":")[1], link.ends[1])
        for link in spec.links
        for end in expand_hostlist(link.ends[0])
        if ":" in end
    }
    assert rails == set(zip("0123", leaves, strict=True))


def test_a_link_that_came_up_slow_keeps_its_speed() -> None:
    spec, notes = import_fixtures("ibnetdiscover-edr.txt", hosts="gpu*", node="dgx-v100")
    check_endpoints(spec)
    assert list_names(spec.hosts) == [f"gpu{number:03d}" for number in (4, 5, 6, 21, 22, 23, 45)]
    assert count_links_by_rate(spec) == {100.0: 7 + 11, 16.0: 1}
    assert any("2 adapters of other hosts" in note for note in notes)


def test_output_that_lost_its_tabs_is_read() -> None:
    spec, _ = import_fixtures("ibnetdiscover-hdr-director.txt", node="dgx-a100")
    assert count_links_by_rate(spec) == {200.0: 16}
    assert list_names(spec.switches) == ["sat11-0101-0927-20ib0"]


def test_a_list_of_links_is_imported() -> None:
    spec, _ = import_fixtures("links-ndt.csv", node="dgx-a100", nic_link_bytes_per_s=200 * GBPS)
    check_endpoints(spec)
    assert len(list_names(spec.hosts)) == 4
    counts = count_links(spec)
    assert sum(counts.values()) == 72  # lines of the file
    assert counts["SAT111092710053", "SAT11-0101-0927-20IB0"] == 8
    assert counts["SAT11-0101-0927-20IB0", "SAT11-0101-0903-01IB1-A"] == 5
    assert count_links_by_rate(spec) == {200.0: 72}


def test_speeds_of_a_list_are_read_in_megabits() -> None:
    spec, _ = import_fixtures("links-ndt-hdr.csv", hosts="DSM07-0101-0806-01IB0", node="dgx-a100")
    assert count_links_by_rate(spec) == {200.0: 20}


def test_a_tree_of_slurm_is_imported() -> None:
    spec, notes = import_fixtures("slurm-tree.conf", node="dgx-h100")
    check_endpoints(spec)
    assert len(list_names(spec.hosts)) == 2 + 11 + 18
    assert Counter(link.link_count for link in spec.links) == {8: 3, 1: 3}
    assert count_links_by_rate(spec) == {400.0: 31 * 8, 2 * 3200.0: 1, 11 * 3200.0: 1, 18 * 3200.0: 1}
    assert any("undivided" in note for note in notes)


def test_oversubscription_divides_the_bandwidth_of_uplinks() -> None:
    spec, _ = import_fixtures("slurm-tree.conf", node="dgx-h100", oversubscription=2.0)
    assert count_links_by_rate(spec) == {400.0: 31 * 8, 3200.0: 1, 11 * 1600.0: 1, 18 * 1600.0: 1}


def test_switches_that_name_each_other_are_distinguished() -> None:
    spec, _ = import_fixtures("slurm-tree-azure.conf", node="dgx-a100")
    check_endpoints(spec)
    counts = count_links(spec)
    assert len(list_names(spec.switches)) == 49
    tops = {up for _, up in counts} - {low for low, _ in counts}
    assert tops == {"ibsw47"}
    assert len([pair for pair in counts if pair[1] == "ibsw47"]) == 8


def test_blocks_are_nvlink_racks() -> None:
    spec, _ = import_fixtures("slurm-block.conf", node="gb200-nvl72-tray")
    check_endpoints(spec)
    assert list_names(spec.hosts) == [f"hpcbench-hpc-{number}" for number in range(1, 73)]
    assert sorted(Counter(up for _, up in count_links(spec, "scale-up")).values()) == [18] * 4
    assert count_links_by_rate(spec, "scale-up") == {4 * 7200.0: 72}  # four devices, 900 GB/s each
    assert count_links_by_rate(spec) == {400.0: 72 * 4}


def test_blocks_of_nodes_without_rack_links_are_network() -> None:
    spec, notes = import_fixtures("slurm-block.conf", node="dgx-h100")
    assert not count_links(spec, "scale-up")
    assert len(count_links(spec)) == 72 + 4
    assert any("blocks are taken as network switches" in note for note in notes)


def test_states_of_slurm_s_nodes_join_its_topology() -> None:
    spec, notes = import_fixtures("slurm-tree.conf", "slurm-states.txt")
    check_endpoints(spec)
    assert spec.node == "dgx-h100"
    assert {failed.part for failed in spec.failed_parts} == {"a05-p1-dgx-01-c04", "b05-p1-dgx-05-c18"}
    assert {host.name: host.devices for host in spec.hosts if host.devices} == {"a06-p1-dgx-02-c07": 7}
    assert "node dgx-h100 for 8 x H100" in notes


def test_an_unknown_drained_node_is_left_out() -> None:
    spec, notes = import_fixtures("slurm-nodes.txt", hosts="hgpn*,yigou*")
    assert (spec.node, spec.nodes, spec.hosts) == ("dgx-h100", 1, ())
    assert any("yigou-dev-102-68" in note for note in notes)


def test_labels_of_kubernetes_give_racks_and_switches() -> None:
    spec, _ = import_fixtures("kubernetes-nvl72.json")
    check_endpoints(spec)
    assert spec.node == "gb200-nvl72-tray"
    assert len(list_names(spec.hosts)) == 72
    assert set(list_names(spec.switches)) == {
        *(f"nvl-{a}-{b}" for a in (1, 2) for b in (1, 2)),
        *(f"leaf-{a}-{b}" for a in (1, 2) for b in (1, 2)),
        *("spine-1", "spine-2", "core"),
    }
    assert count_links(spec)["leaf-1-1", "spine-1"] == count_links(spec)["spine-1", "core"] == 1
    assert count_links_by_rate(spec) == {400.0: 72 * 4, 18 * 1600.0: 4, 36 * 1600.0: 2}
    assert count_links_by_rate(spec, "scale-up") == {4 * 7200.0: 72}
    assert {failed.part for failed in spec.failed_parts} == {"node1207", "node2118"}


def test_racks_of_two_blocks_may_share_a_name() -> None:
    spec, _ = import_fixtures("kubernetes-kueue.json")
    check_endpoints(spec)
    assert spec.node == "dgx-h100"
    assert len(list_names(spec.switches)) == 4 + 2 + 1
    assert Counter(up for _, up in count_links(spec)) == {
        **{f"block-{b}-rack-{r}": 2 for b in (1, 2) for r in (1, 2)},
        **{"block-1": 2, "block-2": 2, "network": 2},
    }


def test_tpu_slices_are_a_torus_and_the_network_between_them() -> None:
    spec, _ = import_fixtures("kubernetes-tpu.json", nic_link_bytes_per_s=50 * GBPS)
    assert (spec.node, spec.nodes) == ("tpu-v5p-host", 8)
    ici, dcn = spec.fabric
    assert (ici.topology, ici.nodes, ici.shape) == ("torus", 4, (2, 2, 4))
    cluster = resolve_cluster(spec, "test.toml")
    assert [level.devices for level in cluster.levels] == [4, 16, 0]
    assert cluster.levels[1].bandwidth_bytes_per_s == 600e9
    assert cluster.levels[2].bandwidth_bytes_per_s == 50 * GBPS
    assert dcn.nodes is None


def test_a_hostfile_with_whole_nodes_is_a_regular_cluster(tmp_path: Path) -> None:
    description = read_description(
        "a01 slots=8\na02 slots=8\n# a03 slots=8\na04:8\n", "hosts", "auto", HostPatterns()
    )[1]
    draft, _ = complete_cluster_draft(description, ImportDefaults("test", node="dgx-h100"), "Test")
    assert (draft.nodes, draft.hosts) == (3, ())
    machinefile = read_description("a01\n" * 8 + "a02\n" * 8, "hosts", "auto", HostPatterns())[1]
    assert [host.devices for host in machinefile.hosts] == [8, 8]


def test_a_hostfile_with_parts_of_nodes_is_wired() -> None:
    spec, _ = import_fixtures("hostfile-deepspeed.txt", node="dgx-h100")
    check_endpoints(spec)
    assert {host.name: host.devices for host in spec.hosts} == {"worker-[1-2]": 4}
    assert count_links_by_rate(spec) == {400.0: 16}


@pytest.mark.parametrize("name", ["graph-leaf-spine.graphml", "graph-leaf-spine.json"])
def test_a_graph_is_imported(name: str) -> None:
    spec, _ = import_fixtures(name, node="dgx-h100")
    check_endpoints(spec)
    assert list_names(spec.hosts) == [f"gpu{number:02d}" for number in range(1, 9)]
    assert count_links_by_rate(spec) == {400.0: 16, 800.0: 8}
    assert {end.split(":")[1] for link in spec.links for end in expand_hostlist(link.ends[0]) if ":" in end} == {
        "0",
        "1",
    }


def test_a_graph_without_types_or_speeds_takes_them_from_options() -> None:
    spec, _ = import_fixtures(
        "graph-abilene.graphml", hosts="Seattle,Denver,Houston", node="dgx-h100", nic_link_bytes_per_s=10 * GBPS
    )
    assert sorted(list_names(spec.hosts)) == ["Denver", "Houston", "Seattle"]
    assert set(count_links_by_rate(spec)) == {10.0}
    with pytest.raises(InputError, match="the type of a vertex is unknown"):
        import_fixtures("graph-abilene.graphml", node="dgx-h100")
    with pytest.raises(InputError, match="--link-bandwidth"):
        import_fixtures("graph-abilene.graphml", hosts="Seattle,Denver", node="dgx-h100")


def test_wiring_and_the_inside_of_a_node_come_from_two_files() -> None:
    spec, _ = import_fixtures(
        "links-ndt.csv", "topo-a100.txt", accelerator="a100-sxm-80gb", nic_link_bytes_per_s=200 * GBPS
    )
    assert isinstance(spec.node, NodeSpec)
    assert (spec.node.accelerator, spec.node.devices, len(list_names(spec.hosts))) == ("a100-sxm-80gb", 8, 4)


@pytest.mark.parametrize(
    ("names", "given", "message"),
    [
        (("topo-h100.txt",), {}, "--accelerator"),
        (("topo-h200-nics.txt",), {"accelerator": "h200-sxm"}, "--link-bandwidth"),
        (("topo-phb-pair.txt",), {"accelerator": "h100-sxm-80gb"}, "--node-bandwidth"),
        (("topo-h100.txt",), {"accelerator": "h100-sxm"}, "did you mean"),
        (("nccl-ndv5.xml",), {"accelerator": "h100-sxm-80gb"}, "what joins the devices"),
        (("slurm-tree.conf",), {}, "--node with one of .*dgx-a100"),
        (("slurm-nodes.txt",), {}, "4 x a100"),
        (("hostfile-openmpi.txt",), {"node": "dgx-h100"}, "more accelerators than dgx-h100"),
        (("slurm-tree.conf",), {"node": "dgx-h10"}, "did you mean dgx-h100?"),
        (("slurm-tree.conf",), {"node": "dgx-h100", "nodes": 4}, "--nodes"),
        (("slurm-tree.conf",), {"node": "tpu-v4-host"}, "--link-bandwidth"),
        (("links-ndt.csv",), {"node": "dgx-a100"}, "--link-bandwidth"),
        (("links-ndt-hdr.csv",), {"node": "dgx-a100"}, "--hosts"),
        (("kubernetes-tpu.json",), {}, "--link-bandwidth"),
        (("slurm-tree.conf", "slurm-block.conf"), {"node": "dgx-h100"}, "no host with the other files"),
        (("topo-h100.txt", "topo-a100.txt"), {"node": "dgx-h100"}, "a second time"),
    ],
)
def test_missing_facts_are_reported_with_the_option_that_gives_them(
    names: tuple[str, ...], given: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        import_fixtures(*names, **given)


@pytest.mark.parametrize(
    ("names", "given", "hosts"),
    [
        (("ibnetdiscover-ndr.txt",), {"node": "dgx-h100"}, 17),
        (("links-ndt.csv",), {"node": "dgx-a100", "nic_link_bytes_per_s": 200 * GBPS}, 4),
        (("slurm-tree.conf", "slurm-states.txt"), {}, 31),
        (("slurm-tree-azure.conf",), {"node": "dgx-a100"}, 0),
        (("slurm-block.conf",), {"node": "gb200-nvl72-tray"}, 72),
        (("kubernetes-nvl72.json",), {}, 72),
        (("kubernetes-kueue.json",), {}, 8),
        (("hostfile-deepspeed.txt",), {"node": "dgx-h100"}, 2),
        (("graph-leaf-spine.json",), {"node": "dgx-h100"}, 8),
    ],
)
def test_imported_clusters_are_wired(names: tuple[str, ...], given: dict[str, object], hosts: int) -> None:
    spec, _ = import_fixtures(*names, **given)
    wiring, _ = resolve_wiring(spec)
    assert len(wiring.hosts) == (hosts or len(list_names(spec.hosts)))
    assert (wiring.bandwidth_bytes_per_s > 0).all()


def test_the_tables_lead_to_accelerators_that_are_there() -> None:
    known = set(database.list_database_names("accelerators"))
    tables = read_foreign_names()
    assert {*tables.labels.values(), *tables.pci_ids.values(), *tables.rack_scale} <= known
    assert all(fold_label(name) == name for name in tables.labels)


@pytest.mark.parametrize(
    ("name", "links"),
    [
        ("p100-sxm2-16gb", 4),
        ("v100-sxm2-32gb", 6),
        ("a100-sxm-80gb", 12),
        ("h200-sxm", 18),
        ("gb200", 18),
        ("mi300x", 7),
    ],
)
def test_all_links_of_a_part_together_are_its_own_bandwidth(name: str, links: int) -> None:
    spec = database.load_accelerator_spec(name)
    assert spec.link is not None
    own = parse_figure(spec.link.bandwidth, "bytes_per_s", origin="", key="")
    assert read_foreign_names().link_bandwidth[spec.architecture].value * links == own
