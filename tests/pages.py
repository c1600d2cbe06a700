"""The commands and files of the documentation's pages. `python -m tests.pages` renews the answers shown in them.

What is run: each line of a block `sh` or `console` that begins with `plan`, `planner`, `make` or `echo $?`, with a
prompt `$ ` before it or without. Below a line with a prompt stands its answer, or nothing. A block below a line
such as "Save this as `mine.toml`:" is a file of that name.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from subprocess import CompletedProcess

ROOT = Path(__file__).parents[1]
Run = Callable[..., CompletedProcess[str]]
"""Runs a program with its arguments."""
ALL = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "hardware_db").glob("*.md")})
_BLOCK = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAMED = re.compile(r"`([\w-]+\.(?:toml|yaml|csv|json))`:\s*\Z")
_PROGRAMS = ("plan", "planner", "make", "echo")


@dataclass(frozen=True)
class Command:
    """One line; `answer`: what is shown below it, None where that is not shown."""

    page: str
    line: str
    answer: str | None = None

    @cached_property
    def words(self) -> list[str]:
        """Program and arguments, without the file that stdout goes to."""
        return shlex.split(self.line.rpartition(" > ")[0] or self.line)

    @cached_property
    def into(self) -> str:
        """The file that stdout goes to."""
        before, _, name = self.line.rpartition(" > ")
        return name if before else ""


@dataclass(frozen=True)
class File:
    """A file that a page tells to write, or shows without a name."""

    page: str
    kind: str
    text: str
    name: str


@dataclass(frozen=True)
class Page:
    """One page, in its order."""

    path: Path
    parts: tuple[Command | File, ...]

    @cached_property
    def commands(self) -> list[Command]:
        """What it tells to type."""
        return [one for one in self.parts if isinstance(one, Command)]

    @cached_property
    def story(self) -> list[Command | File]:
        """Named files, and the commands that write files, read those, or whose answer is shown."""
        steps: list[Command | File] = []
        names = {part.name for part in self.parts if isinstance(part, File) and part.name}
        for part in self.parts:
            if isinstance(part, File):
                steps += [part] if part.name else []
                continue
            written = {part.into} if part.into else set()
            written |= {after for word, after in itertools.pairwise(part.words) if word in ("-o", "--out-dir")}
            if written or part.answer is not None or names & set(part.words):
                steps.append(part)
            names |= written
        return steps


def page(path: Path) -> Page:
    """A page read."""
    return Page(path, tuple(_parts(path)))


def _parts(path: Path) -> Iterator[Command | File]:
    text, name = path.read_text("utf-8"), str(path.relative_to(ROOT))
    for block in _BLOCK.finditer(text):
        kind, body = block[1], block[2]
        named = _NAMED.search(text[: block.start()])
        if kind == "console":
            yield from _dialogue(name, body)
        elif kind == "sh":
            lines = [line.split("  #")[0].split(" # ")[0].strip() for line in body.splitlines()]
            yield from (Command(name, line) for line in lines if line.split(" ")[0] in _PROGRAMS)
        elif named or kind == "toml":
            yield File(name, kind, body, named[1] if named else "")


def _dialogue(name: str, body: str) -> Iterator[Command]:
    for line, answer in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", body, re.MULTILINE):
        if line.split(" ")[0] in _PROGRAMS:
            yield Command(name, line, answer if answer.strip() else None)


def plain(text: str) -> str:
    """An answer without the blanks at the ends of lines, and the empty lines around it."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def follow_story(parts: list[Command | File], folder: Path, run: Run) -> Iterator[tuple[Command, int, str]]:
    """Do what a page says, in its order, in `folder`: each command with its exit code and what it says."""
    code = 0
    for one in parts:
        if isinstance(one, File):
            (folder / one.name).write_text(one.text, "utf-8")
        elif one.line == "echo $?":
            yield one, 0, str(code)
        elif one.words[0] in ("plan", "planner"):
            done = run(*one.words)
            code = done.returncode
            if one.into:
                (folder / one.into).write_text(done.stdout, "utf-8")
            yield one, code, done.stderr if one.into else done.stdout + done.stderr


def renew(path: Path, folder: Path, run: Run) -> None:
    """Put today's answers below the commands of a page."""
    text = path.read_text("utf-8")
    for command, _, said in follow_story(page(path).story, folder, run):
        if command.answer is not None:
            text = text.replace(f"$ {command.line}\n{command.answer}", f"$ {command.line}\n{plain(said)}\n", 1)
    path.write_text(text, "utf-8")


def main() -> None:
    """Renew all pages."""
    import os
    import tempfile

    from tests.cli.run import call

    for path in ALL:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            furnish(Path(folder))
            renew(path, Path(folder), call)
            os.chdir(ROOT)


def furnish(folder: Path) -> None:
    """What the pages' commands find in the folder that they run in: the project's files."""
    for name in ("docs", "tests", "hardware_db"):
        (folder / name).symlink_to(ROOT / name)


if __name__ == "__main__":
    main()
