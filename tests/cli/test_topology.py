"""`planner topology`: its forms and files, for every preset and for clusters of a user's file."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import jsonschema
import networkx as nx
import pytest

from planner.hardware import database
from tests.cli.run import call
from tests.sample import mark_full
from tests.schemas import validate_document

TREE = """\
DGX H100 SuperPOD, InfiniBand NDR
Devices    128 nodes x 8 NVIDIA H100 SXM5 80 GB = 1,024 devices
Bisection  25.6 TB/s each way, 50.0 GB/s a device, 100% of injection
Diameter   4 hops, 16.0 us at worst
Parts      48 switches, 1,536 links between nodes and switches
Names      node-0 to node-127, leaf-0 to leaf-31, spine-0 to spine-15

Levels, from the outermost
level  parts  each of    topology, bandwidth, latency
───────────────────────────────────────────────────────────────────────────
spine      1  4 x leaf   fat-tree, 16 switches, 50.0 GB/s a device, 16.0 us
leaf       4  32 x node  rail, 8 switches, 50.0 GB/s a device, 15.0 us
node     128  8 devices  nvswitch, 450 GB/s a device, 3.40 us
"""


def read_document(*arguments: str) -> dict[str, object]:
    done = call("planner", "topology", *arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


def test_a_fabric_is_described_level_by_level() -> None:
    assert call("planner", "topology", "dgx-h100", "--nodes", "128").stdout.startswith(TREE)


@pytest.mark.parametrize("name", mark_full(database.list_database_names("clusters"), every=3))
def test_every_preset_is_reported_and_drawn(name: str, tmp_path: Path) -> None:
    picture = tmp_path / "fabric.svg"
    result = read_document(name, "-o", str(picture))
    schema = json.loads(call("planner", "schema", "topology").stdout)
    validate_document(result, schema)
    with pytest.raises(jsonschema.ValidationError):
        validate_document({**result, "extra": 1}, schema)
    shapes = list(ElementTree.fromstring(picture.read_text("utf-8")).iter())
    assert 10 < len(shapes) < 1000


@pytest.mark.parametrize(("name", "published"), [("tpu-v5e", 1.6e12), ("tpu-v6e", 3.2e12)])
def test_pods_have_the_bisection_that_is_published(name: str, published: float) -> None:
    # Google Cloud documentation, TPU v5e and TPU v6e: bisection bandwidth per Pod
    middle = read_document(name)["bisection"]
    assert isinstance(middle, dict)
    assert middle["bytes_per_s"] == pytest.approx(published)


def test_a_mesh_gives_small_groups_the_measured_bandwidth() -> None:
    # stas00/ml-engineering, network/README.md: all-reduce of 4 GB on MI300X, 48 GB/s over two devices and 313 over
    # eight: 6.6 times as much, of 7 links against 1
    groups = read_document("mi300x", "--nodes", "1")["groups"]
    assert isinstance(groups, list)
    rate = {row["ranks"]: row["bandwidth_bytes_per_s"] for row in groups if row["group"] == "tp"}
    assert rate[8] / rate[2] == pytest.approx(312.912 / 47.671, rel=0.1)


def test_the_graph_is_written_with_every_device(tmp_path: Path) -> None:
    file, dot = tmp_path / "fabric.graphml", tmp_path / "fabric.dot"
    done = call("planner", "topology", "gb200-nvl72", "--nodes", "36", "-o", str(file), "-o", str(dot))
    assert (done.returncode, done.stderr) == (0, "")
    graph = nx.read_graphml(file)
    assert sum(vertex["kind"] == "device" for _, vertex in graph.nodes(data=True)) == 144
    edges = re.findall(r'^  "[^"]+" -- "[^"]+" \[label="[0-9.e+]+"\];$', dot.read_text(), re.MULTILINE)
    assert len(edges) == graph.number_of_edges()


def test_of_a_large_cluster_a_single_part_of_each_level_is_written(tmp_path: Path) -> None:
    file = tmp_path / "fabric.graphml"
    done = call("planner", "topology", "dgx-h100", "--nodes", "1024", "-o", str(file), "--format", "json")
    assert "4,096 devices" in done.stderr
    assert json.loads(done.stdout)["cluster"]["devices"] == 8192
    assert len(nx.read_graphml(file)) < 20


def test_a_cluster_too_large_to_be_written_out_is_drawn_level_by_level(tmp_path: Path) -> None:
    file = tmp_path / "fabric.svg"
    result = read_document("dgx-h100", "--nodes", "100000", "-o", str(file))
    assert result["switches"] is None
    assert result["names"] == []
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


def test_names_of_a_file_are_only_text(tmp_path: Path) -> None:
    (tmp_path / "nasty.toml").write_text(NASTY)
    files = [tmp_path / f"fabric{ending}" for ending in (".svg", ".html", ".dot", ".graphml")]
    options = [part for file in files for part in ("-o", str(file))]
    assert call("planner", "topology", str(tmp_path / "nasty.toml"), *options).returncode == 0
    assert not any("<script>" in file.read_text("utf-8") for file in files)


def test_a_wired_cluster_is_measured_over_its_links(tmp_path: Path) -> None:
    file = tmp_path / "wired.toml"
    file.write_text(WIRED)
    result = read_document(str(file), "-o", str(tmp_path / "wired.svg"))
    assert result["bisection"] == {
        "bytes_per_s": pytest.approx(4 * 50e9),
        "bytes_per_s_per_device": pytest.approx(4 * 50e9 / 16),
        "share": pytest.approx(4 / 16),
        "exact": False,
    }
    assert result["diameter_hops"] == 3
    assert [range_["first"] for range_ in result["names"]] == ["n1", "east", "west"]  # type: ignore[index, attr-defined]
    assert "east" in (tmp_path / "wired.svg").read_text()


def test_a_failed_part_reduces_bandwidth() -> None:
    whole, degraded = (read_document("dgx-h100", "--nodes", "2", *more) for more in ((), ("--fault", "node-1:3")))
    assert degraded["bisection"]["bytes_per_s"] == pytest.approx(7 / 8 * whole["bisection"]["bytes_per_s"])  # type: ignore[index]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dgx-h100", "-o", "fabric.png"), "unknown file format"),
        (("dgx-h100", "-o", "no/such/folder/fabric.svg"), "cannot be written"),
        (("dgx-h10",), "did you mean dgx-h100?"),
        (("dgx-h100", "--nodes", "2", "--devices", "16"), "conflicting options"),
    ],
)
def test_wrong_arguments_are_reported(arguments: tuple[str, ...], message: str) -> None:
    done = call("planner", "topology", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_failed_parts_are_not_counted() -> None:
    whole = read_document("dgx-h100", "--nodes", "64")
    result = read_document(
        "dgx-h100", "--nodes", "64", "--fault", "leaf-0", "--fault", "node-3", "--fault", "node-40:2"
    )
    assert result["cluster"]["nodes"] == 63
    assert result["switches"] == whole["switches"] - 1
    # a leaf's 32 nodes and 8 uplinks, a node's other seven NICs, a NIC
    spines = whole["levels"][2]["switches"]
    assert result["links"] == whole["links"] - 32 - spines - 7 - 1
    leaf = result["levels"][1]
    assert (leaf["parts"], leaf["switches"], leaf["devices"]) == (2, whole["levels"][1]["switches"] - 1, 256)
    assert "leaf-1" in [range_["first"] for range_ in result["names"]]


def test_a_missing_nic_makes_no_second_leaf_and_a_longer_path() -> None:
    result = read_document("dgx-h100", "--nodes", "4", "--fault", "node-3:2")
    assert [(level["name"], level["parts"]) for level in result["levels"]] == [("node", 4), ("leaf", 1)]
    # from the device without a NIC over another device, to a device on the rail that it lacks
    assert (read_document("dgx-h100", "--nodes", "4")["diameter_hops"], result["diameter_hops"]) == (4, 6)


def test_a_torus_with_a_hole_keeps_its_shape() -> None:
    result = read_document("tpu-v5p", "--nodes", "16", "--fault", "node-5")
    assert result["levels"][1]["shape"] == [4, 4, 4]
    assert result["levels"][1]["latency_s"] == read_document("tpu-v5p", "--nodes", "16")["levels"][1]["latency_s"]
    assert not result["bisection"]["exact"]


FIVE = """
name = "five"
title = "Five hosts, one of them on a leaf of its own that a thin link joins with the others, and a spine"
node = "dgx-h100"
[[hosts]]
name = "a[01-05]"
[[switches]]
name = "leafswitch-of-row-[1-2],spine,spare"
[[links]]
ends = ["a[01-04]", "leafswitch-of-row-1"]
bandwidth = "400Gb/s"
cables = 8
[[links]]
ends = ["a05", "leafswitch-of-row-2"]
bandwidth = "400Gb/s"
cables = 8
[[links]]
ends = ["leafswitch-of-row-[1-2]", "spine"]
bandwidth = "400Gb/s"
cables = 2
[[links]]
ends = ["spine", "spare"]
bandwidth = "400Gb/s"
"""


def test_an_uneven_cluster_is_reported_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "five.toml"
    file.write_text(FIVE)
    result = read_document(str(file))
    # a05 and another of the four: its eight NICs, and the two links between the leaves
    assert result["bisection"]["bytes_per_s"] == pytest.approx((8 + 2) * 50e9)  # type: ignore[index]
    # no host is behind the spare switch
    assert (result["switches"], result["links"], result["diameter_hops"]) == (3, 5 * 8 + 2, 4)
    inside = [
        (level["name"], level["fewest_inside"], level["most_inside"], level["parts"]) for level in result["levels"]
    ]  # type: ignore[attr-defined]
    assert inside == [("node", 8, 8, 5), ("leaf", 1, 4, 2), ("fabric", 2, 2, 1)]
    # two links of 50 GB/s for the four hosts of the larger leaf
    assert result["levels"][-1]["bandwidth_bytes_per_s"] == pytest.approx(2 * 50e9 / 32)  # type: ignore[index]
    text = call("planner", "topology", str(file)).stdout
    assert re.search(r"^fabric +1  2 x leaf ", text, re.MULTILINE)
    assert re.search(r"^leaf +2  1 to 4 x node  fat-tree, 1 switch, 50.0 GB/s a device", text, re.MULTILINE)


def test_uneven_leaves_of_a_regular_cluster_are_reported() -> None:
    assert "1 to 32 x node" in call("planner", "topology", "dgx-h100", "--nodes", "33").stdout


def test_names_of_failed_parts_are_not_reported() -> None:
    result = read_document("dgx-h100", "--nodes", "40", "--fault", "node-[3,20]", "--fault", "leaf-2")
    ranges = [(range_["first"], range_["last"], range_["count"]) for range_ in result["names"]]  # type: ignore[attr-defined]
    assert ranges[:3] == [("node-0", "node-2", 3), ("node-4", "node-19", 16), ("node-21", "node-39", 19)]
    assert ranges[3:] == [("leaf-0", "leaf-1", 2), ("leaf-3", "leaf-15", 13), ("spine-0", "spine-7", 8)]


@pytest.mark.parametrize("part", ["leaf-0", "node-3:7"])
def test_hints_name_the_parts_of_a_rack(part: str) -> None:
    done = call("planner", "topology", "gb200-nvl72", "--fault", part)
    assert done.returncode == 2
    assert "a host (node-3), a switch (nvl72-0) or a link (node-3 - nvl72-0)" in done.stderr


def test_a_failed_part_without_effect_is_refused() -> None:
    done = call("planner", "topology", "dgx-h100", "--nodes", "1", "--fault", "node-0=0.5")
    assert done.returncode == 2
    assert "has no links" in done.stderr


def test_a_share_just_below_100_percent_is_not_rounded_up() -> None:
    # a NIC of 256 on either side has half its rate: a five-hundredth less
    text = call("planner", "topology", "dgx-h100", "--nodes", "64", "--fault", "node-3:1=0.5").stdout
    assert "99.8% of injection" in text


def test_a_drawing_fits_its_width(tmp_path: Path) -> None:
    file, picture = tmp_path / "five.toml", tmp_path / "fabric.svg"
    file.write_text(FIVE)
    assert call("planner", "topology", str(file), "-o", str(picture)).returncode == 0
    texts = [text for text in ElementTree.fromstring(picture.read_text("utf-8")).iter() if text.tag.endswith("text")]
    assert {"leafswit.1", "leafswit.2"} <= {text.text for text in texts}
    for text in texts:
        length = 6.6 * len(text.text or "")
        start = float(text.get("x", "0")) - (length / 2 if "middle" in (text.get("class") or "") else 0)
        assert start >= 0
        assert start + length <= 420


def test_failed_devices_of_a_torus_are_drawn_empty(tmp_path: Path) -> None:
    pictures = [tmp_path / "whole.svg", tmp_path / "holed.svg"]
    for picture, options in zip(pictures, ((), ("--fault", "node-0")), strict=True):
        assert call("planner", "topology", "tpu-v4", *options, "-o", str(picture)).returncode == 0
    whole, holed = (picture.read_text("utf-8") for picture in pictures)
    assert whole.count(", gone") == 0
    # a node is a block of 2 x 2 devices of the plane that is drawn
    assert holed.count(", gone") == 4
    assert holed.count(" each way</title></line>") < whole.count(" each way</title></line>")


def test_a_single_device_is_reported_in_the_singular() -> None:
    assert "= 1 device\n" in call("planner", "topology", "dgx-h100", "--devices", "1").stdout
