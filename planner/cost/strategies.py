"""The candidates as a struct of equally long arrays; one plan is an array of length one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import get_args

import numpy as np

from planner.cost.arrays import Bools, Ints
from planner.cost.settings import RecomputeMode

RECOMPUTE_MODES = get_args(RecomputeMode)
"""Names of the recompute codes 0, 1, 2."""
SELECTIVE_RECOMPUTE, FULL_RECOMPUTE = 1, 2


@dataclass(frozen=True)
class Strategies:
    """How the work is split, one entry a plan, every array of shape [plans].

    `dp` is the whole data-parallel width; experts are spread over `ep` ranks and each is cut over `etp` (1 or tp)
    of the tp x cp x dp ranks of a stage. `recompute` has the index into `RECOMPUTE_MODES`, `sequence_parallel` 0 or
    1. tp x pp x cp x dp is the number of devices.
    """

    tp: Ints
    pp: Ints
    dp: Ints
    cp: Ints
    ep: Ints
    etp: Ints
    vpp: Ints
    micro_batch: Ints
    zero_stage: Ints
    recompute: Ints
    sequence_parallel: Ints

    def __len__(self) -> int:
        return len(self.tp)

    @property
    def expert_ranks(self) -> Ints:
        """How many ranks hold the same experts, shape [plans]."""
        return self.tp * self.cp * self.dp // (self.ep * self.etp)

    def take(self, index: Ints | Bools) -> Strategies:
        """The plans at `index` (positions or a mask)."""
        return Strategies(**{name: getattr(self, name)[index] for name in STRATEGY_FIELDS})

    def get_row(self, index: int) -> dict[str, int]:
        """One plan as plain numbers."""
        return {name: int(getattr(self, name)[index]) for name in STRATEGY_FIELDS}


STRATEGY_FIELDS = tuple(field.name for field in fields(Strategies))


def build_strategy(**values: int) -> Strategies:
    """A single plan as arrays of length one; what is not named is 1 (codes: 0)."""
    codes = ("zero_stage", "recompute", "sequence_parallel")
    defaults = {name: 0 if name in codes else 1 for name in STRATEGY_FIELDS}
    return Strategies(**{name: np.array([value]) for name, value in {**defaults, **values}.items()})


def join_strategies(parts: list[Strategies]) -> Strategies:
    """All plans of `parts`, in order."""
    return Strategies(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in STRATEGY_FIELDS})
