"""One command run one way, all that it gave, and how two such answers differ."""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.same.commands import PREPARED, shlex, write_inputs
from tests.same.ways import Way

_FIRST_LINES = 12
_LONGEST_S = 300


@dataclass(frozen=True)
class Answer:
    """What a command gave: its exit code, the bytes of stdout and stderr, and those of its files by their names."""

    code: int
    parts: dict[str, bytes]


def answer(words: list[str], way: Way, inputs: Path, beside: Path) -> Answer:
    """Run a command in an empty folder below `beside` that has `inputs` as `in/`."""
    folder = beside / way.folder
    (folder / "out").mkdir(parents=True)
    (folder / "in").symlink_to(inputs)
    variables = {**os.environ, "PATH": f"{way.bin}{os.pathsep}{os.environ['PATH']}"}
    for name, value in way.variables.items():
        variables.pop(name, None)
        if value is not None:
            variables[name] = value
    done = subprocess.run(
        [*(["taskset", "-c", way.cores] if way.cores else []), *words],
        cwd=folder,
        env=variables,
        umask=way.umask,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_LONGEST_S,
        check=False,
    )
    files = sorted(path for path in (folder / "out").rglob("*") if path.is_file())
    parts = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    shutil.rmtree(beside)
    return Answer(done.returncode, {"stdout": done.stdout, "stderr": done.stderr, **parts})


def prepare(folder: Path, way: Way) -> None:
    """Write all files that commands read to `folder`."""
    write_inputs(folder)
    for name, line in PREPARED.items():
        done = answer(shlex.split(line), way, folder, folder.with_name("made"))
        if done.code != 0:
            raise SystemExit(f"{name} cannot be made: {done.parts['stderr'].decode()}")
        if not (folder / name).exists():
            (folder / name).write_bytes(done.parts["stdout"])


def difference(one: Answer, other: Answer) -> list[str]:
    """What differs, part by part, as the first lines of a unified diff; empty where nothing does."""
    told = [] if one.code == other.code else [f"exit code {one.code}, {other.code}"]
    for part in sorted({*one.parts, *other.parts}):
        before, after = one.parts.get(part), other.parts.get(part)
        if before is None or after is None:
            told.append(f"{part} is there once only")
        elif before != after:
            told += _changed(before, after, part)
    return told


def _changed(before: bytes, after: bytes, part: str) -> list[str]:
    texts = [raw.decode(errors="backslashreplace").splitlines() for raw in (before, after)]
    lines = list(difflib.unified_diff(*texts, "usual", part, lineterm="", n=0))
    return [line[:300] for line in lines[:_FIRST_LINES]] or [f"{part}: line ends differ"]
