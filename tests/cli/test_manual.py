"""The manual pages are those of the commands as they are, and in order as far as a checker of pages knows."""

import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from planner.cli.app import build_planner_app
from planner.cli.completion.manual import build_manual_pages, write_manual_pages

FOLDER = Path(__file__).parents[2] / "docs" / "man"
PAGES = build_manual_pages()


def test_the_pages_are_those_of_the_commands(tmp_path: Path) -> None:
    kept = {path.name: path.read_text("utf-8") for path in FOLDER.iterdir()}
    assert kept == PAGES, "a command's help has changed since: make man"
    (tmp_path / "planner-gone.1").touch()
    write_manual_pages(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(PAGES)


def test_every_command_has_a_page_with_all_its_options() -> None:
    pending = [("planner", typer.main.get_command(build_planner_app()))]
    while pending:
        name, command = pending.pop()
        inner = getattr(command, "commands", {})
        pending += [(f"{name}-{word}", subcommand) for word, subcommand in inner.items() if not subcommand.hidden]
        page = PAGES["plan.1" if name == "planner-plan" else f"{name}.1"].replace("\\-", "-")
        for parameter in command.params:
            if parameter.param_type_name == "option" and not parameter.hidden:
                assert all(f"\\fB{option}\\fR" in page for option in parameter.opts)


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_mandoc_accepts_every_page(tmp_path: Path) -> None:
    write_manual_pages(tmp_path)
    pages = [path for path in sorted(tmp_path.iterdir()) if not path.read_text().startswith(".so")]
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", *pages], capture_output=True, text=True, check=False
    )
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_accepts_every_page() -> None:
    text = "".join(page for page in PAGES.values() if not page.startswith(".so"))
    done = subprocess.run(
        ["groff", "-man", "-ww", "-W", "break", "-K", "utf8", "-T", "utf8"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert "requirement is not met" in done.stdout
