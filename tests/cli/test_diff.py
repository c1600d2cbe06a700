"""`planner diff`: documents of plan, estimate and check, compared; other files refused."""

import json
import re
from pathlib import Path

import pytest

from planner.report.formats.json_text import render_json
from tests.cli.run import call
from tests.report.compared import base, check_document, check_of, checked, diff_document, head
from tests.report.test_compared_forms import CHECK
from tests.schemas import validate_document


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    for name, document in (("base", base()), ("head", head())):
        (tmp_path / f"{name}.json").write_text(render_json(document))
    return str(tmp_path / "base.json"), str(tmp_path / "head.json")


@pytest.fixture(scope="module")
def schema() -> dict:
    return json.loads(call("planner", "schema", "diff").stdout)


def test_two_plans_are_compared(files: tuple[str, str], schema: dict) -> None:
    done = call("planner", "diff", *files, "-f", "json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    validate_document(document, schema)
    (part,) = document["differences"]
    assert part["why"]["term"] == "pipeline_bubble"
    assert call("planner", "diff", files[0], files[0]).stdout.splitlines()[0].endswith("1 plan unchanged")


def test_documents_of_check_match_the_schema(schema: dict) -> None:
    document = json.loads(render_json(diff_document()))
    validate_document(document, schema)
    assert document["schema_version"] in schema["title"]


def test_two_files_of_plans_are_compared_by_name(tmp_path: Path) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_text(render_json(check_document()))
    after.write_text(render_json(check_of(checked("plain", 3, base()), checked("other", 9, head()))))
    done = call("planner", "diff", str(before), str(after), "--format", "markdown")
    assert done.returncode == 0, done.stderr
    assert "## planner: 1 plan changed, 1 added, 2 removed" in done.stdout
    assert "<details><summary>plain: all terms of the step</summary>" in done.stdout


def test_real_plans_are_compared(tmp_path: Path) -> None:
    arguments = ("llama-3-8b", "-c", "dgx-h100", "-b", "64", "--vpp", "1", "-f", "json", "--nodes")
    for name, nodes in (("base", "1"), ("head", "2")):
        (tmp_path / f"{name}.json").write_text(call("plan", *arguments, nodes).stdout)
    done = call("planner", "diff", str(tmp_path / "base.json"), str(tmp_path / "head.json"), "-f", "json")
    part = json.loads(done.stdout)["differences"][0]
    assert {"nodes", "devices"} <= {figure["name"] for figure in part["inputs"]}
    assert part["why"]["term"] == "backward"
    assert "strategy.dp" in part["why"]["because"]


@pytest.mark.full
def test_heterogeneous_plans_are_compared(tmp_path: Path) -> None:
    arguments = ("llama-3-8b", "-c", "dgx-h100:1+dgx-a100:1", "--cp", "1", "--pp", "1", "-f", "json")
    for name, batch in (("base", "64"), ("head", "128")):
        done = call("plan", *arguments, "-b", batch, "--tp", "2", "--vpp", "1")
        (tmp_path / f"{name}.json").write_text(done.stdout)
    files = (str(tmp_path / "base.json"), str(tmp_path / "head.json"))
    done = call("planner", "diff", *files, "-f", "json", "--require", "change.global_batch == 100%")
    assert done.returncode == 0, done.stderr
    part = json.loads(done.stdout)["differences"][0]
    assert "global_batch" in {figure["name"] for figure in part["inputs"]}
    assert "strategy.split" in {figure["name"] for figure in part["strategy"]}
    refused = call("planner", "diff", *files, "--require", "change.hfu == 0")
    assert refused.returncode == 4
    assert "change.hfu is not known: it is not defined for a heterogeneous cluster" in refused.stderr


def test_a_requirement_of_the_change_is_exit_code_four(files: tuple[str, str]) -> None:
    good, bad = "change.memory.headroom > -5%", "change.step_time_s <= 5%"
    assert call("planner", "diff", *files, "--require", good).returncode == 0
    done = call("planner", "diff", *files, "--require", good, "--require", bad, "-f", "markdown")
    assert done.returncode == 4
    assert re.search(
        r"plan: requirement not met: change\.step_time_s <= 5%\n  change\.step_time_s is [23]\d\.\d\d %", done.stderr
    )
    assert "Not met: change.step\\_time\\_s" in done.stdout or "Not met: change.step_time_s" in done.stdout


def test_the_threshold_is_a_share(files: tuple[str, str]) -> None:
    outputs = [call("planner", "diff", *files, "--threshold", share).stdout for share in ("0", "30%")]
    assert "step_time_s" in outputs[0]
    assert "step_time_s" not in outputs[1]
    assert "strategy.pp" in outputs[1]
    assert call("planner", "diff", *files, "--threshold", "5s").returncode == 2
    assert "by less than 2,000 % are not listed" in call("planner", "diff", *files, "--threshold", "20x").stdout


def test_files_are_written_in_every_form(files: tuple[str, str], tmp_path: Path) -> None:
    names = [tmp_path / f"diff.{ending}" for ending in ("md", "json", "csv", "jsonl", "html", "xml", "txt")]
    done = call("planner", "diff", *files, *(part for name in names for part in ("-o", str(name))), "-f", "markdown")
    assert done.returncode == 0, done.stderr
    assert names[0].read_text() == done.stdout
    assert all(name.read_text() for name in names)


def test_github_gets_the_comparison_in_its_summary(files: tuple[str, str], tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    done = call("planner", "diff", *files, "-f", "markdown", GITHUB_STEP_SUMMARY=str(summary))
    assert summary.read_text() == f"{done.stdout}\n"
    call("planner", "diff", *files, "--no-ci", GITHUB_STEP_SUMMARY=str(summary))
    assert summary.read_text() == f"{done.stdout}\n"


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({"schema_version": "0.9"}, ["base.json: schema_version: unsupported version", "0.9", "same planner"]),
        ({"plans": []}, ["base.json: plans", "1"]),
        ({"plans": None}, ["base.json"]),
        ({"extra": 1}, ["base.json: extra: unknown key"]),
    ],
)
def test_another_document_is_refused(files: tuple[str, str], change: dict, messages: list[str]) -> None:
    path = Path(files[0])
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    done = call("planner", "diff", *files)
    assert (done.returncode, done.stdout) == (2, "")
    for part in messages:
        assert part in done.stderr


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"a": 1}', "{", '{"checked": 3}', '{"ways": []}', '{"plans": []}'])
def test_a_file_that_is_no_document_is_refused(files: tuple[str, str], text: str) -> None:
    Path(files[1]).write_text(text)
    done = call("planner", "diff", *files)
    assert (done.returncode, done.stdout) == (2, "")
    assert "head.json" in done.stderr


def test_an_older_answer_in_a_file_of_plans_is_refused(files: tuple[str, str]) -> None:
    raw = json.loads(render_json(CHECK))
    raw["checked"][0]["plan"]["schema_version"] = "1.0"
    Path(files[1]).write_text(json.dumps(raw))
    done = call("planner", "diff", *files)
    assert done.returncode == 2
    assert "head.json: checked[0].plan.schema_version: unsupported version of the document" in done.stderr


def test_a_plan_and_a_file_of_plans_are_distinguished(files: tuple[str, str]) -> None:
    Path(files[1]).write_text(render_json(CHECK))
    done = call("planner", "diff", *files)
    assert done.returncode == 2
    assert "one document has the plans of a file" in done.stderr


def test_rates_and_tokens_are_printed_as_plan_prints_them(files: tuple[str, str], tmp_path: Path) -> None:
    document = json.loads(Path(files[0]).read_text())
    document["run"]["tokens"] *= 2
    (tmp_path / "more.json").write_text(json.dumps(document))
    rows = {}
    for head_file in (files[1], str(tmp_path / "more.json")):
        for line in call("planner", "diff", files[0], head_file).stdout.splitlines():
            rows[line.partition(" ")[0]] = line
    assert re.search(r"\b1\d\dK", rows["tokens_per_s"])
    assert re.search(r"\b\d+\.\d+K\b", rows["tokens_per_s_per_device"])
    assert "100B" in rows["tokens"] and "200B" in rows["tokens"]


@pytest.mark.parametrize(("part", "key", "value"), [("strategy", "tp", 3), ("settings", "order", "dp-dp")])
def test_a_plan_that_explain_refuses_is_refused_in_the_same_words(
    files: tuple[str, str], part: str, key: str, value: object, tmp_path: Path
) -> None:
    plan = call("plan", "llama-3-8b", "-c", "dgx-h100", "--nodes", "2", "-b", "64", "--tp", "8", "-f", "json").stdout
    document = json.loads(plan)
    document["plans"][0][part][key] = value
    (tmp_path / "plan.json").write_text(plan)
    (tmp_path / "other.json").write_text(json.dumps(document))
    compared = call("planner", "diff", str(tmp_path / "plan.json"), str(tmp_path / "other.json"))
    explained = call("planner", "explain", str(tmp_path / "other.json"))
    assert compared.returncode == explained.returncode == 2
    assert compared.stderr == explained.stderr
    assert f"other.json: plans[0].{part}" in compared.stderr
