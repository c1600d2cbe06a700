"""Every command of the documentation runs and says what is shown, and every file in it is read."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.cli.run import call, run
from tests.pages import ALL, ROOT, Command, File, Page, furnish, page, plain, told

PAGES = [page(path) for path in ALL]
STORIES = [one for one in PAGES if any(isinstance(part, Command) for part in one.story)]
ALONE = {
    command.line: command
    for one in PAGES
    for command in one.commands
    if command not in one.story
    and command.words[0] in ("plan", "planner")
    # tests/test_case_study.py asks these, and reads the answers
    and not (one.path.name == "case-study.md" and command.line.startswith("planner compare"))
}
"""Commands that need nothing but themselves: each is run once, on however many pages it stands."""
FILES = [
    part
    for one in PAGES
    for part in one.parts
    # tests/hardware_db/test_sources.py reads the accelerator that is shown there
    if isinstance(part, File) and part.kind == "toml" and not part.name and one.path.parent.name != "hardware_db"
]


def test_there_are_pages_and_commands() -> None:
    assert len(PAGES) >= 20
    assert len(ALONE) >= 60
    assert {one.path.name for one in STORIES} >= {"tutorial.md", "sweeps.md", "export.md", "explain.md", "ci.md"}


@pytest.mark.parametrize("command", ALONE.values(), ids=lambda one: one.line)
def test_a_command_of_the_documentation_runs(command: Command) -> None:
    done = call(*command.words)
    assert done.returncode == 0, f"{command.page}: {done.stderr}"
    assert done.stdout


@pytest.mark.parametrize("one", STORIES, ids=lambda one: one.path.name)
def test_what_a_page_does_step_by_step_runs_and_says_what_is_shown(
    one: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if any("parquet" in command.line for command in one.commands):
        pytest.importorskip("pyarrow")
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)

    def each(*words: str) -> subprocess.CompletedProcess[str]:
        # a sweep starts processes
        return run(*words) if "sweep" in words else call(*words)

    ended = list(told(one.story, tmp_path, each))
    assert ended
    asked = [after.line == "echo $?" for after, _, _ in ended[1:]] + [False]
    for (command, code, said), is_asked in zip(ended, asked, strict=True):
        assert code == 0 or is_asked, f"{one.path.name}: {command.line}: {said}"
        if command.answer is not None:
            assert plain(said) == plain(command.answer), f"{command.line}: `python -m tests.pages` renews the answers"


@pytest.mark.parametrize("file", FILES, ids=lambda one: f"{one.page} {one.text.splitlines()[0]}")
def test_a_file_of_the_documentation_is_read(file: File, tmp_path: Path) -> None:
    path, block = tmp_path / "file.toml", file.text
    path.write_text(block)
    question = ("--cluster", "dgx-h100", "--nodes", "32", "--global-batch", "1024")
    if any(table in block for table in ("[node]", "[[hosts]]", "[[pools]]", "[storage]")):
        done = call("plan", "llama-3-8b", "--cluster", str(path), "--global-batch", "1536")
    elif "hidden_size" in block or "[[layers]]" in block:
        done = call("plan", str(path), *question)
    else:
        done = call("plan", "llama-3-70b", *question, "--space", str(path))
    assert done.returncode == 0, f"{file.page}: {done.stderr}"


def test_what_is_to_be_made_can_be_made() -> None:
    targets = {command.words[1] for one in PAGES for command in one.commands if command.words[0] == "make"}
    assert {"plan", "test", "lint"} <= targets
    rules = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets <= set(rules)
