"""What every class of operator answers: time of both passes, FLOPs, saved and dropped bytes, launches.

One subclass a file in this folder; `table.py` has them by the class of the operator. What a class does not define is
as here.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.operators.roofline import LayerShard, PassTimes
from planner.cost.scenario import FlopsConvention, Scenario

OperatorT = TypeVar("OperatorT")


class OperatorCost(Generic[OperatorT]):
    """Costs of one class of operator on one device for one micro-batch, arrays of shape [keys].

    Activations: Korthikanti et al. 2022 (arXiv 2205.05198), section 4.1, operator by operator.
    """

    def compute_times(self, scenario: Scenario, op: OperatorT, shard: LayerShard) -> PassTimes:
        """Seconds of the forward and the backward pass, without techniques."""
        raise NotImplementedError

    def compute_saved_bytes(self, scenario: Scenario, op: OperatorT, shard: LayerShard) -> Floats:
        """Bytes kept for the backward pass without recomputation."""
        return np.zeros_like(shard.tokens)

    def compute_dropped_bytes(self, scenario: Scenario, op: OperatorT, shard: LayerShard) -> Floats:
        """Bytes that selective recomputation does not keep, of this operator or of the multiply after it."""
        return np.zeros_like(shard.tokens)

    def compute_kept_output_bytes(self, scenario: Scenario, op: OperatorT, shard: LayerShard) -> Floats:
        """Bytes of its output that are kept where selective recomputation repeats every second multiply."""
        return np.zeros_like(shard.tokens)

    def compute_selective_share(self, scenario: Scenario, op: OperatorT) -> float:
        """Share of the operator that selective recomputation repeats."""
        return 0.0

    def count_launches(self, op: OperatorT, shard: LayerShard, casts: float) -> Floats | float:
        """Kernels that the host launches in one forward pass; `casts`: kernels that cast a multiply's input."""
        return 1.0

    def count_multiplies(self, op: OperatorT, shard: LayerShard) -> Floats | float:
        """Matrices of the operator on a device."""
        return 1.0

    def compute_forward_flops(self, op: OperatorT, seq_length: int, convention: FlopsConvention) -> float:
        """FLOPs of one token's forward pass in the whole model; memory-bound operators count for none."""
        return 0.0

    def runs_in_layer_precision(self, op: OperatorT) -> bool:
        """Whether it multiplies in the precision of the layers, which may be 8 or 4 bit."""
        return False
