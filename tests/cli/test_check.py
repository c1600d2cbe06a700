"""`planner check`: plans of a file, their requirements, exit codes, and the reports to continuous integration."""

import json
import re
from pathlib import Path

import pytest

from planner.cli.input.plan_list import list_plan_table_keys
from planner.studies.conditions.figures import PLAN_FIGURES
from tests.cli.run import call
from tests.examples import DEFAULTS, LAB
from tests.schemas import validate_document

ROOT = Path(__file__).parents[2]
FILE = """# plans
[defaults]
cluster = "dgx-h100"
global_batch = 64
vpp = 1
require = "mfu >= 30%"

[[plans]]
name = "one"
model = "llama-3-8b"
nodes = 1
require = [
  "memory.headroom >= 1GiB",
  "mfu >= 90%",
]

[[plans]]  # with a comment
name = "two"
model = "llama-3-8b"
nodes = 2
tp = [2, 4]
sequence-parallel = true
tp_overlap = true
failures = false
micro_batch = "1..2"
"""
UNFIT = '\n[[plans]]\nname = "huge"\nmodel = "llama-3.1-405b"\nnodes = 1\n'


def write_file(folder: Path, text: str = FILE) -> str:
    path = folder / "plan.toml"
    path.write_text(text)
    return str(path)


def answer(*arguments: str) -> dict:
    done = call("planner", "check", *arguments, "-f", "json")
    assert done.returncode in (0, 3, 4), done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def schema() -> dict:
    return json.loads(call("planner", "schema", "check").stdout)


def test_every_plan_equals_the_answer_of_plan(tmp_path: Path, schema: dict) -> None:
    document = answer(write_file(tmp_path))
    validate_document(document, schema)
    arguments = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "2", "-b", "64", "--vpp", "1", "--tp", "2,4")
    settings = ("--sequence-parallel", "--tp-overlap", "yes", "--no-failures", "--micro-batch", "1..2")
    alone = json.loads(call("plan", *arguments, *settings, "-f", "json").stdout)
    assert document["checked"][1]["plan"] == {**alone, "plans": alone["plans"][:1]}
    assert [part["outcome"] for part in document["checked"]] == ["not met", "met"]
    requirements = [
        (part["requirement"], part["met"], part["line"]) for part in document["checked"][0]["requirements"]
    ]
    assert requirements == [("mfu >= 30%", True, 8), ("memory.headroom >= 1GiB", True, 13), ("mfu >= 90%", False, 14)]


def test_an_unmet_requirement_is_exit_code_4_after_the_answer(tmp_path: Path) -> None:
    done = call("planner", "check", write_file(tmp_path))
    assert done.returncode == 4
    assert "2 plans, 4 requirements: 1 not met" in done.stdout
    assert re.search(r"one: requirement not met: mfu >= 90%\n  mfu is [0-9.]+ %, required at least 90 %", done.stderr)
    assert call("planner", "check", write_file(tmp_path, FILE.replace("90%", "9%"))).returncode == 0


def test_requirements_of_the_command_line_are_of_all_plans(tmp_path: Path) -> None:
    done = call("planner", "check", write_file(tmp_path), "--require", "cost_usd < 2e6", "-f", "junit")
    assert done.returncode == 4
    assert done.stdout.count('name="cost_usd &lt; 2e6"') == 2
    for name in ("one", "two"):
        expected = f"{name}: requirement not met: cost_usd < 2e6\n  cost_usd is not known: give the length"
        assert expected in done.stderr


def test_a_plan_that_does_not_fit_decides_the_exit_code_and_the_others_are_reported(tmp_path: Path) -> None:
    document = answer(write_file(tmp_path, FILE + UNFIT))
    assert [part["outcome"] for part in document["checked"]] == ["not met", "met", "nothing fits"]
    assert document["outcome"] == "nothing fits"
    done = call("planner", "check", write_file(tmp_path, FILE + UNFIT), "--out-dir", str(tmp_path / "plans"))
    assert done.returncode == 3
    assert "huge: no plan fits" in done.stderr
    assert "requirement not met: mfu >= 90%" in done.stderr
    assert sorted(path.name for path in (tmp_path / "plans").iterdir()) == ["one.json", "two.json"]
    assert json.loads((tmp_path / "plans" / "one.json").read_text()) == document["checked"][0]["plan"]


def test_paths_are_from_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(LAB.format(**DEFAULTS))
    (tmp_path / "space.toml").write_text("tp = 2\n")
    text = '[[plans]]\nname = "lab"\nmodel = "1B"\ncluster = "lab.toml"\nglobal_batch = 8\nspace = "space.toml"\n'
    document = answer(write_file(tmp_path, text))
    assert document["checked"][0]["plan"]["plans"][0]["strategy"]["tp"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out-dir", ".", "-o", "one.json"), "--output, --out-dir: is written twice"),
        (("--code-quality", "x.json", "-o", "x.json"), "--output, --code-quality: is written twice"),
        (("-o", "lab.json"), "plans[1].cluster, --output: is read as well"),
    ],
)
def test_no_file_is_written_over(options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "lab.json").write_text("no cluster")
    write_file(tmp_path, FILE.replace('"dgx-h100"', '"lab.json"'))
    done = call("planner", "check", "plan.toml", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lab.json", "plan.toml"]


def test_warnings_name_their_plan(tmp_path: Path) -> None:
    text = FILE.replace("micro_batch =", 'pp = 1\ncp = 1\nuncertainty = true\nglobal_batch = "2K"\nmicro_batch =')
    done = call("planner", "check", write_file(tmp_path, text), "-f", "json")
    assert "warning: two: --global-batch 2K is 2,048 sequences: rounded to what the widths of" in done.stderr
    assert json.loads(done.stdout)["checked"][1]["plan"]["uncertainty"]["samples"] == 200


def test_heterogeneous_clusters_are_checked_too(tmp_path: Path, schema: dict) -> None:
    text = FILE.replace("dgx-h100", "dgx-h100:1+dgx-a100:1").replace("nodes = 1\n", "tp = 2\ncp = 1\n")
    text = text[: text.index("[[plans]]  #")]
    document = answer(write_file(tmp_path, text), "--require", "memory.headroom > 1GiB and hfu > 0")
    validate_document(document, schema)
    assert document["checked"][0]["plan"] is None
    explanation = document["checked"][0]["requirements"][-1]["told"]
    assert "hfu is not known: it is not defined for a heterogeneous cluster" in explanation


WRONG = [
    ("[defaults]", "[default]", ["plan.toml: default: unknown key", "did you mean defaults?"]),
    ("vpp = 1", "vppp = 1", ["plan.toml: defaults.vppp: unknown key", "did you mean vpp?"]),
    ("tp = [2, 4]", "tpp = 2", ["plan.toml: plans[1].tpp: unknown key"]),
    ("tp = [2, 4]", "tp = 3", ["plan.toml: plans[1].tp: ", "one of 2, 4, 8, 16"]),
    ("tp = [2, 4]", "tp = []", ["plans[1].tp: an empty list"]),
    ("tp = [2, 4]", "tp = { a = 1 }", ["plans[1].tp: wrong type"]),
    ("tp = [2, 4]", 'space = "a\\u0000b"', ["plan.toml: plans[1].space: holds a null character"]),
    ("tp = [2, 4]", "format = 'json'", ["plans[1].format: unknown key"]),
    ("tp = [2, 4]", "framework = 'megatro'", ["plan.toml: plans[1].framework: ", "megatro"]),
    ("tp = [2, 4]", "top = 'many'", ["plan.toml: plans[1].top: ", "many"]),
    ("tp = [2, 4]", "space = 'none.toml'", ["plan.toml: plans[1]: ", "none.toml: there is no such file"]),
    ('cluster = "dgx-h100"', "", ["plan.toml: plans[0].cluster: is missing"]),
    ("global_batch = 64", "global_batch = 0", ["plan.toml: defaults.global_batch (of plans[0]): ", "plans[1]"]),
    ("nodes = 2", "nodes = -2", ["plan.toml: plans[1].nodes: ", "-2"]),
    ("nodes = 2", "nodes = 2\ndevices = 16", ["plans[1].nodes, plans[1].devices: "]),
    ('model = "llama-3-8b"\nnodes = 2', "nodes = 2", ["plans[1].model: no model is named"]),
    ('model = "llama-3-8b"\nnodes = 2', 'model = "--help"\nnodes = 2', ["plans[1].model: unknown model", "--help"]),
    ('model = "llama-3-8b"\nnodes = 2', 'model = "lama-3-8b"\nnodes = 2', ["did you mean llama-3-8b?"]),
    ('name = "two"', 'name = "one"', ["plans[1].name: is used twice"]),
    ('name = "two"', 'name = "../two"', ["plans[1].name: not a name"]),
    ('name = "two"', 'name = "::error::"', ["plans[1].name: not a name"]),
    ('name = "two"', "", ["plans[1].name: not a name"]),
    ("failures = false", "failures = 'no'", ["plans[1].failures: wrong type", "true or false"]),
    ("mfu >= 90%", "mfuu >= 90%", ["plan.toml: plans[0].require[1]: unknown figure", "did you mean mfu?"]),
    ('require = "mfu >= 30%"', "require = 3", ["defaults.require: wrong type"]),
    ('require = "mfu >= 30%"', 'require = "mfu >= 3s"', ["defaults.require[0]: ", "incompatible units"]),
    (FILE, "[defaults]\n", ["plan.toml: plans: no plans are listed"]),
    (FILE, "plans = 3\n", ["plan.toml: plans: no plans are listed"]),
    (FILE, "plans = [3]\n", ["plan.toml: plans[0]: wrong type"]),
    (FILE, "[[plans]\n", ["plan.toml: not valid TOML"]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "messages"), WRONG)
def test_bad_input_names_the_file_and_the_key(tmp_path: Path, old: str, new: str, messages: list[str]) -> None:
    text = FILE.replace(old, new, 1)
    assert text != FILE
    done = call("planner", "check", write_file(tmp_path, text), "--require", "mfu > 0")
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    for part in messages:
        assert part in done.stderr


def test_all_plans_with_bad_input_are_reported_before_a_plan_that_does_not_fit(tmp_path: Path) -> None:
    text = FILE.replace("nodes = 1\n", "nodes = 0\n").replace("nodes = 2\n", "nodes = -2\n") + UNFIT
    done = call("planner", "check", write_file(tmp_path, text), "-o", str(tmp_path / "out.json"))
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 2
    assert "plans[0].nodes" in done.stderr
    assert "plans[1].nodes" in done.stderr
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    ("option", "messages"),
    [
        (("--require", "mfu >"), ["--require: unexpected end"]),
        (("-o", "out.pdf"), ["--output", ".html"]),
        (("--out-dir", "plan.toml"), ["--out-dir", "cannot be made"]),
        (("--code-quality", "nowhere/q.json"), ["nowhere/q.json", "cannot be written"]),
    ],
)
def test_bad_options_are_reported(tmp_path: Path, option: tuple[str, str], messages: list[str]) -> None:
    write_file(tmp_path)
    done = call("planner", "check", "plan.toml", *option, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    for part in messages:
        assert part in done.stderr


def test_github_gets_annotations_and_a_summary(tmp_path: Path) -> None:
    (tmp_path / "repo" / "ci").mkdir(parents=True)
    write_file(tmp_path / "repo" / "ci")
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    github = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(summary),
        "GITHUB_WORKSPACE": str(tmp_path / "repo"),
    }
    plain = call("planner", "check", "plan.toml", cwd=tmp_path / "repo" / "ci")
    done = call("planner", "check", "plan.toml", cwd=tmp_path / "repo" / "ci", **github)
    assert done.stdout == plain.stdout
    assert "::error file=ci/plan.toml,line=14,title=one%3A mfu >= 90%25::mfu is " in done.stderr
    assert summary.read_text().startswith("before\n# plan.toml")
    assert "| one | mfu &gt;= 90% | not met |" in summary.read_text()
    quiet = call("planner", "check", "plan.toml", "--no-ci", cwd=tmp_path / "repo" / "ci", **github)
    assert "::error" not in quiet.stderr
    assert summary.read_text().count("# plan.toml") == 1


def test_github_gets_bad_input_at_its_line(tmp_path: Path) -> None:
    write_file(tmp_path, FILE.replace("nodes = 2", "nodes = 0"))
    done = call("planner", "check", "plan.toml", cwd=tmp_path, GITHUB_ACTIONS="true", GITHUB_WORKSPACE="")
    assert "::error file=plan.toml,line=17,title=planner%3A bad input::plan.toml: plans[1].nodes: " in done.stderr


def test_gitlab_gets_a_code_quality_report(tmp_path: Path) -> None:
    write_file(tmp_path)
    done = call("planner", "check", "plan.toml", cwd=tmp_path, GITLAB_CI="true", CI_PROJECT_DIR=str(tmp_path))
    assert done.returncode == 4
    (finding,) = json.loads((tmp_path / "gl-code-quality-report.json").read_text())
    twice = ("planner", "check", "plan.toml", "-o", "gl-code-quality-report.json")
    assert "--output, --code-quality: is written twice" in call(*twice, cwd=tmp_path, GITLAB_CI="true").stderr
    assert finding["location"] == {"path": "plan.toml", "lines": {"begin": 14}}
    assert len(finding["fingerprint"]) == 64
    done = call("planner", "check", "plan.toml", "--code-quality", "q.json", cwd=tmp_path)
    assert json.loads((tmp_path / "q.json").read_text())[0]["fingerprint"] == finding["fingerprint"]


@pytest.mark.parametrize("program", [("plan",), ("planner", "estimate")])
def test_plan_and_estimate_are_checked_against_requirements(program: tuple[str, ...], tmp_path: Path) -> None:
    arguments = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "64", "--tp", "8", "--vpp", "1")
    good, bad = ("--require", "mfu >= 10%"), ("--require", "mfu >= 90%")
    file = tmp_path / "plan.json"
    done = call(*program, *arguments, *good, *bad, "-f", "json", "-o", str(file))
    assert done.returncode == 4
    assert done.stdout == file.read_text() == call(*program, *arguments, "-f", "json").stdout
    assert "requirement not met: mfu >= 90%\n  mfu is " in done.stderr
    assert call(*program, *arguments, *good).returncode == 0
    wrong = call(*program, *arguments, "--require", "mfuu >= 90%")
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_the_page_on_ci_names_every_figure() -> None:
    section = (ROOT / "docs/how-to/ci.md").read_text()
    documented = set(re.findall(r"`([a-z_.A-Z0-9]+)`", section))
    families = ("terms.", "hidden.", "memory.", "strategy.", "settings.")
    for name in PLAN_FIGURES:
        family = next((prefix for prefix in families if name.startswith(prefix)), "")
        assert name in documented or (family and f"{family}NAME" in documented), name
    rows = section[section.index("| figure |") :].split("\n\n")[0].splitlines()[2:]
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert named <= {*PLAN_FIGURES, *(f"{family}NAME" for family in families)}
    assert "gl-code-quality-report.json" in section


def test_every_search_option_of_plan_can_stand_in_a_file() -> None:
    known = set(list_plan_table_keys())
    assert {"cluster", "global_batch", "tp", "space", "fault", "tokens", "lora", "async_checkpoint"} <= known
    assert not {"format", "output", "hostfile", "rankfile", "require", "help"} & known
