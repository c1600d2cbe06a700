"""Tables that time and memory share: of layers, stages and parameters, and each plan's rows in them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.cost.arrays import Ints
from planner.cost.layer_tables import LayerTables, build_layer_tables
from planner.cost.pipeline.parameters import StageParameters, compute_stage_parameters
from planner.cost.pipeline.partition import StageTables, build_all_stage_tables, build_stage_tables
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies


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
    tables, layer_row = build_layer_tables(scenario, s)
    stages, stage_rows = build_stage_tables(scenario.workload, s)
    return PlanTables(
        tables, layer_row, stages, stage_rows, compute_stage_parameters(scenario, s, stages, stage_rows)
    )


def build_all_stage_plan_tables(scenario: Scenario, s: Strategies) -> PlanTables:
    """The same for a single plan, with every stage listed, equal ones too."""
    tables, layer_row = build_layer_tables(scenario, s)
    stages, stage_rows = build_all_stage_tables(scenario.workload, s)
    return PlanTables(
        tables, layer_row, stages, stage_rows, compute_stage_parameters(scenario, s, stages, stage_rows)
    )
