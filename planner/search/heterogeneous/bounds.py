"""A lower bound of the slowest stage of pipelines across two pools, from time and memory, before the layers are
partitioned. It decides the order in which plans are evaluated, and which plans need not be evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Floats, Ints, sum_in_order
from planner.cost.heterogeneous import build_single_chunk_stages
from planner.cost.layer_tables import build_layer_tables
from planner.cost.memory import compute_activation_bytes, compute_model_state_bytes
from planner.cost.plan_tables import PlanTables, compute_stage_parameters
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies
from planner.workload.operators import Workload

_BISECTION_STEPS = 30


@dataclass(frozen=True)
class StageLoad:
    """Time and memory of the stages of one pool; arrays of shape [rows, layer types].

    `layer_times_s`: seconds of one layer of each type, followed by embedding and head. `first_layer_bytes`: memory of
    a stage with one layer of a type, `extra_layer_bytes`: of each further layer; each a pair of the bytes without
    micro-batches in flight and the bytes per micro-batch in flight.
    """

    layer_times_s: Floats
    first_layer_bytes: tuple[Floats, Floats]
    extra_layer_bytes: tuple[Floats, Floats]


def compute_memory_load(scenario: Scenario, s: Strategies) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """`first_layer_bytes` and `extra_layer_bytes` of `StageLoad`.

    A stage's memory M(l) increases with its number of layers l and is concave in it (buffers for gathered shards are
    bounded), so that M(l) >= M(1) + (l - 1) m for l >= 1, with m the slope for many layers. Other types add to it.
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
    """A lower bound of the slowest stage's seconds per micro-batch, infinite where too few layers fit, shape [rows].

    T is too short as long as all stages together cannot compute all layers in T seconds. This is tested for whole
    layers of each type alone, and for fractions of units of all types, where a layer of type h counts u_h units: the
    minimum over the pools of its seconds divided by those of the pool's mean layer. In T seconds a stage computes
    (T - time of embedding and head) / (seconds per layer) layers, but no more than fit in its memory.
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
    """The most layers of each type alone that fit in the memory of each stage, [stages, rows, layer types]; seconds
    of embedding and head on each stage, [stages, rows].
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
    """The least T (from below) in which all stages together compute `amount` layers, by bisection.

    Stage i computes (T - embedding_and_head_s_i) / stage_layer_s_i layers, at most max_layers_i; `whole`: rounded
    down. Arrays have shape [stages, rows]; amount and T have shape [rows].
    """
    low, high = np.zeros(len(amount)), amount * stage_layer_s.max(axis=0) + embedding_and_head_s.max(axis=0)
    for _ in range(_BISECTION_STEPS):
        middle = (low + high) / 2
        assigned = np.maximum(middle - embedding_and_head_s, 0.0) / stage_layer_s
        assigned = np.floor(assigned + 1e-6) if whole else assigned
        is_enough = np.minimum(assigned, max_layers).sum(axis=0) >= amount * (1 - 1e-9)
        low, high = np.where(is_enough, low, middle), np.where(is_enough, middle, high)
    return low
