"""The mixed document: what `plan` answers for a cluster of two kinds of accelerators, in the form that is printed as
JSON. Field order is output order; `planner schema mixed` prints the schema that follows from these types.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from planner.documents.plan import MemoryBreakdownPart, ModelPart, ScenarioPart, SettingsPart, StrategyPart
from planner.documents.schema import (
    DocumentPart,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    build_closed_schema,
)

SCHEMA_VERSION: Literal["1.1"] = "1.1"

HeteroPlanType = Literal["shares", "stages", "even", "only"]
"""Uneven data-parallel shares, uneven pipeline stages, all devices as if they were alike, one pool alone."""


class HeteroPoolPart(DocumentPart, frozen=True, kw_only=True):
    """One kind of node, and how many."""

    name: str
    accelerator: str
    nodes: PositiveInt
    devices_per_node: PositiveInt
    devices: PositiveInt


class HeteroClusterPart(DocumentPart, frozen=True, kw_only=True):
    """The cluster as it was understood."""

    name: str
    title: str
    devices: PositiveInt
    pools: Annotated[list[HeteroPoolPart], msgspec.Meta(min_length=2, max_length=2)]
    note: str
    """What was chosen on the user's behalf; empty where nothing was."""


class PoolPlanPart(DocumentPart, frozen=True, kw_only=True):
    """What one pool does in a way.

    `replicas` that lie within the pool, or pipelines that pass through it; each does `micro_batches` in a step. The
    pool has `stages` of each pipeline with `layers` each. It waits `wait_s` of a step for the other kind.
    """

    pool: str
    replicas: PositiveInt
    stages: PositiveInt
    layers: list[NonNegativeInt]
    micro_batches: PositiveInt
    sequences: PositiveInt
    """Of all its replicas in a step; of pipelines through both kinds, the whole batch."""
    strategy: StrategyPart
    wait_s: NonNegativeFloat
    memory: MemoryBreakdownPart


class HeteroPlanPart(DocumentPart, frozen=True, kw_only=True):
    """The best plan of one way to use the cluster. `terms` add up to `step_time_s`; `hidden` runs beside them.

    Where replicas of two kinds run side by side the terms are those of the slower; of pipelines, the slowest stage's
    until the last micro-batch, then the slower kind's.
    """

    way: HeteroPlanType
    split: str
    """In a few words."""
    settings: SettingsPart
    step_time_s: PositiveFloat
    terms: dict[str, NonNegativeFloat]
    hidden: dict[str, NonNegativeFloat]
    tokens_per_s: PositiveFloat
    tokens_per_s_per_device: PositiveFloat
    """Of the devices that are used."""
    samples_per_s: PositiveFloat
    """Sequences, images, or whatever a batch counts."""
    samples_per_s_per_device: PositiveFloat
    mfu: PositiveFloat
    kinds: Annotated[list[PoolPlanPart], msgspec.Meta(min_length=1, max_length=2)]
    """Of the pools that are used, in the cluster's order; of pipelines, in the order of the stages."""


class PoolRemovalPart(DocumentPart, frozen=True, kw_only=True):
    """Whether it would be faster without a pool. Seconds are null where nothing fits."""

    pool: str
    nodes: PositiveInt
    step_time_s: PositiveFloat | None
    keep: bool


class HeteroAdvicePart(DocumentPart, frozen=True, kw_only=True):
    """What follows: for each pool whether to keep it, and what balancing the two kinds is worth."""

    without: Annotated[list[PoolRemovalPart], msgspec.Meta(min_length=2, max_length=2)]
    balanced_step_time_s: PositiveFloat | None
    """The best with both kinds; null where nothing fits on both together."""
    even_step_time_s: PositiveFloat | None
    sentences: list[str]


class HeteroRunPart(DocumentPart, frozen=True, kw_only=True):
    """A whole run of so many tokens with the fastest way, without failures."""

    tokens: PositiveInt
    steps: PositiveInt
    days: PositiveFloat


class HeterogeneousDocument(DocumentPart, frozen=True, kw_only=True):
    """The answer to one question. The fastest way is first; `left_out` are those in which nothing fits."""

    schema_version: Literal["1.1"]
    model: ModelPart
    cluster: HeteroClusterPart
    training: ScenarioPart
    exact: Literal[True]
    """Shares: over the whole declared space. Stages: over all dealings of layers, by the slowest stage."""
    ways: Annotated[list[HeteroPlanPart], msgspec.Meta(min_length=1)]
    left_out: list[str]
    answer: HeteroAdvicePart
    run: HeteroRunPart | None


def build_json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the mixed document."""
    return build_closed_schema(HeterogeneousDocument, f"planner mixed document {SCHEMA_VERSION}")
