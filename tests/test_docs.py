"""Every command of the documentation runs and prints the output shown, and every file in it is read."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
from contextlib import redirect_stdout
from pathlib import Path

import msgspec
import pytest

from docs.errors import format_error_tables
from docs.site import source
from planner.cli.completion.command_reference import describe_commands
from planner.cluster.model.spec import ClusterSpec
from planner.evidence.validation_document import ValidationDocument
from planner.hardware import database
from planner.hardware.accelerator import AcceleratorSpec
from planner.studies.conditions.figures import PLAN_FIGURES
from planner.workload.presets import list_preset_names
from planner.workload.spec import ModelSpec
from tests.cli.run import call, run
from tests.cli.test_compare import ANY_CLUSTER
from tests.cli.test_examples import PLANNER, list_examples
from tests.pages import (
    PAGE_PATHS,
    ROOT,
    Command,
    File,
    Page,
    follow_story,
    link_project_files,
    read_page,
    strip_blanks,
)
from tests.sample import mark_full

EXAMPLES = {tuple(shlex.split(line)) for text in PLANNER.values() for line in list_examples(text)}
PAGES = [read_page(path) for path in PAGE_PATHS]
STORIES = [page for page in PAGES if any(isinstance(part, Command) for part in page.story)]
ALONE = {
    command.line: command
    for page in PAGES
    for command in page.commands
    if command not in page.story
    and command.words[0] in ("plan", "planner")
    # tests/cli/test_examples.py runs these, tests/cli/test_compare.py this one and reads its document
    and tuple(command.words) not in {*EXAMPLES, ANY_CLUSTER}
    # tests/test_case_study.py runs these, and reads their documents
    and not (page.path.name == "case-study.md" and command.line.startswith("planner compare"))
}
"""Commands that need no files: each is run once, on however many pages it is."""
FILES = [
    part
    for page in PAGES
    for part in page.parts
    # tests/hardware_db/test_sources.py reads the accelerator that is shown there
    if isinstance(part, File) and part.language == "toml" and not part.name and page.path.parent.name != "hardware_db"
]

COST_MODEL = "docs/explanation/cost-model.md"


def test_there_are_pages_and_commands() -> None:
    assert len(PAGES) >= 20
    assert len(ALONE) >= 60
    assert {page.path.name for page in STORIES} >= {"tutorial.md", "sweeps.md", "export.md", "explain.md", "ci.md"}


@pytest.mark.parametrize("command", mark_full(ALONE.values(), every=7), ids=lambda command: command.line)
def test_a_command_of_the_documentation_runs(command: Command) -> None:
    done = call(*command.words)
    assert done.returncode == 0, f"{command.page}: {done.stderr}"
    assert done.stdout


@pytest.mark.parametrize(
    "page",
    mark_full(STORIES, costly=[page for page in STORIES if page.path.name == "sweeps.md"]),
    ids=lambda page: page.path.name,
)
def test_the_commands_of_a_page_run_in_order_and_print_the_output_shown(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if any("parquet" in command.line for command in page.commands):
        pytest.importorskip("pyarrow")
    link_project_files(tmp_path)
    monkeypatch.chdir(tmp_path)

    def run_words(*words: str) -> subprocess.CompletedProcess[str]:
        # a sweep starts processes
        return run(*words) if "sweep" in words else call(*words)

    ended = list(follow_story(page.story, tmp_path, run_words))
    assert ended
    exit_code_shown = [after.line == "echo $?" for after, _, _ in ended[1:]] + [False]
    for (command, code, output), is_shown in zip(ended, exit_code_shown, strict=True):
        assert code == 0 or is_shown, f"{page.path.name}: {command.line}: {output}"
        if command.answer is not None:
            assert strip_blanks(output) == strip_blanks(command.answer), (
                f"{command.line}: `make answers` renews the output shown"
            )


@pytest.mark.parametrize(
    "file",
    mark_full(FILES, costly=[file for file in FILES if "heterogeneous" in file.page]),
    ids=lambda file: f"{file.page} {file.text.splitlines()[0]}",
)
def test_a_file_of_the_documentation_is_read(file: File, tmp_path: Path) -> None:
    path, block = tmp_path / "file.toml", file.text
    path.write_text(block)
    arguments = ("--cluster", "dgx-h100", "--nodes", "32", "--global-batch", "1024")
    if any(table in block for table in ("[node]", "[[hosts]]", "[[pools]]", "[storage]")):
        done = call("plan", "llama-3-8b", "--cluster", str(path), "--global-batch", "1536")
    elif "hidden_size" in block or "[[layers]]" in block:
        done = call("plan", str(path), *arguments)
    else:
        done = call("plan", "llama-3-70b", *arguments, "--space", str(path))
    assert done.returncode == 0, f"{file.page}: {done.stderr}"


def test_every_make_target_of_the_documentation_exists() -> None:
    targets = {command.words[1] for page in PAGES for command in page.commands if command.words[0] == "make"}
    assert {"plan", "test", "lint", "docs", "answers"} <= targets
    rules = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets <= set(rules)


def test_every_file_that_the_documentation_names_exists() -> None:
    named = {
        (path.name, name)
        for path in PAGE_PATHS
        for name in re.findall(r"`((?:planner|tests|hardware_db)/[\w./-]*)`", path.read_text("utf-8"))
    }
    assert ("cost-model.md", "planner/cost/memory/") in named
    assert sorted((page, name) for page, name in named if not (ROOT / name).exists()) == []
    # files of the folder that a section names before them
    (text,) = re.findall(r"### A step as a timeline\n(.*?)\n### ", (ROOT / COST_MODEL).read_text("utf-8"), re.DOTALL)
    in_folder = re.findall(r"`([a-z_]+\.py)` \(", text)
    folder = ROOT / "planner" / "cost" / "memory"
    assert sorted(in_folder) == sorted(path.name for path in folder.glob("[!_]*.py"))


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    """The reference."""
    return source.build_reference()


def test_every_command_has_a_page_of_reference_and_is_in_a_how_to(reference: dict[str, str]) -> None:
    commands = describe_commands()
    typed = [command.words for page in PAGES if page.path.parent.name == "how-to" for command in page.commands]
    for name in commands:
        if name != "planner":
            assert f"# `{name}`" in reference[f"commands/{name.replace(' ', '-')}.md"]
            words = name.split()
            shown = [typed_words for typed_words in typed if typed_words[: len(words)] == words]
            group = any(other.startswith(f"{name} ") for other in commands)
            assert shown or group, f"no how-to page uses {name}"


def test_the_reference_has_every_key_figure_and_preset(reference: dict[str, str]) -> None:
    for figure in PLAN_FIGURES:
        assert f"| `{figure}` |" in reference["files/requirements.md"]
    for struct in (ModelSpec, ClusterSpec, AcceleratorSpec):
        text = reference["files/model.md" if struct is ModelSpec else "files/cluster.md"]
        assert all(f"| `{key}` |" in text for key in struct.__struct_encode_fields__)
    for name in database.list_database_names("accelerators"):
        assert "Sources:" in reference[f"presets/accelerators/{name}.md"]
    for name in list_preset_names():
        assert f"| `{name}` |" in reference["presets/models.md"]
    assert all(
        f"## `{root}`" in reference[f"documents/{name}.md"]
        for name, root in (("plan", "PlanDocument"), ("diff", "DiffDocument"))
    )


def test_every_page_is_in_a_table_of_contents_and_its_links_exist(tmp_path: Path) -> None:
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


@pytest.mark.full
@pytest.mark.parametrize("path", sorted((ROOT / "docs/notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs_and_prints_the_stored_output(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 5
    names: dict[str, object] = {}
    for cell in cells:
        output = io.StringIO()
        with redirect_stdout(output):
            exec("".join(cell["source"]), names)  # a notebook is code to run
        stored = "".join("".join(result["text"]) for result in cell["outputs"] if result["output_type"] == "stream")
        assert output.getvalue() == stored, "`make answers` renews the stored output"
    assert any("image/png" in result.get("data", {}) for cell in cells for result in cell["outputs"])


def test_the_table_of_errors_is_that_of_validate() -> None:
    answer = (ROOT / "tests" / "fixtures" / "answers" / "validate.json").read_bytes()
    document = msgspec.json.decode(answer, type=ValidationDocument)
    summary, *_groups, memory, _skipped = format_error_tables(document).split("\n\n")
    heading, _rule, *rows = summary.splitlines()
    page = (ROOT / "docs" / "explanation" / "cost-model.md").read_text("utf-8").splitlines()
    assert {heading, memory.splitlines()[0]} <= {*page}
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [*document.by_source, "all"]
