"""A measured run as a scenario and a search space, and which columns the row leaves open."""

from __future__ import annotations

from dataclasses import dataclass

from planner.cluster.model.cluster import Cluster
from planner.cost.scenario import Scenario, build_scenario
from planner.errors import InputError
from planner.evidence.infer_trainer import (
    infer_gradient_dtype,
    infer_launch_mode,
    infer_tp_overlap,
    infer_trainer_name,
    infer_zero_stage,
    is_before_flash_attention,
)
from planner.evidence.model_and_cluster import build_run_cluster, build_run_workload
from planner.evidence.runs import MeasuredRun, RowError
from planner.search.space import Space

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
        global_batch = run.numbers["global_batch"]
        if global_batch is None:
            raise RowError("global_batch is empty")
        scenario = build_scenario(
            workload,
            cluster,
            global_batch=global_batch,
            precision=_PRECISION_ALIASES.get(run.precision, run.precision),
            attention="unfused" if is_before_flash_attention(run) else "flash",
            framework=infer_trainer_name(run),
            launch=infer_launch_mode(run),
            tp_overlap=infer_tp_overlap(run),
            gradients=infer_gradient_dtype(run),
        )
    except InputError as error:
        raise RowError(" ".join(str(error).split())) from None
    allowed, unstated_columns = _build_allowed_values(run)
    return BoundRun(scenario, cluster, Space(cluster.devices, global_batch, allowed), unstated_columns)


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
        # sequence parallelism (arXiv 2205.05198) goes with tensor parallelism unless the row denies it or is older
        is_disabled = run.numbers["tp"] == 1 or is_before_flash_attention(run)
        allowed["sequence_parallel"] = (0,) if is_disabled else (1,)
        unstated_columns += [] if run.numbers["tp"] == 1 else ["seq_parallel"]
    else:
        allowed["sequence_parallel"] = (int(run.seq_parallel),)
    zero_stage = infer_zero_stage(run)
    ranks = (run.numbers["dp"] or 2) * (run.numbers["cp"] or 1)
    if zero_stage is None:
        unstated_columns.append("sharding")
        # Megatron has had the distributed optimizer since the summer of 2022, as long as FlashAttention
        zero_stage = 0 if is_before_flash_attention(run) else 1
    allowed["zero_stage"] = (zero_stage if ranks > 1 else 0,)
    return allowed, tuple(unstated_columns)
