"""Ways to train for less, as part of a question: what of the model is trained, and what its state takes.

Only what the functions of time and memory read is here; `techniques.py` makes these values and tells them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    pass


OptimizerName = Literal["adamw", "adam8bit", "lamb", "sgd", "adafactor", "muon"]


PruningPattern = Literal["2:4", "unstructured"]


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters beside frozen matrices (Hu et al. 2021, arXiv 2106.09685).

    `bits` of a frozen value: 16, or 4 (Dettmers et al. 2023, arXiv 2305.14314). `rank_share`: parameters of all
    adapters for each parameter of the model; `frozen_bytes` that one of those takes.
    """

    rank: int
    bits: int
    adapter_share: float
    frozen_bytes: float


@dataclass(frozen=True)
class Pruning:
    """Weights that stay zero: two of each four, or a share wherever they are.

    `rank_share` of the model's parameters that are in pruned matrices; `extra_bytes`: what a parameter of these takes
    beside the weight itself; `speedup`: how many times as fast their multiplies are.
    """

    pattern: PruningPattern
    sparsity: float
    pruned_share: float
    extra_bytes: float
    speedup: float


@dataclass(frozen=True)
class LowRank:
    """Matrices of the layers as products of two thinner ones of this share of their rank; parameters before it."""

    rank_share: float
    parameters_before: int


@dataclass(frozen=True)
class Teacher:
    """A model whose forward pass over the same tokens is learnt from. Its weights are in 16 bit, cut over tensor-
    and pipeline-parallel ranks alone: every replica has them.
    """

    name: str
    parameters: int
    forward_flops_per_token: float
    """Of one token of the student's."""


@dataclass(frozen=True)
class Techniques:
    """What a question is trained with beside the usual; `optimizer` None: the framework's Adam.

    `optimizer_flops`: arithmetic of one update of one parameter that is no memory traffic.
    """

    lora: Lora | None = None
    pruning: Pruning | None = None
    low_rank: LowRank | None = None
    teacher: Teacher | None = None
    optimizer: OptimizerName | None = None
    optimizer_flops: float = 0.0


DEFAULT_TECHNIQUES = Techniques()


WEIGHT_16BIT_BYTES = 2.0
"""Bytes."""
