"""`planner what-if` and `plan --uncertainty` from the outside."""

import io
import json
import re

import jsonschema
import msgspec
import pytest
from rich.console import Console

from planner.cli import app
from planner.cli.commands import what_if
from planner.documents.what_if import WhatIfDocument
from planner.report.formats.registry import build_report
from planner.report.formats.terminal import print_report
from planner.report.views import plan_words
from planner.units import format_bytes
from tests.cli.run import call
from tests.cli.test_completion import complete
from tests.sample import mark_full
from tests.schemas import validate_document

MAIN = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "2", "-b", "64")
PINNED = (*MAIN, "--pp", "1,2", "--cp", "1", "--vpp", "1")


def run_what_if(*arguments: str) -> dict:
    done = call("planner", "what-if", *arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert json.loads(call("planner", "schema", "what-if").stdout) == WhatIfDocument.build_json_schema()
    validate_document(document, WhatIfDocument.build_json_schema())
    return document


@pytest.fixture(scope="module")
def document() -> dict:
    return run_what_if(*PINNED, "--set", "fabric.bandwidth=0.1x", "--set", "accelerator.memory=141GiB")


def test_the_document_has_both_plans(document: dict) -> None:
    changes = document["changes"]
    assert [part["key"] for part in changes] == ["fabric.bandwidth", "accelerator.memory"]
    assert changes[0]["after"] == changes[0]["before"] * 0.1
    assert changes[1]["after"] == 141 * 2**30
    plain = json.loads(call("plan", *PINNED, "--within", "0", "--top", "1", "--format", "json").stdout)
    before, after = document["before"], document["after"]
    assert before["plan"] == plain["plans"][0]
    assert {name: before[name] for name in ("model", "cluster", "training", "search")} == {
        name: plain[name] for name in ("model", "cluster", "training", "search")
    }
    assert after["plan"]["memory"]["capacity_bytes"] == 141 * 2**30
    difference = document["difference"]
    assert difference["step_time_s"] == after["plan"]["step_time_s"] - before["plan"]["step_time_s"]
    assert sum(difference["memory_bytes"].values()) == pytest.approx(
        after["plan"]["memory"]["total_bytes"] - before["plan"]["memory"]["total_bytes"]
    )
    assert document["kept"]["regret"] >= 0
    slopes = {part["figure"]: part for part in document["elasticities"]}
    assert -1 < slopes["peak"]["before"] < -0.5


def test_the_schema_is_strict(document: dict) -> None:
    for wrong in ({**document, "extra": 1}, {**document, "schema_version": "9"}, {**document, "changes": []}):
        with pytest.raises(jsonschema.ValidationError):
            validate_document(wrong, WhatIfDocument.build_json_schema())


def test_the_scenario_itself_can_be_changed() -> None:
    document = run_what_if(
        *PINNED,
        *("--set", "cluster.nodes=2x", "--set", "training.global_batch=+100%"),
        *("--set", "training.precision=fp8", "--set", "model.seq_length=4K"),
    )
    after = document["after"]
    assert after["cluster"]["nodes"] == 4
    assert after["training"]["global_batch"] == 128
    assert after["training"]["precision"] == "fp8"
    assert after["model"]["seq_length"] == 4096
    assert document["changes"][0] | {"given": ""} == {
        "key": "cluster.nodes", "given": "", "unit": "", "before": 2, "after": 4,
    }  # fmt: skip
    plain = call("plan", "llama-3-8b", "-c", "dgx-h100", "--nodes", "4", "-b", "128", "--precision", "fp8",
                 "--seq-length", "4096", *PINNED[7:], "--within", "0", "--top", "1", "-f", "json")  # fmt: skip
    assert json.loads(plain.stdout)["plans"][0] == after["plan"]


def test_the_plan_as_it_is_comes_first_and_then_what_planning_again_brings() -> None:
    done = call("planner", "what-if", *PINNED, "--set", "fabric.bandwidth=2x")
    sentences = done.stdout.rstrip().splitlines()[-3:]
    beginnings = ("With the changes the plan as it is takes ", "Planned again, ", "The fastest plans count here")
    assert [sentence.startswith(begin) for sentence, begin in zip(sentences, beginnings, strict=True)] == [True] * 3
    document = run_what_if(*PINNED, "--set", "cluster.nodes=2x")
    kept_part = document["kept"]
    assert kept_part["speedup"] == kept_part["plan"]["tokens_per_s"] / document["before"]["plan"]["tokens_per_s"]
    assert kept_part["plan"]["step_time_s"] >= document["after"]["plan"]["step_time_s"]
    assert kept_part["regret"] >= 0
    assert kept_part["regret"] > 0 or not kept_part["best_told_apart"]


@pytest.mark.parametrize(
    ("change", "arguments"),
    [
        ("cluster=dgx-a100", ("-c", "dgx-a100", "--nodes", "2")),
        ("training.trainer=torchtitan", ("-c", "dgx-h100", "--nodes", "2", "--trainer", "torchtitan")),
    ],
)
def test_a_whole_part_exchanged_is_planned_as_if_it_had_been_given(change: str, arguments: tuple[str, ...]) -> None:
    document = run_what_if(*PINNED, "--set", change)
    pins = ("--pp", "1,2", "--cp", "1", "--vpp", "1", "-b", "64")
    plain = json.loads(call("plan", "llama-3-8b", *arguments, *pins, "--top", "1", "-f", "json").stdout)
    assert document["after"]["plan"] == plain["plans"][0]
    assert document["changes"][0]["after"] == change.partition("=")[2] or "@" in document["changes"][0]["after"]


def test_an_accelerator_is_exchanged_alone() -> None:
    document = run_what_if(*PINNED, "--set", "accelerator=h200-sxm")
    before, after = document["before"], document["after"]
    assert (before["cluster"]["accelerator"], after["cluster"]["accelerator"]) == ("h100-sxm-80gb", "h200-sxm")
    assert after["cluster"]["name"] == before["cluster"]["name"] == "dgx-h100"
    assert after["plan"]["memory"]["capacity_bytes"] > before["plan"]["memory"]["capacity_bytes"]
    assert document["kept"]["speedup"] > 1  # more memory bandwidth at the same peak
    node = run_what_if(*PINNED, "--set", "node=dgx-h200")
    assert node["after"]["plan"]["step_time_s"] == pytest.approx(after["plan"]["step_time_s"], rel=0.02)


VALUES = {"accelerator": "h200-sxm", "node": "dgx-h200", "cluster": "dgx-h200", "training.trainer": "megatron-lm"} | {
    "training.precision": "fp8",
    "model.seq_length": "4096",
    "accelerator.power": "900W",
}


@pytest.mark.parametrize("key", mark_full((*what_if.NAME_KEYS, *what_if.AMOUNT_KEYS), every=5))
def test_every_key_of_the_help_can_be_set(key: str) -> None:
    pins = ("--tp", "1", "--pp", "1", "--zero", "1", "--micro-batch", "1")
    done = call("planner", "what-if", *PINNED[:7], *pins, "--set", f"{key}={VALUES.get(key, '2x')}")
    assert done.returncode == 0, (key, done.stderr)
    assert f"{key}: " in done.stdout


def test_the_help_lists_the_keys_and_the_shell_completes_them_and_their_names() -> None:
    help_text = "".join(call("planner", "what-if", "--help").stdout.split())
    for key in (*what_if.NAME_KEYS, *what_if.AMOUNT_KEYS):
        assert key in help_text
        assert f"{key}=" in complete("planner", "what-if", "70B", "--set", key)
    assert "accelerator=h200-sxm" in complete("planner", "what-if", "70B", "--set", "accelerator=h2")
    assert complete("planner", "what-if", "70B", "--set", "cluster=dgx-b2") == ["cluster=dgx-b200"]


def test_price_and_power_change_money_and_energy_alone() -> None:
    document = run_what_if(*PINNED, "--set", "accelerator.price=1USD", "--set", "node.link.latency=3.4us")
    before, after = document["before"]["plan"], document["after"]["plan"]
    assert after["step_time_s"] == before["step_time_s"]
    assert after["cost_usd_per_step"] == pytest.approx(after["step_time_s"] * 16 / 3600)
    assert document["same_plan"] is True
    assert document["kept"]["regret"] == 0


def test_a_link_to_the_host_counts_where_something_is_offloaded() -> None:
    document = run_what_if(*PINNED, "--offload", "optimizer", "--set", "host.link=2x")
    assert document["after"]["plan"]["terms"]["offload"] < document["before"]["plan"]["terms"]["offload"]
    slopes = {elasticity["figure"]: elasticity["before"] for elasticity in document["elasticities"]}
    assert slopes["host_link"] < 0
    assert slopes["host_bandwidth"] < 0


def test_the_table_names_every_figure() -> None:
    done = call("planner", "what-if", *PINNED, "--set", "fabric.bandwidth=0.1x")
    assert done.returncode == 0, done.stderr
    for part in (
        *("fabric.bandwidth: 50.0 GB/s -> 5.00 GB/s (0.1x)", "as it is", "changed", "difference"),
        *("tp", "zero stage", "schedule", "shard group", "step", "forward", "data parallel, overlapped"),
        *("memory", "weights", "capacity", "tokens/s", "MFU", "cost of a step", "energy of a step"),
        *("With the changes the plan as it is", "Planned again"),
        *("Elasticity: percent of step time per percent of", "peak FLOP/s", "network latency"),
    ):
        assert part in done.stdout
    tables = done.stdout.partition("With the changes")[0]
    assert max(map(len, tables.splitlines())) < 140


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_figure_is_cut_in_a_narrow_terminal(width: int, document: dict) -> None:
    out = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, highlight=False)
    whole = msgspec.convert(document, WhatIfDocument)
    print_report(build_report(whole), out)
    assert isinstance(out.file, io.StringIO)
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.file.getvalue())
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for plan in (whole.before.plan, whole.after.plan):
        assert plan_words.format_step(plan).split(" (")[0] in text
        assert format_bytes(plan.memory.total_bytes) in text


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        (("fabric.bandwith=2x",), ["--set: fabric.bandwith: unknown key", "did you mean fabric.bandwidth?"]),
        (("fabric.bandwidth=400",), ["without a unit", "800Gb/s", "2x", "+20%"]),
        (("fabric.bandwidth",), ["not KEY=VALUE"]),
        (("fabric.bandwidth=2x", "fabric.bandwidth=2x"), ["set twice"]),
        (("cluster.nodes=0",), ["--set: cluster.nodes", "from 1"]),
        (("cluster.nodes=0.3x",), ["cluster.nodes", "whole number"]),
        (("training.precision=fp9",), ["--set: training.precision", "fp8"]),
        (("training.global_batch=1..4",), ["--set: training.global_batch", "single batch"]),
        (("cluster.nodes=1", "fabric.bandwidth=2x"), ["no such figure"]),
    ],
)
def test_bad_changes_are_reported(changes: tuple[str, ...], messages: list[str]) -> None:
    done = call("planner", "what-if", *MAIN, *(word for change in changes for word in ("--set", change)))
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    for part in messages:
        assert part in done.stderr


def test_a_part_of_a_node_has_no_other_nodes() -> None:
    done = call("planner", "what-if", "llama-3-8b", "-c", "dgx-h100", "--devices", "4", "-b", "64",
                "--set", "cluster.nodes=2x")  # fmt: skip
    assert done.returncode == 2
    assert "whole nodes" in done.stderr


def test_where_no_plan_fits_with_the_changes_the_exit_code_is_3() -> None:
    done = call("planner", "what-if", *PINNED, "--set", "accelerator.memory=3GiB")
    assert done.returncode == 3
    assert "with the changes, no plan fits" in done.stderr


def test_uncertainty_is_reported_on_request() -> None:
    outputs = [call("plan", *PINNED, "--uncertainty", "20", "-f", "json").stdout for _ in range(2)]
    assert outputs[0] == outputs[1]
    result = json.loads(outputs[0])
    schema = json.loads(call("planner", "schema").stdout)
    validate_document(result, schema)
    part = result["uncertainty"]
    assert part["samples"] == 20
    assert 0 <= part["first_share"] <= 1
    assert part["regret"]["mean"] >= 0
    assert part["step_time_s"]["p10"] < part["step_time_s"]["p90"]
    plain = json.loads(call("plan", *PINNED, "-f", "json").stdout)
    assert plain["uncertainty"] is None
    assert {**result, "uncertainty": None} == plain


def test_uncertainty_without_a_number_takes_the_default_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_DEFAULT_SAMPLES", 12)
    degrees = ("--tp", "8", "--pp", "1", "--cp", "1", "--vpp", "1", "--micro-batch", "1", "--zero", "1")
    done = call("plan", "--uncertainty", "7B", *MAIN[1:], *degrees)
    assert done.returncode == 0, done.stderr
    assert "Uncertainty: over 12 samples of the fitted parameters plan 1 takes" in done.stdout
    # a number is filled in before an option too: what is refused is the objective
    refused = call("plan", *MAIN, *degrees, "--uncertainty", "--objective", "memory-headroom")
    assert refused.returncode == 2
    assert "memory has no fitted parameter" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--uncertainty", "1"), "from 2"),
        (("--uncertainty", "20", "--pareto", "step-time,energy"), "--objective, not --pareto"),
        (("--uncertainty", "20", "--objective", "memory-headroom"), "memory has no fitted parameter"),
    ],
)
def test_unsupported_uncertainty_is_reported(arguments: tuple[str, ...], message: str) -> None:
    done = call("plan", *PINNED, *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
