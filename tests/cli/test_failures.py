"""What failures leave of a plan, from the outside."""

import json
from pathlib import Path

import pytest

from tests.cli.run import call
from tests.examples import DEFAULTS, LAB

PLAN = ("--tp", "8", "--pp", "4", "--zero", "1", "--sequence-parallel", "--tokens", "1T")
ARGUMENTS = ("llama-3-70b", "--cluster", "dgx-h100", "--nodes", "64", "--global-batch", "1024", *PLAN)


def estimate(*options: str) -> dict:
    done = call("planner", "estimate", *ARGUMENTS, "--format", "json", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def plain() -> dict:
    return estimate()


def test_the_goodput_and_the_lost_shares_add_up(plain: dict) -> None:
    part = plain["reliability"]
    assert part["goodput_share"] + sum(part["wasted"].values()) == pytest.approx(1.0, abs=1e-9)
    plan, run = plain["plans"][0], plain["run"]
    assert part["goodput_tokens_per_s"] == pytest.approx(part["goodput_share"] * plan["tokens_per_s"])
    assert run["days_with_failures"] == pytest.approx(run["days"] / part["goodput_share"])
    saved = part["checkpoint"]
    assert saved["interval_s"] == pytest.approx(saved["interval_steps"] * plan["step_time_s"])
    assert saved["bytes"] == pytest.approx(14 * plain["model"]["parameters"])
    assert 1 / part["mtbf_s"] == pytest.approx(sum(1 / mean for mean in part["mtbf_by_cause"].values()))


def test_failures_change_only_the_figures_of_failures(plain: dict) -> None:
    without = estimate("--no-failures")
    assert without["reliability"] is None
    rest = {**plain, "reliability": None, "run": {**plain["run"]}}
    for name in ("days_with_failures", "days_with_failures_p10", "days_with_failures_p90"):
        assert without["run"][name] is None
        rest["run"][name] = None
    assert rest == without


@pytest.mark.parametrize(
    ("option", "value", "name", "amount"),
    [
        ("--mtbf-device", "5y", "device_mtbf_s", 5 * 365.25 * 86400),
        ("--mtbf-node", "50000h", "node_mtbf_s", 1.8e8),
        ("--checkpoint-bandwidth", "200GB/s", "write_bytes_per_s", 2e11),
        ("--restart-time", "10min", "restart_s", 600.0),
        ("--repair-time", "1w", "repair_s", 604800.0),
    ],
)
def test_an_option_is_taken_and_named_as_the_source(option: str, value: str, name: str, amount: float) -> None:
    figures = {assumption["name"]: assumption for assumption in estimate(option, value)["reliability"]["assumed"]}
    assert figures[name]["value"] == pytest.approx(amount)
    assert figures[name]["source"] == option


def test_better_hardware_leaves_more_goodput(plain: dict) -> None:
    share = plain["reliability"]["goodput_share"]
    assert estimate("--mtbf-device", "50y")["reliability"]["goodput_share"] > share
    assert estimate("--restart-time", "1h")["reliability"]["goodput_share"] < share
    assert estimate("--spares", "0")["reliability"]["goodput_share"] < share
    behind = estimate("--async-checkpoint")["reliability"]
    assert behind["checkpoint"]["blocked_s"] < plain["reliability"]["checkpoint"]["blocked_s"]
    assert behind["goodput_share"] > share
    shrunk = estimate("--spares", "0", "--shrink")["reliability"]
    assert shrunk["spares"]["when_short"] == "shrink"
    assert shrunk["goodput_share"] > estimate("--spares", "0")["reliability"]["goodput_share"]


def test_zero_goodput_is_reported_without_a_number_of_days() -> None:
    document = estimate("--mtbf-device", "1s", "--spares", "1")
    assert document["reliability"]["goodput_share"] == 0
    assert document["run"]["days_with_failures"] is None


def test_a_run_that_never_completes_is_reported_plainly() -> None:
    for options in (("--mtbf-device", "1s", "--spares", "1"), ("--mtbf-device", "1s")):
        done = call("planner", "estimate", *ARGUMENTS, *options, "--tokens", "1T")
        assert "without failures; with them it never ends." in done.stdout
        assert "the run never ends (goodput 0)" in done.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--mtbf-device", "50000"), ("--mtbf-device", "unit", "50000h")),
        (("--mtbf-node", "0h"), ("--mtbf-node", "above zero")),
        (("--restart-time", "10GB"), ("--restart-time", "duration")),
        (("--checkpoint-bandwidth", "200GB"), ("--checkpoint-bandwidth", "rate")),
        (("--spares", "-1"), ("--spares", "from 0")),
        (("--spares", "1.5"), ("--spares", "whole")),
        (("--no-failures", "--spares", "1"), ("--no-failures", "--spares", "one of the two")),
        (("--no-failures", "--mtbf-device", "5y"), ("--no-failures", "--mtbf-device")),
    ],
)
def test_meaningless_values_are_refused(options: tuple[str, ...], words: tuple[str, ...]) -> None:
    done = call("planner", "estimate", *ARGUMENTS, *options)
    assert done.returncode == 2 and not done.stdout
    assert all(word in done.stderr for word in words), done.stderr


OWN = """
[reliability]
device_mtbf = "2y"
spares = 3

[storage]
write = "50GB/s"
asynchronous = true
"""


def plan_lab(tables: str, tmp_path: Path, *options: str) -> tuple[int, str, str]:
    file = tmp_path / "lab.toml"
    file.write_text(LAB.format(**DEFAULTS) + tables)
    done = call("plan", "1B", "--cluster", str(file), "--global-batch", "64", "--format", "json", *options)
    return done.returncode, done.stdout, done.stderr


def test_the_clusters_file_gives_figures_and_the_command_line_overrides_them(tmp_path: Path) -> None:
    code, out, err = plan_lab(OWN, tmp_path, "--spares", "1")
    assert code == 0, err
    part = json.loads(out)["reliability"]
    figures = {assumption["name"]: (assumption["value"], assumption["source"]) for assumption in part["assumed"]}
    assert figures["device_mtbf_s"] == (2 * 365.25 * 86400, "the cluster's file")
    assert figures["write_bytes_per_s"] == (5e10, "the cluster's file")
    assert "arXiv" in figures["node_mtbf_s"][1]
    assert part["spares"]["nodes"] == 1 and part["checkpoint"]["asynchronous"]
    assert not json.loads(plan_lab(OWN, tmp_path, "--sync-checkpoint")[1])["reliability"]["checkpoint"][
        "asynchronous"
    ]


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ("[reliability]\ndevice_mtbf = 5\n", ("reliability.device_mtbf", "unit")),
        ('[reliability]\nnode_mtbf = "0h"\n', ("reliability.node_mtbf", "above zero")),
        ('[reliability]\nnode_mbtf = "5y"\n', ("reliability.node_mbtf", "node_mtbf")),
        ('[storage]\nwrite = "5y"\n', ("storage.write", "rate")),
        ("[reliability]\nspares = -1\n", ("reliability.spares", "0")),
    ],
)
def test_a_wrong_table_is_refused(tables: str, words: tuple[str, ...], tmp_path: Path) -> None:
    code, out, err = plan_lab(tables, tmp_path)
    assert code == 2 and not out
    assert all(word in err for word in words), err


def test_the_terminal_output_summarises_failures() -> None:
    done = call("planner", "estimate", *ARGUMENTS, "--spares", "0", "--mtbf-device", "5y")
    lines = done.stdout.splitlines()
    failures = next(line for line in lines if line.startswith("Failures: "))
    assumed = next(line for line in lines if line.startswith("Assumed: "))
    assert "Failures: MTBF " in failures and "stops training for" in failures
    assert "; no spare node, 2 would pay off." in failures
    assert "MTBF of a device 5.00 y (--mtbf-device)" in assumed and "--format json lists all" in assumed
    assert any(line.startswith("1T tokens:") and line.endswith(" with failures.") for line in lines)
    quiet = call("planner", "estimate", *ARGUMENTS, "--no-failures").stdout
    assert "Failures" not in quiet and "with failures" not in quiet


def test_a_degraded_cluster_is_reported_too(tmp_path: Path) -> None:
    code, out, err = plan_lab(OWN, tmp_path, "--fault", "node-3=0.5")
    assert code == 0, err
    document = json.loads(out)
    figures = {assumption["name"]: assumption["source"] for assumption in document["reliability"]["assumed"]}
    assert document["placement"] is not None and figures["device_mtbf_s"] == "the cluster's file"
