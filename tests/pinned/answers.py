"""The questions of questions.txt, what is kept of an answer, and where two answers differ."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

from tests.cli.run import asked

HERE = Path(__file__).parent
KEPT = HERE / "answers"
CLOSE = 1e-9
"""Relative: sums may be added in another order, nothing more."""
_TOLD_ELSEWHERE = ("assumed", "source", "sources", "schema_version", "planner_version")


def questions() -> dict[str, list[str]]:
    """The commands by the questions' names."""
    lines = (HERE / "questions.txt").read_text("utf-8").splitlines()
    told = (line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))
    return {name: shlex.split(command) for name, command in told}


def answered(command: list[str]) -> dict[str, object]:
    """What the command ends with, prints and says; `{name}` in it is a file with that question's answer."""
    with TemporaryDirectory() as folder:
        done = _asked([_file(Path(folder), word[1:-1]) if word[:1] == "{" else word for word in command])
        told = done.stdout.replace(f"{folder}/", "")
    out = _kept(json.loads(told)) if told else None
    return {"exit": done.returncode, "out": out, "err": done.stderr.splitlines()}


def differences(kept: object, now: object, at: str = "answer") -> Iterator[str]:
    """Each place where two answers are not the same, numbers by `CLOSE`."""
    if isinstance(kept, dict) and isinstance(now, dict):
        for key in kept.keys() | now.keys():
            if key not in kept or key not in now:
                yield f"{at}.{key}: {'new' if key in now else 'gone'}"
            else:
                yield from differences(kept[key], now[key], f"{at}.{key}")
    elif isinstance(kept, list) and isinstance(now, list) and len(kept) == len(now):
        for index, (one, other) in enumerate(zip(kept, now, strict=True)):
            yield from differences(one, other, f"{at}[{index}]")
    elif isinstance(kept, float) and isinstance(now, float):
        if not math.isclose(kept, now, rel_tol=CLOSE, abs_tol=1e-15):
            yield f"{at}: {kept!r}, now {now!r}"
    elif kept != now or type(kept) is not type(now):
        yield f"{at}: {kept!r}, now {now!r}"


def read(name: str) -> object:
    """The answer that is kept."""
    found: object = json.loads((KEPT / f"{name}.json").read_text("utf-8"))
    return found


def write(name: str, answer: object) -> None:
    """Keep it."""
    (KEPT / f"{name}.json").write_text(json.dumps(answer, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _asked(command: list[str]) -> CompletedProcess[str]:
    program, *arguments = command
    form = () if arguments[0] == "schema" else ("--format", "json")
    return asked(program, *arguments, *form)


def _file(folder: Path, name: str) -> str:
    """A plan's document as a command prints it."""
    file = folder / f"{name}.json"
    file.write_text(_asked(questions()[name]).stdout, "utf-8")
    return str(file)


def _kept(document: object) -> object:
    """Without what the hardware database says of its sources: that has tests of its own."""
    if isinstance(document, dict):
        return {key: _kept(value) for key, value in document.items() if key not in _TOLD_ELSEWHERE}
    if isinstance(document, list):
        return [_kept(one) for one in document]
    return document
