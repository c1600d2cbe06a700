"""Cluster files: what is read, and what is reported when they are wrong."""

import pytest

from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model import presets
from planner.cluster.model.spec import parse_cluster_spec
from planner.cluster.regular.torus import find_cluster_torus
from planner.errors import InputError
from planner.hardware import database
from tests.examples import DEFAULTS, LAB, lab

TEXT = LAB.format(**DEFAULTS)


@pytest.mark.parametrize("name", database.list_database_names("clusters"))
def test_every_preset_resolves(name: str) -> None:
    cluster = resolve_cluster(presets.load_cluster_spec(name), name)
    assert cluster.devices == cluster.nodes * cluster.devices_per_node
    outermost = cluster.levels[-1].devices
    assert outermost == 0 or outermost >= cluster.devices


def test_the_clusters_that_the_guide_promises_are_there() -> None:
    promised = "dgx-v100 dgx-a100 dgx-h100 dgx-b200 gb200-nvl72 mi300x tpu-v3 tpu-v4 tpu-v5p gaudi2"
    assert set(promised.split()) <= set(database.list_database_names("clusters"))


def test_a_yaml_file_is_read_like_a_toml_file() -> None:
    import tomllib

    import yaml

    as_yaml = yaml.safe_dump(tomllib.loads(TEXT))
    assert parse_cluster_spec(as_yaml, "yaml", "lab.yaml") == parse_cluster_spec(TEXT, "toml", "lab.toml")


def test_oversubscription_reduces_bandwidth() -> None:
    inner, outer = lab(oversubscription=4.0).levels[1:]
    assert inner.bandwidth_bytes_per_s == pytest.approx(25e9)
    assert outer.bandwidth_bytes_per_s == pytest.approx(25e9 / 4)


def test_fewer_devices_than_a_node_use_part_of_a_node() -> None:
    cluster = resolve_cluster(parse_cluster_spec(TEXT, "toml", "lab.toml"), "lab.toml", devices=2)
    assert (cluster.nodes, cluster.devices) == (1, 2)
    assert len(cluster.levels) == 1


@pytest.mark.parametrize(
    ("nodes", "devices", "message"),
    [
        (0, None, "--nodes"),
        (-1, None, "-1"),
        (None, 0, "--devices"),
        (None, 6, "a multiple of 4, such as 4 or 8"),
        (1, 4, "either"),
    ],
)
def test_wrong_counts_are_reported(nodes: int | None, devices: int | None, message: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve_cluster(parse_cluster_spec(TEXT, "toml", "lab.toml"), "lab.toml", nodes=nodes, devices=devices)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        ('"200Gb/s"', '"200Gbit"', ["node.nic.bandwidth", "200Gbit", "400Gb/s"]),
        ('"200Gb/s"', "0", ["node.nic.bandwidth", "positive"]),
        ("nodes = 4", 'nodes = "four"', ["nodes", "four"]),
        ("[node.link]", "[node.lnik]", ["node.lnik", "did you mean link?"]),
        ("oversubscription = 1.0", "oversubscription = 0.5", ["oversubscription", "0.5"]),
        ("peak_flops = { bf16", "peak_flops = { bf61", ["peak_flops", "did you mean bf16?", "mxfp8"]),
        ('"300GB/s"', "300", ["node.link.bandwidth", "without a unit", "value:    300", "a rate such as 300GB/s"]),
        ('"3us"', '"3"', ["node.link.latency", "without a unit", "a time such as 2us"]),
        ('"300TFLOP/s"', "300", ["node.accelerator.peak_flops.bf16", "without a unit"]),
        ('"300GB/s"', '"300B/s"', ["node.link.bandwidth", "out of range", "from 1MB/s to 50PB/s"]),
        ('"300GB/s"', '{ value = 300, source = "me" }', ["node.link.bandwidth", "from 1MB/s to 50PB/s"]),
        ('"300GB/s"', '{ value = inf, source = "me" }', ["node.link.bandwidth", "inf"]),
        ('"3us"', '"3s"', ["node.link.latency", "at most 1s"]),
        ('"40GiB"', '"2PiB"', ["node.accelerator.memory.capacity", "to 1PiB"]),
        ("oversubscription = 1.0", "oversubscription = inf", ["fabric[1].oversubscription", "at most 1,000"]),
        ("oversubscription = 1.0", "oversubscription = nan", ["fabric[1].oversubscription"]),
        ("oversubscription = 1.0", "oversubscribtion = 2", ["oversubscribtion", "did you mean oversubscription?"]),
        ('name = "spine"', 'name = "spine"\ntopology = "fattree"', ["did you mean fat-tree?", "rail"]),
        ("nodes = 2", "nodes = 1", ["fabric[0].nodes", "level adds no nodes"]),
        (
            "[node.accelerator]\n",
            "[node.accelerator]\ncan_train = false\n",
            ["can_train", "chip cannot train"],
        ),
    ],
)
def test_a_wrong_figure_is_reported(old: str, new: str, messages: list[str]) -> None:
    assert old in TEXT
    with pytest.raises(InputError) as caught:
        resolve_cluster(parse_cluster_spec(TEXT.replace(old, new, 1), "toml", "lab.toml"), "lab.toml")
    for part in ["lab.toml", *messages]:
        assert part in str(caught.value)


def test_a_plain_number_is_taken_where_its_source_is_named() -> None:
    sourced = TEXT.replace('"300GB/s"', '{ value = 3e11, source = "data sheet" }')
    assert resolve_cluster(parse_cluster_spec(sourced, "toml", "lab.toml"), "lab.toml") == lab()


def test_zero_needs_no_unit() -> None:
    cluster = resolve_cluster(parse_cluster_spec(TEXT.replace('"3us"', "0"), "toml", "lab.toml"), "lab.toml")
    assert cluster.levels[0].latency_s == 0


def test_yaml_aliases_cannot_blow_up() -> None:
    with pytest.raises(InputError, match="aliases"):
        parse_cluster_spec("a: &a [1, 2]\nb: [*a, *a]\n", "yaml", "bomb.yaml")


TORUS = """
name = "pod"
nodes = 16
[node]
accelerator = "tpu-v5e"
devices = 4
link = {{ topology = "torus", bandwidth = "200GB/s" }}
[[fabric]]
name = "ici"
topology = "torus"
bandwidth = "200GB/s"
{keys}
"""


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("shape = [8, 8]\nwrap = [true]", ["fabric[0].wrap", "2 axes"]),
        ("shape = [8, 8]\nnodes = 8", ["fabric[0].shape", "8 x 8", "32"]),
        ("shape = [0, 8]", ["shape", "0"]),
        ("shape = [4, 8]", ["fabric[0].shape", "at most 8 nodes"]),
    ],
)
def test_an_impossible_torus_is_reported(keys: str, expected: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        resolve_cluster(parse_cluster_spec(TORUS.format(keys=keys), "toml", "pod.toml"), "pod.toml")
    for part in ["pod.toml", *expected]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("nodes", "keys", "shape", "wrap"),
    [
        (64, "shape = [16, 16]", (16, 16), (True, True)),
        (32, "shape = [16, 16]", (8, 16), (False, True)),
        (16, "shape = [16, 16]", (8, 8), (False, False)),
        (16, "dims = 3\nwrap_multiple = 4", (4, 4, 4), (True, True, True)),
        (8, "dims = 3\nwrap_multiple = 4", (2, 4, 4), (False, True, True)),
        (4, "shape = [2, 8]\nwrap = [false, true]\nnodes = 4", (2, 8), (False, True)),
    ],
)
def test_a_slice_of_a_pod_is_as_cubic_as_it_can_be(
    nodes: int, keys: str, shape: tuple[int, ...], wrap: tuple[bool, ...]
) -> None:
    cluster = resolve_cluster(
        parse_cluster_spec(TORUS.format(keys=keys), "toml", "pod.toml"), "pod.toml", nodes=nodes
    )
    torus = find_cluster_torus(cluster)
    assert torus is not None
    assert (torus.shape, torus.wrap) == (shape, wrap)


def test_a_part_of_a_torus_node_is_a_smaller_slice() -> None:
    torus = find_cluster_torus(resolve_cluster(presets.load_cluster_spec("tpu-v5e"), "tpu-v5e", devices=4))
    assert torus is not None
    assert (torus.shape, torus.wrap) == ((2, 2), (False, False))


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ('topology = "hybrid-cube-mesh", bandwidth = "150GB/s"', "8 devices"),
        ('topology = "pcie", bandwidth = "32GB/s", bridges = 3', "node.link.bridges"),
        ('topology = "pcie", bandwidth = "32GB/s", bridges = 2, switch_devices = 4', "node.link.switch_devices"),
        ('topology = "pcie", bandwidth = "32GB/s", bridge = "60"', "node.link.bridge"),
        ('topology = "torus", bandwidth = "32GB/s", shape = [3, 2]', "node.link.shape"),
    ],
)
def test_an_impossible_node_is_reported(link: str, message: str) -> None:
    text = f'name = "odd"\nnodes = 1\nnode = {{ accelerator = "a10", devices = 4, link = {{ {link} }} }}'
    with pytest.raises(InputError) as caught:
        resolve_cluster(parse_cluster_spec(text, "toml", "odd.toml"), "odd.toml")
    assert message in str(caught.value)


def test_a_dragonfly_stands_above_groups() -> None:
    text = TEXT.replace('name = "leaf"', 'name = "leaf"\ntopology = "dragonfly+"')
    with pytest.raises(InputError) as caught:
        resolve_cluster(parse_cluster_spec(text, "toml", "lab.toml"), "lab.toml")
    assert "fabric[0].topology" in str(caught.value)
    assert "the last level" in str(caught.value)
