"""The commands and files of the documentation's pages. `python -m tests.pages` renews the answers shown in them.

What is run: each line of a block `sh` or `console` that begins with `plan`, `planner`, `make` or `echo $?`, with a
prompt `$ ` before it or without. Below a line with a prompt is its output, or nothing. A block below a line
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
PAGE_PATHS = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "hardware_db").glob("*.md")})
_BLOCK = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE_NAME = re.compile(r"`([\w-]+\.(?:toml|yaml|csv|json))`:\s*\Z")
_PROGRAMS = ("plan", "planner", "make", "echo")


@dataclass(frozen=True)
class Command:
    """A command line; `answer`: the output shown below it, None where it is not shown."""

    page: str
    line: str
    answer: str | None = None

    @cached_property
    def words(self) -> list[str]:
        """Program and arguments, without the file that stdout goes to."""
        return shlex.split(self.line.rpartition(" > ")[0] or self.line)

    @cached_property
    def output_file(self) -> str:
        """The file that stdout goes to."""
        before, _, name = self.line.rpartition(" > ")
        return name if before else ""


@dataclass(frozen=True)
class File:
    """A file that a page asks the reader to write, or shows without a name."""

    page: str
    language: str
    text: str
    name: str


@dataclass(frozen=True)
class Page:
    """A page, in its order."""

    path: Path
    parts: tuple[Command | File, ...]

    @cached_property
    def commands(self) -> list[Command]:
        """The commands to type."""
        return [part for part in self.parts if isinstance(part, Command)]

    @cached_property
    def story(self) -> list[Command | File]:
        """Named files, and the commands that write files, read those, or whose output is shown."""
        steps: list[Command | File] = []
        names = {part.name for part in self.parts if isinstance(part, File) and part.name}
        for part in self.parts:
            if isinstance(part, File):
                steps += [part] if part.name else []
                continue
            written = {part.output_file} if part.output_file else set()
            written |= {after for word, after in itertools.pairwise(part.words) if word in ("-o", "--out-dir")}
            if written or part.answer is not None or names & set(part.words):
                steps.append(part)
            names |= written
        return steps


def read_page(path: Path) -> Page:
    """Parse a page."""
    return Page(path, tuple(_read_parts(path)))


def _read_parts(path: Path) -> Iterator[Command | File]:
    text, name = path.read_text("utf-8"), str(path.relative_to(ROOT))
    for block in _BLOCK.finditer(text):
        language, body = block[1], block[2]
        file_name = _FILE_NAME.search(text[: block.start()])
        if language == "console":
            yield from _read_dialogue(name, body)
        elif language == "sh":
            lines = [line.split("  #")[0].split(" # ")[0].strip() for line in body.splitlines()]
            yield from (Command(name, line) for line in lines if line.split(" ")[0] in _PROGRAMS)
        elif file_name or language == "toml":
            yield File(name, language, body, file_name[1] if file_name else "")


def _read_dialogue(name: str, body: str) -> Iterator[Command]:
    for line, answer in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", body, re.MULTILINE):
        if line.split(" ")[0] in _PROGRAMS:
            yield Command(name, line, answer if answer.strip() else None)


def strip_blanks(text: str) -> str:
    """An output without the blanks at the ends of lines, and the empty lines around it."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def follow_story(parts: list[Command | File], folder: Path, run: Run) -> Iterator[tuple[Command, int, str]]:
    """Write the files and run the commands of a page in `folder`, in order; each command, exit code and output."""
    code = 0
    for part in parts:
        if isinstance(part, File):
            (folder / part.name).write_text(part.text, "utf-8")
        elif part.line == "echo $?":
            yield part, 0, str(code)
        elif part.words[0] in ("plan", "planner"):
            done = run(*part.words)
            code = done.returncode
            if part.output_file:
                (folder / part.output_file).write_text(done.stdout, "utf-8")
            yield part, code, done.stderr if part.output_file else done.stdout + done.stderr


def renew_page(path: Path, folder: Path, run: Run) -> None:
    """Put today's outputs below the commands of a page."""
    text = path.read_text("utf-8")
    for command, _, output in follow_story(read_page(path).story, folder, run):
        if command.answer is not None:
            text = text.replace(
                f"$ {command.line}\n{command.answer}", f"$ {command.line}\n{strip_blanks(output)}\n", 1
            )
    path.write_text(text, "utf-8")


def main() -> None:
    """Renew all pages."""
    import os
    import tempfile

    from tests.cli.run import call

    for path in PAGE_PATHS:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            link_project_files(Path(folder))
            renew_page(path, Path(folder), call)
            os.chdir(ROOT)


def link_project_files(folder: Path) -> None:
    """Link the project's files into the folder that commands of pages run in."""
    for name in ("docs", "tests", "hardware_db"):
        (folder / name).symlink_to(ROOT / name)


if __name__ == "__main__":
    main()
