"""`planner compare`: clusters side by side."""

from __future__ import annotations

import json
import re
from random import Random

import pytest

from planner.hardware import database
from tests.cli.run import call, call_cached
from tests.schemas import validate_document

ON = ("llama-3-8b", "--on", "dgx-h100:4", "--on", "mi300x:4", "--on", "dgx-a100:4", "--tokens", "100B")

ANY_CLUSTER = (
    *("planner", "compare", "llama-3-8b", "--any"),
    *("--tokens", "100B", "--deadline", "30d", "--budget", "100kUSD"),
)
"""A command of the documentation, which `tests/test_docs.py` leaves to the test of its document here."""


def compare(*arguments: str, code: int = 0) -> dict:
    done = call_cached("planner", "compare", *arguments, "--format", "json")
    assert done.returncode == code, done.stderr
    result = json.loads(done.stdout)
    validate_document(result, json.loads(call_cached("planner", "schema", "compare").stdout))
    return result


def test_clusters_are_ranked_by_the_objective() -> None:
    figures = {"time": "days", "cost": "usd", "energy": "energy_kwh", "devices": "devices"}
    for objective, key in figures.items():
        offers = compare(*ON, "--objective", objective)["offers"]
        values = [offer["size"][key] for offer in offers]
        assert values == sorted(values), objective
    better = [offer["size"]["tokens_per_usd"] for offer in compare(*ON, "--objective", "tokens-per-usd")["offers"]]
    assert better == sorted(better, reverse=True)


def test_each_offer_equals_the_answer_of_plan() -> None:
    result = compare(*ON)
    for offer in result["offers"]:
        batch = str(offer["size"]["global_batch"])
        call_cached = ("llama-3-8b", "--cluster", offer["name"], "--nodes", "4", "--global-batch", batch)
        plan = json.loads(call("plan", *call_cached, "--within", "0", "--format", "json").stdout)["plans"][0]
        assert offer["size"]["step_time_s"] == pytest.approx(plan["step_time_s"], rel=0.02)
        assert offer["size"]["step_time_s"] >= plan["step_time_s"] * (1 - 1e-12)


def test_the_front_is_marked() -> None:
    result = compare(*ON)["offers"]
    sizes = [(offer["size"]["days"], offer["size"]["usd"], offer["size"]["energy_kwh"]) for offer in result]
    for offer, mine in zip(result, sizes, strict=True):
        beaten = any(all(a <= b for a, b in zip(other, mine, strict=True)) and other != mine for other in sizes)
        assert offer["on_front"] is not beaten


def test_limits_rule_out_clusters_and_give_the_reason() -> None:
    result = compare(*ON, "--deadline", "20d", "--budget", "20kUSD")
    fast = {offer["name"]: offer for offer in result["offers"]}
    for offer in fast.values():
        if offer["size"] is None:
            assert "days on 4 nodes" in offer["ruled_out"] or "USD on 4 nodes" in offer["ruled_out"]
        else:
            assert offer["size"]["days"] <= 20
            assert offer["size"]["usd"] <= 20_000
    ruled_out = [offer["size"] is None for offer in result["offers"]]
    assert ruled_out == sorted(ruled_out)
    text = call("planner", "compare", *ON, "--deadline", "1d").stdout
    assert len(re.findall(r"^\S+ +takes \S+ days on 4 nodes$", text, re.MULTILINE)) == 3


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (("--on", "dgx-h100:1", "--deadline", "1d"), ["nearest miss: dgx-h100 takes", "times --deadline", "later"]),
        (("--on", "dgx-h100:1", "--on", "dgx-a100:1", "--budget", "9USD"), ["dgx-", "times --budget", "a larger"]),
        (("--on", "dgx-h100:1", "--framework", "mxnet"), ["mxnet supports h100-sxm-80gb"]),
    ],
)
def test_an_empty_ranking_is_reported_with_exit_code_3(arguments: tuple[str, ...], messages: list[str]) -> None:
    done = call("planner", "compare", "llama-3-8b", "--tokens", "15T", *arguments, "--format", "json")
    assert done.returncode == 3
    validate_document(json.loads(done.stdout), json.loads(call("planner", "schema", "compare").stdout))
    for part in ("no cluster is left", *messages):
        assert part in done.stderr


def test_a_model_that_fits_on_no_cluster_gets_the_nearest_miss() -> None:
    done = call("planner", "compare", "llama-3.1-405b", "--on", "dgx-h100:1", "--on", "dgx-a100:1")
    assert done.returncode == 3
    assert done.stdout.count("no plan fits on 1 node\n") == 2
    for part in ("all 2 are ruled out", "nearest miss", "what would make it fit: 128 devices"):
        assert part in done.stderr
    assert "open" not in done.stderr
    some_left = call("planner", "compare", "llama-3.1-405b", "--on", "dgx-h100:1", "--on", "dgx-a100:32")
    assert (some_left.returncode, some_left.stderr) == (0, "")


def test_a_precision_that_no_trainer_runs_is_named_once() -> None:
    arguments = ("--on", "dgx-h100:2", "--on", "tpu-v5p:16", "--precision", "int8", "--format", "json")
    offers = json.loads(call("planner", "compare", "llama-3-8b", *arguments).stdout)["offers"]
    (reason,) = (offer["ruled_out"] for offer in offers if offer["size"] is None)
    assert reason.startswith("precision int8: unsupported by megatron-lm")


@pytest.mark.full
def test_every_preset_with_the_fewest_nodes_for_a_deadline() -> None:
    result = compare(*ANY_CLUSTER[2:])
    assert {offer["name"] for offer in result["offers"]} == set(database.list_database_names("clusters"))
    sized = [offer["size"] for offer in result["offers"] if offer["size"]]
    assert len(sized) > 5
    assert all(size["days"] <= 30 and size["usd"] <= 100_000 for size in sized)
    assert result["ranked_by"] == "cost"


def test_frameworks_and_clouds_rule_out() -> None:
    offers = {offer["name"]: offer for offer in compare(*ON, "--cloud", "AWS")["offers"]}
    assert offers["mi300x"]["ruled_out"] == "no source states that aws offers mi300x"
    assert offers["dgx-h100"]["size"] is not None
    arguments = ("llama-3-8b", "--on", "tpu-v5p:8", "--on", "dgx-h100:4", "--framework", "mxnet")
    offers = {offer["name"]: offer for offer in compare(*arguments, code=3)["offers"]}
    assert "mxnet supports tpu-v5p" in offers["tpu-v5p"]["ruled_out"]


def draw_questions(count: int) -> list[tuple[str, ...]]:
    """Random runs on random clusters, as arguments of both commands; the cluster first. Some have no answer."""
    random = Random(19)
    questions = []
    for _ in range(count):
        model = random.choice(["gpt-1.7b", "llama-3-8b", "llama-3-70b", "mixtral-8x7b"])
        cluster = random.choice(["dgx-h100", "dgx-a100", "mi300x", "tpu-v5p", "aws-p5", "dgx-b200"])
        tokens = f"{random.choice([20, 100, 1000])}B"
        limits = [("--deadline", f"{random.randint(2, 90)}d"), ("--budget", f"{random.randint(5, 2000)}kUSD")]
        limits = random.choice([limits[:1], limits[1:], limits])
        batch = random.choice([(), ("-b", "auto"), ("-b", "2M tokens"), ("-b", "512"), ("-b", "256..1024")])
        questions.append((cluster, model, "--tokens", tokens, *sum(limits, ()), *batch))
    return questions


def check_question(question: tuple[str, ...]) -> None:
    """`size` and `compare` give the same answer, or none."""
    cluster, *run = question
    sized = call("planner", "size", *run, "--cluster", cluster, "-f", "json")
    compared = call("planner", "compare", *run, "--on", cluster, "-f", "json")
    assert sized.returncode == compared.returncode
    (offer,) = json.loads(compared.stdout)["offers"]
    answer = json.loads(sized.stdout)["answer"] if sized.returncode == 0 else None
    assert offer["size"] == answer
    assert bool(offer["ruled_out"]) is (answer is None)


@pytest.mark.parametrize("question", draw_questions(6), ids=" ".join)
def test_a_cluster_without_a_number_of_nodes_gets_the_answer_of_size(question: tuple[str, ...]) -> None:
    check_question(question)


@pytest.mark.full
def test_two_hundred_clusters_get_the_answer_of_size() -> None:
    for question in draw_questions(200):
        check_question(question)


def test_clusters_without_measurements_are_marked() -> None:
    on = (*ON, "--on", "gaudi3:4")
    offers = {offer["name"]: offer for offer in compare(*on)["offers"]}
    assert offers["dgx-h100"]["calibrated"] is True
    assert offers["gaudi3"]["calibrated"] is False
    text = call("planner", "compare", *on).stdout
    assert "gaudi3 ~" in text
    assert "measured runs of other accelerator generations only" in text


def test_carbon_follows_the_grid() -> None:
    dirty, clean = (compare(*ON, "--carbon-intensity", text)["offers"] for text in ("500g/kWh", "50g/kWh"))
    for more, less in zip(dirty, clean, strict=True):
        assert more["size"]["carbon_kg"] == pytest.approx(10 * less["size"]["carbon_kg"])


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (("llama-3-8b",), ["--on", "no cluster is named"]),
        (("llama-3-8b", "--on", "dgx-h100"), ["the number of nodes is missing"]),
        (("llama-3-8b", "--on", "dgx-h10:4"), ["dgx-h10", "did you mean dgx-h100?"]),
        (("llama-3-8b", "--on", "dgx-h100:0"), ["--on"]),
        (("llama-3-8b", "--on", "dgx-h100:nan"), ["--on: not a count", "nan"]),
        (("llama-3-8b", "--on", "dgx-h100:-1"), ["--on: out of range", "-1"]),
        (("llama-3-8b", "--on", "dgx-h100:"), ["--on: not a count", '""']),
        (("llama-3-8b", "--on", "dgx-h100:4", "--objective", "carbon"), ["--grid or --carbon-intensity"]),
        (("llama-3-9b", "--on", "dgx-h100:4"), ["unknown model"]),
        (
            ("llama-3-8b", "--on", "dgx-h100:2+dgx-a100:2"),
            ["--on", "dgx-h100:2+dgx-a100:2\n", "the cluster is heterogeneous"],
        ),
        (("llama-3-8b", "--on", "dgx-h100:4", "--cloud", "asw"), ["--cloud", "did you mean aws?"]),
    ],
)
def test_wrong_comparisons_are_reported(arguments: tuple[str, ...], messages: list[str]) -> None:
    done = call("planner", "compare", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    for part in messages:
        assert part in done.stderr


def test_a_cluster_that_cannot_be_is_ruled_out_with_the_reason() -> None:
    offers = compare("llama-3-8b", "--on", "tpu-v3:100000", "--on", "dgx-h100:4")["offers"]
    assert offers[0]["name"] == "dgx-h100"
    assert offers[1]["size"] is None
    assert "not built larger" in offers[1]["ruled_out"] or "no plan fits" in offers[1]["ruled_out"]
