"""The commands of commands.txt, their results, and the figures that are pinned of some of them."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

from tests.cli.run import call_cached

HERE = Path(__file__).parent
FIGURES = HERE / "figures.txt"


@dataclass(frozen=True)
class PinnedCommand:
    command: list[str]
    exit_code: int


@dataclass(frozen=True)
class CommandResult:
    exit_code: int
    document: dict | None  # type: ignore[type-arg]
    stdout: str
    stderr: str


@cache
def read_commands() -> dict[str, PinnedCommand]:
    """The commands by their names."""
    lines = (HERE / "commands.txt").read_text("utf-8").splitlines()
    words = (line.split(maxsplit=2) for line in lines if line and not line.startswith("#"))
    return {name: PinnedCommand(shlex.split(command), int(code)) for name, code, command in words}


def read_figures() -> dict[tuple[str, str], float]:
    """The pinned values, by the command's name and the figure's path."""
    lines = FIGURES.read_text("utf-8").splitlines()
    words = (line.split() for line in lines if line and not line.startswith("#"))
    return {(name, path): float(value) for name, path, value in words}


def write_figures(figures: dict[tuple[str, str], float]) -> None:
    """Write them below the comment at the top of the file."""
    head = FIGURES.read_text("utf-8").splitlines()[0]
    lines = [f"{name:24} {path:28} {value!r}" for (name, path), value in figures.items()]
    FIGURES.write_text("\n".join([head, *lines]) + "\n", "utf-8")


def run_pinned_command(command: list[str]) -> CommandResult:
    """The exit code, document and messages of a command; `{name}` in it is a file with that command's document."""
    with TemporaryDirectory() as folder:
        done = _run([_write_answer(Path(folder), word[1:-1]) if word[:1] == "{" else word for word in command])
    return CommandResult(done.returncode, json.loads(done.stdout) if done.stdout else None, done.stdout, done.stderr)


def get_figure(document: object, path: str) -> float:
    """A figure of a document's first plan: `terms.forward`."""
    value = document["plans"][0]  # type: ignore[index]
    for key in path.split("."):
        value = value[key]
    return float(value)


def _run(command: list[str]) -> CompletedProcess[str]:
    program, *arguments = command
    form = () if arguments[0] == "schema" else ("--format", "json")
    return call_cached(program, *arguments, *form)


def _write_answer(folder: Path, name: str) -> str:
    """A plan's document as a command prints it."""
    file = folder / f"{name}.json"
    file.write_text(_run(read_commands()[name].command).stdout, "utf-8")
    return str(file)
