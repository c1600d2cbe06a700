"""Degraded clusters and wired clusters, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.run import call

ON = ("llama-3-8b", "--cluster", "dgx-h100", "--nodes", "4", "--global-batch", "64")
WIRED = """
name = "two leaves"
node = "dgx-h100"
[[hosts]]
name = "a[1-4]"
[[switches]]
name = "leaf[1-2],spine"
[[links]]
ends = ["a[1,3]", "leaf1"]
bandwidth = "400Gb/s"
cables = 8
[[links]]
ends = ["a[2,4]", "leaf2"]
bandwidth = "400Gb/s"
cables = 8
[[links]]
ends = ["leaf[1-2]", "spine"]
bandwidth = "400Gb/s"
"""


@pytest.mark.parametrize(
    ("part", "messages"),
    [
        ("nod-3", ["no part has this name", "nod-3", "did you mean node-3?"]),
        ("node-3:9", ["no NIC has this number", "a NIC of node-3: 0, 1, 2, 3, 4, 5, 6, 7"]),
        ("node-1 - node-2", ["no link between these two", "two ends of one link"]),
        ("node-1=2", ["not a failed part", "=0.5 or =50%"]),
        ("node-1=1.2.3", ["not a failed part"]),
        ("", ["not a failed part"]),
        ("=0.5", ["not a failed part"]),
        ("node-[0-", ["--fault", "node-[0-"]),
        ("node-[0-3]", ["no working host is left"]),
    ],
)
def test_an_impossible_failed_part_is_reported(part: str, messages: list[str]) -> None:
    done = call("plan", *ON, "--fault", part)
    assert done.returncode == 2
    assert done.stdout == ""
    for expected in ["--fault", *messages]:
        assert expected in done.stderr


def test_a_slow_nic_is_reported_with_the_gain_of_leaving_its_host_out(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    done = call("plan", *ON, "--fault", "node-2:5=25%", "-o", str(file))
    document = json.loads(file.read_text())
    placed = document["placement"]
    assert sorted(placed["hosts"]) == [f"node-{number}" for number in range(4)]
    assert placed["without_slow"]["hosts"] == ["node-2"]
    whole = json.loads(call("plan", *ON, "--format", "json").stdout)
    assert whole["placement"] is None
    degraded = document["plans"][0]
    assert degraded["step_time_s"] > whole["plans"][0]["step_time_s"]
    assert "Without node-2 " in done.stdout


def test_ranks_are_written_where_they_are_placed(tmp_path: Path) -> None:
    cluster = tmp_path / "two.toml"
    cluster.write_text(WIRED)
    arguments = ("llama-3-8b", "--cluster", str(cluster), "--global-batch", "64")
    hosts, ranks = tmp_path / "hosts", tmp_path / "ranks"
    pins = ("--tp", "8", "--pp", "1", "--zero", "1", "--sequence-parallel")
    done = call("planner", "estimate", *arguments, *pins, "--hostfile", str(hosts), "--rankfile", str(ranks))
    assert done.returncode == 0, done.stderr
    # the narrow spine is crossed once: hosts at the same leaf are neighbours
    assert hosts.read_text() == "".join(f"a{host} slots=8\n" for host in (1, 3, 2, 4))
    lines = ranks.read_text().splitlines()
    assert lines[0] == "rank 0=a1 slot=0"
    assert lines[9] == "rank 9=a3 slot=1"
    assert len({line.partition("=")[2] for line in lines}) == 32
    assert "in the order of the file this plan's step takes" in done.stdout


def test_a_rankfile_follows_the_order_of_dimensions(tmp_path: Path) -> None:
    ranks = tmp_path / "ranks"
    pins = ("--tp", "2", "--pp", "4", "--cp", "2", "--order", "tp-pp-dp-cp")
    done = call("planner", "estimate", *ON, *pins, "--rankfile", str(ranks))
    assert done.returncode == 0, done.stderr
    lines = ranks.read_text().splitlines()
    # trainers count data-parallel ranks before stages; here the stages are neighbours: rank 8 is the next stage
    assert lines[:2] == ["rank 0=node-0 slot=0", "rank 1=node-0 slot=1"]
    assert lines[8] == "rank 8=node-0 slot=2"
    # context-parallel ranks, of which the trainer counts the second after tp, are in another half of the cluster
    assert lines[2] == "rank 2=node-2 slot=0"
    refused = call("planner", "estimate", *ON, *pins, "--hostfile", str(tmp_path / "hosts"))
    assert refused.returncode == 2
    assert "--rankfile" in refused.stderr
    assert not (tmp_path / "hosts").exists()


def test_an_order_that_megatron_has_an_option_for_needs_no_rankfile(tmp_path: Path) -> None:
    # without context parallelism this is Megatron's tp-cp-pp-dp: it numbers the ranks so itself
    hosts, ranks = tmp_path / "hosts", tmp_path / "ranks"
    pins = ("--tp", "2", "--pp", "4", "--cp", "1", "--order", "tp-pp-dp-cp")
    done = call("planner", "estimate", *ON, *pins, "--hostfile", str(hosts), "--rankfile", str(ranks))
    assert done.returncode == 0, done.stderr
    assert ranks.read_text().splitlines()[9] == "rank 9=node-1 slot=1"
    assert hosts.read_text().splitlines()[1] == "node-1 slots=8"
    # other trainers have no option for it
    done = call("planner", "estimate", *ON, *pins, "--trainer", "torchtitan", "--rankfile", str(ranks))
    assert done.returncode == 2
    assert "--order: unsupported by" in done.stderr


def test_a_file_that_cannot_be_written_is_reported_and_left_alone(tmp_path: Path) -> None:
    done = call("plan", *ON, "--rankfile", str(tmp_path / "nowhere" / "ranks"))
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert done.stdout == ""


def test_batches_are_suggested_for_the_devices_that_are_left(tmp_path: Path) -> None:
    pins = ("--tp", "8", "--pp", "1", "--cp", "1", "--global-batch", "64")
    done = call("plan", "llama-3-8b", "--cluster", "dgx-h100", "--nodes", "8", *pins, "--fault", "node-3")
    assert done.returncode == 2
    assert "56 devices with tp 8 pp 1 cp 1 need a batch that is a multiple of 7" in done.stderr
    assert "expected: 63 or 70 sequences; or 32 of these 56 devices" in done.stderr
    assert "--nodes" not in done.stderr
    file = tmp_path / "wired.toml"
    file.write_text(WIRED.replace("a[1,3]", "a[1,3,5]").replace("a[1-4]", "a[1-5]"))
    done = call("plan", "llama-3-8b", "--cluster", str(file), *pins)
    assert "expected: 65 or 60 sequences; or 32 of these 40 devices" in done.stderr


@pytest.mark.parametrize(
    ("part", "printed"),
    [
        ("node-1", "degraded (node-1)"),
        ("node-1:2", "degraded (node-1:2)"),
        ("leaf-0=50%", "degraded (leaf-0 at 50 %)"),
    ],
)
def test_a_degraded_cluster_names_its_failed_parts(part: str, printed: str, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    done = call("plan", *ON, "--tp", "8", "--cp", "1", "--vpp", "1", "--fault", part, "-o", str(file))
    (fact,) = (line for line in done.stdout.splitlines() if line.startswith("Cluster"))
    assert printed in fact
    assert printed in json.loads(file.read_text())["cluster"]["title"]


def test_help_and_error_name_the_same_parts() -> None:
    help_text = " ".join(call("plan", "--help").stdout.split())
    error = call("plan", *ON, "--fault", "=").stderr
    for part in ("a host (node-3)", "its NIC (node-3:2)", "a switch (leaf-0)"):
        assert part in help_text.replace("A host", "a host")
        assert part in error
