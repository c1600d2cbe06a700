"""A cluster of two pools on the command line: its answer, its document, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.run import call
from tests.examples import POOL, pools_file
from tests.schemas import validate_document

ON = ("llama-3-8b", "--cluster", "dgx-h100:2+dgx-a100:2", "--global-batch", "128")
ARGUMENTS = (*ON, "--tp", "4", "--cp", "1", "--vpp", "1", "--micro-batch", "1,2")


def plan_file(tmp_path: Path, text: str, *options: str) -> tuple[int, str, str]:
    file = tmp_path / "both.toml"
    file.write_text(text)
    done = call("plan", "llama-3-8b", "--cluster", str(file), "--global-batch", "64", "--cp", "1", *options)
    return done.returncode, done.stdout, done.stderr


def test_the_document_follows_its_schema_and_is_the_same_twice() -> None:
    schema = json.loads(call("planner", "schema", "mixed").stdout)
    first, second = (call("plan", *ARGUMENTS, "--format", "json", "--tokens", "1T") for _ in range(2))
    document = json.loads(first.stdout)
    validate_document(document, schema)
    assert first.stdout == second.stdout and not first.stderr
    assert document["schema_version"] == "1.2"
    assert [pool["name"] for pool in document["cluster"]["pools"]] == ["dgx-h100", "dgx-a100"]
    assert document["cluster"]["devices"] == 32
    assert {plan["way"] for plan in document["ways"]} == {"shares", "stages", "even", "only"}
    for plan in document["ways"]:
        assert sum(plan["terms"].values()) == pytest.approx(plan["step_time_s"], abs=1e-9)


def test_the_text_advises_whether_to_keep_the_slow_nodes() -> None:
    done = call("plan", *ARGUMENTS)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert "Note          all nodes are joined by the fabric of dgx-h100" in lines
    assert sum("uneven micro-batches" in line for line in lines) == 1
    (sentence,) = [line for line in lines if line.startswith("Without the 2 dgx-a100 nodes the step takes")]
    assert sentence.endswith("%).") and "keep them (+" in sentence
    assert any(line.startswith("Split evenly the step takes") for line in lines)


def test_a_file_gives_the_same_plans_as_joined_presets(tmp_path: Path) -> None:
    levels = """
[[fabric]]
name = "leaf"
topology = "rail"
nodes = 32
latency = "1us"

[[fabric]]
name = "spine"
latency = "1us"
"""
    # pools of equal nodes are merged
    pool_tables = "".join(f'[[pools]]\nnode = "{name}"\nnodes = 1\n' for name in ("dgx-h100", "dgx-a100", "dgx-h100"))
    options = ("--tp", "2", "--vpp", "1", "--micro-batch", "1", "--format", "json")
    code, out, _ = plan_file(tmp_path, f'name = "x"\n{levels}{pool_tables}', *options)
    cluster = ("--cluster", "dgx-h100:2+dgx-a100:1")
    joined = call("plan", "llama-3-8b", *cluster, "--global-batch", "64", "--cp", "1", *options)
    assert code == 0
    assert json.loads(out)["ways"] == json.loads(joined.stdout)["ways"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--nodes", "4"), "--nodes: each pool has its own"),
        (("--devices", "64"), "--devices: each pool has its own"),
        (("--pareto", "cost,energy"), "--pareto: not supported on a heterogeneous cluster"),
        (("--objective", "cost"), "--objective: not supported on a heterogeneous cluster"),
        (("--uncertainty", "10"), "--uncertainty: not supported on a heterogeneous cluster"),
        (("--precision", "fp8"), "a100-sxm-80gb has no dense peak"),
        (("--dp", "3"), "--dp"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: tuple[str, ...], words: str) -> None:
    done = call("plan", *ARGUMENTS, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ("dgx-h100:2+dgx-a10:2", "did you mean dgx-a100?"),
        ("dgx-h100:2+dgx-h100:2", "not two kinds of nodes"),
        ("dgx-h100:2+dgx-a100:2+dgx-v100:2", "not two kinds of nodes"),
        ("dgx-h100:0+dgx-a100:2", "out of range"),
        ("dgx-h100:x+dgx-a100:2", "not a count"),
        ("dgx-h100:2000000+dgx-a100:2000000", "more devices than can be planned"),
        ("dgx-h100+", "unknown cluster"),
    ],
)
def test_a_wrong_cluster_is_a_single_message(cluster: str, words: str) -> None:
    done = call("plan", "llama-3-8b", "--cluster", cluster, "--global-batch", "64")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr and "Traceback" not in done.stderr


def test_a_file_of_both_forms_is_refused(tmp_path: Path) -> None:
    code, _, err = plan_file(tmp_path, f"nodes = 4\n{pools_file()}")
    assert code == 2 and "both.toml: nodes: conflicts with [[pools]]" in err
    third = POOL.format(name="third", nodes=1, devices=4, tflops=9, memory=40, hbm=1000, link=100, alpha=1, nic=100)
    code, _, err = plan_file(tmp_path, pools_file() + third)
    assert code == 2 and "3: fast, slow, third" in err


def test_other_commands_refer_to_plan(tmp_path: Path) -> None:
    file = tmp_path / "both.toml"
    file.write_text(pools_file())
    for cluster in ("dgx-h100:2+dgx-a100:2", str(file)):
        done = call("planner", "estimate", "llama-3-8b", "--cluster", cluster, "--global-batch", "64")
        assert done.returncode == 2
        assert "the cluster is heterogeneous" in done.stderr and "`plan`" in done.stderr


def test_where_no_plan_fits_the_exit_code_is_3(tmp_path: Path) -> None:
    code, out, err = plan_file(tmp_path, pools_file(memory=8, slow_memory=7), "--tp", "1", "--pp", "1")
    assert (code, out) == (3, "")
    assert "neither on both pools together nor on one pool alone" in err
    assert err.count("nearest miss") == 2


def test_a_batch_that_suits_no_pool_is_reported_without_another_number_of_nodes() -> None:
    cluster = "dgx-h100:3+dgx-a100:3"
    done = call(
        "plan", "llama-3-8b", "--cluster", cluster, "--global-batch", "64", "--tp", "8", "--pp", "1", "--cp", "1"
    )
    assert done.returncode == 2
    assert "24 devices with tp 8 pp 1 cp 1 need a batch that is a multiple of 3" in done.stderr
    assert "--nodes" not in done.stderr


@pytest.mark.parametrize(
    ("slow_node", "options", "words", "pool"),
    [
        ("dgx-v100", "--trainer torchtitan --precision fp32", "attention: unsupported by torchtitan", "dgx-v100"),
        ("gaudi2", "--trainer torchtitan", "--cluster: unsupported by torchtitan", "hls-gaudi2"),
        ("dgx-a100", "--trainer megatron-lm --loss chunked", "--loss: unsupported by megatron-lm", "dgx-h100"),
        ("dgx-a100", "--trainer fsdp2 --tp 4", "--tp: unsupported by fsdp2", "dgx-h100"),
    ],
)
def test_a_trainer_is_refused_with_the_pool_that_it_does_not_run_on(
    slow_node: str, options: str, words: str, pool: str
) -> None:
    cluster = f"dgx-h100:1+{slow_node}:1"
    done = call("plan", "llama-3-8b", "--cluster", cluster, "--global-batch", "128", *options.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr and f" on {pool}\n" in done.stderr


def test_plans_on_both_pools_obey_the_rules_of_the_trainer() -> None:
    arguments = ("qwen3-30b-a3b", "--cluster", "dgx-h100:1+dgx-a100:1", "--global-batch", "64")
    arguments += ("--cp", "1", "--vpp", "1", "--micro-batch", "1", "--format", "json")
    plans = {}
    for trainer in ("torchtitan", "megatron-lm"):
        done = call("plan", *arguments, "--trainer", trainer)
        assert done.returncode == 0, done.stderr
        plans[trainer] = json.loads(done.stdout)["ways"]
    for plan in plans["torchtitan"]:
        for pool in plan["kinds"]:
            strategy = pool["strategy"]
            # experts are not cut, and 4 KV heads are
            assert strategy["zero_stage"] >= 2 or strategy["dp"] * strategy["cp"] == 1
            assert strategy["etp"] == 1 and 4 % strategy["tp"] == 0
    for plan in plans["megatron-lm"]:
        for pool in plan["kinds"]:
            assert pool["strategy"]["zero_stage"] <= 1
            assert pool["strategy"]["sequence_parallel"] or pool["strategy"]["tp"] == 1
