"""A measured run as a scenario and a search space, and which columns the row leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from planner.cluster.model.cluster import Cluster
from planner.cost.scenario import Scenario, build_scenario
from planner.cost.setting_values import apply_setting
from planner.cost.settings import SETTINGS, AttentionKernel
from planner.cost.strategies import RECOMPUTE_MODES, SELECTIVE_RECOMPUTE
from planner.errors import InputError
from planner.evidence.columns import DEGREE_COLUMNS
from planner.evidence.model_and_cluster import build_run_cluster, build_run_workload, list_unused_facts
from planner.evidence.run_settings import apply_run_settings, describe_assumed_modules, has_unknown_scopes
from planner.evidence.run_trainers import (
    SHARDING_WORDS,
    describe_assumed_trainer,
    describe_assumed_version,
    find_trainer_name,
    find_version_name,
    find_zero_stage,
    get_trainer_defaults,
    list_run_programs,
    list_unused_trainer_words,
    names_program,
)
from planner.evidence.runs import MeasuredRun, RowError
from planner.search.space import Space
from planner.trainers.launch import parse_launch
from planner.trainers.names import ProgramName, TrainerName
from planner.trainers.recompute import DEFAULT_MODULES
from planner.trainers.registry import TRAINERS_BY_NAME, find_default_attention

_PRECISION_ALIASES = {"amp_bf16": "bf16", "amp_fp16": "fp16", "amp_fp8": "fp8", "": "bf16"}
_RECOMPUTE_CODES = {**{name: code for code, name in enumerate(RECOMPUTE_MODES)}, "no": 0}


@dataclass(frozen=True)
class BoundRun:
    """A run as input of the cost model.

    `programs`: of which one has to run what is filled in, where one can; `unstated_columns`: those that the row
    leaves open; `default_space`: the space with the trainer's defaults of these, `space` without;
    `defaulted_settings`: settings that the trainer's default decided, and trainer and version where the row names no
    known one, as `column=value`; `not_modelled`: what the row states and the model has no term for.
    """

    scenario: Scenario
    programs: tuple[ProgramName, ...]
    cluster: Cluster
    space: Space
    unstated_columns: tuple[str, ...]
    default_space: Space
    defaulted_settings: tuple[str, ...] = ()
    not_modelled: tuple[str, ...] = ()


def bind_run(run: MeasuredRun) -> BoundRun:
    """The scenario and the space of a row. Raises RowError where the row states too little or contradicts itself."""
    trainer_name = find_trainer_name(run)
    try:
        workload = build_run_workload(run)
        cluster = build_run_cluster(run)
        global_batch = run.require_count("global_batch")
        precision = run.get_text("precision")
        scenario = build_scenario(
            workload,
            cluster,
            global_batch=global_batch,
            precision=_PRECISION_ALIASES.get(precision, precision),
            attention=cast(AttentionKernel, run.get_text("attention") or find_default_attention(cluster.accelerator)),
            framework=trainer_name,
            trainer_version=find_version_name(run),
            launch=_get_launch_mode(run, trainer_name),
            software_month=run.get_text("date"),
        )
        scenario, defaulted_settings = _apply_default_settings(scenario, run, cluster.devices_per_node)
        run_scenario = apply_run_settings(scenario, run)
    except InputError as error:
        raise RowError(" ".join(str(error).split())) from None
    allowed, unstated_columns = _build_allowed_values(run, trainer_name)
    space = Space(cluster.devices, global_batch, allowed)
    return BoundRun(
        run_scenario.scenario,
        list_run_programs(run),
        cluster,
        space,
        unstated_columns,
        replace(space, allowed=_add_defaults(allowed, run, trainer_name, unstated_columns)),
        (
            *defaulted_settings,
            *filter(
                None, [describe_assumed_trainer(run), describe_assumed_version(run), describe_assumed_modules(run)]
            ),
        ),
        (
            *list_unused_facts(run, cluster),
            *run_scenario.not_modelled,
            *_list_unused_words(run, run_scenario.scenario),
        ),
    )


def _get_launch_mode(run: MeasuredRun, trainer_name: TrainerName) -> str | None:
    """The column `launch`; where it is empty, None: the trainer's own, or compiled for FSDP2 in 8 bit.

    PyTorch's 8-bit multiplies need torch.compile: without it each cast is a kernel of its own (torchao, float8). A
    graph of other parts than a layer has counts as fused kernels.
    """
    stated = run.get_text("launch")
    if stated:
        return "fused" if has_unknown_scopes(run) else parse_launch(stated, "launch")
    return "compiled" if trainer_name == "fsdp2" and "8" in run.get_text("precision") else None


def _apply_default_settings(
    scenario: Scenario, run: MeasuredRun, devices_per_node: int
) -> tuple[Scenario, tuple[str, ...]]:
    """The trainer's defaults of the settings that the row leaves open, and which these are."""
    applied, defaults = [], dict(get_trainer_defaults(run))
    if run.get_text("sharding").lower() == "hybrid_shard":
        # of torch.distributed.fsdp.ShardingStrategy: shards within a node, replicas between nodes
        defaults["shard_group"] = str(devices_per_node)
    for name, text in defaults.items():
        if name in SETTINGS and not run.get_text(name):
            setting = SETTINGS[name]
            scenario = apply_setting(scenario, setting, setting.parse_name(text))
            applied.append(f"{name}={text}")
    return scenario, tuple(applied)


def _build_allowed_values(
    run: MeasuredRun, trainer_name: TrainerName
) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    """Pinned values by dimension, and the columns that the row leaves open."""
    allowed: dict[str, tuple[int, ...]] = {}
    unstated_columns = []
    for column in DEGREE_COLUMNS:
        value = run.get_count(column)
        if value is not None:
            allowed[column] = (value,)
        elif column != "etp" or ((run.get_count("experts") or 0) and "etp" in get_trainer_defaults(run)):
            unstated_columns.append(column)
    if not run.get_count("experts"):
        allowed.pop("etp", None)
    tp, recompute, sequence_parallel = run.get_count("tp"), run.get_text("recompute"), run.get_flag("seq_parallel")
    if recompute:
        # a policy repeats what it does not keep, also where the source calls it none (MaxText's minimal)
        has_policy = recompute in ("none", "no") and run.get_text("recompute_modules") not in ("", DEFAULT_MODULES)
        allowed["recompute"] = (SELECTIVE_RECOMPUTE if has_policy else _RECOMPUTE_CODES[recompute],)
    else:
        unstated_columns.append("recompute")
    if sequence_parallel is not None:
        allowed["sequence_parallel"] = (int(sequence_parallel),)
    elif tp == 1 or run.get_text("attention") == "unfused":
        # sequence parallelism goes with tensor parallelism; it came out (arXiv 2205.05198) with FlashAttention
        allowed["sequence_parallel"] = (0,)
        unstated_columns += [] if tp == 1 else ["seq_parallel"]
    else:
        allowed["sequence_parallel"] = (0, 1) if tp is None or "seq_parallel" in get_trainer_defaults(run) else (1,)
        unstated_columns.append("seq_parallel")
    zero_stage = find_zero_stage(run)
    ranks = (run.get_count("dp") or 2) * (run.get_count("cp") or 1)
    if zero_stage is None:
        unstated_columns.append("sharding")
    if ranks == 1 or (zero_stage == 3 and run.require_count("devices") == 1):
        allowed["zero_stage"] = (0,)
    elif zero_stage is not None:
        allowed["zero_stage"] = (zero_stage,)
    elif trainer_name in ("megatron", "megatron-classic") and not names_program(run):
        # Megatron has had the distributed optimizer since the summer of 2022, as long as FlashAttention
        allowed["zero_stage"] = (0 if run.get_text("attention") == "unfused" else 1,)
    return allowed, tuple(unstated_columns)


def _add_defaults(
    allowed: Mapping[str, tuple[int, ...]],
    run: MeasuredRun,
    trainer_name: TrainerName,
    unstated_columns: tuple[str, ...],
) -> dict[str, tuple[int, ...]]:
    """The allowed values with the trainer's default of each column that the row leaves open."""
    with_defaults, defaults = dict(allowed), get_trainer_defaults(run)
    if "zero_stage" not in allowed:
        usual_stage = TRAINERS_BY_NAME[trainer_name].usual_zero_stage
        with_defaults["zero_stage"] = (int(defaults.get("zero_stage", usual_stage)),)
    for column, text in defaults.items():
        if column not in unstated_columns:
            continue
        if column == "recompute":
            with_defaults["recompute"] = (_RECOMPUTE_CODES[text],)
        elif column == "seq_parallel":
            is_on = text == "yes" or (text == "tp" and (run.get_count("tp") or 1) > 1)
            with_defaults["sequence_parallel"] = (int(is_on),)
        elif text == "tp":
            with_defaults[column] = (run.get_count("tp") or 1,)
        elif column in DEGREE_COLUMNS:
            with_defaults[column] = (int(text),)
    return with_defaults


def _list_unused_words(run: MeasuredRun, scenario: Scenario) -> list[str]:
    """What the row states of sharding and of the measurement, and is not read."""
    unused = list_unused_trainer_words(run)
    if (run.get_count("etp") or 1) > 1 and not run.get_count("experts"):
        unused.append(f"etp={run.get_count('etp')} (no experts)")
    sharding = run.get_text("sharding")
    if sharding and sharding.lower() not in SHARDING_WORDS:
        unused.append(f"sharding={sharding}")
    _, word_stage = SHARDING_WORDS.get(sharding.lower(), (None, None))
    # both programs that say fsdp shard as stage 2 too
    word_stages = {None, word_stage, *((2,) if sharding.lower() in ("fsdp", "fsdp2") else ())}
    if word_stage is not None and run.get_count("zero_stage") not in word_stages:
        unused.append(f"sharding={sharding} (as zero_stage={run.get_count('zero_stage')})")
    if run.get_text("memory_kind") == "estimated":
        unused.append("memory_kind=estimated (as reserved)")
    trainer = scenario.trainer
    has_allocator = trainer.has_stream_pools or trainer.frees_gradient_copies
    if run.get_text("memory_kind") == "reserved" and not has_allocator:
        # other free blocks of the allocator have no term
        unused.append("memory_kind=reserved (as allocated)")
    return unused
