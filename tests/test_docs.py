"""Every command of the documentation runs and says what is shown, and every file in it is read."""

from __future__ import annotations

import io
import json
import re
import subprocess
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from docs.site import source
from planner.cli.completion.command_reference import describe_commands
from planner.cluster.model.spec import ClusterSpec
from planner.hardware import database
from planner.hardware.accelerator import AcceleratorSpec
from planner.studies.conditions.figures import PLAN_FIGURES
from planner.workload.presets import list_preset_names
from planner.workload.spec import ModelSpec
from tests.cli.run import call, run
from tests.pages import ALL, ROOT, Command, File, Page, follow_story, furnish, page, plain

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

    ended = list(follow_story(one.story, tmp_path, each))
    assert ended
    asked = [after.line == "echo $?" for after, _, _ in ended[1:]] + [False]
    for (command, code, said), is_asked in zip(ended, asked, strict=True):
        assert code == 0 or is_asked, f"{one.path.name}: {command.line}: {said}"
        if command.answer is not None:
            assert plain(said) == plain(command.answer), f"{command.line}: `make answers` renews what is shown"


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
    assert {"plan", "test", "lint", "docs", "answers"} <= targets
    rules = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets <= set(rules)


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """The reference."""
    return source.build_reference()


def test_every_command_has_a_page_of_reference_and_is_in_a_how_to(made: dict[str, str]) -> None:
    commands = describe_commands()
    typed = [command.words for one in PAGES if one.path.parent.name == "how-to" for command in one.commands]
    for name in commands:
        if name != "planner":
            assert f"# `{name}`" in made[f"commands/{name.replace(' ', '-')}.md"]
            words = name.split()
            shown = [one for one in typed if one[: len(words)] == words]
            group = any(other.startswith(f"{name} ") for other in commands)
            assert shown or group, f"no how-to page uses {name}"


def test_the_reference_has_every_key_figure_and_preset(made: dict[str, str]) -> None:
    for figure in PLAN_FIGURES:
        assert f"| `{figure}` |" in made["files/requirements.md"]
    for struct in (ModelSpec, ClusterSpec, AcceleratorSpec):
        text = made["files/model.md" if struct is ModelSpec else "files/cluster.md"]
        assert all(f"| `{key}` |" in text for key in struct.__struct_fields__)
    for name in database.list_database_names("accelerators"):
        assert "Sources:" in made[f"presets/accelerators/{name}.md"]
    for name in list_preset_names():
        assert f"| `{name}` |" in made["presets/models.md"]
    assert all(
        f"## `{root}`" in made[f"documents/{name}.md"]
        for name, root in (("plan", "PlanDocument"), ("diff", "DiffDocument"))
    )


def test_every_page_is_in_a_table_of_contents_and_links_to_what_is_there(tmp_path: Path) -> None:
    source.write_site(tmp_path)
    pages = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.md")}
    notebooks = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.ipynb")}
    contained = {"index"}
    for name, text in pages.items():
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL):
            lines = [line for line in tree.splitlines() if line and not line.startswith(":")]
            contained |= {(Path(name).parent / line).as_posix() for line in lines}
        for link in re.findall(r"\]\(((?![a-z]+:|#)[^)\s#]+)", text):
            assert (tmp_path / name).parent.joinpath(link).resolve().is_file(), f"{name}: {link}"
    assert contained == {str(Path(name).with_suffix("")) for name in {*pages, *notebooks}}


@pytest.mark.parametrize("path", sorted((ROOT / "docs/notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs_and_says_what_is_stored(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 5
    names: dict[str, object] = {}
    for cell in cells:
        said = io.StringIO()
        with redirect_stdout(said):
            exec("".join(cell["source"]), names)  # a notebook is code to run
        stored = "".join("".join(one["text"]) for one in cell["outputs"] if one["output_type"] == "stream")
        assert said.getvalue() == stored, "`make answers` renews what is stored"
    assert any("image/png" in one.get("data", {}) for cell in cells for one in cell["outputs"])
