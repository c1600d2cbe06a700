"""Answers the points of a sweep on a Dask cluster: points are sent in chunks and gathered as they are done."""

from __future__ import annotations

import functools
import importlib
import logging
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING

from planner.cli.sweeps.grid import SweepPoint, list_point_files
from planner.cli.sweeps.journal import compute_data_digest, compute_file_digests
from planner.cli.sweeps.points import PointAnswerer, build_failed_record
from planner.errors import InputError, PlannerError

if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from planner.cli.sweeps.grid import SweepPoint

_POINTS_PER_TASK = 16
_CONNECT_TIMEOUT_S = 30
_SCHEDULER_LOST = "lost the connection to the scheduler; the answers so far are kept, and the same command continues"
NumberedPoint = tuple[int, "SweepPoint"]


def run_points_on_dask(
    points: Sequence[NumberedPoint], address: str, fingerprint: str, add_answer: Callable[[int, bytes], None]
) -> None:
    """Answer the points on the workers of a scheduler; `add_answer` takes each number and answer, in any order.

    Dask repeats the tasks of a dead worker. Points whose worker has died as often as Dask allows are sent alone once
    more, then reported as failed. Raises InputError without a scheduler or workers, and where workers have another
    version of planner or other files.
    """
    distributed = _import_distributed()
    try:
        with warnings.catch_warnings(
            action="ignore"
        ):  # warnings of differing packages: the version of planner is compared instead
            client = distributed.Client(address, timeout=_CONNECT_TIMEOUT_S)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        expected = "the address of a running Dask scheduler, such as tcp://host:8786"
        raise InputError(f"no scheduler: {reason}", key="--scheduler", value=address, expected=expected) from None
    with client:
        try:
            _check_workers(client, points, address)
            chunks = [points[start : start + _POINTS_PER_TASK] for start in range(0, len(points), _POINTS_PER_TASK)]
            single_points = _gather_answers(distributed, client, chunks, fingerprint, add_answer)
            lost_points = _gather_answers(
                distributed, client, [[item] for item in single_points], fingerprint, add_answer
            )
        except PlannerError:
            raise
        except Exception as error:
            # a lost connection is an OSError, a cancelled future, or an error of a closed client
            if not isinstance(error, OSError | CancelledError) and client.status == "running":
                raise
            raise PlannerError(_SCHEDULER_LOST) from None
    for number, _ in lost_points:
        add_answer(number, _build_lost_error())


def _import_distributed() -> ModuleType:
    try:
        distributed = importlib.import_module("distributed")
    except ImportError:
        expected = "pip install 'planner[dask]', or local workers"
        raise InputError("needs the package `distributed`", key="--scheduler", expected=expected) from None
    # its log of lost connections, with tracebacks, is replaced by a single message
    logging.disable()
    return distributed


def _gather_answers(
    distributed: ModuleType,
    client: Any,
    chunks: Sequence[Sequence[NumberedPoint]],
    fingerprint: str,
    add_answer: Callable[[int, bytes], None],
) -> list[NumberedPoint]:
    """Answer chunks of points; returns those whose workers have died too often."""
    if not chunks:
        return []
    sent = [[(number, _make_paths_absolute(point)) for number, point in chunk] for chunk in chunks]
    futures = [client.submit(answer_chunk, chunk, fingerprint, pure=False) for chunk in sent]
    by_key = {future.key: chunk for future, chunk in zip(futures, chunks, strict=True)}
    lost_points: list[NumberedPoint] = []
    for future in distributed.as_completed(futures):
        if future.status == "finished":
            for number, answer in future.result():
                add_answer(number, answer)
        elif future.status == "error":
            lost_points.extend(by_key[future.key])
        else:
            raise PlannerError(_SCHEDULER_LOST)
        future.release()
    return lost_points


def answer_chunk(points: Sequence[NumberedPoint], fingerprint: str) -> list[tuple[int, bytes]]:
    """On a worker: the points' numbers and answers."""
    answerer = _get_point_answerer(fingerprint)
    return [(number, answerer.encode_answer(point)) for number, point in points]


@functools.lru_cache(2)
def _get_point_answerer(fingerprint: str) -> PointAnswerer:
    """The answerer that the chunks of a sweep share on a worker."""
    return PointAnswerer()


def _make_paths_absolute(point: SweepPoint) -> SweepPoint:
    """The point with absolute paths, since a worker may run in another folder."""
    return {**point, **{key: _resolve_name(name) for key, name in list_point_files(point).items()}}


def _resolve_name(name: str) -> str:
    return str(Path(name).absolute())


def describe_worker(names: Sequence[str]) -> tuple[str, str, dict[str, str]]:
    """On a worker: its version of planner, and the digests of its databases and of the sweep's files."""
    from planner import __version__

    return __version__, compute_data_digest(), compute_file_digests(names)


def _check_workers(client: Any, points: Sequence[NumberedPoint], address: str) -> None:
    """Raise InputError where there are no workers, or where they would compute other answers."""
    names = sorted({_resolve_name(name) for _, point in points for name in list_point_files(point).values()})
    local_description = describe_worker(names)
    worker_descriptions = client.run(describe_worker, names, on_error="return")
    if not worker_descriptions:
        raise InputError("the scheduler has no workers", key="--scheduler", value=address, expected="dask worker")
    for worker, difference in sorted(worker_descriptions.items()):
        if isinstance(difference, Exception):
            problem, expected = (
                f"worker {worker} cannot answer: {difference}",
                f"planner {local_description[0]} on every worker",
            )
            raise InputError(problem, key="--scheduler", value=address, expected=expected)
        version, database_digest, files = difference
        if version != local_description[0]:
            problem = f"worker {worker} has planner {version}"
            raise InputError(
                problem, key="--scheduler", value=address, expected=f"planner {local_description[0]}, as here"
            )
        if database_digest != local_description[1]:
            problem = f"worker {worker} has another hardware_db or other model presets"
            raise InputError(problem, key="--scheduler", value=address, expected="the same planner, as here")
        for name, digest in files.items():
            if digest != local_description[2][name]:
                problem = f"worker {worker} has another version of the file, or none"
                raise InputError(problem, key="--scheduler", value=name, expected="a folder that all machines share")


def _build_lost_error() -> bytes:
    import msgspec

    return msgspec.json.encode(build_failed_record("the workers that answered it died repeatedly"))
