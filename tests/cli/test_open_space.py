"""The open space on the command line: settings, objectives, batches, from options and from a file."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from planner.cost.settings import SETTINGS
from tests.cli.run import call
from tests.cli.test_options import read_document
from tests.examples import DEFAULTS, LAB
from tests.sample import mark_full

SMALL = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "2", "--vpp", "1")
ON = (*SMALL, "-b", "64")


def test_open_settings_are_searched_and_each_plan_reports_its_own() -> None:
    result = read_document(*ON, "--dp-overlap", "yes,no", "--order", "tp-cp-dp-pp,tp-cp-pp-dp", "--top", "40")
    assert result["search"]["questions"] == 4
    alone = [
        read_document(*ON, "--dp-overlap", overlap, "--order", order)
        for overlap in ("yes", "no")
        for order in ("tp-cp-dp-pp", "tp-cp-pp-dp")
    ]
    assert result["search"]["candidates"] == sum(pinned_result["search"]["candidates"] for pinned_result in alone)
    assert result["plans"][0]["step_time_s"] == min(
        pinned_result["plans"][0]["step_time_s"] for pinned_result in alone
    )
    best = result["plans"][0]["settings"]
    overlap = "yes" if best["dp_overlap"] else "no"
    pinned = read_document(*ON, "--dp-overlap", overlap, "--order", best["order"])
    assert pinned["plans"][0] == result["plans"][0]


def test_a_file_means_the_same_as_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(
        'tp = [2, 4]\npp = "1..2"\nrecompute = "none"\noffload = ["none", "optimizer"]\ntp-overlap = true\n'
    )
    line = (
        "--tp",
        "2,4",
        "--pp",
        "1..2",
        "--recompute",
        "none",
        "--offload",
        "none,optimizer",
        "--tp-overlap",
        "yes",
    )
    assert read_document(*ON, "--space", str(path)) == read_document(*ON, *line)
    # the command line goes first
    narrower = read_document(*ON, "--space", str(path), "--tp", "4")
    assert {plan["strategy"]["tp"] for plan in narrower["plans"]} == {4}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("tpp = 4\n", ["space.toml", "tpp", "unknown key", "tp"]),
        ("tp = 4.5\n", ["space.toml", "tp", "not a whole number", "4.5"]),
        ("tp = [4\n", ["space.toml", "not valid TOML", "Unclosed array"]),
        ('schedule = "zero-buble"\n', ["space.toml: schedule", "zero-buble", "zero-bubble"]),
    ],
)
def test_a_wrong_space_file_is_reported(text: str, parts: list[str], tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(text)
    done = call("plan", *ON, "--space", str(path))
    assert done.returncode == 2
    for part in parts:
        assert part in done.stderr


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--order", "tp-dp-pp"), ["--order", "tp-dp-pp-cp"]),
        (("--offload", "optimiser"), ["--offload", "optimizer"]),
        (("--shard-group", "0"), ["--shard-group", "0", "whole number"]),
        (("--shard-group", "2", "--zero", "0"), ["--shard-group: has no effect with --zero 0", "--zero 1, 2 or 3"]),
        (("--recompute-layers", "few"), ["--recompute-layers", "few"]),
        (("--objective", "time"), ["--objective", "time", "step-time"]),
        (("--pareto", "cost"), ["--pareto", "two or three different objectives"]),
        (("--pareto", "cost,cost"), ["--pareto", "two or three different objectives"]),
        (("--pareto", "cost,speed"), ["--pareto", "speed"]),
        (("--critical-batch", "many"), ["--critical-batch", "many"]),
        (("--critical-batch", "1M@1T"), ["--critical-batch", "invalid growth of the critical batch"]),
        (
            ("--critical-batch", "1M,4M@1T,8M@1T", "--tokens", "9T"),
            ["--critical-batch", "invalid growth of the critical batch"],
        ),
        (("--critical-batch", "1M,4M@1T"), ["--tokens", "a critical batch that grows needs the length of the run"]),
    ],
)
def test_a_wrong_option_is_reported(options: tuple[str, ...], parts: list[str]) -> None:
    done = call("plan", *ON, *options)
    assert done.returncode == 2
    assert done.stdout == ""
    for part in parts:
        assert part in done.stderr


def test_offload_needs_a_cluster_with_known_hosts() -> None:
    done = call(
        "plan", "llama-3-8b", "-c", "tpu-v4", "--nodes", "16", "-b", "64", "--vpp", "1", "--offload", "optimizer"
    )
    assert done.returncode in (0, 2)
    if done.returncode:
        assert "--offload" in done.stderr and "host" in done.stderr


@pytest.mark.parametrize("objective", ["tokens-per-s-per-device", "cost", "energy", "memory-headroom"])
def test_every_objective_is_reported_and_orders_the_plans(objective: str) -> None:
    result = read_document(*ON, "--objective", objective, "--within", "0")
    assert result["search"]["objectives"] == [objective]
    figure = {
        "tokens-per-s-per-device": lambda plan: -plan["tokens_per_s_per_device"],
        "cost": lambda plan: plan["cost_usd_per_step"],
        "energy": lambda plan: plan["energy_j_per_step"],
        "memory-headroom": lambda plan: plan["memory"]["total_bytes"],
    }[objective]
    figures = [figure(plan) for plan in result["plans"]]
    assert figures == sorted(figures)
    assert figures[0] <= figure(read_document(*ON)["plans"][0])


def test_no_plan_of_a_front_beats_another() -> None:
    plans = read_document(*ON, "--pareto", "step-time,memory-headroom")["plans"]
    figures = [(plan["step_time_s"], plan["memory"]["total_bytes"]) for plan in plans]
    assert len(figures) > 3
    assert figures == sorted(figures)
    assert [memory for _, memory in figures] == sorted((memory for _, memory in figures), reverse=True)
    assert plans[0]["strategy"] == read_document(*ON, "--within", "0")["plans"][0]["strategy"]


def test_a_front_is_reported_from_end_to_end() -> None:
    arguments = (*ON, "--pareto", "step-time,memory-headroom")
    whole, few = read_document(*arguments)["plans"], read_document(*arguments, "--top", "3")["plans"]
    assert (few[0], few[-1], len(few)) == (whole[0], whole[-1], 3)
    assert call("plan", *arguments, "--diverse").returncode == 2
    assert call("plan", *arguments, "--objective", "cost").returncode == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--pareto", "step-time,cost"), "are proportional"),
        (("--critical-batch", "4M"), "has no effect"),
    ],
)
def test_options_without_effect_are_reported(options: tuple[str, ...], message: str) -> None:
    done = call("plan", *ON, *options)
    assert done.returncode == 0
    assert message in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--recompute-layers", "33"), "from 1 to 32"),
        (("--recompute-layers", "2", "--recompute", "none"), "--recompute full"),
        (("--schedule", "zero-bubble", "--pp", "2", "--vpp", "2"), "--schedule"),
        (("--shard-group", "5", "--zero", "1"), "--shard-group"),
        (("--cp-exchange", "all-to-all", "--tp", "8", "--cp", "2", "--seq-length", "8K", "--pp", "1"), ""),
    ],
)
def test_an_infeasible_setting_is_reported(options: tuple[str, ...], message: str) -> None:
    done = call("plan", "llama-3-8b", "-c", "dgx-h100", "--nodes", "2", "-b", "64", *options)
    assert done.returncode == (2 if message else 0), done.stderr
    assert message in done.stderr


def test_every_setting_is_an_option_of_every_command_and_reported_of_every_plan() -> None:
    names = {name.replace("_", "-") for name in SETTINGS}
    for command in ("plan", "estimate", "what-if"):
        text = call("planner", command, "--help").stdout
        assert all(f"--{name} " in text for name in names)
    assert {name.replace("_", "-") for name in read_document(*ON)["plans"][0]["settings"]} == names


def test_the_advice_on_memory_is_enough(tmp_path: Path) -> None:
    def planned(memory: float) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "lab.toml"
        path.write_text(LAB.format(**{**DEFAULTS, "memory": memory}))
        return call("plan", "7B", "-c", str(path), "-b", "16", "--vpp", "1")

    advice = re.search(r"devices of ([0-9.]+) GiB", planned(1).stderr)
    assert advice is not None
    assert planned(float(advice[1])).returncode == 0
    assert planned(float(advice[1]) - 0.05).returncode == 3


def test_diverse_plans_have_different_degrees() -> None:
    plans = read_document(*ON, "--diverse", "--top", "8")["plans"]
    degrees = {tuple(plan["strategy"][name] for name in ("tp", "pp", "dp", "cp", "ep")) for plan in plans}
    assert len(degrees) == len(plans) == 8


def test_a_range_of_batches_is_searched() -> None:
    result = read_document(*SMALL, "-b", "16..128", "--pp", "1")
    assert result["search"]["questions"] == 4
    assert {plan["global_batch"] for plan in result["plans"]} <= {16, 32, 64, 128}
    # the larger the batch the less the step's constants weigh; beyond the critical batch it no longer pays
    assert result["plans"][0]["global_batch"] == 128
    small = read_document(*SMALL, "-b", "16..128", "--pp", "1", "--critical-batch", "100K tokens")
    assert small["plans"][0]["global_batch"] < 128
    grown = ("--critical-batch", "100K tokens, 8M@1T", "--tokens", "1000T")
    assert (
        read_document(*SMALL, "-b", "16..128", "--pp", "1", *grown)["plans"][0]["global_batch"]
        > small["plans"][0]["global_batch"]
    )


def test_the_batch_may_be_given_in_tokens() -> None:
    tokens = read_document(*SMALL, "-b", "128K..512K tokens", "--pp", "1")
    assert tokens["search"]["questions"] == 3  # 16, 32, 64 sequences
    assert tokens["plans"][0]["global_batch"] in (16, 32, 64)


def test_experts_may_be_cut_like_the_other_layers() -> None:
    arguments = ("mixtral-8x7b", "-c", "dgx-h100", "--nodes", "4", "-b", "64", "--vpp", "1", "--tp", "4", "--pp", "1")
    result = read_document(*arguments, "--top", "200", "--no-diverse")
    assert {plan["strategy"]["etp"] for plan in result["plans"]} == {1, 4}
    assert {plan["strategy"]["etp"] for plan in read_document(*arguments, "--etp", "4")["plans"]} == {4}


def test_layers_that_stages_do_not_divide_are_partitioned_as_evenly_as_possible() -> None:
    arguments = ("llama-3-70b", "-c", "dgx-h100", "--nodes", "6", "-b", "48", "--pp", "6", "--tp", "8")
    result = read_document(*arguments)
    assert result["plans"][0]["strategy"]["pp"] == 6


def test_the_search_reports_how_many_candidates_each_rule_cut() -> None:
    search = json.loads(call("plan", *ON, "-f", "json").stdout)["search"]
    assert search["candidates"] == search["feasible"] + sum(search["cut_by"].values())
    assert search["exact"] is True


@pytest.mark.parametrize(
    ("setting", "without", "heeded"),
    mark_full(
        [
            ("--tp-overlap yes", "tp 1", "--tp 2 --sequence-parallel"),
            ("--dp-overlap no", "dp 1", "--dp 2"),
            ("--cp-exchange all-gather", "cp 1", "--cp 2"),
            ("--communication bf16", "dp 1", "--dp 2"),
        ],
        every=4,
    ),
)
def test_a_pinned_setting_without_effect_is_reported(setting: str, without: str, heeded: str) -> None:
    arguments, pins = ("gpt-1.7b", "-c", "dgx-h100", "-b", "8", "-f", "json"), setting.split()
    bare, idle = (call("planner", "estimate", *arguments, "--devices", "1", *extra) for extra in ([], pins))
    assert idle.stderr == f"warning: {setting} makes no difference: the plan has {without}\n"
    assert bare.stderr == ""
    first, second = (json.loads(done.stdout)["plans"][0] for done in (bare, idle))
    assert first["terms"] == second["terms"]
    assert call("planner", "estimate", *arguments, "--devices", "2", *pins, *heeded.split()).stderr == ""
    searched = call("plan", *arguments, "--devices", "1", *pins)
    assert (searched.returncode, setting in searched.stderr) == (0, True)
    # the search chooses the values that are left open
    usual = {"yes": "no", "no": "yes", "zero-bubble": "1f1b", "all-gather": "ring", "bf16": "fp32"}
    several = f"{usual[pins[1]]},{pins[1]}"
    assert "no difference" not in call("plan", *arguments, "--devices", "1", pins[0], several).stderr


def test_the_simplest_of_nearly_equal_plans_is_first_and_the_fastest_second() -> None:
    preferred, fastest = read_document(*ON), read_document(*ON, "--within", "0")
    best = fastest["plans"][0]
    assert fastest["search"] | {"within": 0.0, "excess": 0.0} == fastest["search"]
    search, plans = preferred["search"], preferred["plans"]
    assert 0.05 < search["within"] < 0.12
    assert search["excess"] == pytest.approx(plans[0]["step_time_s"] / best["step_time_s"] - 1.0)
    assert best["step_time_s"] in [plan["step_time_s"] for plan in plans[:2]]
    assert not any(plan["told_apart"] for plan in plans[:2])
    narrow = read_document(*ON, "--within", "0.5%")
    assert narrow["plans"][0]["step_time_s"] <= 1.005 * best["step_time_s"]


def test_the_usual_layout_is_a_row_of_its_own_or_named_among_the_plans() -> None:
    on = ("llama-3-70b", "-c", "dgx-h100", "--nodes", "8", "-b", "256")
    usual = read_document(*on)["usual"]
    degrees = {name: usual["plan"]["strategy"][name] for name in ("tp", "pp", "cp")}
    assert degrees == {"tp": 4, "pp": 4, "cp": 2} and usual["url"].startswith("https://github.com/")
    # without the plans that have its degrees it is not among them
    alone = read_document(*on, "--top", "1", "--within", "50%")
    table = call("plan", *on, "--top", "1", "--within", "50%").stdout
    assert alone["usual"]["rank"] == 0
    assert alone["usual"]["excess"] == pytest.approx(
        alone["usual"]["plan"]["step_time_s"] / alone["plans"][0]["step_time_s"] - 1.0
    )
    assert any(line.startswith("usual") for line in table.splitlines())
    # other degrees are given, or no such model is known
    assert read_document(*on, "--tp", "8")["usual"] is None
    assert read_document("llama-2-13b", *on[1:])["usual"] is None


def test_a_deep_odd_pipeline_is_the_batch_s_doing_and_no_bargain() -> None:
    """360 devices have a factor of 45: where the batch has none of it, pipelines have to take it."""
    on = ("llama-3-70b", "-c", "mi300x", "--nodes", "45", "--within", "0", "--no-diverse")
    forced, free = (read_document(*on, "-b", batch)["plans"] for batch in ("512", "720"))
    assert all(plan["strategy"]["pp"] % 45 == 0 for plan in forced)
    assert free[0]["strategy"]["pp"] < 10
    assert free[0]["tokens_per_s"] > 1.25 * forced[0]["tokens_per_s"]
