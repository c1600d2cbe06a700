"""Pipeline stages: which of their chunks can decide time or memory, and the tables that time and memory share, of
layers, stages and their parameters.

`partition.py` says which layers are in which chunk and on which stage, `schedules.py` what folded stages are.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from planner.cost.arrays import (
    Floats,
    Ints,
    NumericArray,
    find_last_axis_max,
    find_unique_rows,
    sum_products,
    take_columns,
)
from planner.cost.layer_tables import LayerTables, build_layer_tables
from planner.cost.pipeline.partition import assign_layers, compute_layer_prefix, find_partition_costs
from planner.cost.scenario import Scenario
from planner.cost.schedules.catalog import count_copies, count_folded_in_flight, is_folded
from planner.cost.settings import PipelineSchedule
from planner.cost.strategies import Strategies
from planner.trainers.pipeline_layout import parse_layout
from planner.workload.operators import ExpertLinear, Linear, Workload


@dataclass(frozen=True)
class StageTables:
    """Stages and chunks of each distinct (pp, vpp), padded to the same number of them; counts are layers of a type.

    Padding repeats the first entry (0 times, for rounds).
    """

    layer_counts: Floats
    """Layers of the distinct stages, [splits, stages, layer types]."""
    stage_index: Ints
    """The first pipeline position of such a stage, [splits, stages]: of equal stages the earliest keeps the most
    micro-batches, so it stands for the others."""
    virtual_stages: Floats
    """Layers of the distinct chunks of each distinct round, [splits, rounds, chunks, layer types]; folded, of the
    distinct stages what one micro-batch goes through, in a single round: no chunk waits for another's."""
    interleave_rounds: Floats
    """How many such rounds there are, [splits, rounds]."""
    round_sizes: Ints
    """Distinct rounds, and the most distinct chunks in one, without padding, [splits, 2]."""
    warmup_layers: Floats
    """Layers in the first round of all stages together, folded in their mean chunks, [splits, layer types]."""
    warmup_shares: Floats
    """What of the first round waits while the pipeline fills: all, or the mean of a stage's two, [splits]."""
    virtual_stage_layers: tuple[Floats | None, ...]
    """For each split whose stages have chunks of different length, their layers, [vpp, stages]."""

    def compute_slowest_path_s(self, stage_rows: Ints, per_layer_s: Floats) -> Floats:
        """Seconds of one micro-batch where in each round all stages wait for the slowest chunk, shape [plans].

        `per_layer_s`: seconds of one layer of each type, shape [plans, layer types].
        """
        path_s, row_sizes = np.empty(len(stage_rows)), self.round_sizes[stage_rows]
        # padding is left out: most splits have a few rounds of a few different chunks
        for rounds, chunks in sorted({(rounds, chunks) for rounds, chunks in self.round_sizes.tolist()}):
            index = np.flatnonzero((row_sizes[:, 0] == rounds) & (row_sizes[:, 1] == chunks))
            layers = take_columns(self.virtual_stages[:, :rounds, :chunks], stage_rows[index])
            slowest_s = find_last_axis_max(sum_products(layers, per_layer_s[index, None, None, :]))
            repeats = take_columns(self.interleave_rounds[:, :rounds], stage_rows[index])
            path_s[index] = sum_products(repeats, slowest_s)
        return path_s

    def compute_fill_drain_s(self, stage_rows: Ints, per_layer_s: Floats) -> Floats:
        """Seconds of one micro-batch in the first chunks of all stages but the slowest, shape [plans]."""
        first_chunk_s = sum_products(take_columns(self.virtual_stages[:, 0], stage_rows), per_layer_s[:, None, :])
        first_chunk_s = first_chunk_s * self.warmup_shares[stage_rows, None]
        all_stages_s = sum_products(take_columns(self.warmup_layers, stage_rows), per_layer_s)
        return np.maximum(all_stages_s - find_last_axis_max(first_chunk_s), 0.0)

    def find_slowest_layers(self, stage_rows: Ints, per_layer_s: Floats) -> Floats:
        """Layers of each type on that path, shape [plans, layer types]."""
        chunks = take_columns(self.virtual_stages, stage_rows)
        slowest = np.argmax(sum_products(chunks, per_layer_s[:, None, None, :]), axis=2)
        slowest_chunks = np.take_along_axis(chunks, slowest[:, :, None, None], axis=2)[:, :, 0]
        repeats = take_columns(self.interleave_rounds, stage_rows)
        return sum_products(repeats[:, None, :], np.moveaxis(slowest_chunks, 1, 2))


def build_stage_tables(scenario: Scenario, s: Strategies) -> tuple[StageTables, Ints]:
    """The stages, and for each plan its row in them."""
    unique, schedule = find_unique_rows(s.pp, s.vpp), scenario.pipeline_schedule
    degrees = list(zip(s.pp[unique.first_index].tolist(), s.vpp[unique.first_index].tolist(), strict=True))
    prefix = compute_layer_prefix(scenario.workload)
    costs = find_partition_costs(scenario.workload, scenario.trainer)
    assigned_layers = [
        assign_layers(prefix, pp, vpp, scenario.layout, schedule, scenario.workload.prediction_layers, costs)
        for pp, vpp in degrees
    ]
    distinct_stages = [_find_distinct_rows(chunks.sum(axis=0)) for chunks in assigned_layers]
    folded = [bool(is_folded(schedule, pp, vpp)) for pp, vpp in degrees]
    # of DualPipe's two chunks one works on each micro-batch
    chunks_per_micro_batch = [0.5 if schedule == "dualpipe" else 1.0] * len(folded)
    rounds = [
        _find_rounds(share * chunks.sum(axis=0)[None] if fold else chunks)
        for chunks, fold, share in zip(assigned_layers, folded, chunks_per_micro_batch, strict=True)
    ]
    stage_index = _pad_tables([first_index for _, first_index in distinct_stages])
    return StageTables(
        layer_counts=_pad_tables([counts for counts, _ in distinct_stages]),
        stage_index=stage_index,
        virtual_stages=_pad_rounds([round_chunks for round_chunks, _ in rounds]),
        interleave_rounds=_pad_tables([repeats for _, repeats in rounds], repeat_first=False),
        round_sizes=np.array([(len(round_chunks), max(map(len, round_chunks))) for round_chunks, _ in rounds]),
        warmup_layers=np.stack(
            [
                0.5 * chunks.sum(axis=(0, 1)) if fold else chunks[0].sum(axis=0)
                for chunks, fold in zip(assigned_layers, folded, strict=True)
            ]
        ),
        warmup_shares=np.array(
            [0.5 / share if fold else 1.0 for fold, share in zip(folded, chunks_per_micro_batch, strict=True)]
        ),
        virtual_stage_layers=_compute_virtual_stage_layers(assigned_layers, stage_index),
    ), unique.inverse


def build_all_stage_tables(scenario: Scenario, strategy: Strategies) -> tuple[StageTables, Ints]:
    """The stages of a single plan as `build_stage_tables` gives them, but every stage listed, equal ones too."""
    stages, stage_rows = build_stage_tables(scenario, strategy)
    pp, vpp, schedule = int(strategy.pp[0]), int(strategy.vpp[0]), scenario.pipeline_schedule
    assigned_layers = assign_layers(
        compute_layer_prefix(scenario.workload),
        pp,
        vpp,
        scenario.layout,
        schedule,
        scenario.workload.prediction_layers,
        find_partition_costs(scenario.workload, scenario.trainer),
    )
    stage_index = np.minimum(np.arange(pp), 2 * assigned_layers.shape[1] - 1 - np.arange(pp))[None]
    return replace(
        stages,
        layer_counts=assigned_layers.sum(axis=0)[stage_index],
        stage_index=stage_index,
        virtual_stage_layers=_compute_virtual_stage_layers([assigned_layers], stage_index),
    ), stage_rows


def _compute_virtual_stage_layers(assigned_layers: list[Floats], stage_index: Ints) -> tuple[Floats | None, ...]:
    """Layers of every chunk of the distinct stages, shape [vpp, stages], of each split with unequal chunks."""
    layers_per_split = [
        chunks[:, stages, :-2].sum(axis=2) for chunks, stages in zip(assigned_layers, stage_index, strict=True)
    ]
    return tuple(None if (layers == layers[0]).all() else layers for layers in layers_per_split)


def _pad_tables(tables: list[NumericArray], *, repeat_first: bool = True) -> NumericArray:
    """All tables as one, each made as long as the longest by its first row, or by zeros."""
    longest = max(map(len, tables))
    padded_tables = np.zeros((len(tables), longest, *tables[0].shape[1:]), dtype=tables[0].dtype)
    for padded_table, table in zip(padded_tables, tables, strict=True):
        if repeat_first:
            padded_table[:] = table[0]
        padded_table[: len(table)] = table
    return padded_tables


def _pad_rounds(split_rounds: list[list[Floats]]) -> Floats:
    """The chunks of every split's rounds as one table, shape [splits, rounds, chunks, layer types]."""
    chunks = _pad_tables([chunks for rounds in split_rounds for chunks in rounds])
    round_bounds = np.cumsum([len(rounds) for rounds in split_rounds])
    return _pad_tables(np.split(chunks, round_bounds[:-1]))


def _find_distinct_rows(rows: Floats) -> tuple[Floats, Ints]:
    """The distinct rows, and each one's first position, in order of that."""
    if len(rows) == 1:
        return rows, np.zeros(1, dtype=np.int64)
    # neighbours repeat: compare with the one before, then only the few that differ with each other
    change_indices = (rows[1:] != rows[:-1]).any(axis=1).nonzero()[0] + 1
    first_index: dict[bytes, int] = {rows[0].tobytes(): 0}
    for i in change_indices.tolist():
        first_index.setdefault(rows[i].tobytes(), i)
    first_indices = np.array(list(first_index.values()))
    return rows[first_indices], first_indices


def _find_rounds(chunks: Floats) -> tuple[list[Floats], Floats]:
    """Distinct rounds as their distinct chunks, and how often each comes: from [vpp, pp, layer types]."""
    flat_rounds = chunks.reshape(len(chunks), -1)
    distinct_rounds, first_indices = _find_distinct_rows(flat_rounds)
    repeat_counts = [float((flat_rounds == flat_round).all(axis=1).sum()) for flat_round in distinct_rounds]
    return [_find_distinct_rows(chunks[i])[0] for i in first_indices.tolist()], np.array(repeat_counts)


IN_FLIGHT_ROUNDS = 3
"""Rounds of pp micro-batches after which a stage has had its most in flight: the warm-up takes less than (vpp + 1) pp
chunks, and what follows repeats every pp vpp."""


def compute_in_flight_passes(
    stages: StageTables, stage_rows: Ints, pp: Ints, vpp: Ints, micro_batches: Ints, schedule: PipelineSchedule
) -> Floats:
    """Most micro-batches in flight on each stage, whose activations it keeps, in whole passes through the stage.

    1F1B: pp - i on stage i. Interleaved: 2 (pp - i - 1) + (vpp - 1) pp + 1 chunks, of 1/vpp stage each where they
    are equal (arXiv 2205.05198, section 4.2.3), else by their lengths. Folded: see `schedules.py`. Zero-bubble: pp on
    every stage, which keeps them until the weights' gradients are computed (torch 2.13,
    `ScheduleInterleavedZeroBubble` of torch/distributed/pipelining/schedules.py). Never more than there are.
    `stage_rows`, `pp`, `vpp` and `micro_batches` have shape [plans]; result [plans, stages].
    """
    stage_index = stages.stage_index[stage_rows]
    kept_until_weights = schedule == "zero-bubble"
    plain_passes = np.minimum(micro_batches[:, None], (pp - (not kept_until_weights) * stage_index.T).T)
    warmup_chunks = (2 * (pp - stage_index.T - 1) + (vpp - 1) * pp + 1).T
    chunks_in_flight = np.minimum((micro_batches * vpp)[:, None], warmup_chunks)
    in_flight: Floats = np.where(vpp[:, None] == 1, plain_passes, chunks_in_flight / vpp[:, None])
    for row, table_row in enumerate(stage_rows.tolist()):
        layers = stages.virtual_stage_layers[table_row]
        if is_folded(schedule, int(pp[row]), int(vpp[row])):
            copies = 2 if schedule == "dualpipe" else 1
            chunk_passes = count_folded_in_flight(schedule, int(pp[row]) // copies, stage_index[row])
            chunk_passes = np.minimum(chunk_passes, int(micro_batches[row]) // copies)
            weights = np.ones_like(chunk_passes) if layers is None else np.maximum(layers, 1e-9)
            in_flight[row] = (chunk_passes * weights).sum(axis=0) / weights.sum(axis=0)
        elif layers is not None:
            in_flight[row] = _simulate_peak_in_flight(
                layers, int(pp[row]), int(micro_batches[row]), chunks_in_flight[row]
            )
    return in_flight


def _simulate_peak_in_flight(chunk_layers: Floats, pp: int, micro_batches: int, warmup_chunks: Ints) -> Floats:
    """Most whole passes in flight on each stage, by running through the interleaved schedule; shape [stages].

    `chunk_layers`: layers of each chunk, shape [vpp, stages]. Each chunk runs for pp micro-batches, then the next
    one; the backward passes take them from the last to the first. After the warm-up a chunk is dropped for each that
    is begun.
    """
    vpp, stages = chunk_layers.shape
    chunk_order = np.arange(micro_batches * vpp) // pp % vpp
    begun = np.cumsum(chunk_layers[chunk_order], axis=0)
    dropped = np.cumsum(np.concatenate([np.zeros((1, stages)), chunk_layers[vpp - 1 - chunk_order]]), axis=0)
    step = np.arange(len(chunk_order))
    peak_layers = [
        (begun[:, i] - dropped[np.maximum(step + 1 - int(warmup_chunks[i]), 0), i]).max() for i in range(stages)
    ]
    passes: Floats = np.array(peak_layers) / np.maximum(chunk_layers.sum(axis=0), 1)
    return passes


@dataclass(frozen=True)
class StageParameters:
    """Parameters on one device of each stage, [plans, stages] each. Experts are counted apart: they are spread over
    other ranks than the dense parameters.
    """

    dense: Floats
    expert: Floats
    embedding: Floats
    """Those of `dense` that the embedding has."""
    head: Floats
    """Those of `dense` that the head has, a copy of the embedding's matrix included."""
    largest_dense: Floats
    """Of the layer that has most, [plans]."""
    largest_expert: Floats
    largest_matrix: Floats
    """Of one matrix of a layer, [plans]."""

    def take(self, index: Ints) -> StageParameters:
        """Those of the plans at `index`."""
        return StageParameters(**{field.name: getattr(self, field.name)[index] for field in fields(StageParameters)})


@dataclass(frozen=True)
class PlanTables:
    """`layer_row` and `stage_rows`, shape [plans]: each plan's row in `layer_tables`, and in `stages`."""

    layer_tables: LayerTables
    layer_row: Ints
    stages: StageTables
    stage_rows: Ints
    parameters: StageParameters

    def take(self, index: Ints) -> PlanTables:
        """Of the plans at `index`, whatever their ZeRO stage and recompute mode."""
        return replace(
            self,
            layer_row=self.layer_row[index],
            stage_rows=self.stage_rows[index],
            parameters=self.parameters.take(index),
        )


def build_plan_tables(scenario: Scenario, s: Strategies) -> PlanTables:
    """Tables of layers and stages for these plans."""
    return join_plan_tables(scenario, s, build_layer_tables(scenario, s), build_stage_tables(scenario, s))


def replace_layer_tables(plan_tables: PlanTables, scenario: Scenario, s: Strategies) -> PlanTables:
    """The tables of these plans in a scenario that differs in figures of the hardware or of the calibration alone:
    stages and parameters are the same.
    """
    layer_tables, layer_row = build_layer_tables(scenario, s)
    return replace(plan_tables, layer_tables=layer_tables, layer_row=layer_row)


def build_all_stage_plan_tables(scenario: Scenario, s: Strategies) -> PlanTables:
    """The same for a single plan, with every stage listed, equal ones too."""
    stages = build_all_stage_tables(scenario, s)
    return join_plan_tables(scenario, s, build_layer_tables(scenario, s), stages)


def join_plan_tables(
    scenario: Scenario, s: Strategies, layer_tables: tuple[LayerTables, Ints], stages: tuple[StageTables, Ints]
) -> PlanTables:
    """The tables of these layers and stages, each with the plans' rows."""
    return PlanTables(*layer_tables, *stages, compute_stage_parameters(scenario, s, *stages))


def count_shards(scenario: Scenario, ranks: Ints) -> Ints:
    """How many of the ranks that hold the same dense parameters share them, [plans]: all, or a hybrid group's."""
    return ranks if scenario.shard_group is None else np.gcd(ranks, scenario.shard_group)


def count_data_ranks(scenario: Scenario, s: Strategies) -> Ints:
    """How many ranks hold the same dense parameters, [plans]: dp x cp, and DualPipe's copies of a stage."""
    return s.dp * s.cp * count_copies(scenario.pipeline_schedule, s)


def count_expert_shards(scenario: Scenario, s: Strategies) -> Ints:
    """The same of experts, of which there are as many replicas as of dense parameters, each on fewer ranks.

    megatron-core 0.16.1, `num_distributed_optimizer_instances` in `megatron/core/parallel_state.py`; torchtitan
    0.3.0, dp_replicate and efsdp in `torchtitan/distributed/parallel_dims.py`.
    """
    dense_ranks = count_data_ranks(scenario, s)
    ranks = s.expert_ranks * count_copies(scenario.pipeline_schedule, s)
    shards: Ints = ranks // np.gcd(ranks, dense_ranks // count_shards(scenario, dense_ranks))
    return shards


def compute_sharded_parameters(scenario: Scenario, s: Strategies, parameters: StageParameters) -> Floats:
    """Parameters on one device of each stage where its ranks share them, [plans, stages]."""
    dense_shards = count_shards(scenario, count_data_ranks(scenario, s))[:, None].astype(np.float64)
    expert_shards = count_expert_shards(scenario, s)[:, None].astype(np.float64)
    return parameters.dense / dense_shards + parameters.expert / expert_shards


def compute_stage_parameters(
    scenario: Scenario, s: Strategies, stages: StageTables, stage_rows: Ints
) -> StageParameters:
    """Parameters of every stage of every plan."""
    unique, workload = find_unique_rows(s.tp, s.ep, s.etp, stage_rows), scenario.workload
    layer_types, counts = list(workload.layer_types), stages.layer_counts[stage_rows[unique.first_index]]
    if workload.prediction is not None:
        layer_types.append(workload.prediction.layer)
        counts = np.insert(counts, -2, workload.prediction.count * counts[:, :, -1], axis=2)
    layer_types += [workload.embedding, workload.head]
    tp = s.tp[unique.first_index, None].astype(np.float64)
    expert_shards = (s.ep * s.etp)[unique.first_index, None].astype(np.float64)
    sharded, replicated, expert = np.array(
        [(layer.sharded_parameters, layer.replicated_parameters, layer.expert_parameters) for layer in layer_types],
        dtype=np.float64,
    ).T
    dense_by_type = sharded / tp + replicated
    for column, layer in enumerate(layer_types):
        if layer.kv_heads and not scenario.trainer.cuts_key_values:
            # of keys and values there are no more parts than heads: beyond, ranks hold copies
            copies = 1 / np.minimum(tp[:, 0], layer.kv_heads) - 1 / tp[:, 0]
            dense_by_type[:, column] += layer.kv_parameters * copies
    expert_by_type = expert / expert_shards
    # the embedding's matrix at the other end is its own where both are on one stage, a copy where they are not
    copied = workload.copied_parameters * (counts[:, :, -1] - counts[:, :, -1] * counts[:, :, -2]) / tp
    if parse_layout(scenario.layout).sets_prediction_apart:
        # the last layers look up their tokens in a copy too
        looks_up = (counts[:, :, len(workload.layer_types) - 1] > 0) * (1 - counts[:, :, -2])
        copied = np.maximum(copied, workload.embedding.sharded_parameters * looks_up / tp)
    dense = sum_products(counts, dense_by_type[:, None, :]) + copied
    ends = counts[:, :, -2:] * dense_by_type[:, None, -2:]
    return StageParameters(
        dense=take_columns(dense, unique.inverse),
        expert=take_columns(sum_products(counts, expert_by_type[:, None, :]), unique.inverse),
        embedding=take_columns(ends[:, :, 0], unique.inverse),
        head=take_columns(ends[:, :, 1] + copied, unique.inverse),
        largest_dense=dense_by_type[:, :-2].max(axis=1)[unique.inverse],
        largest_expert=expert_by_type[:, :-2].max(axis=1)[unique.inverse],
        largest_matrix=_compute_largest_matrix(workload, tp[:, 0], expert_shards[:, 0])[unique.inverse],
    )


def _compute_largest_matrix(workload: Workload, tp: Floats, expert_shards: Floats) -> Floats:
    """Parameters of the largest matrix of any layer on a device, [plans]; all experts' are one."""
    operators = [op for layer in workload.layer_types for op in layer.operators]
    dense = max((op.weights / op.parts for op in operators if isinstance(op, Linear) and op.saves_input), default=0)
    expert = max(
        (op.inputs * op.outputs * op.experts / op.parts for op in operators if isinstance(op, ExpertLinear)),
        default=0,
    )
    return np.maximum(dense / tp, expert / expert_shards)
