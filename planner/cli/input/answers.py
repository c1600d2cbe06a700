"""The options of `plan`, read, and the answer to them; `check`, `sweep` and the Python interface ask here too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.cli.options.carbon import Site, read_carbon
from planner.cli.options.failures import FailureOptions, read_failures
from planner.cli.options.goal import Goal, read_goal, read_samples
from planner.cli.options.question import Question, Subject, ask, read_subject
from planner.cli.options.ranks import RankFiles, layouts
from planner.cli.options.split import Pins
from planner.cli.options.techniques import Chosen

if TYPE_CHECKING:
    from planner.cluster.build.pools import Pools
    from planner.cluster.build.reliability import Reliability
    from planner.cluster.model.cluster import Cluster
    from planner.cost.scenario import Training
    from planner.documents.heterogeneous import HeterogeneousDocument
    from planner.documents.plan import Document
    from planner.hardware.grids import Grid
    from planner.search.search import Wanted
    from planner.search.space import Space

_MANY_QUESTIONS = 300
"""Searches that take minutes: from so many on it is said."""


@dataclass(frozen=True)
class Options:
    """The options of `plan` that decide its answer; `tokens`: of the whole run."""

    question: Question
    goal: Goal
    pins: Pins
    failures: FailureOptions
    site: Site
    techniques: Chosen
    tokens: int | None


def options_of(given: Mapping[str, object]) -> Options:
    """The options among the arguments that `plan` is called with. Raises InputError."""
    from pathlib import Path

    from planner.cli.input.inputs import read_tokens
    from planner.cli.options.grouped import gathered
    from planner.cli.options.settings import OpenSettings
    from planner.cli.options.split import Split, read_pins

    space, tokens = given["space_file"], given["tokens"]
    path = space if isinstance(space, Path) else None
    return Options(
        gathered(Question, given),
        gathered(Goal, given),
        read_pins(gathered(Split, given), gathered(OpenSettings, given), path),
        gathered(FailureOptions, given),
        gathered(Site, given),
        gathered(Chosen, given),
        read_tokens(None if tokens is None else str(tokens)),
    )


@dataclass(frozen=True)
class Asked:
    """All that it takes to answer, read and checked. `first` is the training of the first batch without settings,
    `trainings` are all batches with all combinations of settings, `idle` sentences on options that change nothing.
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


def asked_pools(options: Options, files: RankFiles | None = None) -> Pools | None:
    """The pools of a cluster of two kinds of nodes; None where all nodes are alike.

    Raises InputError, also for options that two kinds of nodes are not asked with.
    """
    from planner.cli.options.pools import read_pools, refuse_for_pools

    pools = read_pools(options.question.cluster)
    if pools is not None:
        ranks = files or RankFiles()
        refuse_for_pools(options.question, options.goal, ranks, options.failures, options.site, options.techniques)
    return pools


def read_asked(options: Options, subject: Subject = read_subject) -> Asked:
    """What is asked of a cluster of one kind. Raises InputError."""
    from planner.cost.strategies import FULL
    from planner.search.objective import check_known, idle_objectives
    from planner.search.settings import check_settings, combinations

    goal, pins, site = options.goal, options.pins, options.site
    samples = read_samples(goal)
    batches, cluster, space = ask(
        options.question, pins.allowed, pue=site.pue, techniques=options.techniques, subject=subject
    )
    reliability, carbon = read_failures(options.failures, cluster), read_carbon(site.grid, site.carbon_intensity)
    wanted = read_goal(goal, batches=len(batches), run=options.tokens)
    check_known(wanted.objectives, batches[0])
    check_settings(
        batches[0], pins.settings, pins.allowed["recompute"] or (FULL,), pins.allowed["zero_stage"] or (1,)
    )
    return Asked(
        first=batches[0],
        trainings=[one for batch in batches for one in combinations(batch, pins.settings)],
        cluster=cluster,
        space=space,
        wanted=wanted,
        tokens=options.tokens,
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
    from planner.studies.plan import best_plans

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


def warn_of_idle(found: Document, settings: Mapping[str, tuple[str, ...]]) -> None:
    """Warn of settings that were asked for and make no difference to what was found."""
    if settings:
        from planner.cli.io.output import warn
        from planner.studies.ineffective_settings import idle_settings

        for sentence in idle_settings(found.plans, settings):
            warn(sentence)


def document(options: Options, files: RankFiles | None = None) -> Document | HeterogeneousDocument:
    """The answer. Raises InputError, and NothingFits; warns of what makes no difference or takes long."""
    from planner.cli.io.output import warn
    from planner.cli.options.pools import pools_document

    pools = asked_pools(options, files)
    if pools is not None:
        return pools_document(pools, options.question, options.pins, options.tokens)
    asked, pins = read_asked(options), options.pins
    if len(asked.trainings) >= _MANY_QUESTIONS:
        many = f"{len(asked.trainings):,} combinations of settings and batch"
        warn(f"{many} are searched one after the other: minutes")
    for sentence in asked.idle:
        warn(sentence)
    found = answer(asked)
    warn_of_idle(found, pins.settings)
    if pins.listed:
        from planner.search.diagnosis.option_conflicts import unusable

        for sentence in unusable(asked.first, asked.space, pins.listed):
            warn(sentence)
    return found
