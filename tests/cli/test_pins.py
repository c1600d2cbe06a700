"""Pins, batch and cluster that leave no candidate: the conflicting option, its value, and what is valid."""

import json

import pytest

from tests.cli.run import call

TWO = ("-c", "dgx-h100", "--nodes", "2")
ON = (*TWO, "-b", "64")
DENSE = ("llama-3-8b", *ON)
PLANS: list[tuple[tuple[str, ...], list[str]]] = [
    ((*DENSE, "--micro-batch", "3"), ["--micro-batch:", "3", "one of 1, 2, 4, 8, 16, 32, 64"]),
    ((*DENSE, "--micro-batch", "65"), ["--micro-batch:", "65", "one of 1, 2, 4"]),
    ((*DENSE, "--ep", "2"), ["--ep:", "2", "1 (the model has no experts)"]),
    ((*DENSE, "--vpp", "100"), ["--vpp:", "100", "from 1 to 17"]),
    ((*DENSE, "--pp", "2", "--vpp", "33"), ["--vpp:", "33", "from 1 to 17"]),
    (("mixtral-8x7b", *ON, "--ep", "3"), ["--ep:", "3", "one of 1, 2, 4, 8"]),
    ((*DENSE, "--pp", "1", "--vpp", "2"), ["--pp, --vpp:", "--pp one of 2, 4, 8, 16", "--vpp 1 with --pp 1"]),
    ((*DENSE, "--dp", "1", "--cp", "1", "--zero", "1"), ["--dp, --cp, --zero:", "--zero 0 with"]),
    ((*DENSE, "--tp", "1", "--sequence-parallel"), ["--tp one of 2, 4, 8, 16 with --sequence-parallel"]),
    ((*DENSE, "--tp", "16", "--pp", "2"), ["product 32", "16 devices", "--pp 1 with --tp 16"]),
]
ESTIMATES: list[tuple[tuple[str, ...], list[str]]] = [
    (("llama-3-8b", *TWO, "-b", "63"), ["--global-batch:", "63", "multiple of 16", "64 or 48"]),
    (("llama-3-8b", *TWO, "-b", "63", "--tp", "8", "--micro-batch", "2"), ["multiple of 4", "64 or 60"]),
    (("llama-3-8b", *TWO, "-b", "63", "--tp", "16", "--pp", "2"), ["--tp, --pp:", "product 32"]),
    ((*DENSE, "--sequence-parallel"), ["--sequence-parallel:", "with --tp 1", "remove the option"]),
    ((*DENSE, "--vpp", "4"), ["--vpp:", "with --pp 1", "4", "expected: 1 "]),
    ((*DENSE, "--tp", "16", "--pp", "2"), ["--tp, --pp:", "product 32", "--tp one of 1, 2, 4, 8 with --pp 2"]),
    ((*DENSE, "--micro-batch", "3"), ["--micro-batch:", "3", "one of 1, 2, 4"]),
    ((*DENSE, "--dp", "8"), ["--dp:", "8", "expected: 16"]),
    ((*DENSE, "--tp", "2", "--dp", "8", "--vpp", "3"), ["--vpp: conflicts with --pp 1"]),
    ((*DENSE, "--ep", "2"), ["--ep:", "2", "no experts"]),
]


def read_refusal(program: tuple[str, ...], arguments: tuple[str, ...], parts: list[str]) -> str:
    done = call(*program, *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    for part in parts:
        assert part in done.stderr
    return done.stderr


@pytest.mark.parametrize(("arguments", "parts"), PLANS, ids=[" ".join(case[0]) for case in PLANS])
def test_an_infeasible_pin_of_the_search_is_reported(arguments: tuple[str, ...], parts: list[str]) -> None:
    read_refusal(("plan",), arguments, parts)


@pytest.mark.parametrize(("arguments", "parts"), ESTIMATES, ids=[" ".join(case[0]) for case in ESTIMATES])
def test_an_infeasible_pin_of_an_estimate_is_reported(arguments: tuple[str, ...], parts: list[str]) -> None:
    read_refusal(("planner", "estimate"), arguments, parts)


def test_only_the_conflicting_options_are_named() -> None:
    for arguments in ((*DENSE, "--vpp", "4"), ("llama-3-8b", *TWO, "-b", "63"), (*DENSE, "--sequence-parallel")):
        message = read_refusal(("planner", "estimate"), arguments, [])
        for other in {"--zero", "--recompute", "--micro-batch", "--ep", "--dp"} - {*arguments}:
            assert other not in message
    assert "sequence" not in read_refusal(("plan",), (*DENSE, "--pp", "1", "--vpp", "2"), [])


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("llama-3-8b", "--nodes", "37"), ["296 devices", "multiple of 37", "1036 or 999", "--nodes 32 or 64"]),
        (("llama-3-70b", "--nodes", "1000000"), ["multiple of 625", "1250 or 625", "--nodes 655360 or 1048576"]),
    ],
)
def test_an_indivisible_batch_gets_the_nearest_divisible_batches(
    arguments: tuple[str, ...], parts: list[str]
) -> None:
    read_refusal(("plan",), (*arguments, "-c", "dgx-h100", "-b", "1024"), parts)


def test_the_advice_on_the_batch_works() -> None:
    for nodes, batch in (("37", "999"), ("32", "1024"), ("64", "1024")):
        done = call("plan", "llama-3-8b", "-c", "dgx-h100", "--nodes", nodes, "-b", batch, "-f", "json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["search"]["feasible"] > 0


def test_infeasible_values_of_a_list_are_reported_in_a_single_line() -> None:
    done = call("plan", *DENSE, "--tp", "4,8,999", "-f", "json")
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "--tp: no candidate can have 999" in done.stderr
    assert {plan["strategy"]["tp"] for plan in json.loads(done.stdout)["plans"]} <= {4, 8}


def test_a_range_may_hold_values_that_cannot_be_used() -> None:
    assert call("plan", *DENSE, "--tp", "4..8", "-f", "json").stderr == ""
