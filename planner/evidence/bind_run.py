"""A measured run as a scenario and a search space, and which columns the row leaves open."""

from __future__ import annotations

from dataclasses import dataclass

from planner.cluster.model.cluster import Cluster
from planner.cost.scenario import Scenario, build_scenario
from planner.errors import InputError
from planner.evidence.model_and_cluster import build_run_cluster, build_run_workload
from planner.evidence.runs import MeasuredRun, RowError
from planner.search.space import Space
from planner.trainers.names import LaunchMode, TrainerName

_SHARDING_WORDS: dict[str, tuple[TrainerName | None, int | None]] = {
    # Megatron-LM: --data-parallel-sharding-strategy, --use-distributed-optimizer
    "fsdp": ("megatron-fsdp", 3),
    "distributed-optimizer": (None, 1),
    # PyTorch: torch.distributed.fsdp.fully_shard; the members of ShardingStrategy of FullyShardedDataParallel
    "fsdp2": ("fsdp2", 3),
    "full_shard": ("fsdp", 3),
    "shard_grad_op": ("fsdp", 2),
    "hybrid_shard": ("fsdp", None),
    "no_shard": (None, 0),
    # DeepSpeed: zero_optimization.stage
    "zero-3": ("deepspeed", 3),
    "zero-2": ("deepspeed", 2),
    # a ZeRO stage without a trainer
    "zero3": (None, 3),
    "zero2": (None, 2),
    "zero-1": (None, 1),
    "zero1": (None, 1),
    "ddp": (None, 0),
    "none": (None, 0),
}
"""By the value of the column `sharding`, in lower case: the trainer that uses this word, where it is the word of one
trainer, and the ZeRO stage (arXiv 1910.02054), where the word determines it."""
_PRECISION_ALIASES = {"amp_bf16": "bf16", "amp_fp16": "fp16", "amp_fp8": "fp8", "": "bf16"}


@dataclass(frozen=True)
class BoundRun:
    """A run as input of the cost model; `unstated_columns`: those that the row leaves to the search."""

    scenario: Scenario
    cluster: Cluster
    space: Space
    unstated_columns: tuple[str, ...]


def bind_run(run: MeasuredRun) -> BoundRun:
    """The scenario and the space of a row. Raises RowError where the row states too little or contradicts itself."""
    try:
        workload = build_run_workload(run)
        cluster = build_run_cluster(run)
        global_batch = run.require_number("global_batch")
        scenario = build_scenario(
            workload,
            cluster,
            global_batch=global_batch,
            precision=_PRECISION_ALIASES.get(run.precision, run.precision),
            attention=run.attention or "flash",
            framework=_get_trainer_name(run),
            launch=_get_launch_mode(run),
            tp_overlap=run.tp_overlap,
            gradients=run.gradients,
        )
    except InputError as error:
        raise RowError(" ".join(str(error).split())) from None
    allowed, unstated_columns = _build_allowed_values(run)
    return BoundRun(scenario, cluster, Space(cluster.devices, global_batch, allowed), unstated_columns)


def _get_trainer_name(run: MeasuredRun) -> TrainerName:
    """The column `framework`; where it is empty, MaxText on TPUs, else the trainer of the sharding or Megatron."""
    if run.framework is not None:
        return run.framework
    trainer_name, _ = _SHARDING_WORDS.get(run.sharding.lower(), (None, None))
    return "maxtext" if run.accelerator.startswith("tpu") else trainer_name or "megatron-classic"


def _get_launch_mode(run: MeasuredRun) -> LaunchMode | None:
    """The column `launch`; where it is empty, None: the trainer's own, or compiled for FSDP2 in 8 bit.

    PyTorch's 8-bit multiplies need torch.compile: without it each cast is a kernel of its own (torchao, float8).
    """
    is_compiled = _get_trainer_name(run) == "fsdp2" and "8" in run.precision
    return run.launch or ("compiled" if is_compiled else None)


def _build_allowed_values(run: MeasuredRun) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    """Pinned values by dimension, and the columns that the row leaves open."""
    allowed: dict[str, tuple[int, ...]] = {}
    unstated_columns = []
    for column in ("tp", "pp", "vpp", "cp", "ep", "dp", "micro_batch"):
        value = run.numbers[column]
        if value is None:
            unstated_columns.append(column)
        else:
            allowed[column] = (value,)
    modes = {"none": 0, "no": 0, "selective": 1, "full": 2}
    if run.recompute in modes:
        allowed["recompute"] = (modes[run.recompute],)
    else:
        unstated_columns.append("recompute")
    if run.seq_parallel is None:
        # sequence parallelism goes with tensor parallelism; it came out (arXiv 2205.05198) with FlashAttention
        is_disabled = run.numbers["tp"] == 1 or run.attention == "unfused"
        allowed["sequence_parallel"] = (0,) if is_disabled else (1,)
        unstated_columns += [] if run.numbers["tp"] == 1 else ["seq_parallel"]
    else:
        allowed["sequence_parallel"] = (int(run.seq_parallel),)
    _, zero_stage = _SHARDING_WORDS.get(run.sharding.lower(), (None, None))
    if zero_stage is None:
        unstated_columns.append("sharding")
        # Megatron has had the distributed optimizer since the summer of 2022, as long as FlashAttention
        zero_stage = 0 if run.attention == "unfused" else 1
    elif zero_stage == 3 and run.require_number("devices") == 1:
        zero_stage = 0
    ranks = (run.numbers["dp"] or 2) * (run.numbers["cp"] or 1)
    allowed["zero_stage"] = (zero_stage if ranks > 1 else 0,)
    return allowed, tuple(unstated_columns)
