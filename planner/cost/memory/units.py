"""What sharded data parallelism gathers and reduces at once, and values by moment of a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.memory.moments import MEMORY_MOMENTS
from planner.cost.pipeline.stages import StageParameters


@dataclass(frozen=True)
class Units:
    """Parameters of what is gathered and reduced at once, on a device of each stage, [plans, stages]."""

    layer: Floats
    """The largest layer."""
    embedding: Floats
    head: Floats


def get_units(parameters: StageParameters) -> Units:
    """The units of each stage."""
    layer = (parameters.largest_dense + parameters.largest_expert)[:, None] + np.zeros_like(parameters.dense)
    return Units(layer, parameters.embedding, parameters.head)


def stack_moments(values: Mapping[str, Floats], like: Floats) -> Floats:
    """Values of shape [plans, stages] by moment as one array [plans, moments, stages]; zero at other moments."""
    zero = np.zeros_like(like)
    return np.stack([values.get(moment, zero) for moment in MEMORY_MOMENTS], axis=1)
