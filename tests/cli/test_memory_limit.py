"""`--memory-limit` and `--headroom`: only plans within them compete, in every command."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

import planner
from tests.cli.run import call
from tests.examples import DEFAULTS, LAB
from tests.sample import mark_full

ON = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "64")
WHOLE = ("--memory-limit", "100%")
GIB = 2**30


def most_bytes(*options: str) -> float:
    done = call("plan", *ON, *options, "--top", "20", "-f", "json")
    assert done.returncode == 0, done.stderr
    return max(plan["memory"]["total_bytes"] for plan in json.loads(done.stdout)["plans"])


def test_only_plans_within_the_limit_compete() -> None:
    assert most_bytes() > 40 * GIB
    for options in (("--memory-limit", "50%"), ("--memory-limit", "40GiB"), ("--headroom", "40GiB")):
        assert most_bytes(*options) <= 40 * GIB
    assert most_bytes("--memory-limit", "90%") == most_bytes() <= 0.9 * 85520809984 < most_bytes(*WHOLE)


def test_what_the_rest_of_the_memory_would_bring_is_what_a_search_in_all_of_it_finds() -> None:
    limited = json.loads(call("plan", *ON, "--within", "0", "-f", "json").stdout)
    whole = json.loads(call("plan", *ON, *WHOLE, "--within", "0", "-f", "json").stdout)
    assert whole["full_memory"] is None
    best, full = whole["plans"][0], limited["full_memory"]
    assert full["strategy"] == best["strategy"] and full["total_bytes"] == best["memory"]["total_bytes"]
    assert full["gain"] == pytest.approx(1 - best["step_time_s"] / limited["plans"][0]["step_time_s"])
    sentence = next(line for line in call("plan", *ON).stdout.splitlines() if line.startswith("Memory: "))
    assert f"better by {full['gain']:.1%}" in sentence


def test_an_estimate_has_all_memory_and_is_warned_of_what_a_search_leaves_out() -> None:
    best = json.loads(call("plan", *ON, *WHOLE, "--within", "0", "-f", "json").stdout)["plans"][0]
    assert best["memory"]["total_bytes"] > 0.9 * best["memory"]["capacity_bytes"]
    names = ("tp", "pp", "cp", "vpp", "micro_batch")
    values = best["strategy"] | {"zero": best["strategy"]["zero_stage"]}
    pins = [f"--{name.replace('_', '-')}={values[name]}" for name in (*names, "zero", "recompute")]
    pins += ["--sequence-parallel"] if values["sequence_parallel"] else []
    estimate = call("planner", "estimate", *ON, *pins)
    assert estimate.returncode == 0, estimate.stderr
    assert "of the memory; plans are searched within 90% of it" in estimate.stderr
    assert "warning" not in call("planner", "estimate", *ON, *pins, *WHOLE).stderr


def test_every_interface_gives_the_same_plan(tmp_path: Path) -> None:
    by_command = json.loads(call("plan", *ON, "--memory-limit", "50%", "--top", "1", "-f", "json").stdout)["plans"][0]
    by_python = planner.plan("llama-3-8b", "dgx-h100", 64, nodes=1, memory_limit=0.5, top=1)
    assert isinstance(by_python, planner.PlanDocument)
    assert by_python.plans[0].step_time_s == by_command["step_time_s"]
    (tmp_path / "plans.toml").write_text(
        '[[plans]]\nname = "small"\nmodel = "llama-3-8b"\ncluster = "dgx-h100"\nnodes = 1\nglobal_batch = 64\n'
        'headroom = "40GiB"\n'
    )
    checked = json.loads(call("planner", "check", str(tmp_path / "plans.toml"), "-f", "json").stdout)["checked"][0]
    assert checked["plan"]["plans"][0]["step_time_s"] == by_command["step_time_s"]


def test_a_refusal_names_the_limit() -> None:
    done = call("planner", "estimate", *ON, "--tp", "2", "--memory-limit", "20GiB")
    assert done.returncode == 3
    assert "the memory limit allows 20.00 GiB of 79.65 GiB" in done.stderr
    assert "--memory-limit" in done.stderr.partition("what would make it fit")[2]
    searched = call("plan", *ON, "--memory-limit", "5%")
    assert searched.returncode == 3
    assert "--memory-limit" in searched.stderr.partition("what would make it fit")[2]


@pytest.mark.parametrize(
    ("given", "unit", "step"),
    mark_full(
        [("--memory-limit 10%", "%", -0.1), ("--headroom 75GiB", "GiB", 1.0), ("--memory-limit 5GiB", "GiB", -0.02)],
        every=3,
    ),
)
def test_a_suggested_limit_has_the_form_of_the_given_one_and_is_the_tightest(
    given: str, unit: str, step: float
) -> None:
    option = given.split()[0]
    advice = call("plan", *ON, *given.split()).stderr.partition("what would make it fit")[2]
    suggested = re.search(rf"{option} ([0-9.]+){unit}", advice)
    assert suggested is not None
    assert most_bytes(option, f"{suggested[1]}{unit}") > 0
    assert call("plan", *ON, option, f"{float(suggested[1]) + step:.4g}{unit}").returncode == 3


@pytest.mark.parametrize("given", ["--headroom 39GiB", "--memory-limit 20%"])
def test_devices_of_the_suggested_memory_are_enough_with_the_same_limit(given: str, tmp_path: Path) -> None:
    def plan_on_devices_of(memory_gib: float) -> subprocess.CompletedProcess[str]:
        file = tmp_path / f"lab-{memory_gib}.toml"
        file.write_text(LAB.format(**DEFAULTS | {"memory": memory_gib, "nodes": 1}))
        return call("plan", "llama-3-8b", "-c", str(file), "-b", "64", *given.split())

    advice = plan_on_devices_of(40).stderr.partition("what would make it fit")[2]
    size_gib = float(advice.partition("devices of ")[2].split()[0])
    assert size_gib > 40
    assert plan_on_devices_of(size_gib).returncode == 0
    assert plan_on_devices_of(size_gib - 0.02).returncode == 3


def test_a_limit_in_bytes_suggests_no_devices_of_more_memory() -> None:
    advice = call("plan", *ON, "--memory-limit", "5GiB").stderr.partition("what would make it fit")[2]
    assert "devices of" not in advice
    large = call("plan", "llama-3.1-405b", *ON[1:], "--memory-limit", "70GiB")
    assert large.returncode == 3
    assert "GiB without --memory-limit" in large.stderr


def test_a_single_plan_is_told_the_limit_that_fits() -> None:
    pinned = ("--tp", "8", "--dp", "1")
    done = call("planner", "estimate", *ON, *pinned, "--memory-limit", "10%")
    limit = re.search(r"--memory-limit ([0-9.]+)%", done.stderr)
    assert limit is not None
    share = float(limit[1])
    assert call("planner", "estimate", *ON, *pinned, "--memory-limit", f"{share}%").returncode == 0
    assert call("planner", "estimate", *ON, *pinned, "--memory-limit", f"{share - 0.2:.1f}%").returncode == 3


def test_a_limit_above_the_memory_is_refused_or_rules_the_cluster_out() -> None:
    limit = ("--memory-limit", "70GiB")
    sized = call("planner", "size", "llama-3-8b", "-c", "l4-pcie", "--tokens", "1B", "--deadline", "30d", *limit)
    changed = call("planner", "what-if", *ON, "--set", "accelerator.memory=40GiB", *limit)
    for done, memory in ((sized, "22.49 GiB"), (changed, "40.00 GiB")):
        assert done.returncode == 2
        assert f"at most the {memory} of the accelerator" in done.stderr
    assert "with the changes" in changed.stderr
    clusters = ("--on", "l4-pcie:4", "--on", "dgx-h100:1")
    compared = call("planner", "compare", "llama-3-8b", *clusters, "--tokens", "1B", *limit, "-f", "json")
    assert compared.returncode == 0
    reasons = {offer["name"]: offer["ruled_out"] for offer in json.loads(compared.stdout)["offers"]}
    assert reasons == {"dgx-h100": "", "l4-pcie": "--memory-limit 70.00 GiB: more memory than there is"}


@pytest.mark.parametrize("command", mark_full(["compare", "what-if", "size"], every=3))
def test_other_commands_accept_a_memory_limit(command: str) -> None:
    arguments = {
        "what-if": (*ON, "--set", "accelerator.memory=+10%"),
        "size": ("llama-3-8b", "-c", "dgx-h100", "--tokens", "100B", "--deadline", "30d"),
        "compare": ("llama-3-8b", "--on", "dgx-h100:1", "--tokens", "1B"),
    }[command]
    key = {"what-if": "before", "size": "answer", "compare": "offers"}[command]
    answers = []
    for options in ((), ("--memory-limit", "30%")):
        done = call("planner", command, *arguments, *options, "-f", "json")
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout)[key])
    assert answers[0] != answers[1]


def test_the_answer_has_the_limit_and_a_stored_plan_keeps_it(tmp_path: Path) -> None:
    table = call("plan", *ON, "--top", "1")
    assert "GiB of 71.7" in table.stdout
    assert "71.68 GiB of 79.65 GiB (90%)" in table.stdout
    assert "GiB of 67.7" in call("plan", *ON, "--memory-limit", "85%", "--top", "1").stdout
    file = tmp_path / "plan.json"
    done = call("plan", *ON, "--memory-limit", "50%", "--top", "1", "-f", "json", "-o", str(file))
    limit_bytes = json.loads(done.stdout)["training"]["memory_limit_bytes"]
    assert limit_bytes == pytest.approx(0.5 * 85520809984)
    explained = call("planner", "explain", str(file), "-f", "json")
    assert json.loads(explained.stdout)["training"]["memory_limit_bytes"] == limit_bytes
    assert "39.82 GiB of 79.65 GiB (50%)" in call("planner", "explain", str(file)).stdout


def test_what_if_has_the_limit_of_both_sides() -> None:
    change = ("--set", "accelerator.memory=100GiB", "--memory-limit", "50%")
    sides = json.loads(call("planner", "what-if", *ON, *change, "-f", "json").stdout)
    assert sides["after"]["training"]["memory_limit_bytes"] == 50 * GIB
    assert sides["after"]["plan"]["memory"]["total_bytes"] <= 50 * GIB
    table = call("planner", "what-if", *ON, *change).stdout
    assert "39.82 GiB of 79.65 GiB (50%) -> 50.00 GiB of 100.00 GiB (50%)" in " ".join(table.split())


@pytest.mark.parametrize(
    ("options", "words"),
    mark_full(
        [
            (("--headroom", "8GiB"), "all but 8.00 GiB"),
            (("--memory-limit", "90%"), "90%"),
            (("--memory-limit", "70GiB"), "70.00 GiB"),
        ],
        every=3,
    ),
)
def test_size_and_compare_have_the_limit_in_words(options: tuple[str, ...], words: str) -> None:
    run = ("llama-3-8b", "--tokens", "1B", *options)
    for arguments in (("size", *run, "-c", "dgx-h100", "--deadline", "30d"), ("compare", *run, "--on", "dgx-h100:1")):
        assert json.loads(call("planner", *arguments, "-f", "json").stdout)["run"]["memory_limit"] == words
        assert f"memory limit {words}" in " ".join(call("planner", *arguments).stdout.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--memory-limit", "much"), "such as 90%, or bytes such as 70GiB"),
        (("--memory-limit", "0%"), "--memory-limit: not an amount of memory"),
        (("--memory-limit", "90GiB"), "at most the 79.65 GiB of the accelerator"),
        (("--headroom", "80GiB"), "--headroom: more memory than there is"),
        (("--headroom", "90%"), "bytes such as 8GiB"),
        (("--memory-limit", "90%", "--headroom", "8GiB"), "--memory-limit, --headroom: conflicting options"),
    ],
)
def test_meaningless_values_are_refused(options: tuple[str, ...], message: str) -> None:
    done = call("plan", *ON, *options)
    assert done.returncode == 2
    assert message in done.stderr


def test_pools_have_the_limit_too() -> None:
    on = ("llama-3-8b", "-c", "dgx-h100:1+dgx-a100:1", "-b", "64", "-f", "json")
    shares = []
    for options in ((), ("--memory-limit", "70%"), WHOLE):
        plans = json.loads(call("plan", *on, *options).stdout)["ways"]
        memory = [pool["memory"] for plan in plans for pool in plan["kinds"]]
        shares.append(max(part["total_bytes"] / part["capacity_bytes"] for part in memory))
    assert shares[1] <= 0.7 < shares[0] <= 0.9 < shares[2] <= 1.0
