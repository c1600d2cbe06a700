"""What importers make of a word that samples of real clusters do not have: taken, noted, or refused by its name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from planner.cluster.importers.cluster_file import ClusterDraft
from planner.cluster.importers.complete_draft import complete_cluster_draft
from planner.cluster.importers.detect_format import read_description
from planner.cluster.importers.imported_cluster import HostPatterns, merge_descriptions
from planner.cluster.importers.node_types import ImportDefaults
from planner.errors import InputError
from tests.cluster.test_importers import FIXTURES

H100 = {"node": "dgx-h100"}


def import_texts(*texts: str, hosts: str = "", **given: Any) -> tuple[ClusterDraft, str]:
    """The cluster of some texts, and its notes."""
    patterns = HostPatterns((hosts,) if hosts else ())
    descriptions = [
        (f"file-{number}", read_description(text, f"file-{number}", "auto", patterns)[1])
        for number, text in enumerate(texts)
    ]
    draft, notes = complete_cluster_draft(
        merge_descriptions(descriptions), ImportDefaults(name="test", **given), "Test"
    )
    return draft, "\n".join(notes)


def build_graph_text(*edges: dict[str, Any], nodes: list[Any] | None = None) -> str:
    """Two hosts at a leaf, with further edges."""
    vertices: list[Any] = [{"id": f"h{n}", "kind": "host", "devices": 8} for n in (1, 2)]
    vertices.append({"id": "leaf", "kind": "switch"})
    return json.dumps({"nodes": vertices if nodes is None else nodes, "links": [*edges]})


def build_edge(host: str, **figures: Any) -> dict[str, Any]:
    return {"source": host, "target": "leaf", **figures}


def build_nccl_text(*cpus: str) -> str:
    return f'<system version="1">{"".join(cpus)}</system>'


def build_cpu_text(gpus: int, host: int = 0, net: str = "") -> str:
    inside = "".join(
        f'<pci busid="{n}" class="0x030200" vendor="0x10de" device="0x2330" link_speed="32.0 GT/s PCIe" '
        f'link_width="16"><gpu dev="{n}"/></pci>'
        for n in range(gpus)
    )
    return f'<cpu host_hash="{host}">{inside}{net}</cpu>'


def build_kubernetes_text(*names: str, **labels: str) -> str:
    all_labels = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.count": "8", **labels}
    return json.dumps(
        {
            "apiVersion": "v1",
            "items": [{"kind": "Node", "metadata": {"name": n, "labels": all_labels}} for n in names],
        }
    )


SLURM = "NodeName=n[1-2] Gres=gpu:h100:8 State={state}\n"
REFUSED: list[tuple[tuple[str, ...], dict[str, Any], str]] = [
    ((build_graph_text(nodes=[{"id": "s", "kind": "switch"}]),), {}, "no vertex is a host"),
    ((build_graph_text(nodes=[3]),), {}, "has a vertex without an id"),
    ((build_graph_text(nodes=[]),), {}, "has no vertices"),
    ((build_graph_text(build_edge("h1", type="usb")),), {}, "unknown kind of link"),
    ((build_graph_text(build_edge("h1", cables="many")),), {}, "not a count"),
    ((build_graph_text(build_edge("h1", cables=10**8)),), {}, "not a count"),
    ((build_graph_text(build_edge("h1", bandwidth_gbps="fast")),), {}, "bandwidth of h1 - leaf"),
    ((build_graph_text(nodes=[{"id": "h", "kind": "host", "devices": 0}]),), {}, "no host has accelerators"),
    ((SLURM.format(state="DOWN"),), H100, "every host is unavailable"),
    ((SLURM.format(state="IDLE"),), {**H100, "nodes": 3}, "lists another number of hosts"),
    (("SwitchName=s1 Nodes=n[1-2]\n",), {**H100, "nodes": 2}, "the description lists the hosts"),
    ((f"SwitchName=s1 Nodes=n[1-{10**6}]\n",), {}, "too many"),
    ((build_nccl_text(build_cpu_text(2, 1), build_cpu_text(4, 2)),), {}, "the hosts differ"),
    ((build_nccl_text(build_cpu_text(0)),), {}, "no GPU is described"),
    ((build_nccl_text(build_cpu_text(5000)),), {}, "too many GPUs"),
    ((json.dumps({"apiVersion": "v1", "items": 3}),), {}, "contains no list of nodes"),
    ((build_kubernetes_text(),), {}, "no node has accelerators"),
    ((build_kubernetes_text(""),), {}, "a node has no name"),
    (
        (
            "SwitchName=s Nodes=a,b\n",
            build_graph_text(nodes=[{"id": "a", "kind": "host"}, {"id": "b", "kind": "switch"}]),
        ),
        H100,
        "a host and a switch have the same name",
    ),
]


@pytest.mark.parametrize(("texts", "given", "message"), REFUSED)
def test_impossible_descriptions_are_refused(texts: tuple[str, ...], given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        import_texts(*texts, **given)
    assert message in str(caught.value)


def test_patterns_that_match_no_adapter_are_reported() -> None:
    with pytest.raises(InputError, match="no adapter names a host"):
        import_texts((FIXTURES / "ibnetdiscover-ndr.txt").read_text(), hosts="nobody*", node="dgx-h100")


def test_hosts_without_a_link_are_reported() -> None:
    nodes = [{"id": "h", "kind": "host", "devices": 8}, *({"id": name, "kind": "switch"} for name in "ab")]
    with pytest.raises(InputError, match="no link leads to a host"):
        import_texts(build_graph_text({"source": "a", "target": "b", "bandwidth": "400Gb/s"}, nodes=nodes), **H100)


@pytest.mark.parametrize(
    ("figures", "bytes_per_s"),
    [
        ({"bandwidth": "50GB/s"}, 50e9),
        ({"bandwidth_gbps": "400"}, 50e9),
        ({"LinkSpeedRaw": "400000000000"}, 50e9),
        ({"speed": "NDR", "width": "4x"}, 50e9),
        ({"speed": "4xHDR"}, 25e9),
        ({}, 50e9),  # as the node's NICs
    ],
)
def test_a_bandwidth_is_read_under_every_name(figures: dict[str, str], bytes_per_s: float) -> None:
    draft, _ = import_texts(build_graph_text(build_edge("h1", **figures), build_edge("h2", **figures)), **H100)
    assert {link.bandwidth_bytes_per_s for link in draft.links} == {bytes_per_s}


def test_links_of_nvlink_have_its_bandwidth() -> None:
    nodes = [{"id": f"h{n}", "kind": "host", "devices": 4} for n in (1, 2)] + [{"id": "leaf", "kind": "switch"}]
    draft, _ = import_texts(
        build_graph_text(build_edge("h1", kind="NVLink"), build_edge("h2", kind="scale_up"), nodes=nodes),
        node="gb200-nvl72-tray",
    )
    assert {(link.scale_up, link.bandwidth_bytes_per_s) for link in draft.links} == {(True, 900e9), (False, 50e9)}


def test_equal_hosts_of_a_dump_are_a_single_node_type() -> None:
    draft, notes = import_texts(build_nccl_text(build_cpu_text(8, 1), build_cpu_text(8, 2)), node_bytes_per_s=32e9)
    assert "has 2 equal hosts: the first was read" in notes
    assert draft.nodes == 1


def test_nics_without_a_speed_are_counted() -> None:
    net = '<net name="mlx5_0"/><net name="mlx5_1" speed="0"/>'
    draft, _ = import_texts(
        build_nccl_text(build_cpu_text(8, net=net)), node_bytes_per_s=32e9, nic_link_bytes_per_s=50e9
    )
    assert draft.node.nic_count == 2  # type: ignore[union-attr]


def test_hosts_without_accelerators_are_left_out() -> None:
    _, notes = import_texts("NodeName=n[1-2] Gres=gpu:h100:8\nNodeName=login Gres=gpu:h100:0\n", **H100)
    assert "left out: 1 host without accelerators" in notes


def test_speeds_without_a_unit_are_left_out() -> None:
    _, notes = import_texts("SwitchName=s1 Nodes=n[1-2] LinkSpeed=100\n", **H100)
    assert "LinkSpeed has no unit in Slurm" in notes


def test_hosts_of_two_node_types_are_distinguished() -> None:
    text = "SwitchName=s Nodes=a,b\nNodeName=a Gres=gpu:h100:8\nNodeName=b Gres=gpu:a100:8\n"
    _, notes = import_texts(text)
    assert "hosts have several node types (dgx-" in notes


def test_nics_are_shared_by_the_switches_above() -> None:
    draft, _ = import_texts(
        "SwitchName=s1 Nodes=n[1-2]\nSwitchName=s2 Nodes=n[1-2]\nSwitchName=t Switches=s[1-2]\n", **H100
    )
    assert {(link.bandwidth_bytes_per_s, link.link_count) for link in draft.links if link.lower[0] == "n"} == {
        (50e9, 4)
    }


def test_switches_without_hosts_have_no_uplinks() -> None:
    text = "SwitchName=leaf Nodes=n[1-2]\nSwitchName=low Switches=high\nSwitchName=top Switches=leaf,low,high\n"
    draft, _ = import_texts(text.replace("Switches=high", "Switches=lowest,high"), **H100)
    assert {link.lower for link in draft.links} == {"n1", "n2", "leaf"}


def test_places_of_kubernetes_are_reported() -> None:
    places = {"network.topology.nvidia.com/leaf": "l1", "network.topology.nvidia.com/spine": "s1"}
    draft, notes = import_texts(build_kubernetes_text("a", "b", **places))
    assert "the network's levels are those of network.topology.nvidia.com/" in notes
    assert {link.lower for link in draft.links} >= {"a", "b"}


def test_nvlink_between_only_a_part_of_the_devices_is_ignored() -> None:
    rows = ["GPU0 X NV4 SYS SYS", "GPU1 NV4 X SYS SYS", "GPU2 SYS SYS X NV4", "GPU3 SYS SYS NV4 X"]
    text = "\n".join(["\tGPU0\tGPU1\tGPU2\tGPU3", *("\t".join(row.split()) for row in rows)]) + "\n"
    draft, notes = import_texts(text, accelerator="a100-pcie-80gb", node_bytes_per_s=32e9)
    assert "NVLink joins only some of the devices" in notes
    assert draft.node.topology == "pcie"  # type: ignore[union-attr]


def test_endpoints_of_a_list_are_known_by_their_type() -> None:
    text = (
        "Source Name,Source Port,Source Type,Target Name,Target Port,Target Type,Speed,Width\n"
        "a,1,HCA,s,1,Switch,NDR,4x\nb,1,HCA,s,2,Switch,NDR,4x\n"
    )
    draft, _ = import_texts(text, **H100)
    assert {(link.lower, link.upper, link.bandwidth_bytes_per_s) for link in draft.links} == {
        ("a", "s", 50e9),
        ("b", "s", 50e9),
    }
