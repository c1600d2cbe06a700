"""`python -m tests.mutation [FOLDER ...]`: change one thing of a function, run its tests, print the survivors."""

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

from tests.mutation.mutants import Mutant, generate_mutants
from tests.mutation.record import Record, record_tests
from tests.mutation.run import Order, Result, Runner, format_elapsed, list_files
from tests.mutation.swap import import_all

ROOT = Path(__file__).parents[2]
OUTPUT_FOLDER = ROOT / "build" / "mutation"
FOLDERS = ("planner/cost", "planner/search", "planner/studies")
TESTS = ("pinned", "cost", "search", "report", "validation", "cli", "export", "test_api.py", "test_docs.py")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("folders", nargs="*", default=FOLDERS, help="files or folders whose functions are changed")
    parser.add_argument("--sample", type=int, help="this many mutants, drawn at random; all if left out")
    parser.add_argument("--seed", type=int, default=1, help="of the random sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--budget-s", type=float, default=6.0, help="seconds of tests for one mutant")
    parser.add_argument("--tests", nargs="*", default=TESTS, help="which tests, below tests/")
    parser.add_argument("--again", action="store_true", help="only the survivors of the last run")
    parser.add_argument("--only", help="one mutant by its name, shown with the test that notices it")
    return parser.parse_args()


class Session:
    """A plugin of pytest whose loop runs mutants in place of the tests."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.survivors: list[Mutant] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Record the lines of new tests, then run the mutants."""
        files = list_files(ROOT, self.arguments.folders)
        import_all(list_files(ROOT, FOLDERS))
        items = {item.nodeid: item for item in session.items}
        known = _read_record(items)
        mutants = _draw_mutants([mutant for file in files for mutant in generate_mutants(ROOT, file)], self.arguments)
        runner = Runner(items, Order(ROOT, known, self.arguments.budget_s), self.arguments.jobs)
        self.survivors = _run_and_print(runner, mutants)
        return True


def _read_record(items: dict[str, pytest.Item]) -> Record:
    """The stored record, with new tests run in a fork, so that this process stays clean."""
    known = Record(OUTPUT_FOLDER, [ROOT / file for file in list_files(ROOT, FOLDERS)])
    known.read()
    new = [item for name, item in items.items() if name not in known.seconds]
    if new:
        print(f"{len(new)} new tests run to record their lines", flush=True)
        pid = os.fork()
        if pid == 0:
            quiet = os.open(os.devnull, os.O_RDWR)
            os.dup2(quiet, 1)
            record_tests(new, known)
            os._exit(0)
        os.waitpid(pid, 0)
        known.read()
    known.seconds = {name: seconds for name, seconds in known.seconds.items() if name in items}
    return known


def _draw_mutants(mutants: list[Mutant], arguments: argparse.Namespace) -> list[Mutant]:
    if arguments.only:
        return [mutant for mutant in mutants if mutant.name == arguments.only]
    if arguments.again:
        survivors = {survivor["mutant"] for survivor in json.loads((OUTPUT_FOLDER / "survivors.json").read_text())}
        return [
            mutant for mutant in mutants if describe_mutant(mutant) in survivors
        ]  # numbers change with their functions
    shuffled = random.Random(arguments.seed).sample(mutants, len(mutants))
    return shuffled[: arguments.sample]  # a larger sample contains the smaller


def _run_and_print(runner: Runner, mutants: list[Mutant]) -> list[Mutant]:
    """Run them, print the progress and a table by file; returns the survivors."""
    start, survivors = time.monotonic(), []
    counts: dict[str, Counter[str]] = {}
    print(f"{len(mutants)} mutants", flush=True)
    for number, result in enumerate(runner.run(mutants), 1):
        lives = result.noticed_by is None
        verdict = "survived" if lives else "noticed"
        counts.setdefault(result.mutant.file, Counter())[verdict] += 1
        if lives:
            survivors.append(result)
        if number % 100 == 0:
            print(f"{number}: {len(survivors)} survived, {format_elapsed(start)}", flush=True)
            _write(survivors)
        if len(mutants) == 1:
            print(result.mutant.text, result.noticed_by)
    _write(survivors)
    for file, count in sorted(counts.items()):
        total = count["noticed"] + count["survived"]
        print(f"{file:48} {total:6} {count['noticed'] / total:7.1%}")
    print(f"{'all':48} {len(mutants):6} {1 - len(survivors) / max(1, len(mutants)):7.1%}  {format_elapsed(start)}")
    print("survivors:" if survivors else "no survivors")
    for result in survivors:
        print(f"  {describe_mutant(result.mutant)}")
    return [result.mutant for result in survivors]


def describe_mutant(mutant: Mutant) -> str:
    """A mutant without its number, which changes with its function."""
    was, now = (" ".join(text.split()) for text in (mutant.was, mutant.now))
    return f"{mutant.file}:{mutant.function}: {was} -> {now}"


def _write(survivors: list[Result]) -> None:
    OUTPUT_FOLDER.mkdir(parents=True, exist_ok=True)
    kept = [
        {
            "name": result.mutant.name,
            "mutant": describe_mutant(result.mutant),
            "tests": result.tried,
            "tests_left": result.left,
        }
        for result in sorted(survivors, key=lambda result: result.mutant.name)
    ]
    (OUTPUT_FOLDER / "survivors.json").write_text(json.dumps(kept, indent=1))


def main() -> None:
    """Run; the exit code is 1 where a mutant survived."""
    for threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[threads] = "1"
    arguments = _arguments()
    plugin = Session(arguments)
    tests = [str(ROOT / "tests" / name) for name in arguments.tests]
    options = ["-o", "addopts=", "-s", "-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:randomly"]
    pytest.main([*options, "--rootdir", str(ROOT), *tests], plugins=[plugin])
    sys.exit(1 if plugin.survivors else 0)


if __name__ == "__main__":
    main()
