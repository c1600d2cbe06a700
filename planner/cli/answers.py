"""From the options of `plan` to its document, in two steps: the question is read, then answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.cli.carbon import Site, read_carbon
from planner.cli.failures import FailureOptions, read_failures
from planner.cli.goal import Goal, read_goal, read_samples
from planner.cli.question import Question, Subject, ask, read_subject
from planner.cli.ranks import layouts
from planner.cli.split import Pins
from planner.cli.techniques import Chosen

if TYPE_CHECKING:
    from planner.cluster.cluster import Cluster
    from planner.cluster.grids import Grid
    from planner.cluster.reliability import Reliability
    from planner.cost.training import Training
    from planner.search.document import Document
    from planner.search.search import Wanted
    from planner.search.space import Space


@dataclass(frozen=True)
class Asked:
    """All that it takes to answer, read and checked. `first` is the training of the first batch without settings,
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


def read_asked(
    question: Question,
    goal: Goal,
    pins: Pins,
    failures: FailureOptions,
    site: Site,
    techniques: Chosen,
    tokens: int | None,
    subject: Subject = read_subject,
) -> Asked:
    """What is asked of a cluster of one kind; `tokens`: of the whole run. Raises InputError."""
    from planner.cost.strategies import FULL
    from planner.search.objective import check_known, idle_objectives
    from planner.search.settings import check_settings, combinations

    samples = read_samples(goal)
    batches, cluster, space = ask(question, pins.allowed, pue=site.pue, techniques=techniques, subject=subject)
    reliability, carbon = read_failures(failures, cluster), read_carbon(site.grid, site.carbon_intensity)
    wanted = read_goal(goal, batches=len(batches), run=tokens)
    check_known(wanted.objectives, batches[0])
    check_settings(batches[0], pins.settings, pins.allowed["recompute"] or (FULL,))
    return Asked(
        first=batches[0],
        trainings=[one for batch in batches for one in combinations(batch, pins.settings)],
        cluster=cluster,
        space=space,
        wanted=wanted,
        tokens=tokens,
        samples=samples,
        layouts=layouts(pins.settings),
        reliability=reliability,
        grid=carbon,
        idle=tuple(idle_objectives(wanted.objectives, len(batches))),
    )


def answer(asked: Asked, *, explained: bool = True) -> Document:
    """The plan document, with what limits each plan where that is wanted.

    Raises InputError where pins leave no candidate, NothingFits where none fits.
    """
    from planner.search.answer import best_plans

    return best_plans(
        asked.trainings,
        asked.cluster,
        asked.space,
        asked.wanted,
        tokens=asked.tokens,
        samples=asked.samples,
        layouts=asked.layouts,
        reliability=asked.reliability,
        grid=asked.grid,
        explained=explained,
    )
