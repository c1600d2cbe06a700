"""Lower bounds of the step of plans on two pools, from which follow the order of the search and what it leaves out.

Replicas side by side: the sequences are divided as if they were not whole, and each pool has its best micro-batch.
Pipelines across both pools, each bound closer than the one before and dearer:
1. the layers are divided as if they were not whole and always fitted in memory (`compute_free_bound_s`);
2. each stage computes no more layers in a given time than fit in its memory (`compute_memory_bound_s`).
Layers in equal numbers (`compute_even_bound_s`) need no bound of the slowest stage: it is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Floats, Ints, sum_products
from planner.cost.layer_tables import LayerTables
from planner.cost.memory.moments import MEMORY_MOMENTS
from planner.cost.memory.peak import compute_stage_memory_in_flight
from planner.cost.memory.units import Progress
from planner.cost.pipeline.partition import assign_layers
from planner.cost.scenario import Scenario
from planner.cost.step import compute_pipeline_bound_s
from planner.cost.strategies import Strategies
from planner.search.heterogeneous.best_first import REL_TOL
from planner.search.heterogeneous.candidates import PipelineRows, PoolShareRows, ShareTable
from planner.search.heterogeneous.layer_partition import build_stage_tables

_BISECTION_STEPS = 30


def compute_replica_bounds_s(table: ShareTable) -> Floats:
    """A lower bound of the step of each layout with replicas in both pools, infinite where nothing fits, [layouts].

    A replica takes at least `base_s + sequence_s x sequences`, with the least base and the least seconds per sequence
    over the micro-batches that fit, with the least recomputation that fits, without gradient communication and
    optimizer (`compute_pipeline_bound_s`). If sequences could be divided at will, the slower pool would be fastest
    where both take equally long:

        step = (batch + sum of replicas x base_s / sequence_s) / sum of replicas / sequence_s    (sums over the pools)
    """
    batch = table.pools[0].scenario.global_batch
    numerator, denominator = np.full(table.layout_count, float(batch)), np.zeros(table.layout_count)
    for pool in table.pools:
        single_unit_s, double_unit_s = (_compute_least_times_s(pool, units) for units in (1, 2))
        fits = pool.fits_single_unit.any(axis=(1, 2))
        unit_sequences = pool.unit_micro_batches * pool.strategies.micro_batch
        sequence_s, base_s = np.full(table.layout_count, np.inf), np.full(table.layout_count, np.inf)
        np.minimum.at(
            sequence_s, pool.layout_index, np.where(fits, (double_unit_s - single_unit_s) / unit_sequences, np.inf)
        )
        np.minimum.at(base_s, pool.layout_index, np.where(fits, 2 * single_unit_s - double_unit_s, np.inf))
        replicas = np.zeros(table.layout_count)
        replicas[pool.layout_index] = pool.replicas
        is_feasible = np.isfinite(sequence_s)
        sequences_per_s = replicas / np.where(is_feasible, sequence_s, 1.0)
        numerator += np.where(is_feasible, sequences_per_s * np.where(is_feasible, base_s, 0.0), np.inf)
        denominator += np.where(is_feasible, sequences_per_s, 1.0)
    return np.where(np.isfinite(numerator), numerator / denominator, np.inf) * (1 - REL_TOL)


def _compute_least_times_s(pool: PoolShareRows, units: int) -> Floats:
    """`compute_pipeline_bound_s` of every row under the least recompute mode in which one unit fits, shape [rows]."""
    times_s = np.zeros(len(pool.strategies))
    least_mode = pool.fits_single_unit.any(axis=1).argmax(axis=1)
    for mode_index, mode in enumerate(pool.recompute_modes.tolist()):
        rows = np.flatnonzero(least_mode == mode_index)
        if len(rows):
            strategies, tables = pool.strategies.take(rows), pool.plan_tables.take(rows)
            micro_batches = units * pool.unit_micro_batches[rows]
            times_s[rows] = compute_pipeline_bound_s(pool.scenario, strategies, tables, micro_batches, mode)
    return times_s


def compute_free_bound_s(rows: PipelineRows) -> Floats:
    """A lower bound of the step if layers could be divided freely, shape [rows].

    Both pools then take T seconds per micro-batch, a pool with p stages p T seconds for its layers. For any weights
    y >= 0 of the pools with sum of y p = 1,

        T = sum over pools of y p T >= sum over layers of the least, over the pools, of y x seconds of the layer

    A pool's weight is taken inversely proportional to the seconds of its mean layer, which is exact where all layers
    are alike.
    """
    mean_layer_s, layer_units = _compute_layer_units(rows)
    scale = sum(stages / pool_s for stages, pool_s in zip(rows.stage_counts, mean_layer_s, strict=True))
    slowest_s = (layer_units * rows.contents.prefix[-1]).sum(axis=1) / scale
    bound_s: Floats = (rows.micro_batches * slowest_s + rows.send_s) * (1 - REL_TOL)
    return bound_s


def _compute_layer_units(rows: PipelineRows) -> tuple[list[Floats], Floats]:
    """Seconds of each pool's mean layer, [rows] each; and the units for which a layer of each type counts: the least,
    over the pools, of its seconds over those of the mean layer, [rows, layer types].
    """
    layer_counts = rows.contents.prefix[-1]
    body_times_s = [times_s[:, :-2] for times_s in rows.layer_times_s]
    mean_layer_s = [(times_s * layer_counts).sum(axis=1) / layer_counts.sum() for times_s in body_times_s]
    relative_times = [times_s / mean_s[:, None] for times_s, mean_s in zip(body_times_s, mean_layer_s, strict=True)]
    return mean_layer_s, np.minimum(*relative_times)


def compute_memory_bound_s(rows: PipelineRows) -> Floats:
    """A lower bound of the step with memory limits, infinite where the layers do not fit; shape [rows].

    A time is too short for the slowest stage as long as all stages together cannot compute all layers in it. This is
    tested for whole layers of each type alone, and for fractions of the units of all types (`_compute_layer_units`).
    In T seconds a stage computes (T - time of embedding and head) / (seconds per layer) layers, but no more than fit
    in its memory.
    """
    layer_counts = rows.contents.prefix[-1]
    mean_layer_s, layer_units = _compute_layer_units(rows)
    max_layers, embedding_and_head_s = _compute_stage_capacity(rows)
    slowest_s = _bisect_least_time_s(
        (layer_units * layer_counts).sum(axis=1),
        np.stack([mean_layer_s[pool] for pool in rows.stage_pools]),
        embedding_and_head_s,
        (max_layers * layer_units).sum(axis=2),
        whole=False,
    )
    for layer_type, layer_count in enumerate(layer_counts.tolist()):
        type_slowest_s = _bisect_least_time_s(
            np.full(len(slowest_s), layer_count),
            np.stack([rows.layer_times_s[pool][:, layer_type] for pool in rows.stage_pools]),
            embedding_and_head_s,
            max_layers[:, :, layer_type],
            whole=True,
        )
        slowest_s = np.maximum(slowest_s, type_slowest_s)
    fits = (max_layers.sum(axis=0) >= layer_counts).all(axis=1)
    return _add_fill_drain_bound(rows, np.where(fits, slowest_s, np.inf))


@dataclass(frozen=True)
class _StageBytes:
    """Memory of a stage by the type of its layers: bytes without micro-batches in flight, and bytes per micro-batch
    in flight, shape [rows, layer types] each.
    """

    static_bytes: Floats
    micro_batch_bytes: Floats

    def compute_total_bytes(self, in_flight: Ints) -> Floats:
        """Bytes with this number of micro-batches in flight, shape [rows]."""
        return self.static_bytes + in_flight[:, None] * self.micro_batch_bytes


def _compute_stage_bytes(
    scenario: Scenario, s: Strategies, layer_tables: tuple[LayerTables, Ints]
) -> tuple[_StageBytes, _StageBytes]:
    """The memory of a stage with one layer of each type, and of each further layer.

    A stage's memory M increases with its number of layers l and is concave in it (buffers for gathered shards are
    bounded), so that M(l) >= M(1) + (l - 1) m for l >= 1, with m the slope for many layers. Other types add to it.
    """
    layer_type_count, layers = len(scenario.workload.layer_types), scenario.workload.layer_count
    # three stages for each type: with one layer, with all layers of the model, with twice as many
    counts = np.zeros((3 * layer_type_count, layer_type_count + 2))
    for layer_type in range(layer_type_count):
        counts[3 * layer_type : 3 * layer_type + 3, layer_type] = (1, layers, 2 * layers)
    tables = build_stage_tables(scenario, s, counts, 0, layer_tables)
    micro_batches = np.ones_like(s.pp)

    def compute_bytes(in_flight: float) -> Floats:
        """While the last layer is at work, which the peak is never below."""
        progress = Progress(micro_batches, np.full(tables.parameters.dense.shape, in_flight))
        memory = compute_stage_memory_in_flight(scenario, s, tables, progress)
        return memory.total_bytes[:, MEMORY_MOMENTS.index("last_layer_backward")]

    single_in_flight_bytes, double_in_flight_bytes = compute_bytes(1.0), compute_bytes(2.0)
    micro_batch_bytes = (
        np.zeros_like(single_in_flight_bytes)
        if scenario.offload.activations
        else double_in_flight_bytes - single_in_flight_bytes
    )
    static_bytes = single_in_flight_bytes - micro_batch_bytes
    static_layer_bytes, micro_batch_layer_bytes = (
        (stage_bytes[:, 2::3] - stage_bytes[:, 1::3]) / layers for stage_bytes in (static_bytes, micro_batch_bytes)
    )
    return (
        _StageBytes(static_bytes[:, 0::3], micro_batch_bytes[:, 0::3]),
        _StageBytes(static_layer_bytes, micro_batch_layer_bytes),
    )


def _compute_stage_capacity(rows: PipelineRows) -> tuple[Floats, Floats]:
    """The most layers of each type alone that fit in the memory of each stage, [stages, rows, layer types]; seconds
    of embedding and head on each stage, [stages, rows].
    """
    bytes_by_pool = [
        _compute_stage_bytes(*pool) for pool in zip(rows.scenarios, rows.strategies, rows.layer_tables, strict=True)
    ]
    max_layers, embedding_and_head_s = [], []
    last_position = len(rows.stage_pools) - 1
    for position, pool in enumerate(rows.stage_pools):
        memory_bytes, layer_times_s = rows.scenarios[pool].usable_memory_bytes, rows.layer_times_s[pool]
        in_flight = np.minimum(rows.micro_batches, last_position + 1 - position)
        first_layer_bytes, extra_layer_bytes = (part.compute_total_bytes(in_flight) for part in bytes_by_pool[pool])
        extra_layers = np.floor((memory_bytes - first_layer_bytes) / np.maximum(extra_layer_bytes, 1.0) + 1e-6)
        max_layers.append(np.where(first_layer_bytes <= memory_bytes, 1.0 + extra_layers, 0.0))
        embedding_and_head_s.append(
            layer_times_s[:, -2] * (position == 0) + layer_times_s[:, -1] * (position == last_position)
        )
    return np.stack(max_layers), np.stack(embedding_and_head_s)


def _bisect_least_time_s(
    amount: Floats, stage_layer_s: Floats, embedding_and_head_s: Floats, max_layers: Floats, *, whole: bool
) -> Floats:
    """The least T (from below) in which all stages together compute `amount` layers, by bisection.

    Each stage computes (T - embedding_and_head_s) / stage_layer_s layers, at most max_layers; `whole`: rounded down.
    Arrays have shape [stages, rows]; amount and T have shape [rows].
    """
    low, high = np.zeros(len(amount)), amount * stage_layer_s.max(axis=0) + embedding_and_head_s.max(axis=0)
    for _ in range(_BISECTION_STEPS):
        middle = (low + high) / 2
        assigned = np.maximum(middle - embedding_and_head_s, 0.0) / stage_layer_s
        assigned = np.floor(assigned + 1e-6) if whole else assigned
        is_enough = np.minimum(assigned, max_layers).sum(axis=0) >= amount * (1 - 1e-9)
        low, high = np.where(is_enough, low, middle), np.where(is_enough, middle, high)
    return low


def compute_even_bound_s(rows: PipelineRows) -> Floats:
    """A lower bound of the step with an even partition of the layers, without memory limits; shape [rows]."""
    layer_counts = assign_layers(rows.contents.prefix.astype(np.int64), sum(rows.stage_counts), 1)[0]
    front_stages = rows.stage_counts[rows.front_pool]
    front_s, back_s = _get_front_and_back_times_s(rows)
    ahead_s, behind_s = (
        sum_products(front_s, layer_counts[:front_stages]),
        sum_products(back_s, layer_counts[front_stages:]),
    )
    return _add_fill_drain_bound(rows, np.maximum(ahead_s.max(axis=1), behind_s.max(axis=1)))


def _add_fill_drain_bound(rows: PipelineRows, slowest_s: Floats) -> Floats:
    """The bound of the step with this slowest stage, minimised over the number of layers in front, [rows]."""
    finite_slowest_s = np.where(np.isfinite(slowest_s), slowest_s, 0.0)[:, None]
    cuts = len(rows.contents.prefix)
    fill_drain_s = compute_fill_drain_bound_s(rows, np.broadcast_to(finite_slowest_s, (len(slowest_s), cuts)))
    bound_s: Floats = (rows.micro_batches * slowest_s + fill_drain_s.min(axis=1)) * (1 - REL_TOL)
    return bound_s


def compute_fill_drain_bound_s(rows: PipelineRows, slowest_s: Floats) -> Floats:
    """A lower bound of fill, drain and send times by the number of layers in front, [rows, layers + 1]; `slowest_s`
    of the same shape.
    """
    send_s = rows.send_s[:, None]
    if rows.scenarios[0].pipeline_schedule == "zero-bubble":
        return np.broadcast_to(send_s, slowest_s.shape)
    front_s, back_s = _get_front_and_back_times_s(rows)
    prefix = rows.contents.prefix
    ahead_s = sum_products(front_s[..., :-2], prefix) + front_s[..., -2]
    behind_s = sum_products(back_s[..., :-2], prefix[-1] - prefix) + back_s[..., -1]
    fill_drain_s: Floats = np.maximum((ahead_s + behind_s) * (1 - REL_TOL) - slowest_s, 0.0) + send_s
    return fill_drain_s


def _get_front_and_back_times_s(rows: PipelineRows) -> tuple[Floats, Floats]:
    """`layer_times_s` of the pool in front and of the other one, [rows, 1, layer types + 2]."""
    front, back = rows.front_pool, 1 - rows.front_pool
    return rows.layer_times_s[front][:, None], rows.layer_times_s[back][:, None]
