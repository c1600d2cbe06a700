"""What every class of operator answers: time of both passes, FLOPs, saved and dropped bytes, launches.

The classes are in the files of this folder, `get_operator_cost` has them by the class of the operator. What a class
does not define is as here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.scenario import Scenario
from planner.cost.settings import FlopsConvention
from planner.workload.operators import Operator

OperatorT = TypeVar("OperatorT")


@dataclass(frozen=True)
class LayerShard:
    """What one device has of a layer: `tokens` of one micro-batch, and the degrees that cut the operators, [keys]."""

    tokens: Floats
    tp: Floats
    ep: Floats
    etp: Floats
    sequence_divisor: Floats
    """What divides the tokens of norms: tp under sequence parallelism, else one."""
    routed_tokens: Floats
    """As many tokens as go to the experts of the fullest rank, of which each is routed to `topk` experts."""


@dataclass(frozen=True)
class PassTimes:
    """Seconds of the forward and of the backward pass, [keys]; of the latter `weight_grad_s` makes the gradients of
    weights.
    """

    forward_s: Floats
    backward_s: Floats
    weight_grad_s: Floats

    def __add__(self, other: PassTimes) -> PassTimes:
        return PassTimes(
            self.forward_s + other.forward_s,
            self.backward_s + other.backward_s,
            self.weight_grad_s + other.weight_grad_s,
        )

    @property
    def total_s(self) -> Floats:
        """Both passes, [keys]."""
        return self.forward_s + self.backward_s


def build_weightless_times(forward_s: Floats, backward_s: Floats) -> PassTimes:
    """Passes of an operator without weights to speak of."""
    return PassTimes(forward_s, backward_s, np.zeros_like(forward_s))


class OperatorCost(Generic[OperatorT]):
    """Costs of one class of operator on one device for one micro-batch, arrays of shape [keys].

    Activations: Korthikanti et al. 2022 (arXiv 2205.05198), section 4.1, operator by operator.
    """

    has_weights = False
    """Whether it multiplies by weights that need gradients, or are frozen."""
    is_memory_bound = False
    """Whether it multiplies nothing."""
    is_attention = False
    """Whether it is attention, beside which context-parallel communication runs."""

    def compute_times(self, scenario: Scenario, op: OperatorT, shard: LayerShard) -> PassTimes:
        """Seconds of the forward and the backward pass, without techniques."""
        raise NotImplementedError

    def compute_saved_bytes(self, scenario: Scenario, op: OperatorT, shard: LayerShard) -> Floats:
        """Bytes kept for the backward pass without recomputation."""
        return np.zeros_like(shard.tokens)

    def compute_dropped_bytes(self, scenario: Scenario, op: OperatorT, shard: LayerShard) -> Floats:
        """Bytes that selective recomputation does not keep, of this operator or of the multiply after it."""
        return np.zeros_like(shard.tokens)

    def compute_output_bytes(self, scenario: Scenario, op: OperatorT, shard: LayerShard) -> Floats:
        """Bytes of its output."""
        return np.zeros_like(shard.tokens)

    def compute_kept_output_bytes(self, scenario: Scenario, op: OperatorT, shard: LayerShard) -> Floats:
        """Bytes of its output, with what its backward pass needs beside it."""
        return self.compute_output_bytes(scenario, op, shard)

    def compute_selective_share(self, scenario: Scenario, op: OperatorT) -> float:
        """Share of the operator that selective recomputation repeats."""
        return 0.0

    def compute_overlapped_bytes(self, scenario: Scenario, op: OperatorT, shard: LayerShard) -> Floats | None:
        """The least memory traffic of both passes where the time takes it as overlapped; else None."""
        return None

    def count_launches(self, op: OperatorT, shard: LayerShard, casts: float) -> Floats | float:
        """Kernels that the host launches in one forward pass; `casts`: kernels that cast a multiply's input."""
        return 1.0

    def compute_forward_flops(self, op: OperatorT, seq_length: int, convention: FlopsConvention) -> float:
        """FLOPs of one token's forward pass in the whole model; memory-bound operators count for none."""
        return 0.0

    def runs_in_layer_precision(self, op: OperatorT) -> bool:
        """Whether it multiplies in the precision of the layers, which may be 8 or 4 bit."""
        return False

    def is_tensor_parallel_multiply(self, op: OperatorT) -> bool:
        """Whether tensor parallelism cuts it, and its collective may run beside it."""
        return False

    def count_matrices(self, op: OperatorT, shard: LayerShard) -> Floats | float:
        """Matrices on a device."""
        return 1.0

    def count_weights(self, op: OperatorT, shard: LayerShard) -> Floats:
        """Values of all its matrices on a device."""
        raise NotImplementedError

    def compute_lora_flops(self, op: OperatorT, rank: int) -> float:
        """FLOPs of a token that adapters of `rank` add, less those of the gradients of frozen weights."""
        return 0.0

    def build_adapters(self, op: OperatorT, rank: int) -> tuple[Operator, Operator]:
        """Both thin multiplies of its adapter (LoRA, arXiv 2106.09685): down to its rank, and up again."""
        raise NotImplementedError
