"""The points of a sweep on a Dask cluster: sent by the handful, gathered as they are done."""

from __future__ import annotations

import functools
import importlib
import logging
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING

from planner.cli.sweeps.fingerprint import digests, known_digest
from planner.cli.sweeps.grid import files_of
from planner.cli.sweeps.point import Asker, failed
from planner.errors import InputError, PlannerError

if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from planner.cli.sweeps.grid import Point

_AT_ONCE = 16
_CONNECTED_S = 30
_GONE = "the scheduler is gone; what was answered is kept, the same command goes on"
Numbered = tuple[int, "Point"]


def answer_on_dask(
    points: Sequence[Numbered], address: str, fingerprint: str, done: Callable[[int, bytes], None]
) -> None:
    """Answer the points on the workers of a scheduler; `done` is told each one's number and answer, in any order.

    Dask repeats what a dead worker had. Points whose worker has died as often as Dask allows are sent alone once
    more, then told as failed. Raises InputError where there is no such scheduler, it has no workers, or these have
    another version of planner or other files.
    """
    distributed = _distributed()
    try:
        with warnings.catch_warnings(action="ignore"):  # of packages that differ, which planner's version tells
            client = distributed.Client(address, timeout=_CONNECTED_S)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        expected = "the address of a running Dask scheduler, such as tcp://host:8786"
        raise InputError(f"no scheduler: {reason}", key="--scheduler", value=address, expected=expected) from None
    with client:
        try:
            _check_workers(client, points, address)
            chunks = [points[start : start + _AT_ONCE] for start in range(0, len(points), _AT_ONCE)]
            alone = _gathered(distributed, client, chunks, fingerprint, done)
            lost = _gathered(distributed, client, [[one] for one in alone], fingerprint, done)
        except PlannerError:
            raise
        except Exception as error:
            # a lost connection is an OSError, a cancelled future, or whatever a closed client says
            if not isinstance(error, OSError | CancelledError) and client.status == "running":
                raise
            raise PlannerError(_GONE) from None
    for number, _ in lost:
        done(number, _lost())


def _distributed() -> ModuleType:
    try:
        distributed = importlib.import_module("distributed")
    except ImportError:
        expected = "pip install 'planner[dask]', or local workers"
        raise InputError("needs the package `distributed`", key="--scheduler", expected=expected) from None
    # what it logs of lost connections, with tracebacks, is told in one message of ours
    logging.disable()
    return distributed


def _gathered(
    distributed: ModuleType,
    client: Any,
    chunks: Sequence[Sequence[Numbered]],
    fingerprint: str,
    done: Callable[[int, bytes], None],
) -> list[Numbered]:
    """Answer chunks of points; those whose workers have died too often are handed back."""
    if not chunks:
        return []
    sent = [[(number, _anywhere(point)) for number, point in chunk] for chunk in chunks]
    futures = [client.submit(answered_chunk, chunk, fingerprint, pure=False) for chunk in sent]
    by_key = {future.key: chunk for future, chunk in zip(futures, chunks, strict=True)}
    lost: list[Numbered] = []
    for future in distributed.as_completed(futures):
        if future.status == "finished":
            for number, answer in future.result():
                done(number, answer)
        elif future.status == "error":
            lost.extend(by_key[future.key])
        else:
            raise PlannerError(_GONE)
        future.release()
    return lost


def answered_chunk(points: Sequence[Numbered], fingerprint: str) -> list[tuple[int, bytes]]:
    """On a worker: the points' numbers and answers."""
    asker = _asker(fingerprint)
    return [(number, asker.answered(point)) for number, point in points]


@functools.lru_cache(2)
def _asker(fingerprint: str) -> Asker:
    """What the chunks of one sweep share on a worker."""
    return Asker()


def _anywhere(point: Point) -> Point:
    """The point with its files by their whole paths: a worker may have been started in another folder."""
    return {**point, **{key: _whole(name) for key, name in files_of(point).items()}}


def _whole(name: str) -> str:
    return str(Path(name).absolute())


def described(names: Sequence[str]) -> tuple[str, str, dict[str, str]]:
    """On a worker: its version of planner, what that knows by name, and what the sweep's files are there."""
    from planner import __version__

    return __version__, known_digest(), digests(names)


def _check_workers(client: Any, points: Sequence[Numbered], address: str) -> None:
    """Raises InputError where the workers would answer another question, or none are there."""
    names = sorted({_whole(name) for _, point in points for name in files_of(point).values()})
    here = described(names)
    there = client.run(described, names, on_error="return")
    if not there:
        raise InputError("the scheduler has no workers", key="--scheduler", value=address, expected="dask worker")
    for worker, told in sorted(there.items()):
        if isinstance(told, Exception):
            problem, expected = f"worker {worker} cannot answer: {told}", f"planner {here[0]} on every worker"
            raise InputError(problem, key="--scheduler", value=address, expected=expected)
        version, known, files = told
        if version != here[0]:
            problem = f"worker {worker} has planner {version}"
            raise InputError(problem, key="--scheduler", value=address, expected=f"planner {here[0]}, as here")
        if known != here[1]:
            problem = f"worker {worker} has another hardware_db, or other models"
            raise InputError(problem, key="--scheduler", value=address, expected="the same planner, as here")
        for name, digest in files.items():
            if digest != here[2][name]:
                problem = f"worker {worker} has not the same file"
                raise InputError(problem, key="--scheduler", value=name, expected="a folder that all machines share")


def _lost() -> bytes:
    import msgspec

    return msgspec.json.encode(failed("the worker that answered it died, again and again"))
