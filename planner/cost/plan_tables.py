"""What time and memory both need of some plans: the tables of layers and stages, and each plan's rows in them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.cost.arrays import Ints
from planner.cost.layer_tables import LayerTables, layer_tables
from planner.cost.parameters import Parameters, stage_parameters
from planner.cost.pipeline.partition import Stages, every_stage, stage_tables
from planner.cost.scenario import Training
from planner.cost.strategies import Strategies


@dataclass(frozen=True)
class Prepared:
    """`layer_row` and `split`, shape [plans]: each plan's row in `tables`, and in `stages`."""

    tables: LayerTables
    layer_row: Ints
    stages: Stages
    split: Ints
    parameters: Parameters

    def take(self, index: Ints) -> Prepared:
        """Of the plans at `index`, whatever their ZeRO stage and recompute mode."""
        return replace(
            self,
            layer_row=self.layer_row[index],
            split=self.split[index],
            parameters=self.parameters.take(index),
        )


def prepare(training: Training, s: Strategies) -> Prepared:
    """Tables of layers and stages for these plans."""
    tables, layer_row = layer_tables(training, s)
    stages, split = stage_tables(training.workload, s)
    return Prepared(tables, layer_row, stages, split, stage_parameters(training, s, stages, split))


def prepare_every_stage(training: Training, s: Strategies) -> Prepared:
    """The same for a single plan, with all its stages told, equal ones too."""
    tables, layer_row = layer_tables(training, s)
    stages, split = every_stage(training.workload, s)
    return Prepared(tables, layer_row, stages, split, stage_parameters(training, s, stages, split))
