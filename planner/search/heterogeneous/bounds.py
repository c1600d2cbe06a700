"""A lower bound of the slowest stage of pipelines across two kinds, from time and memory, before layers are dealt.

It decides the order in which plans are looked at, and which of them never need be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Floats, Ints, sum_in_order
from planner.cost.heterogeneous import build_single_chunk_stages
from planner.cost.layer_tables import build_layer_tables
from planner.cost.memory import compute_activation_bytes, compute_model_state_bytes
from planner.cost.pipeline.parameters import compute_stage_parameters
from planner.cost.plan_tables import PlanTables
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies
from planner.workload.operators import Workload

_BISECTION_STEPS = 30


@dataclass(frozen=True)
class StageLoad:
    """What bounds one kind's stages: `layer_times_s` of one layer of each kind, [rows, layer kinds] with embedding
    and head; bytes of a stage with one layer of a kind and of each further one, both without and for each micro-batch
    in flight, [rows, layer kinds].
    """

    layer_times_s: Floats
    first_layer_bytes: tuple[Floats, Floats]
    extra_layer_bytes: tuple[Floats, Floats]


def compute_memory_load(scenario: Scenario, s: Strategies) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """`first_layer_bytes` and `extra_layer_bytes` of `StageLoad`.

    A stage's memory M(l) grows with its layers and is concave in them (what is sharded is held whole where that is
    less), so that M(l) >= M(1) + (l - 1) m for l >= 1 and m the rise per layer far out. Layers of other kinds add.
    """
    layer_type_count, layers = len(scenario.workload.layer_types), scenario.workload.layer_count
    counts = np.zeros((1, 3 * layer_type_count, layer_type_count + 2))
    for layer_type in range(layer_type_count):
        counts[0, 3 * layer_type : 3 * layer_type + 3, layer_type] = (1, layers, 2 * layers)
    stages = build_single_chunk_stages(counts, np.zeros((1, 3 * layer_type_count), dtype=np.int64))
    split = np.zeros(len(s), dtype=np.int64)
    p = PlanTables(
        *build_layer_tables(scenario, s), stages, split, compute_stage_parameters(scenario, s, stages, split)
    )
    state_bytes = (
        sum_in_order(compute_model_state_bytes(scenario, s, p.parameters, s.zero_stage).values())
        + scenario.runtime_reserve_bytes
    )
    single_in_flight_bytes, double_in_flight_bytes = (
        state_bytes
        + sum_in_order(
            compute_activation_bytes(scenario, s, p, s.recompute, np.full(state_bytes.shape, in_flight)).values()
        )
        for in_flight in (1.0, 2.0)
    )
    micro_batch_bytes = (
        np.zeros_like(single_in_flight_bytes)
        if scenario.offload.activations
        else double_in_flight_bytes - single_in_flight_bytes
    )
    static_bytes = single_in_flight_bytes - micro_batch_bytes
    extra_layer_bytes = [
        (memory_bytes[:, 2::3] - memory_bytes[:, 1::3]) / layers for memory_bytes in (static_bytes, micro_batch_bytes)
    ]
    return (static_bytes[:, 0::3], micro_batch_bytes[:, 0::3]), (extra_layer_bytes[0], extra_layer_bytes[1])


def compute_slowest_stage_bound_s(
    workload: Workload,
    loads: tuple[StageLoad, StageLoad],
    memory_bytes: tuple[float, float],
    stage_counts: tuple[int, int],
    front_pool: int,
    n: Ints,
) -> Floats:
    """At most the slowest stage's seconds of one micro-batch, infinite where too few layers fit, shape [rows].

    T is too short while all stages together take less than there is: whole layers of one kind of layer, the others
    left out; or units in fractions, where a layer of kind h counts u_h, the least over devices of its seconds over
    their mean layer's. In T seconds a stage takes (T - ends) over the seconds of one, no more than its memory holds.
    """
    layer_counts = np.array([0.0] * len(workload.layer_types))
    for run in workload.layer_runs:
        layer_counts[workload.layer_types.index(run.layer)] += run.count
    body_times_s = [load.layer_times_s[:, :-2] for load in loads]
    mean_layer_s = [(layer_times_s * layer_counts).sum(axis=1) / layer_counts.sum() for layer_times_s in body_times_s]
    units = np.minimum(
        *(layer_times_s / m[:, None] for layer_times_s, m in zip(body_times_s, mean_layer_s, strict=True))
    )
    max_layers, embedding_and_head_s = _compute_stage_capacity(loads, memory_bytes, stage_counts, front_pool, n)
    stage_pools = [
        front_pool if position < stage_counts[front_pool] else 1 - front_pool for position in range(sum(stage_counts))
    ]
    fits = (max_layers.sum(axis=0) >= layer_counts).all(axis=1)
    total_units = (units * layer_counts).sum(axis=1)
    slowest_s = _bisect_least_time_s(
        total_units,
        np.stack([mean_layer_s[k] for k in stage_pools]),
        embedding_and_head_s,
        (max_layers * units).sum(axis=2),
        whole=False,
    )
    for h, layer_count in enumerate(layer_counts.tolist()):
        stage_layer_s = np.stack([body_times_s[k][:, h] for k in stage_pools])
        slowest_s = np.maximum(
            slowest_s,
            _bisect_least_time_s(
                np.full(len(n), layer_count), stage_layer_s, embedding_and_head_s, max_layers[:, :, h], whole=True
            ),
        )
    return np.where(fits, slowest_s, np.inf)


def _compute_stage_capacity(
    loads: tuple[StageLoad, StageLoad],
    memory_bytes: tuple[float, float],
    stage_counts: tuple[int, int],
    front_pool: int,
    n: Ints,
) -> tuple[Floats, Floats]:
    """How many layers of each kind alone the memory of each stage holds at most, [stages, rows, layer kinds]; seconds
    of embedding and head there, [stages, rows].
    """
    total_stages, max_layers, embedding_and_head_s = sum(stage_counts), [], []
    for position in range(total_stages):
        k = front_pool if position < stage_counts[front_pool] else 1 - front_pool
        in_flight = np.minimum(n, total_stages - position)[:, None]
        first_layer_bytes, extra_layer_bytes = (
            part[0] + in_flight * part[1] for part in (loads[k].first_layer_bytes, loads[k].extra_layer_bytes)
        )
        extra_layers = np.floor((memory_bytes[k] - first_layer_bytes) / np.maximum(extra_layer_bytes, 1.0) + 1e-6)
        max_layers.append(np.where(first_layer_bytes <= memory_bytes[k], 1.0 + extra_layers, 0.0))
        embedding_and_head_s.append(
            loads[k].layer_times_s[:, -2] * (position == 0)
            + loads[k].layer_times_s[:, -1] * (position == total_stages - 1)
        )
    return np.stack(max_layers), np.stack(embedding_and_head_s)


def _bisect_least_time_s(
    amount: Floats, stage_layer_s: Floats, embedding_and_head_s: Floats, max_layers: Floats, *, whole: bool
) -> Floats:
    """The least T, from below, in which all stages together take the amount: stage i (T - ends_i) / pace_i of it, at
    most `most_i`, in whole numbers or not. Found by halving; arrays of shape [stages, rows], amount and T [rows].
    """
    low, high = np.zeros(len(amount)), amount * stage_layer_s.max(axis=0) + embedding_and_head_s.max(axis=0)
    for _ in range(_BISECTION_STEPS):
        middle = (low + high) / 2
        assigned = np.maximum(middle - embedding_and_head_s, 0.0) / stage_layer_s
        assigned = np.floor(assigned + 1e-6) if whole else assigned
        is_enough = np.minimum(assigned, max_layers).sum(axis=0) >= amount * (1 - 1e-9)
        low, high = np.where(is_enough, low, middle), np.where(is_enough, middle, high)
    return low
