"""What a scheduler and its workers may answer, by stand-ins: the real scheduler is in test_dask.py."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from planner.cli.sweeps.dask import describe_worker, run_points_on_dask
from planner.cli.sweeps.grid import read_sweep
from planner.errors import InputError, PlannerError
from tests.cli.sweeps.small import SINGLE_POINT, write_sweep

Work = Callable[[], Any]


@dataclass
class Future:
    """What a worker makes of a chunk: its answers, or an error."""

    key: int
    work: Work
    status: str

    def result(self) -> Any:
        return self.work()

    def release(self) -> None:
        self.status = "released"


@dataclass
class Client:
    """A connection to a scheduler with a single worker: its `description`, and the `status` after each chunk."""

    description: Any
    status_of: Sequence[str] = ("finished",)
    status: str = "running"
    futures: list[Future] = field(default_factory=list)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.status = "closed"

    def run(self, function: Callable[..., Any], names: list[str], on_error: str) -> dict[str, Any]:
        if self.description is None:
            return {}
        return {"tcp://w": self.description(function(names)) if callable(self.description) else self.description}

    def submit(self, function: Callable[..., Any], *given: Any, pure: bool) -> Future:
        status = self.status_of[min(len(self.futures), len(self.status_of) - 1)]
        if status == "raise":
            raise RuntimeError("an error of ours")
        self.futures.append(Future(len(self.futures), lambda: function(*given), status))
        return self.futures[-1]


@pytest.fixture
def answer_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Client], dict[int, dict[str, Any]]]]:
    """Answer a sweep of a single point, which names a file, by a client; each number's answer."""
    space = tmp_path / "space.toml"
    space.write_text("tp = 1\n")
    sweep = read_sweep(write_sweep(tmp_path, f'{SINGLE_POINT}space = "{space}"\n'))

    def answer_with(client: Client) -> dict[int, dict[str, Any]]:
        stand_in = SimpleNamespace(Client=lambda address, timeout: client, as_completed=list)
        monkeypatch.setitem(sys.modules, "distributed", stand_in)
        answers: dict[int, dict[str, Any]] = {}
        numbered = list(enumerate(sweep.points))
        run_points_on_dask(
            numbered, "tcp://s", "print", lambda number, answer: answers.update({number: json.loads(answer)})
        )
        return answers

    yield answer_with
    logging.disable(logging.NOTSET)


def test_a_worker_that_is_alike_answers(answer_sweep: Callable[[Client], dict[int, dict[str, Any]]]) -> None:
    client = Client(lambda own: own)
    assert answer_sweep(client).keys() == {0}
    assert client.futures[0].status == "released"
    assert client.status == "closed"


Description = tuple[str, str, dict[str, str]]
OTHERS: list[tuple[Any, str]] = [
    (None, "the scheduler has no workers"),
    (ModuleNotFoundError("No module named 'planner'"), "cannot answer: No module named 'planner'"),
    (lambda own: ("0.0.0", *own[1:]), "has planner 0.0.0"),
    (lambda own: (own[0], "other", own[2]), "has another hardware_db or other model presets"),
    (lambda own: (*own[:2], dict.fromkeys(own[2], "other")), "has another version of the file, or none"),
]


@pytest.mark.parametrize(("description", "problem"), OTHERS, ids=[problem for _, problem in OTHERS])
def test_a_worker_of_another_version_is_reported(
    description: Any, problem: str, answer_sweep: Callable[[Client], dict[int, dict[str, Any]]]
) -> None:
    client = Client(description)
    with pytest.raises(InputError, match=problem) as caught:
        answer_sweep(client)
    assert caught.value.key == "--scheduler"
    assert client.futures == []


def test_the_description_of_a_worker_has_every_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    with_file, without_file = describe_worker([str(tmp_path / "a")]), describe_worker([])
    assert with_file[:2] == without_file[:2]
    assert with_file[2].keys() == {str(tmp_path / "a")}


def test_a_point_whose_workers_die_is_sent_alone_once_more_and_then_reported(
    answer_sweep: Callable[[Client], dict[int, dict[str, Any]]],
) -> None:
    retried = Client(lambda own: own, ("error", "finished"))
    assert answer_sweep(retried)[0]["status"] == "planned"
    given_up = Client(lambda own: own, ("error",))
    answer = answer_sweep(given_up)[0]
    assert answer["status"] == "failed"
    assert "the workers that answered it died repeatedly" in answer["reason"]
    assert [len(client.futures) for client in (retried, given_up)] == [2, 2]


def test_a_lost_scheduler_is_reported_and_an_error_of_ours_is_raised(
    answer_sweep: Callable[[Client], dict[int, dict[str, Any]]],
) -> None:
    with pytest.raises(PlannerError, match="lost the connection to the scheduler"):
        answer_sweep(Client(lambda own: own, ("cancelled",)))
    with pytest.raises(RuntimeError, match="an error of ours"):
        answer_sweep(Client(lambda own: own, ("raise",)))
    with pytest.raises(PlannerError, match="lost the connection to the scheduler"):
        answer_sweep(Client(lambda own: own, ("raise",), status="closing"))
