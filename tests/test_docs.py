"""Every command of the documentation runs, and every file in it is read."""

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.run import call, run

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    (page.name, kind, block)
    for page in PAGES
    for kind, block in re.findall(r"```(sh|toml)\n(.*?)```", page.read_text(), re.DOTALL)
]
COMMANDS = [
    (page, line.split("#")[0].strip())
    for page, kind, block in BLOCKS
    if kind == "sh"
    for line in block.splitlines()
    if line.startswith(("plan ", "planner "))
]
# these take what was written before them
SWEEPS = [command for _, command in COMMANDS if command.startswith(("planner sweep ", "planner plot "))]
ALONE = [(page, command) for page, command in COMMANDS if command not in SWEEPS]
FILES = [(page, block) for page, kind, block in BLOCKS if kind == "toml"]


def test_there_are_commands_to_run() -> None:
    assert len(COMMANDS) >= 8
    assert len(FILES) >= 2


@pytest.mark.parametrize(("page", "command"), ALONE)
def test_a_command_of_the_documentation_runs(page: str, command: str) -> None:
    program, *arguments = shlex.split(command)
    done = call(program, *arguments)
    assert done.returncode == 0, f"{page}: {done.stderr}"
    assert done.stdout


def test_the_sweep_of_the_documentation_runs_and_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    assert len(SWEEPS) >= 3
    (tmp_path / "sweep.toml").write_text(next(block for _, block in FILES if "[grid]" in block))
    for command in SWEEPS:
        program, *arguments = shlex.split(command)
        done = run(program, *arguments, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), command
        assert done.stdout


@pytest.mark.parametrize(("page", "block"), [(page, block) for page, block in FILES if "[grid]" not in block])
def test_a_file_of_the_documentation_is_read(page: str, block: str, tmp_path: Path) -> None:
    file = tmp_path / "file.toml"
    file.write_text(block)
    question = ("--cluster", "dgx-h100", "--nodes", "32", "--global-batch", "1024")
    if any(table in block for table in ("[node]", "[[hosts]]", "[[pools]]", "[storage]")):
        done = call("plan", "llama-3-8b", "--cluster", str(file), "--global-batch", "1536")
    elif "[[plans]]" in block:
        done = call("planner", "check", str(file))
    elif "hidden_size" in block or "[[layers]]" in block:
        done = call("plan", str(file), *question)
    else:
        done = call("plan", "llama-3-70b", *question, "--space", str(file))
    assert done.returncode == 0, f"{page}: {done.stderr}"
