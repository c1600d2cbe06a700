"""`python -m tests.same`: every command in every form, run over and over; ends with 1 where a byte differs."""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.same.commands import FAILING, commands
from tests.same.run import Answer, answer, difference, prepare
from tests.same.ways import Way, usual, ways

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "same"
_WIDTH = 9
"""Of a column; one whose head is wider is so wide."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.same", description=__doc__)
    parser.add_argument("commands", nargs="*", help="those whose name has one of these in it; else all")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        help="another Python, and what it has installed: python3.13, or python3.11:numpy==1.26.4,networkx==3.2",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="commands at once")
    parser.add_argument("--list", action="store_true", help="the commands")
    return parser.parse_args()


def main() -> None:
    """Run, print a line a command, then what differs."""
    asked = _arguments()
    chosen = {
        name: words
        for name, words in commands().items()
        if not asked.commands or any(part in name for part in asked.commands)
    }
    if asked.list:
        print("\n".join(f"{name:28} {' '.join(words)}" for name, words in chosen.items()))
        return
    own = Path(sys.executable).parent
    all_ways = ways(own, {python: environment(python) for python in asked.python})
    kinds = list(dict.fromkeys(way.kind for way in all_ways))
    print(f"{'command':28} exit " + " ".join(f"{kind:>{_WIDTH}}" for kind in kinds))
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(asked.jobs) as pool:
        folder = Path(name)
        prepare(folder / "in", usual(own))
        faults = 0
        for command, words in chosen.items():
            number = itertools.count()
            first, *rest = pool.map(
                lambda way, words=words, number=number: answer(words, way, folder / "in", folder / f"{next(number)}"),
                [usual(own), *all_ways],
            )
            if first.code != FAILING.get(command, 0):
                sys.exit(f"{command} ends with {first.code}: {first.parts['stderr'].decode()}")
            faults += _told(command, first, list(zip(all_ways, rest, strict=True)), kinds)
    print(f"{len(chosen)} commands, {len(all_ways) + 1} runs of each: {faults or 'none'} gave other bytes")
    sys.exit(faults > 0)


def environment(python: str) -> Path:
    """The programs' folder of an environment with this Python and these versions; made once, below build/."""
    program, _, pins = python.partition(":")
    folder = KEPT / python.replace("/", "_").replace(":", "-")
    done = folder / ".installed"
    if not done.exists():
        subprocess.run([program, "-m", "venv", "--clear", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--editable", f"{ROOT}[sweep]", *filter(None, pins.split(","))], check=True)
        done.touch()
    return folder / "bin"


def _told(command: str, first: Answer, rest: list[tuple[Way, Answer]], kinds: list[str]) -> bool:
    """Print the line of a command, and what differs of its runs; whether any did."""
    runs = Counter(way.kind for way, _ in rest)
    differing = [(way, found) for way, one in rest if (found := difference(first, one))]
    other = Counter(way.kind for way, _ in differing)
    cells = (f"{other[kind]} OTHER" if other[kind] else f"{runs[kind]} same" for kind in kinds)
    told = (f"{cell:>{max(_WIDTH, len(kind))}}" for cell, kind in zip(cells, kinds, strict=True))
    print(f"{command:28} {first.code:4} " + " ".join(told), flush=True)
    for kind in other:
        way, found = next((way, found) for way, found in differing if way.kind == kind)
        said = ", ".join(f"{name}={value}" for name, value in way.variables.items())
        print(f"    {kind} ({said or way.cores or way.folder})")
        print("\n".join(f"      {line}" for line in found))
    return bool(other)


if __name__ == "__main__":
    main()
