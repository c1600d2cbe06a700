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
    for op in operators:
        is_fused_attention = isinstance(op, AttentionCore) and scenario.attention_kernel == "flash"
        share = 1.0 if isinstance(op, Convolution) or is_fused_attention else 0.0
        if isinstance(op, Linear) and op.bias:
            share = 1.0
        elif isinstance(op, Linear) and not op.full_precision:
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
    """
    kept_bytes = np.zeros_like(shard.tokens)
    is_sequence_parallel = shard.sequence_divisor > 1
    for op, share in zip(layer.operators, compute_kept_shares(scenario, layer.operators), strict=True):
        output_bytes = get_operator_cost(op).compute_output_bytes(scenario, op, shard)
        if isinstance(op, AttentionCore):
            kept_bytes = kept_bytes + get_operator_cost(op).compute_kept_output_bytes(scenario, op, shard)
        elif isinstance(op, Linear) and op.shard == "row":
            scattered_bytes = np.where(is_sequence_parallel, output_bytes, 0.0)
            kept_bytes = kept_bytes + share * output_bytes * shard.sequence_divisor + scattered_bytes
        elif isinstance(op, Pointwise) and op.kind == "routing":
            kept_bytes = kept_bytes + np.where(shard.ep > 1, output_bytes, 0.0)
        else:
            kept_bytes = kept_bytes + share * output_bytes
    return kept_bytes
