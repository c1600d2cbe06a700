"""From the arguments of `plan` to its document, in two steps: the question is read, then answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.cli.carbon import read_carbon
from planner.cli.failures import read_failures
from planner.cli.openings import read_objectives
from planner.cli.plan import Pins, common_of
from planner.cli.question import Common, ask, read_subject
from planner.cli.ranks import layouts
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.cluster.cluster import Cluster
    from planner.cluster.grids import Grid
    from planner.cluster.reliability import Reliability
    from planner.cost.training import Training
    from planner.search.document import Document
    from planner.search.search import Wanted
    from planner.search.space import Space
    from planner.workload.operators import Workload

ONE_BY_ONE = 300
"""Trainings of a question from which its search takes minutes."""
_MOST_SAMPLES = 100_000


@dataclass(frozen=True)
class Question:
    """All that `plan` needs to answer, read and checked. `first` is the training of the first batch without settings,
    `trainings` are all batches with all combinations of settings, `idle` sentences on what makes no difference.
    """

    first: Training
    trainings: Sequence[Training]
    cluster: Cluster
    space: Space
    wanted: Wanted
    tokens: int | None
    samples: int | None
    layouts: Sequence[str]
    reliability: Reliability | None
    grid: Grid | None
    idle: tuple[str, ...]


def read_question(
    given: Mapping[str, object],
    pins: Pins,
    tokens: int | None,
    subject: Callable[[Common], tuple[Workload, Cluster]] = read_subject,
) -> Question:
    """The question among the arguments of `plan`, on a cluster of one kind. Raises InputError.

    `tokens`: of the whole run; `subject` reads model and cluster.
    """
    from planner.cli.inputs import read_number
    from planner.cost.strategies import FULL
    from planner.search.objective import check_known, idle_objectives
    from planner.search.search import Wanted
    from planner.search.settings import check_settings, combinations

    pareto, top = _text(given["pareto"]), given["top"]
    uncertainty, diverse = _text(given["uncertainty"]), bool(given["diverse"])
    samples = read_number(uncertainty, "--uncertainty", minimum=2, maximum=_MOST_SAMPLES)
    if samples is not None and pareto is not None:
        raise InputError("is told of one first plan", key="--uncertainty", expected="--objective, not --pareto")
    if diverse and pareto is not None:
        raise InputError("a front is told as it is", key="--diverse, --pareto", expected="one of the two")
    batches, found, space = ask(common_of(given), pins.allowed, subject=subject)
    reliability = read_failures(given, found)
    carbon = read_carbon(_text(given["grid"]), _text(given["carbon_intensity"]))
    objective, critical = _text(given["objective"]), _text(given["critical_batch"])
    objectives = read_objectives(objective, pareto, critical, batches=len(batches), run=tokens)
    check_known(objectives, batches[0])
    check_settings(batches[0], pins.settings, pins.allowed["recompute"] or (FULL,))
    many = top if isinstance(top, int) else None if pareto else 5
    return Question(
        first=batches[0],
        trainings=[one for batch in batches for one in combinations(batch, pins.settings)],
        cluster=found,
        space=space,
        wanted=Wanted(objectives, many, diverse),
        tokens=tokens,
        samples=samples,
        layouts=layouts(pins.settings),
        reliability=reliability,
        grid=carbon,
        idle=tuple(idle_objectives(objectives, len(batches))),
    )


def answer(question: Question, *, explained: bool = True) -> Document:
    """The plan document, with what limits each plan where that is wanted.

    Raises InputError where pins leave no candidate, NothingFits where none fits.
    """
    from planner.search.answer import best_plans

    return best_plans(
        question.trainings,
        question.cluster,
        question.space,
        question.wanted,
        tokens=question.tokens,
        samples=question.samples,
        layouts=question.layouts,
        reliability=question.reliability,
        grid=question.grid,
        explained=explained,
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
