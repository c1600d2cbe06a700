"""`python -m tests.fuzz`: run many inputs of every reader, or of some; or a single input by its number."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from pathlib import Path

OUTPUT_FOLDER = Path("build") / "fuzz"
_USUAL = 2_000


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", help="which readers; all if none is named")
    parser.add_argument(
        "-n", type=int, default=_USUAL, help="inputs of each reader, of whole commands a tenth unless they are named"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="only this input, shown")
    parser.add_argument("--list", action="store_true", help="the readers' names")
    return parser.parse_args()


def main() -> None:
    """Run and print; the exit code is 1 where an input failed."""
    for threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[threads] = "1"
    arguments = _arguments()
    from tests.fuzz.readers import READERS

    if arguments.list:
        print("\n".join(READERS))
        return
    names = arguments.readers or list(READERS)
    unknown = [name for name in names if name not in READERS]
    if unknown:
        sys.exit(f"unknown reader {unknown[0]}; one of {', '.join(READERS)}")
    if arguments.only is not None:
        _show(names[0], arguments.seed, arguments.only)
        return
    heads = ("inputs", "accepted", "refused", "failed", "slowest", "memory", "took")
    print(f"{'reader':18}" + "".join(f" {head:>8}" for head in heads))
    # each in a process of its own: caches and memory of a reader do not reach the next
    sys.exit(
        max(
            _in_child(name, arguments.seed, arguments.n if arguments.readers else _share(name, arguments.n))
            for name in names
        )
    )


def _share(name: str, count: int) -> int:
    """Whole commands take long: they get a tenth."""
    return -(-count // 10) if name.startswith("run-") else count


def _in_child(name: str, seed: int, count: int) -> int:
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = _run(name, seed, count)
        except BaseException:
            print(traceback.format_exc(limit=-4))
        finally:
            sys.stdout.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        print(f"{name}: killed by signal {os.WTERMSIG(status)}")
        return 1
    return os.WEXITSTATUS(status)


def _run(name: str, seed: int, count: int) -> int:
    from tests.fuzz.run import MOST_BYTES, fuzz, limit_memory, make_input, shrink_input

    start = time.monotonic()
    with limit_memory(None):
        fuzz(name, seed, range(10))  # imports, so that they are not counted with the inputs
    with limit_memory(MOST_BYTES):
        tally = fuzz(name, seed, range(count))
    counts, took = tally.counts, time.monotonic() - start
    slow, large = f"{tally.slowest[0]:.2f} s", f"{tally.largest[0] / 1e6:.0f} MB"
    print(
        f"{name:18} {count:8} {counts['accepted']:8} {counts['refused']:8} {counts['failed']:8} {slow:>8} {large:>8} "
        f"{took:7.0f}s   slowest {tally.slowest[1]}, largest {tally.largest[1]}"
    )
    for verdict, examples in tally.failures.items():
        number, message = examples[0]
        file_name, raw = make_input(name, seed, number)
        smallest = shrink_input(name, file_name, raw, verdict) if verdict != "too slow" else raw
        OUTPUT_FOLDER.mkdir(parents=True, exist_ok=True)
        kept = OUTPUT_FOLDER / f"{name}-{seed}-{number}-{file_name}"
        kept.write_bytes(smallest)
        print(f"  {verdict}: {len(examples)} times, first {number}: {kept}\n{_indent(message)}")
    return 1 if tally.failures else 0


def _indent(text: str) -> str:
    return "\n".join(f"    {line[:200]}" for line in text.splitlines()[-14:])


def _show(name: str, seed: int, number: int) -> None:
    from tests.fuzz.readers import READERS
    from tests.fuzz.run import limit_memory, make_input, read_input

    file_name, raw = make_input(name, seed, number)
    OUTPUT_FOLDER.mkdir(parents=True, exist_ok=True)
    path = OUTPUT_FOLDER / file_name
    path.write_bytes(raw)
    with limit_memory(None):
        outcome = read_input(READERS[name].read, path)
    print(f"{path}: {len(raw):,} bytes")
    print(f"{outcome.verdict} in {outcome.cpu_s:.3f} s, {outcome.bytes / 1e6:.1f} MB\n{outcome.message}")


if __name__ == "__main__":
    main()
