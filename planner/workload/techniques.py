"""Techniques that save time or memory, as the cost model reads them: adapters, pruning, factorisation, distillation,
optimizers.

The functions of time and memory read these values; `cost/techniques` makes and describes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OptimizerName = Literal["adamw", "adam8bit", "lamb", "sgd", "adafactor", "muon"]
PruningPattern = Literal["2:4", "unstructured"]
LoraModules = Literal["all", "attention"]


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters on frozen matrices (Hu et al. 2021, arXiv 2106.09685).

    `bits` of a frozen value: 16, 8, or 4 (Dettmers et al. 2023, arXiv 2305.14314). `adapter_share`: parameters of all
    adapters for each parameter of the model; `frozen_bytes`: bytes of each of the latter. `modules`: which matrices
    have adapters, all of the layers or those of attention; `dropout`: whether their input passes through dropout.
    """

    rank: int
    bits: int
    adapter_share: float
    frozen_bytes: float
    modules: LoraModules = "all"
    dropout: bool = False


@dataclass(frozen=True)
class Pruning:
    """Weights that stay zero: two of each four, or a share at any position.

    `pruned_share`: share of the model's parameters in pruned matrices; `extra_bytes`: bytes per parameter of these in
    addition to the weight; `speedup`: factor by which their multiplies are faster.
    """

    pattern: PruningPattern
    sparsity: float
    pruned_share: float
    extra_bytes: float
    speedup: float


@dataclass(frozen=True)
class LowRank:
    """Matrices of the layers as products of two thinner matrices with this share of the rank; and the parameters
    before the factorisation.
    """

    rank_share: float
    parameters_before: int


@dataclass(frozen=True)
class Teacher:
    """The teacher of a distillation, whose forward pass runs over the same tokens. Its weights are in 16 bit, sharded
    over tensor- and pipeline-parallel ranks only, so that every replica has a copy.
    """

    name: str
    parameters: int
    forward_flops_per_token: float
    """Forward FLOPs per token of the student."""


@dataclass(frozen=True)
class Techniques:
    """The techniques of a scenario; `optimizer` None: the framework's Adam.

    `optimizer_flops`: FLOPs of the update of a parameter.
    """

    lora: Lora | None = None
    pruning: Pruning | None = None
    low_rank: LowRank | None = None
    teacher: Teacher | None = None
    optimizer: OptimizerName | None = None
    optimizer_flops: float = 0.0


DEFAULT_TECHNIQUES = Techniques()
WEIGHT_16BIT_BYTES = 2.0
