"""`planner estimate` takes its trainer's defaults, and says what would make a plan fit that does not."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from planner.units import format_seconds
from tests.cli.run import call
from tests.sample import mark_full

ON = ("llama-3-70b", "-c", "dgx-h100", "--nodes", "8", "-b", "256")


def estimate_strategy(*options: str) -> dict[str, object]:
    done = call("planner", "estimate", *ON, *options, "-f", "json")
    assert done.returncode == 0, done.stderr
    strategy: dict[str, object] = json.loads(done.stdout)["plans"][0]["strategy"]
    return strategy


def test_defaults_of_an_estimate_are_those_that_the_trainer_is_shown_with() -> None:
    for name in ("megatron-lm", "megatron-bridge", "torchtitan", "maxtext", "nanotron"):
        shown = json.loads(call("planner", "trainers", "show", name, "-f", "json").stdout)["trainers"][0]
        defaults = shown["run_defaults"]
        done = call("planner", "estimate", "llama-3-8b", *ON[1:], "--tp", "2", "--trainer", name, "-f", "json")
        assert done.returncode in (0, 3), done.stderr
        if done.returncode == 3:
            assert f"recompute {defaults['recompute']}" in done.stderr
            continue
        document = json.loads(done.stdout)
        strategy = document["plans"][0]["strategy"]
        assert document["defaults"]["source"] == name
        assert strategy["recompute"] == defaults.get("recompute", "none")
        assert strategy["sequence_parallel"] == (defaults.get("seq_parallel") in ("yes", "tp"))
        assert strategy["zero_stage"] == shown["defaults"]["zero_stage"]
        assert document["defaults"]["values"]["recompute"] == strategy["recompute"]


def test_what_an_option_says_is_no_default() -> None:
    assert estimate_strategy("--tp", "8", "--pp", "2")["sequence_parallel"] is True
    assert (
        estimate_strategy("--tp", "8", "--pp", "8", "--recompute", "selective", "--no-sequence-parallel")[
            "sequence_parallel"
        ]
        is False
    )
    done = call("planner", "estimate", *ON, "--tp", "8", "--pp", "2", "--recompute", "none", "-f", "json")
    assert "recompute" not in json.loads(done.stdout)["defaults"]["values"]


@pytest.mark.parametrize(
    "options",
    mark_full(
        [
            "--tp 8 --pp 2 --no-sequence-parallel",
            "--tp 8 --micro-batch 8",
            "--tp 8 --dp 8 --zero 0",
            "--trainer torchtitan --recompute none --tp 2",
        ],
        every=2,
    ),
)
def test_every_remedy_works_and_takes_the_step_time_that_it_says(options: str) -> None:
    done = call("planner", "estimate", *ON, *options.split())
    assert done.returncode == 3
    lines = re.findall(r"^    (--\S.*): (\S+ \S+) a step(?: on ([\d,]+) devices)?", done.stderr, re.MULTILINE)
    assert lines
    device_s = []
    for text, step, devices in lines:
        given = dict(_pair_options(options)) | dict(_pair_options(text))
        given.pop("--no-sequence-parallel" if "--sequence-parallel" in given else "", None)
        words = [word for option, value in given.items() for word in (option, *([value] if value else []))]
        on = [word for word in ON if not ("--nodes" in given and word in ("--nodes", "8"))]
        remedied = call("planner", "estimate", *on, *words, "-f", "json")
        assert remedied.returncode == 0, (text, remedied.stderr)
        step_time_s = json.loads(remedied.stdout)["plans"][0]["step_time_s"]
        assert format_seconds(step_time_s) == step
        device_s.append(step_time_s * int((devices or "64").replace(",", "")))
    assert device_s == sorted(device_s)


def _pair_options(text: str) -> list[tuple[str, str]]:
    """Options with their values; empty for a switch."""
    words = shlex.split(text)
    return [
        (word, following if not following.startswith("--") else "")
        for word, following in zip(words, [*words[1:], "--"], strict=True)
        if word.startswith("--")
    ]
