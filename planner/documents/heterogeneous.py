"""The mixed document: what `plan` answers for a cluster of two kinds of accelerators, in the form that is printed as
JSON. Field order is output order; `planner schema mixed` prints the schema that follows from these types.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from planner.documents.plan import MemoryPart, ModelPart, SettingsPart, StrategyPart, TrainingPart
from planner.documents.schema import (
    Amount,
    Count,
    Part,
    Positive,
    Whole,
    closed_schema,
)

SCHEMA_VERSION: Literal["1.1"] = "1.1"

HeteroPlanType = Literal["shares", "stages", "even", "only"]
"""Uneven data-parallel shares, uneven pipeline stages, all devices as if they were alike, one pool alone."""


class HeteroPoolPart(Part, frozen=True, kw_only=True):
    """One kind of node, and how many."""

    name: str
    accelerator: str
    nodes: Count
    devices_per_node: Count
    devices: Count


class HeteroClusterPart(Part, frozen=True, kw_only=True):
    """The cluster as it was understood."""

    name: str
    title: str
    devices: Count
    pools: Annotated[list[HeteroPoolPart], msgspec.Meta(min_length=2, max_length=2)]
    note: str
    """What was chosen on the user's behalf; empty where nothing was."""


class PoolPlanPart(Part, frozen=True, kw_only=True):
    """What one pool does in a way.

    `replicas` that lie within the pool, or pipelines that pass through it; each does `micro_batches` in a step. The
    pool has `stages` of each pipeline with `layers` each. It waits `wait_s` of a step for the other kind.
    """

    pool: str
    replicas: Count
    stages: Count
    layers: list[Whole]
    micro_batches: Count
    sequences: Count
    """Of all its replicas in a step; of pipelines through both kinds, the whole batch."""
    strategy: StrategyPart
    wait_s: Amount
    memory: MemoryPart


class HeteroPlanPart(Part, frozen=True, kw_only=True):
    """The best plan of one way to use the cluster. `terms` add up to `step_time_s`; `hidden` runs beside them.

    Where replicas of two kinds run side by side the terms are those of the slower; of pipelines, the slowest stage's
    until the last micro-batch, then the slower kind's.
    """

    way: HeteroPlanType
    split: str
    """In a few words."""
    settings: SettingsPart
    step_time_s: Positive
    terms: dict[str, Amount]
    hidden: dict[str, Amount]
    tokens_per_s: Positive
    tokens_per_s_per_device: Positive
    """Of the devices that are used."""
    samples_per_s: Positive
    """Sequences, images, or whatever a batch counts."""
    samples_per_s_per_device: Positive
    mfu: Positive
    kinds: Annotated[list[PoolPlanPart], msgspec.Meta(min_length=1, max_length=2)]
    """Of the pools that are used, in the cluster's order; of pipelines, in the order of the stages."""


class PoolRemovalPart(Part, frozen=True, kw_only=True):
    """Whether it would be faster without a pool. Seconds are null where nothing fits."""

    pool: str
    nodes: Count
    step_time_s: Positive | None
    keep: bool


class HeteroAdvicePart(Part, frozen=True, kw_only=True):
    """What follows: for each pool whether to keep it, and what balancing the two kinds is worth."""

    without: Annotated[list[PoolRemovalPart], msgspec.Meta(min_length=2, max_length=2)]
    balanced_step_time_s: Positive | None
    """The best with both kinds; null where nothing fits on both together."""
    even_step_time_s: Positive | None
    sentences: list[str]


class HeteroRunPart(Part, frozen=True, kw_only=True):
    """A whole run of so many tokens with the fastest way, without failures."""

    tokens: Count
    steps: Count
    days: Positive


class HeterogeneousDocument(Part, frozen=True, kw_only=True):
    """The answer to one question. The fastest way is first; `left_out` are those in which nothing fits."""

    schema_version: Literal["1.1"]
    model: ModelPart
    cluster: HeteroClusterPart
    training: TrainingPart
    exact: Literal[True]
    """Shares: over the whole declared space. Stages: over all dealings of layers, by the slowest stage."""
    ways: Annotated[list[HeteroPlanPart], msgspec.Meta(min_length=1)]
    left_out: list[str]
    answer: HeteroAdvicePart
    run: HeteroRunPart | None


def build_json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the mixed document."""
    return closed_schema(HeterogeneousDocument, f"planner mixed document {SCHEMA_VERSION}")
