"""Every command's help has examples, and they run, in order, in one folder."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from planner.cli.app import build_plan_app, build_planner_app
from planner.evidence import runs as measured_runs
from planner.evidence.runs import find_published_runs
from tests.cli.run import call
from tests.cli.sweeps.small import write_results
from tests.sample import mark_full

FIXTURES = Path(__file__).parents[1] / "fixtures"
FILES = {
    "path/to/config.json": FIXTURES / "configs" / "llama-3-8b" / "config.json",
    "topology.conf": FIXTURES / "clusters" / "slurm-tree.conf",
    "nvidia-smi-topo.txt": FIXTURES / "clusters" / "topo-a100.txt",
}
"""What the examples take for given: files of a user's own."""
TEXTS = {
    "train.log": "".join(
        f" [2026-01-01 00:00:{n:02}] iteration {n:8}/ 100 | consumed samples: {64 * n} | "
        "elapsed time per iteration (ms): 4000.0 | global batch size: 64 |\n"
        for n in range(1, 30)
    ),
    "cluster.toml": 'name = "mine"\nnode = "dgx-h100"\nnodes = 4\n',
    "plan.toml": """
[[plans]]
name = "small"
model = "llama-3-8b"
cluster = "dgx-h100"
nodes = 1
global_batch = 64
tp = 4
vpp = 1
""",
    "sweep.toml": """
[grid]
model = "bert-base"
cluster = "dgx-h100"
nodes = [1, 2]
global_batch = 64
tp = 1
""",
}
"""What the examples take for given as well, written for them."""
BEFORE = {
    "planner diff": (
        "planner check plan.toml --format json > base.json",
        "planner check plan.toml -f json > head.json",
    ),
}
"""What is run before a command's own examples: those of another command make its files."""
ELSEWHERE = "--scheduler"
"""Needs another machine."""


def list_commands(command: typer.core.TyperCommand, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Every command that is shown, with its help."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(path), command.help or ""
    for name, subcommand in (inner or {}).items():
        if not subcommand.hidden:
            yield from list_commands(subcommand, (*path, name))


def list_examples(text: str) -> list[str]:
    """The lines below "Examples:", those that go on put together."""
    lines = text.partition("Examples:\n")[2].partition("\n\n")[0]
    return [" ".join(line.split()) for line in lines.replace("\\\n", " ").splitlines() if line.strip() != "\b"]


PLANNER = dict(list_commands(typer.main.get_command(build_planner_app()), ("planner",)))


COSTLY = [f"planner {name}" for name in ("plan", "explain", "what-if", "size", "compare", "sweep")]


def write_given_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a user's own; and few runs are published, so that all of them are soon predicted."""
    Path("path/to").mkdir(parents=True)
    for file, source in FILES.items():
        shutil.copy(source, file)
    for file, text in TEXTS.items():
        Path(file).write_text(text)
    runs = Path("mine.csv")
    head, *rows = find_published_runs().read_text().splitlines(keepends=True)
    runs.write_text("".join([head, *[row for row in rows if row.startswith("foundry-h100_80gb-7b")][:7]]))
    monkeypatch.setattr(measured_runs, "find_published_runs", lambda: runs)


def test_both_programs_have_the_same_help() -> None:
    ((_, text),) = list_commands(typer.main.get_command(build_plan_app()), ("plan",))
    assert text == PLANNER["planner plan"]


@pytest.mark.parametrize("name", mark_full(PLANNER, costly=COSTLY))
def test_the_examples_of_the_help_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_given_files(monkeypatch)
    if name == "planner plot":
        write_results(tmp_path, TEXTS["sweep.toml"], "results.parquet", "results.csv")
    lines = list_examples(PLANNER[name])
    assert lines, "its help has no examples"
    own = [line for line in lines if f"planner {line}".startswith((name, f"planner {name}"))]
    assert own, "no example is of the command itself"
    for line in [*BEFORE.get(name, ()), *(example for example in lines if ELSEWHERE not in example)]:
        program, *arguments = shlex.split(line)
        to = None
        if ">" in arguments:
            arguments, to = arguments[: arguments.index(">")], arguments[-1]
        done = call(program, *arguments)
        assert done.returncode == 0, f"{line}: {done.stderr}"
        assert done.stdout or "-o" in arguments, line
        if to is not None:
            Path(to).write_text(done.stdout)
