"""What a scheduler and its workers may answer, said by stand-ins: the real ones are in test_dask.py."""

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
from tests.cli.sweeps.small import ONE, written

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
    """A connection to a scheduler with one worker, which says `told` of itself and ends each chunk with `status`."""

    told: Any
    status_of: Sequence[str] = ("finished",)
    status: str = "running"
    futures: list[Future] = field(default_factory=list)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.status = "closed"

    def run(self, function: Callable[..., Any], names: list[str], on_error: str) -> dict[str, Any]:
        if self.told is None:
            return {}
        return {"tcp://w": self.told(function(names)) if callable(self.told) else self.told}

    def submit(self, function: Callable[..., Any], *given: Any, pure: bool) -> Future:
        status = self.status_of[min(len(self.futures), len(self.status_of) - 1)]
        if status == "raise":
            raise RuntimeError("a fault of ours")
        self.futures.append(Future(len(self.futures), lambda: function(*given), status))
        return self.futures[-1]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Client], dict[int, dict[str, Any]]]]:
    """Answer a sweep of one point, which names a file, by a client; each number's answer."""
    space = tmp_path / "space.toml"
    space.write_text("tp = 1\n")
    sweep = read_sweep(written(tmp_path, f'{ONE}space = "{space}"\n'))

    def asked(client: Client) -> dict[int, dict[str, Any]]:
        stand_in = SimpleNamespace(Client=lambda address, timeout: client, as_completed=list)
        monkeypatch.setitem(sys.modules, "distributed", stand_in)
        answers: dict[int, dict[str, Any]] = {}
        numbered = list(enumerate(sweep.points))
        run_points_on_dask(
            numbered, "tcp://s", "print", lambda number, one: answers.update({number: json.loads(one)})
        )
        return answers

    yield asked
    logging.disable(logging.NOTSET)


def test_a_worker_that_is_alike_answers(ask: Callable[[Client], dict[int, dict[str, Any]]]) -> None:
    client = Client(lambda told: told)
    assert ask(client).keys() == {0}
    assert client.futures[0].status == "released"
    assert client.status == "closed"


Told = tuple[str, str, dict[str, str]]
OTHERS: list[tuple[Any, str]] = [
    (None, "the scheduler has no workers"),
    (ModuleNotFoundError("No module named 'planner'"), "cannot answer: No module named 'planner'"),
    (lambda told: ("0.0.0", *told[1:]), "has planner 0.0.0"),
    (lambda told: (told[0], "other", told[2]), "has another hardware_db or other model presets"),
    (lambda told: (*told[:2], dict.fromkeys(told[2], "other")), "has another version of the file, or none"),
]


@pytest.mark.parametrize(("told", "problem"), OTHERS, ids=[one[1] for one in OTHERS])
def test_a_worker_that_would_answer_otherwise_is_told(
    told: Any, problem: str, ask: Callable[[Client], dict[int, dict[str, Any]]]
) -> None:
    client = Client(told)
    with pytest.raises(InputError, match=problem) as caught:
        ask(client)
    assert caught.value.key == "--scheduler"
    assert client.futures == []


def test_what_a_worker_says_of_itself_has_every_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    one, other = describe_worker([str(tmp_path / "a")]), describe_worker([])
    assert one[:2] == other[:2]
    assert one[2].keys() == {str(tmp_path / "a")}


def test_a_point_whose_workers_die_is_sent_alone_once_more_and_then_told(
    ask: Callable[[Client], dict[int, dict[str, Any]]],
) -> None:
    again = Client(lambda told: told, ("error", "finished"))
    assert ask(again)[0]["status"] == "planned"
    given_up = Client(lambda told: told, ("error",))
    answer = ask(given_up)[0]
    assert answer["status"] == "failed"
    assert "the workers that answered it died repeatedly" in answer["reason"]
    assert [len(one.futures) for one in (again, given_up)] == [2, 2]


def test_a_scheduler_that_is_gone_is_told_and_a_fault_of_ours_is_raised(
    ask: Callable[[Client], dict[int, dict[str, Any]]],
) -> None:
    with pytest.raises(PlannerError, match="lost the connection to the scheduler"):
        ask(Client(lambda told: told, ("cancelled",)))
    with pytest.raises(RuntimeError, match="a fault of ours"):
        ask(Client(lambda told: told, ("raise",)))
    with pytest.raises(PlannerError, match="lost the connection to the scheduler"):
        ask(Client(lambda told: told, ("raise",), status="closing"))
