"""What model state and activations are counted by: moments of a step, units of sharding, micro-batches in flight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Bools, Floats, Ints
from planner.cost.memory.moments import MEMORY_MOMENTS
from planner.cost.pipeline.stages import StageParameters


@dataclass(frozen=True)
class Progress:
    """How far the micro-batches of a step are when most of them are in flight."""

    micro_batches: Ints
    """Of a step on each rank, [plans]."""
    in_flight: Floats
    """Most of them in flight on each stage, [plans, stages]."""

    @property
    def accumulates(self) -> Bools:
        """Whether a stage has gradients of earlier micro-batches then, [plans, stages]."""
        return self.micro_batches[:, None] > np.ceil(self.in_flight)

    def take(self, index: Ints) -> Progress:
        """Of the plans at `index`."""
        return Progress(self.micro_batches[index], self.in_flight[index])


@dataclass(frozen=True)
class Units:
    """Parameters of what is gathered and reduced at once, on a device of each stage, [plans, stages]."""

    layer: Floats
    """The largest layer."""
    reduced: Floats
    """Of it what is reduced at once: experts on other ranks than the rest are reduced apart."""
    embedding: Floats
    head: Floats
    whole: Floats
    """All of the stage."""


def get_units(parameters: StageParameters, has_expert_mesh: Bools | None = None) -> Units:
    """The units of each stage; the largest layer stands for all. `has_expert_mesh` [plans]: whether experts are on
    other ranks than the rest of a layer; None: nowhere.
    """
    zero = np.zeros_like(parameters.dense)
    layer = (parameters.largest_dense + parameters.largest_expert)[:, None] + zero
    reduced = layer
    if has_expert_mesh is not None:
        apart = np.maximum(parameters.largest_dense, parameters.largest_expert)[:, None] + zero
        reduced = np.where(has_expert_mesh[:, None], apart, layer)
    return Units(layer, reduced, parameters.embedding, parameters.head, parameters.dense + parameters.expert)


def stack_moments(values: Mapping[str, Floats], like: Floats) -> Floats:
    """Values of shape [plans, stages] by moment as one array [plans, moments, stages]; zero at other moments."""
    zero = np.zeros_like(like)
    return np.stack([values.get(moment, zero) for moment in MEMORY_MOMENTS], axis=1)
