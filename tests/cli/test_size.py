"""`planner size`: the fewest nodes, the curve, what a budget trains."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

from tests.cli.run import call, call_cached
from tests.schemas import validate_document

ON = ("llama-3-8b", "--cluster", "dgx-h100")
POD = ("llama-3-70b", "--cluster", "a100-pcie")
RUN = (*ON, "--tokens", "1T", "--deadline", "30d")


@cache
def read_document(*arguments: str) -> dict:
    done = call_cached("planner", "size", *arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    validate_document(result, json.loads(call_cached("planner", "schema", "size").stdout))
    return result


def test_the_answer_meets_the_deadline_and_a_node_less_does_not() -> None:
    result = read_document(*RUN)
    answer = result["answer"]
    assert 0 < answer["days"] <= 30
    assert answer["days"] == pytest.approx(answer["days_without_failures"] / answer["goodput_share"])
    # the answer takes the time that `plan` gives its plan
    plan = json.loads(
        call(
            "plan",
            *ON,
            "--nodes",
            str(answer["nodes"]),
            "--global-batch",
            str(answer["global_batch"]),
            "--tokens",
            "1T",
            "--format",
            "json",
        ).stdout
    )
    # or a simpler one, which cannot be told apart
    first = plan["plans"][0]
    assert answer["step_time_p10_s"] < first["step_time_s"] < answer["step_time_p90_s"]
    assert plan["run"]["days_with_failures"] == pytest.approx(
        answer["days"] * first["step_time_s"] / answer["step_time_s"], rel=0.01
    )
    assert (result["run"]["global_batch"], result["run"]["steps"]) == (answer["global_batch"], answer["steps"])
    for nodes in range(1, answer["nodes"]):
        fewer = call("planner", "compare", "llama-3-8b", "--on", f"dgx-h100:{nodes}", "--tokens", "1T", "-f", "json")
        size = json.loads(fewer.stdout)["offers"][0]["size"]
        assert size is None or size["days"] > 30


def test_the_curve_holds_the_answer_and_ascends() -> None:
    result = read_document(*RUN)
    nodes = [row["nodes"] for row in result["curve"]]
    assert nodes == sorted(set(nodes))
    assert result["answer"] in result["curve"]
    for row in result["curve"]:
        assert row["usd"] == pytest.approx(row["devices"] * row["days"] * 24 * compute_rent_usd_per_hour(result))
        assert row["tokens_per_usd"] * row["usd"] == pytest.approx(1e12)


def compute_rent_usd_per_hour(result: dict) -> float:
    answer = result["answer"]
    return answer["usd"] / (answer["devices"] * answer["days"] * 24)


def test_a_later_deadline_never_needs_more_nodes() -> None:
    deadlines = [f"{days}d" for days in range(10, 100, 15)]
    answers = [read_document(*ON, "--tokens", "1T", "--deadline", days) for days in deadlines]
    counts = [answer["answer"]["nodes"] for answer in answers]
    assert counts == sorted(counts, reverse=True)
    # no row of a table that has fewer nodes than the answer meets the deadline
    for answer in answers:
        for row in answer["curve"]:
            assert row["days"] > answer["deadline_days"] or row["nodes"] >= answer["answer"]["nodes"]


def test_the_fewest_nodes_meet_deadline_and_budget_together() -> None:
    """With steps of 512 sequences, which few sizes divide, larger sizes that meet the deadline cost more."""
    large = ("llama-3-70b", "--cluster", "dgx-h100", "--tokens", "15T", "-b", "512")
    one = read_document(*large, "--deadline", "90d")
    assert one["answer"]["nodes"] == 256
    paid = read_document(*large, "--deadline", "90d", "--budget", f"{one['answer']['usd'] + 1:.0f}")
    assert paid["answer"] == one["answer"]


def test_the_batch_of_each_size_is_chosen_as_it_is_asked_for() -> None:
    auto = read_document(*RUN)
    assert auto == read_document(*RUN, "-b", "auto")
    rule = auto["run"]["batch"]
    assert rule["rule"] == "auto"
    assert rule["low"] < rule["critical_tokens"] / 8192 < rule["high"]
    (note,) = [note for note in auto["notes"] if "critical batch" in note]
    assert "arXiv 2001.08361" in note
    assert all(rule["low"] <= row["global_batch"] <= rule["high"] for row in auto["curve"])
    given = read_document(*RUN, "-b", "512")
    assert {row["global_batch"] for row in given["curve"]} == {512}
    assert given["run"]["batch"] == {"rule": "given", "low": 512, "high": 512, "critical_tokens": None}
    tokens = read_document(*RUN, "-b", "4M tokens")
    assert all(485 * 0.95 <= row["global_batch"] <= 512 * 1.05 for row in tokens["curve"])
    assert all(row["global_batch"] % row["strategy"]["dp"] == 0 for row in tokens["curve"])
    wide = read_document(*RUN, "-b", "256..2048")
    assert wide["run"]["batch"]["rule"] == "range"
    for row, of_given in zip(wide["curve"], given["curve"], strict=False):
        assert row["nodes"] != of_given["nodes"] or row["days"] <= of_given["days"]


def test_sizes_may_be_restricted_to_a_range() -> None:
    free = read_document(*RUN)["answer"]["nodes"]
    many = read_document(*RUN, "--nodes", f"{free + 1}..{free + 40}")
    assert many["answer"]["nodes"] > free
    assert all(free < row["nodes"] <= free + 40 for row in many["curve"])
    assert read_document(*RUN, "--nodes", str(many["answer"]["nodes"]))["answer"] == many["answer"]


def test_a_bare_number_for_scripts() -> None:
    nodes = call_cached("planner", "size", *RUN, "--format", "value")
    devices = call("planner", "size", *RUN, "--format", "value", "--field", "devices")
    assert int(nodes.stdout) == read_document(*RUN)["answer"]["nodes"]
    assert int(devices.stdout) == 8 * int(nodes.stdout)
    assert nodes.stdout.count("\n") == 1


def test_a_budget_gives_the_number_of_tokens() -> None:
    small = ("gpt-1.7b", "--cluster", "dgx-h100")
    result = read_document(*small, "--budget", "200kUSD")
    assert result["answer"]["usd"] == pytest.approx(200_000, rel=1e-3)
    twice = read_document(*small, "--budget", "400kUSD")
    assert twice["run"]["tokens"] == pytest.approx(2 * result["run"]["tokens"], rel=1e-3)
    optimal = result["compute_optimal"]
    assert optimal["tokens"] == pytest.approx(20 * optimal["parameters"])
    flops = 6 * result["model"]["active_parameters"] * result["run"]["tokens"]
    assert 6 * optimal["parameters"] * optimal["tokens"] == pytest.approx(flops)


@pytest.mark.full
def test_no_size_of_its_curve_is_better_than_the_answer() -> None:
    cheap = read_document("gpt-1.7b", "--cluster", "dgx-h100", "--budget", "10kUSD", "--global-batch", "3")
    assert cheap["answer"]["usd"] <= min(row["usd"] for row in cheap["curve"]) * (1 + 1e-9)
    fast = read_document(*ON, "--tokens", "1T", "--budget", "200kUSD")
    within = [row["days"] for row in fast["curve"] if row["usd"] <= 200_000]
    assert fast["answer"]["days"] == min(within)


def test_deadlines_reach_a_hundred_years() -> None:
    assert read_document(*ON, "--tokens", "1T", "--deadline", "100y")["answer"]["nodes"] == 1
    assert call("planner", "size", *ON, "--tokens", "1T", "--deadline", "101y").returncode == 2


@pytest.mark.full
def test_a_step_of_more_than_the_run_gets_a_smaller_batch_suggested() -> None:
    done = call("planner", "size", *POD, "--tokens", "1B", "--deadline", "1h", "-b", "1048576")
    assert done.returncode == 3
    assert "a smaller --global-batch" in done.stderr


def test_a_budget_and_tokens_give_the_fastest_size_that_it_pays_for() -> None:
    result = read_document(*ON, "--tokens", "1T", "--budget", "200kUSD")
    assert result["answer"]["usd"] <= 200_000


@pytest.mark.parametrize(
    ("arguments", "code", "messages"),
    [
        ((*ON,), 2, ["--tokens", "is missing"]),
        ((*ON, "--tokens", "1T"), 2, ["--deadline", "is missing"]),
        ((*ON, "--tokens", "1T", "--deadline", "30"), 2, ["--deadline", "without a unit", "5y"]),
        ((*ON, "--tokens", "1T", "--deadline", "1s"), 2, ["--deadline", "out of range"]),
        ((*ON, "--budget", "$5"), 2, ["--budget", "2MUSD"]),
        ((*RUN, "--nodes", "1..3"), 3, ["no size of dgx-h100", "nearest miss: 3 nodes", "a later --deadline"]),
        ((*RUN, "--nodes", "2,8"), 2, ["--nodes", "not a range", "2..4096"]),
        ((*RUN, "-b", "4M"), 2, ["'4M tokens', 512 sequences of 8,192 tokens; or 4000000 for 4,000,000 sequences"]),
        ((*RUN, "--field", "nodes"), 2, ["--field", "--format value"]),
        (
            (*RUN, "--format", "value", "--field", "carbon-kg"),
            2,
            ["is unknown for this run", "--grid or --carbon-intensity"],
        ),
        ((*RUN, "--format", "value", "--field", "nods"), 2, ["unknown field", "did you mean nodes?"]),
        ((*RUN, "--plot", "curve.pdf"), 2, ["curve.pdf", "ending in .svg"]),
        ((*RUN, "--precision", "int8"), 2, ["--precision", "unsupported by megatron-lm"]),
        ((*RUN, "--grid", "frr"), 2, ["--grid", "frr"]),
        pytest.param(
            (*ON, "--tokens", "15T", "--deadline", "1h"),
            3,
            ["no size of dgx-h100", "nearest miss", "a later --deadline"],
            marks=pytest.mark.full,
        ),
        (("llama-3.1-405b", *ON[1:], "--budget", "1MUSD", "--nodes", "1"), 3, ["nearest miss", "128 devices"]),
        ((*RUN, "--budget", "10USD"), 3, ["the fewest nodes that meet the deadline", "10"]),
        ((*ON, "--tokens", "1T", "--budget", "10USD"), 3, ["no size of dgx-h100", "fewer --tokens"]),
    ],
)
def test_unanswerable_requests_are_reported(arguments: tuple[str, ...], code: int, messages: list[str]) -> None:
    done = call("planner", "size", *arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    for part in messages:
        assert part in done.stderr


def test_the_text_and_the_curve_as_a_picture(tmp_path: Path) -> None:
    import xml.etree.ElementTree as ElementTree

    file = tmp_path / "curve.svg"
    done = call("planner", "size", *RUN, "-o", str(file))
    assert done.returncode == 0
    check_text(done.stdout)
    root = ElementTree.parse(file).getroot()
    result = read_document(*RUN)
    titles = [element.text or "" for element in root.iter() if element.tag.endswith("title")]
    rents = sum("USD" in title for title in titles)
    assert sum(bool(re.search(r"nodes.*[0-9] d$", title)) for title in titles) == rents == len(result["curve"])
    words = {"".join(element.itertext()) for element in root.iter() if element.tag.endswith("text")}
    assert {"devices", "time, days", "rent, USD", "deadline 30.0 d"} <= words
    assert "deadline 30.0 d" in titles
    assert "http" not in file.read_text().replace("http://www.w3.org/2000/svg", "")


def check_text(text: str) -> None:
    """The text has the answer."""
    answer = read_document(*RUN)["answer"]
    assert f"{answer['nodes']:,} nodes of dgx-h100 = {answer['devices']:,} h100-sxm-80gb" in text
    assert "Chinchilla" in text
    assert max(map(len, text.splitlines()[5:-4])) <= 140


FIVE = """
name = "five"
node = "dgx-h100"

[[hosts]]
name = "a[1-5]"

[[switches]]
name = "leaf"

[[links]]
ends = ["a[1-5]", "leaf"]
bandwidth = "400Gb/s"
cables = 8
"""
BROKEN = """
name = "broken"
node = "dgx-h100"
nodes = 6

[[fabric]]
name = "leaf"

[[faults]]
part = "node-4"
"""


@pytest.mark.parametrize("text", [FIVE, pytest.param(BROKEN, marks=pytest.mark.full)], ids=["wired", "degraded"])
def test_a_wired_cluster_has_as_many_nodes_as_work(text: str, tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text(text)
    on = ("llama-3-8b", "--cluster", str(file), "--tokens", "1T", "-b", "512")
    result = read_document(*on, "--deadline", "60d")
    assert result["answer"]["nodes"] == 3
    assert [row["nodes"] for row in result["curve"]] == [1, 2, 3, 4]
    done = call("planner", "size", *on, "--deadline", "30d")
    assert done.returncode == 3
    assert re.search(r"nearest miss: 5 nodes in [34]\d", done.stderr)
    assert call("planner", "compare", "llama-3-8b", "--on", f"{file}:5", "--on", f"{file}:6").returncode == 0
    many = call("planner", "size", "llama-3.1-405b", *on[1:], "--deadline", "30d", "-b", "512")
    assert many.returncode == 3
    assert "405B on 40 x NVIDIA H100" in many.stderr


def test_plan_and_size_say_which_plan_they_count() -> None:
    text = call("plan", "llama-3-70b", "-c", "dgx-h100", "--nodes", "16", "-b", "256").stdout
    said = re.search(r"Plan 1 takes ([0-9.]+%) longer than the fastest", text)
    assert said is not None
    # the table says the same of the first plan, in the same words
    first = next(line for line in text.splitlines() if re.match(r"\s*1\s", line))
    assert f" {said[1]} " in first
    for question in (
        ("size", "llama-3-8b", "-c", "dgx-h100", "--tokens", "1T", "--deadline", "30d"),
        ("compare", "llama-3-8b", "--on", "dgx-h100:2", "--tokens", "1T"),
        ("what-if", "llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "64", "--set", "accelerator.peak=2x"),
    ):
        assert "`plan --within 0` puts the fastest first" in call("planner", *question).stdout


def test_one_cluster_is_compared_in_the_singular_with_its_limits() -> None:
    text = call("planner", "compare", "llama-3-8b", "--on", "dgx-h100", "--tokens", "1T", "--deadline", "30d").stdout
    assert "on 1 cluster\n" in text
    assert ", within 30 days;" in text
