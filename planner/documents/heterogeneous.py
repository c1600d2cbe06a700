"""The heterogeneous document: what `plan` prints as JSON for a cluster of two pools of nodes.

Field order is output order; `planner schema mixed` prints the schema of these types.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

import msgspec

from planner.documents.figures import declare_columns, declare_figure
from planner.documents.plan import (
    DeviceSampleRate,
    DeviceSampleRateP10,
    DeviceSampleRateP90,
    DeviceTokenRate,
    DeviceTokenRateP10,
    DeviceTokenRateP90,
    MemoryBreakdownPart,
    Mfu,
    MfuOfBf16,
    ModelPart,
    OverlappedTimes,
    RunLengthPart,
    SampleRate,
    SampleRateP10,
    SampleRateP90,
    ScenarioPart,
    SettingsPart,
    StepTerms,
    StepTime,
    StepTimeP10,
    StepTimeP90,
    StrategyPart,
    TokenRate,
    TokenRateP10,
    TokenRateP90,
)
from planner.documents.schema import (
    Document,
    DocumentPart,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

SchemaVersion = Literal["1.2"]
SCHEMA_VERSION: SchemaVersion = get_args(SchemaVersion)[0]

HeteroPlanType = Literal["shares", "stages", "even", "only"]
"""Uneven data-parallel shares, uneven pipeline stages, the same work for every device, or one pool alone."""


class HeteroPoolPart(DocumentPart, frozen=True, kw_only=True):
    """A pool: one type of node, and the number of nodes."""

    name: str
    accelerator: str
    nodes: PositiveInt
    devices_per_node: PositiveInt
    devices: PositiveInt


class HeteroClusterPart(DocumentPart, frozen=True, kw_only=True):
    """The cluster of the plan: its two pools."""

    name: Annotated[str, declare_figure("text", "the cluster's name", name="cluster")]
    title: str
    devices: Annotated[PositiveInt, declare_figure("count", "devices of the cluster")]
    pools: Annotated[list[HeteroPoolPart], msgspec.Meta(min_length=2, max_length=2)]
    note: str
    """What was chosen where the user gave no value; empty where nothing was."""

    @property
    def nodes(self) -> Annotated[int, declare_figure("count", "nodes of the cluster")]:
        """Nodes of both pools."""
        return sum(pool.nodes for pool in self.pools)

    @property
    def accelerator(self) -> Annotated[str, declare_figure("text", "the accelerator's name")]:
        """The accelerators of both pools, joined by +."""
        return "+".join(pool.accelerator for pool in self.pools)


class PoolPlanPart(DocumentPart, frozen=True, kw_only=True):
    """The work of one pool in a plan.

    `replicas` is the number of model replicas inside the pool, or of pipelines that pass through it; each runs
    `micro_batches` per step. The pool has `stages` stages of each pipeline, with `layers` layers each.
    """

    pool: str
    replicas: PositiveInt
    stages: PositiveInt
    layers: list[NonNegativeInt]
    micro_batches: PositiveInt
    sequences: PositiveInt
    """Sequences per step of all replicas of the pool; for pipelines through both pools, the global batch."""
    strategy: StrategyPart
    wait_s: NonNegativeFloat
    """Seconds per step for which the pool waits for the other pool."""
    memory: MemoryBreakdownPart


class HeteroPlanPart(DocumentPart, frozen=True, kw_only=True):
    """The best plan of one layout. `terms` add up to `step_time_s`; `hidden` is overlapped with compute.

    For data-parallel shares the terms are those of the slower pool. For pipelines they are those of the slowest
    stage up to the last micro-batch, then those of the slower pool.
    """

    layout: HeteroPlanType = msgspec.field(name="way")
    split: str
    """The layout in a few words."""
    settings: Annotated[SettingsPart, declare_columns("{}")]
    step_time_s: StepTime
    step_time_p10_s: StepTimeP10
    step_time_p90_s: StepTimeP90
    """80 % of such runs, not seen by the fit, take from p10 to p90: of the pool that is known least."""
    terms: StepTerms
    overlapped: OverlappedTimes = msgspec.field(name="hidden")
    tokens_per_s: TokenRate
    tokens_per_s_p10: TokenRateP10
    tokens_per_s_p90: TokenRateP90
    tokens_per_s_per_device: DeviceTokenRate
    """Per device that the plan uses."""
    tokens_per_s_per_device_p10: DeviceTokenRateP10
    tokens_per_s_per_device_p90: DeviceTokenRateP90
    samples_per_s: SampleRate
    samples_per_s_p10: SampleRateP10
    samples_per_s_p90: SampleRateP90
    samples_per_s_per_device: DeviceSampleRate
    samples_per_s_per_device_p10: DeviceSampleRateP10
    samples_per_s_per_device_p90: DeviceSampleRateP90
    mfu: Mfu
    mfu_bf16: MfuOfBf16 = None
    pools: Annotated[list[PoolPlanPart], msgspec.Meta(min_length=1, max_length=2)] = msgspec.field(name="kinds")
    """The pools that are used, in the order of the cluster; for pipelines, in the order of the stages."""
    told_apart: bool
    """Whether the first plan is faster than this one in 90 % of all cases; false of the first itself."""

    @property
    def memory(self) -> MemoryBreakdownPart:
        """The memory of the pool with the least headroom."""
        return min((pool_plan.memory for pool_plan in self.pools), key=lambda memory: memory.headroom_bytes)


class PoolRemovalPart(DocumentPart, frozen=True, kw_only=True):
    """The step time without one pool, null where nothing fits, and whether to keep the pool."""

    pool: str
    nodes: PositiveInt
    step_time_s: PositiveFloat | None
    step_time_p10_s: PositiveFloat | None
    step_time_p90_s: PositiveFloat | None
    keep: bool
    told_apart: bool
    """Whether the advice is right in 90 % of all cases."""


class HeteroAdvicePart(DocumentPart, frozen=True, kw_only=True):
    """Advice: for each pool whether to keep it, and the gain of balancing the two pools."""

    without: Annotated[list[PoolRemovalPart], msgspec.Meta(min_length=2, max_length=2)]
    balanced_step_time_s: PositiveFloat | None
    """The best step time on both pools; null where nothing fits on both together."""
    even_step_time_s: PositiveFloat | None
    """The best step time with the same work for every device; null where nothing fits. The intervals of both are
    those of the plans."""
    sentences: list[str]


class HeteroRunPart(RunLengthPart, frozen=True, kw_only=True):
    """A whole training run with the fastest plan, without failures."""


class HeterogeneousDocument(Document, frozen=True, kw_only=True):
    """The plans for one heterogeneous cluster, the fastest first; `left_out`: layouts in which nothing fits."""

    NAME: ClassVar[str] = "mixed"

    schema_version: SchemaVersion
    model: ModelPart
    cluster: HeteroClusterPart
    scenario: ScenarioPart = msgspec.field(name="training")
    exact: Literal[True]
    """True: shares are optimal over the declared space, stages over all partitions of layers by the slowest stage."""
    plans: Annotated[list[HeteroPlanPart], msgspec.Meta(min_length=1)] = msgspec.field(name="ways")
    left_out: list[str]
    answer: HeteroAdvicePart
    run: HeteroRunPart | None

    @property
    def best_plan(self) -> HeteroPlanPart:
        """The fastest plan, which all figures of the document are about."""
        return self.plans[0]
