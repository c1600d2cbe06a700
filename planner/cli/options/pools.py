"""A cluster of two kinds of nodes on the command line: recognised, read, planned and told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from planner.cli.io.files import is_existing_path, is_path_like, read_formatted_file
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.cli.options.carbon import SiteOptions
    from planner.cli.options.failures import FailureOptions
    from planner.cli.options.goal import GoalOptions
    from planner.cli.options.question import ScenarioOptions
    from planner.cli.options.ranks import RankFileOptions
    from planner.cli.options.split import SpacePins
    from planner.cli.options.techniques import TechniqueOptions
    from planner.cluster.build.pools import Pools
    from planner.cost.heterogeneous import Kinds
    from planner.documents.heterogeneous import HeterogeneousDocument
from planner.cli.input.inputs import is_joined_presets


def read_pools(name: str) -> Pools | None:
    """The pools of a file, or of joined presets; None where the cluster is of one kind. Raises InputError."""
    if is_joined_presets(name):
        from planner.cluster.build.pools import joined_presets, resolve_pools

        spec, note = joined_presets([_parse_pool_preset(part) for part in name.split("+")])
        return resolve_pools(spec, "--cluster", note)
    if not is_path_like(name) or not is_existing_path(name):
        return None
    from planner.cluster.model.spec import parse_cluster

    text, file_format = read_formatted_file(Path(name), (".toml", ".yaml", ".yml", ".json"), "a cluster file")
    spec = parse_cluster(text, file_format, name)
    if not spec.pools:
        return None
    from planner.cluster.build.pools import resolve_pools

    return resolve_pools(spec, name)


def _parse_pool_preset(part: str) -> tuple[str, int | None]:
    """`dgx-h100:32`: the name, and how many nodes where that is told."""
    from planner.cluster.model.spec import MOST_DEVICES
    from planner.units import parse_count

    name, colon, count = part.strip().partition(":")
    if not colon:
        return name.casefold(), None
    example = "32, as in dgx-h100:32+dgx-a100:32"
    return name.casefold(), parse_count(count, key="--cluster", maximum=MOST_DEVICES, example=example)


def search_pools_document(
    pools: Pools, scenario_options: ScenarioOptions, pins: SpacePins, tokens: int | None
) -> HeterogeneousDocument:
    """The ways to use two kinds, the best first. Raises InputError, and NothingFits where no way fits."""
    from planner.cost.strategies import FULL
    from planner.search.settings import check_settings
    from planner.search.space import Space
    from planner.studies.heterogeneous_plan import search_hetero_plans

    pool_scenarios = _build_pool_scenarios(pools, scenario_options)
    scenario = pool_scenarios[0].shared
    for pool_scenario in pool_scenarios:
        check_settings(
            pool_scenario.shared,
            pins.settings,
            pins.allowed["recompute"] or (FULL,),
            pins.allowed["zero_stage"] or (1,),
        )
    allowed = {name: values for name, values in pins.allowed.items() if values is not None}
    space = Space(pools.devices, scenario.global_batch, allowed)
    return search_hetero_plans(pools, pool_scenarios, space, pins.settings, tokens=tokens)


def check_pools_options(
    scenario_options: ScenarioOptions,
    goal: GoalOptions,
    rank_files: RankFileOptions,
    failures: FailureOptions,
    site: SiteOptions,
    techniques: TechniqueOptions,
) -> None:
    """Raises InputError for options that make no sense, or are not told, of two kinds."""
    for key, value in (("--nodes", scenario_options.nodes), ("--devices", scenario_options.devices)):
        if value is not None:
            raise InputError("the pools say it", key=key, value=value, expected="the number of nodes of each pool")
    option_values = {
        **vars(goal),
        "fault": scenario_options.faults,
        "hostfile": rank_files.hosts_to,
        "rankfile": rank_files.ranks_to,
        **vars(site),
        **vars(techniques),
    }
    option_values |= dict.fromkeys(failures.given_names, True)
    for name, value in option_values.items():
        if value and name != "objective":
            key = f"--{name.replace('_', '-')}"
            raise InputError("is not told of two kinds of nodes", key=key, expected="a cluster of one kind")
    if goal.objective not in (None, "step-time"):
        expected = "step-time, by which ways to use two kinds are ranked"
        raise InputError("is not told of two kinds of nodes", key="--objective", expected=expected)


def _build_pool_scenarios(pools: Pools, scenario_options: ScenarioOptions) -> Kinds:
    """The model bound to both kinds."""
    from planner.cli.input.inputs import read_global_batches, read_precision
    from planner.cli.options.question import check_attention_kernel, read_workload
    from planner.cost.heterogeneous import bind

    workload = read_workload(scenario_options)
    check_attention_kernel(scenario_options, workload)
    batches = read_global_batches(scenario_options.global_batch, workload.seq_length)
    if len(batches) > 1:
        key, value = "--global-batch", scenario_options.global_batch
        raise InputError("two kinds are balanced at one batch", key=key, value=value, expected="a single batch")
    precision = None
    for pool in pools.pools:
        precision = read_precision(scenario_options.precision, pool.own.accelerator)
    return bind(
        workload,
        pools,
        precision=precision,
        global_batch=batches[0],
        attention=scenario_options.attention.value,
        flops_convention=scenario_options.flops_convention.value,
        framework=scenario_options.framework.value if scenario_options.framework else None,
        launch=scenario_options.launch.value if scenario_options.launch else None,
    )
