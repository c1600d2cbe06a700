"""Cluster files: what is read, and what is told when they are wrong."""

import pytest

from planner.cluster import database
from planner.cluster.cluster import resolve_cluster
from planner.cluster.spec import parse_cluster
from planner.errors import InputError
from tests.examples import DEFAULTS, LAB, lab

TEXT = LAB.format(**DEFAULTS)


@pytest.mark.parametrize("name", database.names("clusters"))
def test_every_preset_resolves(name: str) -> None:
    cluster = resolve_cluster(database.cluster_spec(name), name)
    assert cluster.devices == cluster.nodes * cluster.devices_per_node
    outermost = cluster.levels[-1].devices
    assert outermost == 0 or outermost >= cluster.devices


def test_the_clusters_that_the_guide_promises_are_there() -> None:
    promised = "dgx-v100 dgx-a100 dgx-h100 dgx-b200 gb200-nvl72 mi300x tpu-v3 tpu-v4 tpu-v5p gaudi2"
    assert set(promised.split()) <= set(database.names("clusters"))


def test_a_yaml_file_is_read_like_a_toml_file() -> None:
    import tomllib

    import yaml

    as_yaml = yaml.safe_dump(tomllib.loads(TEXT))
    assert parse_cluster(as_yaml, "yaml", "lab.yaml") == parse_cluster(TEXT, "toml", "lab.toml")


def test_oversubscription_takes_bandwidth_off() -> None:
    inner, outer = lab(oversubscription=4.0).levels[1:]
    assert inner.bandwidth_bytes_per_s == pytest.approx(25e9)
    assert outer.bandwidth_bytes_per_s == pytest.approx(25e9 / 4)


def test_fewer_devices_than_a_node_use_one_node_in_part() -> None:
    cluster = resolve_cluster(parse_cluster(TEXT, "toml", "lab.toml"), "lab.toml", devices=2)
    assert (cluster.nodes, cluster.devices) == (1, 2)
    assert len(cluster.levels) == 1


@pytest.mark.parametrize(
    ("nodes", "devices", "told"),
    [
        (0, None, "--nodes"),
        (-1, None, "-1"),
        (None, 0, "--devices"),
        (None, 6, "a multiple of 4, such as 4 or 8"),
        (1, 4, "either"),
    ],
)
def test_wrong_counts_are_told(nodes: int | None, devices: int | None, told: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve_cluster(parse_cluster(TEXT, "toml", "lab.toml"), "lab.toml", nodes=nodes, devices=devices)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "told"),
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
        ('"300GB/s"', '"300B/s"', ["node.link.bandwidth", "not possible", "from 1MB/s to 50PB/s"]),
        ('"300GB/s"', '{ value = 300, source = "me" }', ["node.link.bandwidth", "from 1MB/s to 50PB/s"]),
        ('"300GB/s"', '{ value = inf, source = "me" }', ["node.link.bandwidth", "inf"]),
        ('"3us"', '"3s"', ["node.link.latency", "at most 1s"]),
        ('"40GiB"', '"2PiB"', ["node.accelerator.memory.capacity", "to 1PiB"]),
        ("oversubscription = 1.0", "oversubscription = inf", ["fabric[1].oversubscription", "at most 1,000"]),
        ("oversubscription = 1.0", "oversubscription = nan", ["fabric[1].oversubscription"]),
        ("oversubscription = 1.0", "oversubscribtion = 2", ["oversubscribtion", "did you mean oversubscription?"]),
        ('name = "spine"', 'name = "spine"\ntopology = "fattree"', ["did you mean fat-tree?", "rail"]),
        ("nodes = 2", "nodes = 1", ["fabric[0].nodes", "joins nothing"]),
        (
            "[node.accelerator]\n",
            "[node.accelerator]\ncan_train = false\n",
            ["can_train", "chip cannot train"],
        ),
    ],
)
def test_a_wrong_figure_is_told(old: str, new: str, told: list[str]) -> None:
    assert old in TEXT
    with pytest.raises(InputError) as caught:
        resolve_cluster(parse_cluster(TEXT.replace(old, new, 1), "toml", "lab.toml"), "lab.toml")
    for part in ["lab.toml", *told]:
        assert part in str(caught.value)


def test_a_plain_number_is_taken_where_its_source_is_named() -> None:
    sourced = TEXT.replace('"300GB/s"', '{ value = 3e11, source = "data sheet" }')
    assert resolve_cluster(parse_cluster(sourced, "toml", "lab.toml"), "lab.toml") == lab()


def test_zero_needs_no_unit() -> None:
    cluster = resolve_cluster(parse_cluster(TEXT.replace('"3us"', "0"), "toml", "lab.toml"), "lab.toml")
    assert cluster.levels[0].latency_s == 0


def test_yaml_aliases_cannot_blow_up() -> None:
    with pytest.raises(InputError, match="aliases"):
        parse_cluster("a: &a [1, 2]\nb: [*a, *a]\n", "yaml", "bomb.yaml")
