"""The input pipeline: what nodes read and prepare, beside what they have; a step is the longer of both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.run import call

NODE = """
name = "lab"
nodes = 2
{storage}
[node]
accelerator = "h100-sxm-80gb"
devices = 8
[node.link]
bandwidth = "450GB/s"
[node.nic]
count = 8
bandwidth = "50GB/s"
[node.host]
memory = "2TiB"
{host}
[[fabric]]
name = "leaf"
"""
IMAGES = ("resnet-50", "-b", "4096", "--micro-batch", "256")


def estimate(folder: Path, *arguments: str, host: str = "", storage: str = "") -> dict:
    cluster = folder / "lab.toml"
    cluster.write_text(NODE.format(host=host, storage=storage))
    done = call("planner", "estimate", *arguments, "-c", str(cluster), "-f", "json")
    assert done.returncode == 0, done.stderr
    document: dict = json.loads(done.stdout)
    return document


def test_the_step_is_the_longer_of_the_input_and_of_all_other_terms(tmp_path: Path) -> None:
    free = estimate(tmp_path, *IMAGES)["plans"][0]
    assert free["terms"]["input"] == 0
    for host in ("cores = 8", "cores = 20000", 'storage = "1GB/s"', 'cores = 64\nstorage = "100GB/s"'):
        document = estimate(tmp_path, *IMAGES, host=host)
        plan, part = document["plans"][0], document["input_pipeline"]
        assert sum(plan["terms"].values()) == pytest.approx(plan["step_time_s"], rel=1e-9)
        assert plan["step_time_s"] == pytest.approx(max(free["step_time_s"], part["input_s"]), rel=1e-9)
        assert part["starves"] == (part["input_s"] > free["step_time_s"])


def test_half_of_the_cores_or_of_the_bandwidth_takes_twice_as_long(tmp_path: Path) -> None:
    for word, values in (("cores", ("16", "8")), ("storage", ('"2GB/s"', '"1GB/s"'))):
        first, second = (
            estimate(tmp_path, *IMAGES, host=f"{word} = {value}")["input_pipeline"]["input_s"] for value in values
        )
        assert second == pytest.approx(2 * first)


def test_a_plan_that_starves_says_so_and_an_idle_loader_is_no_news(tmp_path: Path) -> None:
    cluster = tmp_path / "lab.toml"
    for host, text in (("cores = 8", "The plan starves: a step waits"), ("cores = 20000", "images/s")):
        cluster.write_text(NODE.format(host=host, storage=""))
        done = call("planner", "estimate", *IMAGES, "-c", str(cluster))
        assert text in done.stdout
        assert ("starves" in done.stdout) == (host == "cores = 8")
    tokens = call("planner", "estimate", "llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "64", "--tp", "4")
    assert "Input:" not in tokens.stdout


def test_the_storage_of_the_cluster_feeds_all_nodes(tmp_path: Path) -> None:
    part = estimate(tmp_path, *IMAGES, storage='[storage]\nread = "1GB/s"')["input_pipeline"]
    assert part["storage_read_bytes_per_s"] == 1e9
    assert part["storage_bytes_per_s"] == pytest.approx(2 * part["node_bytes_per_s"])
    assert part["input_s"] == pytest.approx(4096 * part["sample_bytes"] / 1e9)


def test_tokens_are_read_by_the_vocabulary_and_once_for_ranks_that_share_a_sequence(tmp_path: Path) -> None:
    small = estimate(tmp_path, "llama-2-7b", "-b", "64", "--tp", "8")["input_pipeline"]
    large = estimate(tmp_path, "llama-3-8b", "-b", "64", "--tp", "8")["input_pipeline"]
    assert small["sample_bytes"] == 2 * 4096
    assert large["sample_bytes"] == 4 * 8192
    for part in (small, large):
        # of eight tensor-parallel ranks one reads for all: a node has one of two replicas
        assert part["node_bytes_per_s"] * 2 == pytest.approx(part["storage_bytes_per_s"])
        assert part["node_cores"] < 1
    staged = estimate(tmp_path, "llama-3-8b", "-b", "64", "--tp", "4", "--pp", "2")["input_pipeline"]
    assert staged["storage_bytes_per_s"] > staged["node_bytes_per_s"] * 2 * 0.99


def test_audio_is_read_by_its_length(tmp_path: Path) -> None:
    part = estimate(tmp_path, "wavenet", "-b", "64", "--micro-batch", "4")["input_pipeline"]
    assert part["sample_bytes"] == pytest.approx(17_571, rel=1e-6)
