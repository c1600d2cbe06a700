"""`planner topology`: its forms and files, for every preset and for clusters of one's own."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import jsonschema
import networkx as nx
import pytest

from planner.cluster import database
from tests.cli.run import call

TREE = """\
DGX H100 SuperPOD, InfiniBand NDR
128 nodes x 8 NVIDIA H100 SXM5 80 GB = 1,024 devices

spine: fat-tree, 16 switches, 50.0 GB/s a device, 16.0 us
`-- 4 x leaf: rail, 8 switches, 50.0 GB/s a device, 15.0 us
    `-- 32 x node: nvswitch, 450 GB/s a device, 3.40 us
        `-- 8 x NVIDIA H100 SXM5 80 GB

Bisection  25.6 TB/s each way, 50.0 GB/s a device, 100% of injection
Diameter   4 hops, 16.0 us at worst
Parts      48 switches, 1,536 links between nodes and switches
Names      node-0 to node-127, leaf-0 to leaf-31, spine-0 to spine-15
"""


def document(*arguments: str) -> dict[str, object]:
    done = call("planner", "topology", *arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_a_fabric_is_drawn_as_a_tree() -> None:
    assert call("planner", "topology", "dgx-h100", "--nodes", "128").stdout.startswith(TREE)


@pytest.mark.parametrize("name", database.names("clusters"))
def test_every_preset_is_told_and_drawn(name: str, tmp_path: Path) -> None:
    picture = tmp_path / "fabric.svg"
    found = document(name, "-o", str(picture))
    schema = json.loads(call("planner", "schema", "topology").stdout)
    jsonschema.validate(found, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**found, "extra": 1}, schema)
    shapes = list(ElementTree.fromstring(picture.read_text("utf-8")).iter())
    assert 10 < len(shapes) < 1000


@pytest.mark.parametrize(("name", "published"), [("tpu-v5e", 1.6e12), ("tpu-v6e", 3.2e12)])
def test_pods_have_the_bisection_that_is_published(name: str, published: float) -> None:
    # Google Cloud documentation, TPU v5e and TPU v6e: bisection bandwidth per Pod
    middle = document(name)["bisection"]
    assert isinstance(middle, dict)
    assert middle["bytes_per_s"] == pytest.approx(published)


def test_a_mesh_gives_small_groups_what_was_measured() -> None:
    # stas00/ml-engineering, network/README.md: all-reduce of 4 GB on MI300X, 48 GB/s over two devices and 313 over
    # eight: 6.6 times as much, of 7 links against one
    groups = document("mi300x", "--nodes", "1")["groups"]
    assert isinstance(groups, list)
    rate = {one["ranks"]: one["bandwidth_bytes_per_s"] for one in groups if one["group"] == "tp"}
    assert rate[8] / rate[2] == pytest.approx(312.912 / 47.671, rel=0.1)


def test_the_graph_is_written_with_every_device(tmp_path: Path) -> None:
    file, dot = tmp_path / "fabric.graphml", tmp_path / "fabric.dot"
    done = call("planner", "topology", "gb200-nvl72", "--nodes", "36", "-o", str(file), "-o", str(dot))
    assert (done.returncode, done.stderr) == (0, "")
    graph = nx.read_graphml(file)
    assert sum(told["kind"] == "device" for _, told in graph.nodes(data=True)) == 144
    edges = re.findall(r'^  "[^"]+" -- "[^"]+" \[label="[0-9.e+]+"\];$', dot.read_text(), re.MULTILINE)
    assert len(edges) == graph.number_of_edges()


def test_of_a_large_cluster_one_part_of_each_kind_is_written(tmp_path: Path) -> None:
    file = tmp_path / "fabric.graphml"
    done = call("planner", "topology", "dgx-h100", "--nodes", "1024", "-o", str(file), "--format", "json")
    assert "4,096 devices" in done.stderr
    assert json.loads(done.stdout)["cluster"]["devices"] == 8192
    assert len(nx.read_graphml(file)) < 20


def test_a_cluster_too_large_to_be_written_out_is_drawn_level_by_level(tmp_path: Path) -> None:
    file = tmp_path / "fabric.svg"
    found = document("dgx-h100", "--nodes", "100000", "-o", str(file))
    assert found["switches"] is None
    assert found["names"] == []
    assert "x spine" in file.read_text("utf-8")


def test_a_page_stands_alone(tmp_path: Path) -> None:
    file = tmp_path / "fabric.html"
    assert call("planner", "topology", "jupiter", "-o", str(file)).returncode == 0
    text = file.read_text("utf-8")
    loads = re.findall(r"""(?:src|href|url|@import)\s*[=(]""", text)
    assert not loads
    assert text.count("<svg") == text.count("</svg>") == 1
    assert 'name="viewport"' in text


NASTY = """
name = "nasty"
title = '<script>alert("x")</script> & co'
nodes = 2
node = "mi300x-oam8"
"""
WIRED = """
name = "wired"
node = "dgx-h100"
[[hosts]]
name = "n[1-4]"
[[switches]]
name = "east"
[[switches]]
name = "west"
[[links]]
ends = ["n[1-2]", "east"]
bandwidth = "400Gb/s"
cables = 8
[[links]]
ends = ["n[3-4]", "west"]
bandwidth = "400Gb/s"
cables = 8
[[links]]
ends = ["east", "west"]
bandwidth = "400Gb/s"
cables = 4
"""


def test_names_of_a_file_are_text_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "nasty.toml").write_text(NASTY)
    files = [tmp_path / f"fabric{ending}" for ending in (".svg", ".html", ".dot", ".graphml")]
    options = [part for file in files for part in ("-o", str(file))]
    assert call("planner", "topology", str(tmp_path / "nasty.toml"), *options).returncode == 0
    assert not any("<script>" in file.read_text("utf-8") for file in files)


def test_a_wired_cluster_is_measured_over_its_links(tmp_path: Path) -> None:
    file = tmp_path / "wired.toml"
    file.write_text(WIRED)
    found = document(str(file), "-o", str(tmp_path / "wired.svg"))
    assert found["bisection"] == {
        "bytes_per_s": pytest.approx(4 * 50e9),
        "bytes_per_s_per_device": pytest.approx(4 * 50e9 / 16),
        "share": pytest.approx(4 / 16),
        "exact": True,
    }
    assert found["diameter_hops"] == 3
    assert [one["first"] for one in found["names"]] == ["n1", "east", "west"]  # type: ignore[index, attr-defined]
    assert "east" in (tmp_path / "wired.svg").read_text()


def test_a_fault_takes_bandwidth_off() -> None:
    whole, faulty = (document("dgx-h100", "--nodes", "2", *more) for more in ((), ("--fault", "node-1:3")))
    assert faulty["bisection"]["bytes_per_s"] == pytest.approx(7 / 8 * whole["bisection"]["bytes_per_s"])  # type: ignore[index]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("dgx-h100", "-o", "fabric.png"), "unknown file format"),
        (("dgx-h100", "-o", "no/such/folder/fabric.svg"), "cannot be written"),
        (("dgx-h10",), "did you mean dgx-h100?"),
        (("dgx-h100", "--nodes", "2", "--devices", "16"), "give one of the two"),
    ],
)
def test_what_is_wrong_is_told(arguments: tuple[str, ...], told: str) -> None:
    done = call("planner", "topology", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stdout == ""


def test_what_faults_took_is_not_counted() -> None:
    whole = document("dgx-h100", "--nodes", "64")
    found = document("dgx-h100", "--nodes", "64", "--fault", "leaf-0", "--fault", "node-3", "--fault", "node-40:2")
    assert found["cluster"]["nodes"] == 63
    assert found["switches"] == whole["switches"] - 1
    # a leaf's 32 nodes and 8 cables up, a node's other seven cards, a card
    spines = whole["levels"][2]["switches"]
    assert found["links"] == whole["links"] - 32 - spines - 7 - 1
    leaf = found["levels"][1]
    assert (leaf["parts"], leaf["switches"], leaf["devices"]) == (2, whole["levels"][1]["switches"] - 1, 256)
    assert "leaf-1" in [one["first"] for one in found["names"]]


def test_a_missing_card_makes_no_second_leaf_and_a_longer_way() -> None:
    found = document("dgx-h100", "--nodes", "4", "--fault", "node-3:2")
    assert [(level["name"], level["parts"]) for level in found["levels"]] == [("node", 4), ("leaf", 1)]
    # from the device without a card over another one, to a device on the rail that it lacks
    assert (document("dgx-h100", "--nodes", "4")["diameter_hops"], found["diameter_hops"]) == (4, 6)


def test_a_torus_with_a_hole_keeps_its_shape() -> None:
    found = document("tpu-v5p", "--nodes", "16", "--fault", "node-5")
    assert found["levels"][1]["shape"] == [4, 4, 4]
    assert found["levels"][1]["latency_s"] == document("tpu-v5p", "--nodes", "16")["levels"][1]["latency_s"]
    assert found["bisection"]["exact"]
