"""A cluster of two kinds of nodes on the command line: recognised, read, planned and told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from planner.cli.io.files import is_there, looks_like_path, read_file
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.cli.options.carbon import Site
    from planner.cli.options.failures import FailureOptions
    from planner.cli.options.goal import Goal
    from planner.cli.options.question import Question
    from planner.cli.options.ranks import RankFiles
    from planner.cli.options.split import Pins
    from planner.cli.options.techniques import Chosen
    from planner.cluster.build.pools import Pools
    from planner.cost.heterogeneous import Kinds
    from planner.documents.heterogeneous import HeterogeneousDocument
from planner.cli.input.inputs import are_presets


def read_pools(name: str) -> Pools | None:
    """The pools of a file, or of joined presets; None where the cluster is of one kind. Raises InputError."""
    if are_presets(name):
        from planner.cluster.build.pools import joined_presets, resolve_pools

        spec, note = joined_presets([_preset(part) for part in name.split("+")])
        return resolve_pools(spec, "--cluster", note)
    if not looks_like_path(name) or not is_there(name):
        return None
    from planner.cluster.model.spec import parse_cluster

    text, file_format = read_file(Path(name), (".toml", ".yaml", ".yml", ".json"), "a cluster file")
    spec = parse_cluster(text, file_format, name)
    if not spec.pools:
        return None
    from planner.cluster.build.pools import resolve_pools

    return resolve_pools(spec, name)


def _preset(part: str) -> tuple[str, int | None]:
    """`dgx-h100:32`: the name, and how many nodes where that is told."""
    from planner.cluster.model.spec import MOST_DEVICES
    from planner.units import parse_count

    name, colon, count = part.strip().partition(":")
    if not colon:
        return name.casefold(), None
    example = "32, as in dgx-h100:32+dgx-a100:32"
    return name.casefold(), parse_count(count, key="--cluster", maximum=MOST_DEVICES, example=example)


def pools_document(pools: Pools, question: Question, pins: Pins, tokens: int | None) -> HeterogeneousDocument:
    """The ways to use two kinds, the best first. Raises InputError, and NothingFits where no way fits."""
    from planner.cost.strategies import FULL
    from planner.search.settings import check_settings
    from planner.search.space import Space
    from planner.studies.heterogeneous_plan import search_hetero_plans

    kinds = _ask(pools, question)
    training = kinds[0].shared
    for kind in kinds:
        check_settings(
            kind.shared, pins.settings, pins.allowed["recompute"] or (FULL,), pins.allowed["zero_stage"] or (1,)
        )
    allowed = {name: values for name, values in pins.allowed.items() if values is not None}
    space = Space(pools.devices, training.global_batch, allowed)
    return search_hetero_plans(pools, kinds, space, pins.settings, tokens=tokens)


def refuse_for_pools(
    question: Question,
    goal: Goal,
    rank_files: RankFiles,
    failures: FailureOptions,
    site: Site,
    techniques: Chosen,
) -> None:
    """Raises InputError for options that make no sense, or are not told, of two kinds."""
    for key, value in (("--nodes", question.nodes), ("--devices", question.devices)):
        if value is not None:
            raise InputError("the pools say it", key=key, value=value, expected="the number of nodes of each pool")
    given = {
        **vars(goal),
        "fault": question.faults,
        "hostfile": rank_files.hosts_to,
        "rankfile": rank_files.ranks_to,
        **vars(site),
        **vars(techniques),
    }
    given |= dict.fromkeys(failures.said, True)
    for name, value in given.items():
        if value and name != "objective":
            key = f"--{name.replace('_', '-')}"
            raise InputError("is not told of two kinds of nodes", key=key, expected="a cluster of one kind")
    if goal.objective not in (None, "step-time"):
        expected = "step-time, by which ways to use two kinds are ranked"
        raise InputError("is not told of two kinds of nodes", key="--objective", expected=expected)


def _ask(pools: Pools, question: Question) -> Kinds:
    """The model bound to both kinds."""
    from planner.cli.input.inputs import read_batches, read_precision
    from planner.cli.options.question import check_attention, read_workload
    from planner.cost.heterogeneous import bind

    workload = read_workload(question)
    check_attention(question, workload)
    batches = read_batches(question.global_batch, workload.seq_length)
    if len(batches) > 1:
        key, value = "--global-batch", question.global_batch
        raise InputError("two kinds are balanced at one batch", key=key, value=value, expected="a single batch")
    precision = None
    for pool in pools.pools:
        precision = read_precision(question.precision, pool.own.accelerator)
    return bind(
        workload,
        pools,
        precision=precision,
        global_batch=batches[0],
        attention=question.attention.value,
        flops_convention=question.flops_convention.value,
        framework=question.framework.value if question.framework else None,
        launch=question.launch.value if question.launch else None,
    )
