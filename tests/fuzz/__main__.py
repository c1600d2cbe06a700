"""`python -m tests.fuzz`: run many inputs of every reader, or of some; or one input again by its number."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from pathlib import Path

KEPT = Path("build") / "fuzz"
_USUAL = 2_000


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", help="which readers; all if none is named")
    parser.add_argument(
        "-n", type=int, default=_USUAL, help="inputs of each reader, of whole commands a tenth unless they are named"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="this one input alone, shown")
    parser.add_argument("--list", action="store_true", help="the readers' names")
    return parser.parse_args()


def main() -> None:
    """Run, tell, and end with 1 where there was a fault."""
    for threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[threads] = "1"
    asked = _arguments()
    from tests.fuzz.readers import READERS

    if asked.list:
        print("\n".join(READERS))
        return
    names = asked.readers or list(READERS)
    unknown = [name for name in names if name not in READERS]
    if unknown:
        sys.exit(f"unknown reader {unknown[0]}; one of {', '.join(READERS)}")
    if asked.only is not None:
        _show(names[0], asked.seed, asked.only)
        return
    heads = ("inputs", "accepted", "refused", "faults", "slowest", "memory", "took")
    print(f"{'reader':18}" + "".join(f" {head:>8}" for head in heads))
    # each in a process of its own: what one leaves behind is not the next one's
    sys.exit(max(_in_child(name, asked.seed, asked.n if asked.readers else _share(name, asked.n)) for name in names))


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
    from tests.fuzz.run import MOST_BYTES, fuzz, limits, made, shrunk

    start = time.monotonic()
    with limits(None):
        fuzz(name, seed, range(10))  # imports, so that they are not counted with the inputs
    with limits(MOST_BYTES):
        tally = fuzz(name, seed, range(count))
    counts, took = tally.counts, time.monotonic() - start
    slow, large = f"{tally.slowest[0]:.2f} s", f"{tally.largest[0] / 1e6:.0f} MB"
    print(
        f"{name:18} {count:8} {counts['accepted']:8} {counts['refused']:8} {counts['fault']:8} {slow:>8} {large:>8} "
        f"{took:7.0f}s   slowest {tally.slowest[1]}, largest {tally.largest[1]}"
    )
    for kind, found in tally.faults.items():
        number, told = found[0]
        file_name, raw = made(name, seed, number)
        smallest = shrunk(name, file_name, raw, kind) if kind != "too slow" else raw
        KEPT.mkdir(parents=True, exist_ok=True)
        kept = KEPT / f"{name}-{seed}-{number}-{file_name}"
        kept.write_bytes(smallest)
        print(f"  {kind}: {len(found)} times, first {number}: {kept}\n{_indented(told)}")
    return 1 if tally.faults else 0


def _indented(text: str) -> str:
    return "\n".join(f"    {line[:200]}" for line in text.splitlines()[-14:])


def _show(name: str, seed: int, number: int) -> None:
    from tests.fuzz.readers import READERS
    from tests.fuzz.run import limits, made, outcome_of

    file_name, raw = made(name, seed, number)
    KEPT.mkdir(parents=True, exist_ok=True)
    path = KEPT / file_name
    path.write_bytes(raw)
    with limits(None):
        outcome = outcome_of(READERS[name].read, path)
    print(f"{path}: {len(raw):,} bytes")
    print(f"{outcome.kind} in {outcome.cpu_s:.3f} s, {outcome.bytes / 1e6:.1f} MB\n{outcome.told}")


if __name__ == "__main__":
    main()
