"""Plans with what they are sorted by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.strategies import STRATEGY_FIELDS, Strategies, join_strategies

DEGREE_FIELDS = ("tp", "pp", "cp", "dp", "ep")


@dataclass(frozen=True)
class RankedPlans:
    """Plans with their sort keys: figures of merit, memory, index in the enumeration; arrays of [plans].

    `figures` has shape [plans, objectives]; `scenario_index`: the scenario of each plan.
    """

    strategies: Strategies
    scenario_index: Ints
    figures: Floats
    total_bytes: Floats
    enumeration_index: Ints

    def __len__(self) -> int:
        return len(self.enumeration_index)

    def take(self, index: Ints) -> RankedPlans:
        """The plans at `index`."""
        return RankedPlans(
            self.strategies.take(index),
            self.scenario_index[index],
            self.figures[index],
            self.total_bytes[index],
            self.enumeration_index[index],
        )

    def sort_by_figure(self) -> RankedPlans:
        """Sort by the first figure, then memory, then index in the enumeration."""
        return self.take(np.lexsort((self.enumeration_index, self.total_bytes, self.figures[:, 0])))

    def drop_duplicates(self) -> RankedPlans:
        """Drop plans with the same degrees and figures as an earlier plan: a setting had no effect on them."""
        if len(self) < 2:
            return self
        rows = [*(getattr(self.strategies, name) for name in STRATEGY_FIELDS), *self.figures.T, self.total_bytes]
        return self.take(np.sort(find_first_of_distinct(np.stack(rows, axis=1))))

    def concatenate(self, addition: RankedPlans) -> RankedPlans:
        """Both sets of plans together, unsorted."""
        return RankedPlans(
            join_strategies([self.strategies, addition.strategies]),
            np.concatenate([self.scenario_index, addition.scenario_index]),
            np.concatenate([self.figures, addition.figures]),
            np.concatenate([self.total_bytes, addition.total_bytes]),
            np.concatenate([self.enumeration_index, addition.enumeration_index]),
        )


def stack_degrees(strategies: Strategies) -> Ints:
    """The degrees of each plan, shape [plans, degrees]."""
    return np.stack([getattr(strategies, name) for name in DEGREE_FIELDS], axis=1)


def find_first_of_distinct(rows: Ints | Floats) -> Ints:
    """The first position of each distinct row."""
    _, first_positions = np.unique(rows, axis=0, return_index=True)
    return first_positions
