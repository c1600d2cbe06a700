"""Worker processes: whatever becomes of a worker, every point is answered once."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from planner.cli.sweeps.workers import answer_on_this_machine
from planner.errors import InputError, PlannerError


def _answer(points: list[dict[str, object]], make: Callable[[], Callable[..., bytes]]) -> dict[int, bytes]:
    answers: dict[int, bytes] = {}

    def done(number: int, answer: bytes) -> None:
        assert number not in answers
        answers[number] = answer

    answer_on_this_machine(list(enumerate(points)), 2, done, make)  # type: ignore[arg-type]
    return answers


def _echo(point: dict[str, object]) -> bytes:
    return str(point["n"]).encode()


def echoes() -> Callable[..., bytes]:
    return _echo


def _fragile(point: dict[str, object]) -> bytes:
    """Kills its process at a point as often as that says, counted in a file."""
    if "lives" in point:
        tried = Path(str(point["file"]))
        count = len(tried.read_text()) if tried.exists() else 0
        tried.write_text("x" * (count + 1))
        if count < int(str(point["lives"])):
            os.kill(os.getpid(), signal.SIGKILL)
    return _echo(point)


def fragile() -> Callable[..., bytes]:
    return _fragile


def stillborn() -> Callable[..., bytes]:
    os._exit(7)


def test_points_of_a_dead_worker_are_answered_once_by_another_and_one_that_kills_every_worker_fails(
    tmp_path: Path,
) -> None:
    points: list[dict[str, object]] = [{"n": n} for n in range(40)]
    for n, lives in ((3, 1), (30, 99)):
        points[n] |= {"lives": lives, "file": str(tmp_path / str(n))}
    answers = _answer(points, fragile)
    assert b'"status":"failed"' in answers.pop(30)
    assert answers == {n: b"%d" % n for n in range(40) if n != 30}
    assert len((tmp_path / "30").read_text()) == 3


def test_a_system_without_room_for_workers_is_reported() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 3, before[1]))
    try:
        with pytest.raises(InputError, match="worker processes cannot start: Too many open files"):
            answer_on_this_machine([(n, {"n": n}) for n in range(40)], 40, lambda *_: None, echoes)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_workers_that_cannot_start_are_reported() -> None:
    with pytest.raises(PlannerError, match="end as they start, the last with exit code 7"):
        _answer([{"n": 1}], stillborn)
