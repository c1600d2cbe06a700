"""The options of `plan`, read, and the answer to them; `check`, `sweep` and the Python interface ask here too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.cli.options.carbon import SiteOptions, resolve_grid
from planner.cli.options.failures import FailureOptions, read_reliability
from planner.cli.options.goal import GoalOptions, read_sample_count, read_search_target
from planner.cli.options.question import (
    ModelClusterReader,
    ScenarioOptions,
    read_model_and_cluster,
    resolve_scenarios,
)
from planner.cli.options.ranks import RankFileOptions, select_rank_orders
from planner.cli.options.split import SpacePins
from planner.cli.options.techniques import TechniqueOptions

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

_MANY_SCENARIOS = 300
"""Searches that take minutes: from so many on it is said."""


@dataclass(frozen=True)
class PlanRequest:
    """The options of `plan` that decide its answer; `tokens`: of the whole run."""

    scenario_options: ScenarioOptions
    goal: GoalOptions
    space_pins: SpacePins
    failures: FailureOptions
    site: SiteOptions
    techniques: TechniqueOptions
    tokens: int | None


def build_plan_request(arguments: Mapping[str, object]) -> PlanRequest:
    """The options among the arguments that `plan` is called with. Raises InputError."""
    from pathlib import Path

    from planner.cli.input.inputs import read_run_tokens
    from planner.cli.options.grouped import build_option_group
    from planner.cli.options.settings import OpenSettings
    from planner.cli.options.split import ParallelismOptions, read_space_pins

    space_file, tokens = arguments["space_file"], arguments["tokens"]
    space_path = space_file if isinstance(space_file, Path) else None
    return PlanRequest(
        build_option_group(ScenarioOptions, arguments),
        build_option_group(GoalOptions, arguments),
        read_space_pins(
            build_option_group(ParallelismOptions, arguments), build_option_group(OpenSettings, arguments), space_path
        ),
        build_option_group(FailureOptions, arguments),
        build_option_group(SiteOptions, arguments),
        build_option_group(TechniqueOptions, arguments),
        read_run_tokens(None if tokens is None else str(tokens)),
    )


@dataclass(frozen=True)
class ResolvedRequest:
    """All that it takes to answer, read and checked. `first_scenario` is the training of the first batch without
    settings, `scenarios` are all batches with all combinations of settings, `ineffective_options` sentences on
    options that change nothing.
    """

    first_scenario: Training
    scenarios: Sequence[Training]
    cluster: Cluster
    space: Space
    search_target: Wanted
    tokens: int | None
    samples: int | None
    rank_orders: Sequence[str]
    reliability: Reliability | None
    grid: Grid | None
    ineffective_options: tuple[str, ...]


def read_request_pools(request: PlanRequest, rank_files: RankFileOptions | None = None) -> Pools | None:
    """The pools of a cluster of two kinds of nodes; None where all nodes are alike.

    Raises InputError, also for options that two kinds of nodes are not asked with.
    """
    from planner.cli.options.pools import check_pools_options, read_pools

    pools = read_pools(request.scenario_options.cluster)
    if pools is not None:
        checked_rank_files = rank_files or RankFileOptions()
        check_pools_options(
            request.scenario_options,
            request.goal,
            checked_rank_files,
            request.failures,
            request.site,
            request.techniques,
        )
    return pools


def resolve_request(
    request: PlanRequest, model_cluster_reader: ModelClusterReader = read_model_and_cluster
) -> ResolvedRequest:
    """What is asked of a cluster of one kind. Raises InputError."""
    from planner.cost.strategies import FULL
    from planner.search.objective import check_known, idle_objectives
    from planner.search.settings import check_settings, combinations

    goal, pins, site = request.goal, request.space_pins, request.site
    samples = read_sample_count(goal)
    batch_scenarios, cluster, space = resolve_scenarios(
        request.scenario_options,
        pins.allowed,
        pue=site.pue,
        techniques=request.techniques,
        model_cluster_reader=model_cluster_reader,
    )
    reliability, carbon = read_reliability(request.failures, cluster), resolve_grid(site.grid, site.carbon_intensity)
    search_target = read_search_target(goal, batch_count=len(batch_scenarios), run_tokens=request.tokens)
    check_known(search_target.objectives, batch_scenarios[0])
    check_settings(
        batch_scenarios[0], pins.settings, pins.allowed["recompute"] or (FULL,), pins.allowed["zero_stage"] or (1,)
    )
    return ResolvedRequest(
        first_scenario=batch_scenarios[0],
        scenarios=[
            scenario for batch_scenario in batch_scenarios for scenario in combinations(batch_scenario, pins.settings)
        ],
        cluster=cluster,
        space=space,
        search_target=search_target,
        tokens=request.tokens,
        samples=samples,
        rank_orders=select_rank_orders(pins.settings),
        reliability=reliability,
        grid=carbon,
        ineffective_options=tuple(idle_objectives(search_target.objectives, len(batch_scenarios))),
    )


def compute_plan_document(request: ResolvedRequest, *, with_explanations: bool = True) -> Document:
    """The plan document, with what limits each plan where that is wanted.

    Raises InputError where pins leave no candidate, NothingFits where none fits.
    """
    from planner.studies.plan import best_plans

    return best_plans(
        request.scenarios,
        request.cluster,
        request.space,
        request.search_target,
        tokens=request.tokens,
        samples=request.samples,
        layouts=request.rank_orders,
        reliability=request.reliability,
        grid=request.grid,
        explained=with_explanations,
    )


def warn_ineffective_settings(plan_document: Document, settings: Mapping[str, tuple[str, ...]]) -> None:
    """Warn of settings that were asked for and make no difference to what was found."""
    if settings:
        from planner.cli.io.output import warn
        from planner.studies.ineffective_settings import idle_settings

        for sentence in idle_settings(plan_document.plans, settings):
            warn(sentence)


def run_plan_request(
    request: PlanRequest, rank_files: RankFileOptions | None = None
) -> Document | HeterogeneousDocument:
    """The answer. Raises InputError, and NothingFits; warns of what makes no difference or takes long."""
    from planner.cli.io.output import warn
    from planner.cli.options.pools import search_pools_document

    pools = read_request_pools(request, rank_files)
    if pools is not None:
        return search_pools_document(pools, request.scenario_options, request.space_pins, request.tokens)
    resolved_request, pins = resolve_request(request), request.space_pins
    if len(resolved_request.scenarios) >= _MANY_SCENARIOS:
        scenario_count_text = f"{len(resolved_request.scenarios):,} combinations of settings and batch"
        warn(f"{scenario_count_text} are searched one after the other: minutes")
    for sentence in resolved_request.ineffective_options:
        warn(sentence)
    plan_document = compute_plan_document(resolved_request)
    warn_ineffective_settings(plan_document, pins.settings)
    if pins.listed_values_by_name:
        from planner.search.diagnosis.option_conflicts import unusable

        for sentence in unusable(resolved_request.first_scenario, resolved_request.space, pins.listed_values_by_name):
            warn(sentence)
    return plan_document
