"""The action for GitHub and the template for GitLab: well formed, and their scripts run in a repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
GITLAB = yaml.safe_load((ROOT / "docs/ci/gitlab-ci.yml").read_text())
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"] if "run" in step}
SCRIPTS = [step["run"] for step in STEPS.values()] + GITLAB["planner"]["script"]
SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")
PLANS = """
[[plans]]
name = "small"
model = "llama-3-8b"
cluster = "dgx-h100"
nodes = {nodes}
global_batch = 64
vpp = 1
require = ["mfu >= 10%"]
"""


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_has_valid_shell_syntax(script: str) -> None:
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    if shutil.which("shellcheck"):
        command = ["shellcheck", "--shell=bash", "-"]
        # as GitHub and GitLab run scripts
        script_with_options = f"set -eo pipefail\n{script}"
        linted = subprocess.run(command, input=script_with_options, text=True, capture_output=True, check=False)
        assert linted.returncode == 0, linted.stdout


def test_the_action_puts_no_input_into_a_script() -> None:
    for name, step in STEPS.items():
        assert step["shell"] == "bash", name
        assert "${{" not in step["run"], name
        assert set(re.findall(r"inputs\.([a-z-]+)", json.dumps(step))) <= set(ACTION["inputs"]), name
    used = [step["uses"] for step in ACTION["runs"]["steps"] if "uses" in step]
    assert used
    assert all(re.fullmatch(r"actions/[a-z-]+@v[0-9]+", action) for action in used)
    assert ACTION["runs"]["using"] == "composite"
    for declaration in ACTION["inputs"].values():
        assert declaration["description"]


def run_git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A clone whose `main` has a plan on two nodes and whose `head` has it on four."""
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    (origin / "ci").mkdir(parents=True)
    run_git(origin, "init", "-q")
    for branch, nodes in (("main", 2), ("head", 4)):
        run_git(origin, "checkout", "-q", "-B", branch)
        (origin / "ci" / "plan.toml").write_text(PLANS.format(nodes=nodes))
        run_git(origin, "add", ".")
        run_git(origin, "commit", "-q", "-m", branch)
    run_git(tmp_path, "clone", "-q", "--depth=1", f"file://{origin}", "clone")
    (tmp_path / "temp").mkdir()
    return clone


def run_script(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A script with our own programs first on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, **variables}
    return subprocess.run([*SHELL, script], cwd=folder, env=environment, text=True, capture_output=True, check=False)


def read_outputs(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


def run_action(repository: Path, **inputs: str) -> tuple[int, dict[str, str], str]:
    """The action's steps after the installation: the exit code, its outputs, and the step summary."""
    temp = repository.parent / "temp"
    common = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(repository),
        "RUNNER_TEMP": str(temp),
        "GITHUB_STEP_SUMMARY": str(temp / "summary.md"),
        "FILE": "ci/plan.toml",
        "BASE_REF": "main",
        "REQUIRE": "",
        "THRESHOLD": "0.1%",
    }
    outputs_by_step: dict[str, dict[str, str]] = {}
    for name in ("Check the plans", "Check the plans of the base", "Compare"):
        file = temp / name.replace(" ", "-")
        file.touch()
        change = {"REQUIRE": inputs.get("REQUIRE_CHANGE", "")} if name == "Compare" else inputs
        done = run_script(STEPS[name]["run"], repository, **{**common, **change, "GITHUB_OUTPUT": str(file)})
        assert done.returncode == 0, done.stderr
        outputs_by_step[name] = read_outputs(file)
    codes = {"CHECK": outputs_by_step["Check the plans"]["code"], "DIFF": outputs_by_step["Compare"]["code"]}
    summary = temp / "summary.md"
    return (
        run_script(STEPS["Verdict"]["run"], repository, **codes).returncode,
        outputs_by_step["Compare"],
        summary.read_text() if summary.exists() else "",
    )


def test_the_action_checks_and_compares(repository: Path) -> None:
    code, outputs, summary = run_action(
        repository, REQUIRE="mfu >= 5%\n\nmemory.headroom >= 1MiB\n", REQUIRE_CHANGE="change.nodes <= 0"
    )
    assert (code, outputs["code"]) == (4, "4")
    assert "Not met: change.nodes" in summary
    diff = Path(outputs["file"]).read_text()
    assert "small: changed" in diff
    assert "nodes 2 → 4" in diff
    assert "# ci/plan.toml: 1 plan, 3 requirements: all met" in summary
    assert diff in summary


def test_the_action_has_the_exit_code_of_the_check_or_the_comparison(tmp_path: Path) -> None:
    for check, diff, wanted in (("0", "0", 0), ("2", "0", 2), ("3", "4", 3), ("0", "2", 2)):
        assert run_script(STEPS["Verdict"]["run"], tmp_path, CHECK=check, DIFF=diff).returncode == wanted


@pytest.mark.full
def test_the_action_writes_no_comparison_where_the_base_has_no_plans(repository: Path) -> None:
    (repository / "new.toml").write_text(PLANS.format(nodes=1))
    code, outputs, _ = run_action(repository, FILE="new.toml")
    assert code == 0
    assert "file" not in outputs


@pytest.mark.full
def test_the_template_checks_and_compares(repository: Path) -> None:
    worktree = Path("/tmp/planner-base")
    script = GITLAB["planner"]["script"][1].replace("/tmp/planner-base", str(repository.parent / worktree.name))
    base = subprocess.run(
        ["git", "ls-remote", "origin", "main"], cwd=repository, text=True, capture_output=True, check=True
    ).stdout.split()[0]
    variables = {"PLANNER_FILE": "ci/plan.toml", "PLANNER_THRESHOLD": "1%", "CI_MERGE_REQUEST_DIFF_BASE_SHA": base}
    done = run_script(script, repository, GITLAB_CI="true", **variables)
    assert done.returncode == 0, done.stderr
    assert "nodes 2 → 4" in (repository / "planner-diff.md").read_text()
    for name in ("gl-code-quality-report.json", "planner-head.json", "planner.xml"):
        assert (repository / name).exists()
