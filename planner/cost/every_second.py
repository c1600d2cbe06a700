"""Selective recomputation that keeps the output of every second multiply of a layer, as torchtitan does.

torchtitan 0.3.0, distributed/activation_checkpoint.py, `SelectiveAC`: multiplies are counted in the order in which
they run, and the first, third, ... output is kept; of the router's none. Outputs of attention, of convolutions, of
multiplies with a bias (`addmm`, which is not counted) and of the collectives reduce-scatter and all-to-all are always
kept. All else is made again, the layer's input is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.operators import get_operator_cost
from planner.cost.operators.operator_cost import LayerShard
from planner.cost.scenario import Scenario
from planner.workload.operators import AttentionCore, Convolution, ExpertLinear, Layer, Linear, Operator, Pointwise


def compute_kept_shares(scenario: Scenario, operators: Sequence[Operator]) -> tuple[float, ...]:
    """Of each operator of a layer the share of its output that is kept (0..1)."""
    shares, count = [], 0
    # 4-bit multiplies are `_scaled_mm_v2`, which is in no list of what is kept (torchao 0.18, prototype/moe_training/
    # nvfp4_training/nvfp4_linear.py; torch 2.13, functorch/_functorch/partitioners.py, `compute_intensive_ops`)
    is_repeated = scenario.precision == "nvfp4"
    for op in operators:
        is_fused_attention = isinstance(op, AttentionCore) and scenario.attention_kernel == "flash"
        share = 1.0 if isinstance(op, Convolution) or is_fused_attention else 0.0
        if isinstance(op, Linear) and op.bias:
            share = 1.0
        elif isinstance(op, Linear) and not op.full_precision and not is_repeated:
            widths = _list_part_widths(op, scenario.trainer.joins_qkv)
            kept_widths = [width for place, width in enumerate(widths, count) if place % 2 == 0]
            share, count = sum(kept_widths) / sum(widths), count + len(widths)
        shares.append(share)
    return tuple(shares)


def _list_part_widths(op: Linear, joins_qkv: bool) -> list[float]:
    """Columns of each multiply that an operator is: of queries, keys and values, or of gate and up."""
    if not op.kv_outputs:
        return [op.outputs / op.parts] * op.parts
    if joins_qkv or op.parts == 1:
        return [float(op.outputs)]
    return [float(op.outputs - op.kv_outputs), op.kv_outputs / 2, op.kv_outputs / 2]


def compute_repeated_shares(scenario: Scenario, operators: Sequence[Operator]) -> tuple[float, ...]:
    """Of each operator the share that is repeated (0..1): of what is not kept, all that another operator reads."""
    shares = []
    for op, kept_share in zip(operators, compute_kept_shares(scenario, operators), strict=True):
        if isinstance(op, Pointwise):
            shares.append(get_operator_cost(op).compute_selective_share(scenario, op))
        elif isinstance(op, Linear | ExpertLinear | AttentionCore | Convolution):
            shares.append(1.0 - kept_share)
        else:
            shares.append(0.0)
    return tuple(shares)


def compute_kept_output_bytes(scenario: Scenario, layer: Layer, shard: LayerShard) -> Floats:
    """Bytes of outputs that are kept of a layer, [keys].

    A multiply that is cut by rows makes a sum of every token, of which reduce-scatter leaves a part: both are kept.
    A compiled layer keeps of them what its backward pass reads: the sums are not, nor anything of the layer's last
    multiply, which is only added to the residual stream (torch 2.13, functorch/_functorch/partitioners.py,
    `min_cut_rematerialization_partition`).
    """
    kept_bytes = np.zeros_like(shard.tokens)
    is_sequence_parallel = shard.sequence_divisor > 1
    is_partitioned = scenario.partitions_layers and not layer.topk
    last = max((index for index, op in enumerate(layer.operators) if isinstance(op, Linear)), default=-1)
    shares = compute_kept_shares(scenario, layer.operators)
    keeps_absolute_values = (
        scenario.trainer.keeps_absolute_values and scenario.precision == "fp8" and scenario.launch_mode == "eager"
    )
    for index, (op, share) in enumerate(zip(layer.operators, shares, strict=True)):
        if is_partitioned and index == last:
            continue
        if isinstance(op, Linear) and keeps_absolute_values and not op.full_precision:
            kept_bytes = kept_bytes + op.parts * _compute_operand_bytes(scenario, op, shard)
        output_bytes = get_operator_cost(op).compute_output_bytes(scenario, op, shard)
        if isinstance(op, AttentionCore):
            kept_bytes = kept_bytes + get_operator_cost(op).compute_kept_output_bytes(scenario, op, shard)
        elif isinstance(op, Linear) and op.shard == "row":
            scattered_bytes = np.where(is_sequence_parallel, output_bytes, 0.0)
            sum_bytes = share * output_bytes * shard.sequence_divisor
            if is_partitioned:
                sum_bytes = np.where(is_sequence_parallel, 0.0, sum_bytes)
            kept_bytes = kept_bytes + sum_bytes + scattered_bytes
        elif isinstance(op, Pointwise) and op.kind == "routing":
            kept_bytes = kept_bytes + np.where(shard.ep > 1, output_bytes, 0.0)
        else:
            kept_bytes = kept_bytes + share * output_bytes
    return kept_bytes


def _compute_operand_bytes(scenario: Scenario, op: Linear, shard: LayerShard) -> Floats:
    """16-bit input and weights of one of the multiplies that an operator is, [keys]."""
    inputs = op.rows * shard.tokens * op.inputs / np.where(op.shard == "row", shard.tp, 1.0)
    return scenario.value_bytes * (inputs + op.weights / op.parts / np.where(op.shard == "none", 1.0, shard.tp))
