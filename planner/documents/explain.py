"""The explain document: why a plan's step is as long as it is. Field order is output order."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from planner.documents.plan import (
    ClusterPart,
    MemoryBreakdownPart,
    ModelPart,
    ScenarioPart,
    SettingsPart,
    StrategyPart,
)
from planner.documents.schema import (
    DocumentPart,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    build_closed_schema,
)

SCHEMA_VERSION: Literal["1.0"] = "1.0"


class WaterfallPart(DocumentPart, frozen=True, kw_only=True):
    """One part of the step; all of them add up to it."""

    name: str
    title: str
    seconds: float
    """Below zero where it saves time: half of the attention under a causal mask."""
    share: float
    """Of the step."""


class StagePart(DocumentPart, frozen=True, kw_only=True):
    """One pipeline stage: its layers, one micro-batch's time on it, the bytes on one of its devices."""

    stage: NonNegativeInt
    layers: NonNegativeInt
    forward_s: NonNegativeFloat
    backward_s: NonNegativeFloat
    """Exposed exchanges included; recomputation with the backward pass."""
    micro_batches_in_flight: NonNegativeFloat
    memory: MemoryBreakdownPart


class OperatorPart(DocumentPart, frozen=True, kw_only=True):
    """Forward and backward pass of one operator of one layer, for one micro-batch on one device."""

    layer: str
    name: str
    layers: PositiveInt
    """Of the model that have it."""
    flops: NonNegativeFloat
    traffic_bytes: NonNegativeFloat
    flops_per_byte: NonNegativeFloat | None
    """Null where nothing moves."""
    seconds: PositiveFloat
    flops_per_s: NonNegativeFloat
    peak_flops_per_s: PositiveFloat
    peak_share: NonNegativeFloat
    bound: Literal["compute", "memory", "launch"]
    traffic_hidden: bool
    """The traffic is the least that a fused kernel moves, and takes no time of its own."""


class RooflinePart(DocumentPart, frozen=True, kw_only=True):
    """The device's two ceilings, as rated."""

    peak_flops_per_s: PositiveFloat
    memory_bandwidth_bytes_per_s: PositiveFloat
    ridge_flops_per_byte: PositiveFloat
    """Intensity at which both ceilings meet."""
    operators: Annotated[list[OperatorPart], msgspec.Meta(min_length=1)]


class SchedulePart(DocumentPart, frozen=True, kw_only=True):
    """The pipeline's schedule played slot by slot, beside the cost model's equations."""

    micro_batches: PositiveInt
    step_time_s: PositiveFloat
    """With the slots' makespan in place of the equations' pipeline terms."""
    difference: float
    """Of it to the step's time, as a share of that."""


class ExplainDocument(DocumentPart, frozen=True, kw_only=True):
    """Why one plan's step takes so long."""

    schema_version: Literal["1.0"]
    model: ModelPart
    cluster: ClusterPart
    training: ScenarioPart
    plan: PositiveInt
    """Its number in the plan document."""
    strategy: StrategyPart
    settings: SettingsPart
    step_time_s: PositiveFloat
    mfu: PositiveFloat
    waterfall: Annotated[list[WaterfallPart], msgspec.Meta(min_length=1)]
    hidden: dict[str, NonNegativeFloat]
    """Beside compute, in no part of the waterfall."""
    stages: Annotated[list[StagePart], msgspec.Meta(min_length=1)]
    roofline: RooflinePart
    schedule: SchedulePart
    bottleneck: str


def build_json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the explain document: every key is named, no other is allowed."""
    return build_closed_schema(ExplainDocument, f"planner explain document {SCHEMA_VERSION}")
