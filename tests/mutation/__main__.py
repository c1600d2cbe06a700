"""`python -m tests.mutation [FOLDER ...]`: change one thing of a function, run its tests, tell what lives."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.record import Record, record
from tests.mutation.run import Order, Result, Runner, elapsed, files_of
from tests.mutation.swap import import_all

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "mutation"
FOLDERS = ("planner/cost", "planner/search", "planner/studies")
TESTS = ("pinned", "cost", "search", "report", "validation", "cli", "export", "test_api.py", "test_docs.py")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("folders", nargs="*", default=FOLDERS, help="files or folders whose functions are changed")
    parser.add_argument("--sample", type=int, help="this many mutants, drawn at random; all if left out")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--budget-s", type=float, default=6.0, help="seconds of tests for one mutant")
    parser.add_argument("--tests", nargs="*", default=TESTS, help="which tests, below tests/")
    parser.add_argument("--again", action="store_true", help="only the survivors of the last run")
    parser.add_argument("--only", help="one mutant by its name, shown with the test that notices it")
    return parser.parse_args()


class Session:
    """pytest's loop over the tests, in which mutants run in their place."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.survivors: list[Mutant] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Record what tests run where that is not known, then run the mutants."""
        files = files_of(ROOT, self.asked.folders)
        import_all(files_of(ROOT, FOLDERS))
        items = {item.nodeid: item for item in session.items}
        known = _recorded(items)
        mutants = _drawn([one for file in files for one in mutants_of(ROOT, file)], self.asked)
        runner = Runner(items, Order(ROOT, known, self.asked.budget_s), self.asked.jobs)
        self.survivors = _told(runner, mutants)
        return True


def _recorded(items: dict[str, pytest.Item]) -> Record:
    """From the folder, and of new tests by running them, in a fork: this process stays as new."""
    known = Record(KEPT, [ROOT / file for file in files_of(ROOT, FOLDERS)])
    known.read()
    new = [item for name, item in items.items() if name not in known.seconds]
    if new:
        print(f"{len(new)} tests run to see what they run", flush=True)
        pid = os.fork()
        if pid == 0:
            quiet = os.open(os.devnull, os.O_RDWR)
            os.dup2(quiet, 1)
            record(new, known)
            os._exit(0)
        os.waitpid(pid, 0)
        known.read()
    known.seconds = {name: seconds for name, seconds in known.seconds.items() if name in items}
    return known


def _drawn(mutants: list[Mutant], asked: argparse.Namespace) -> list[Mutant]:
    if asked.only:
        return [one for one in mutants if one.name == asked.only]
    if asked.again:
        lived = {one["mutant"] for one in json.loads((KEPT / "survivors.json").read_text())}
        return [one for one in mutants if describe(one) in lived]  # numbers change with their functions
    shuffled = random.Random(asked.seed).sample(mutants, len(mutants))
    return shuffled[: asked.sample]  # a larger sample has the smaller one in it


def _told(runner: Runner, mutants: list[Mutant]) -> list[Mutant]:
    """Run them and print how it goes, then a table by file; those that survive."""
    start, survivors = time.monotonic(), []
    counts: dict[str, Counter[str]] = {}
    print(f"{len(mutants)} mutants", flush=True)
    for number, result in enumerate(runner.run(mutants), 1):
        lives = result.by is None
        kind = "survived" if lives else "noticed"
        counts.setdefault(result.mutant.file, Counter())[kind] += 1
        if lives:
            survivors.append(result)
        if number % 100 == 0:
            print(f"{number}: {len(survivors)} survived, {elapsed(start)}", flush=True)
            _write(survivors)
        if len(mutants) == 1:
            print(result.mutant.text, result.by)
    _write(survivors)
    for file, count in sorted(counts.items()):
        total = count["noticed"] + count["survived"]
        print(f"{file:48} {total:6} {count['noticed'] / total:7.1%}")
    print(f"{'all':48} {len(mutants):6} {1 - len(survivors) / max(1, len(mutants)):7.1%}  {elapsed(start)}")
    print("survivors:" if survivors else "no survivors")
    for result in survivors:
        print(f"  {describe(result.mutant)}")
    return [result.mutant for result in survivors]


def describe(mutant: Mutant) -> str:
    """A mutant without its number, which changes with its function."""
    was, now = (" ".join(text.split()) for text in (mutant.was, mutant.now))
    return f"{mutant.file}:{mutant.function}: {was} -> {now}"


def _write(survivors: list[Result]) -> None:
    KEPT.mkdir(parents=True, exist_ok=True)
    kept = [
        {
            "name": one.mutant.name,
            "mutant": describe(one.mutant),
            "tests": one.tried,
            "tests_left": one.left,
        }
        for one in sorted(survivors, key=lambda one: one.mutant.name)
    ]
    (KEPT / "survivors.json").write_text(json.dumps(kept, indent=1))


def main() -> None:
    """Run, and end with 1 where a mutant survived."""
    for threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[threads] = "1"
    asked = _arguments()
    loop = Session(asked)
    chosen = [str(ROOT / "tests" / one) for one in asked.tests]
    options = ["-o", "addopts=", "-s", "-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:randomly"]
    pytest.main([*options, "--rootdir", str(ROOT), *chosen], plugins=[loop])
    sys.exit(1 if loop.survivors else 0)


if __name__ == "__main__":
    main()
