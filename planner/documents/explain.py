"""The explain document: where the time of a plan's step goes. Field order is output order."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

import msgspec

from planner.cost.collectives import CollectiveName
from planner.cost.collectives.algorithms import CollectiveAlgorithm
from planner.cost.collectives.library import ProtocolName
from planner.cost.rank_groups import RankAxis
from planner.documents.plan import (
    ClusterPart,
    MemoryBreakdownPart,
    ModelPart,
    ScenarioPart,
    SettingsPart,
    StrategyPart,
)
from planner.documents.schema import (
    Document,
    DocumentPart,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

SchemaVersion = Literal["1.1"]
SCHEMA_VERSION: SchemaVersion = get_args(SchemaVersion)[0]


class WaterfallPart(DocumentPart, frozen=True, kw_only=True):
    """One part of the step time. All parts add up to the step time."""

    name: str
    title: str
    seconds: float
    """Negative where the part saves time: the causal-mask credit of attention."""
    share: float
    """Fraction of the step time."""


class StagePart(DocumentPart, frozen=True, kw_only=True):
    """One pipeline stage: its layers, the time of one micro-batch, and the memory of one of its devices."""

    stage: NonNegativeInt
    layers: NonNegativeInt
    forward_s: NonNegativeFloat
    backward_s: NonNegativeFloat
    """Seconds of one micro-batch with exposed communication; recomputation counts as backward."""
    micro_batches_in_flight: NonNegativeFloat
    memory: MemoryBreakdownPart
    moments: list[MemoryBreakdownPart]
    """The same at each moment of the step."""


class OperatorPart(DocumentPart, frozen=True, kw_only=True):
    """One operator of one layer: forward and backward pass of one micro-batch on one device."""

    layer: str
    name: str
    layers: PositiveInt
    """Layers of the model that have this operator."""
    flops: NonNegativeFloat
    traffic_bytes: NonNegativeFloat
    flops_per_byte: NonNegativeFloat | None
    """Arithmetic intensity; null where the operator moves no bytes."""
    seconds: PositiveFloat
    flops_per_s: NonNegativeFloat
    peak_flops_per_s: PositiveFloat
    peak_share: NonNegativeFloat
    """Achieved FLOP/s divided by the peak."""
    bound: Literal["compute", "memory", "launch"]
    is_traffic_overlapped: bool = msgspec.field(name="traffic_hidden")
    """True for fused kernels: the traffic is the least that the kernel moves, and it takes no extra time."""


class RooflinePart(DocumentPart, frozen=True, kw_only=True):
    """The roofline of the device: its rated peak compute and memory bandwidth, and all operators."""

    peak_flops_per_s: PositiveFloat
    memory_bandwidth_bytes_per_s: PositiveFloat
    ridge_flops_per_byte: PositiveFloat
    """Arithmetic intensity at which both ceilings meet."""
    operators: Annotated[list[OperatorPart], msgspec.Meta(min_length=1)]


class CollectivePart(DocumentPart, frozen=True, kw_only=True):
    """A collective of the step, and how the library carries it out: by the fastest algorithm and protocol."""

    axis: RankAxis
    """What its ranks share: a layer's matrices, a sequence, dense parameters, a set of experts, an expert."""
    collective: CollectiveName
    ranks: PositiveInt
    message_bytes: NonNegativeFloat
    """All-gather and reduce-scatter: the whole; all-reduce: one rank's; all-to-all: what a rank has for all others,
    with DeepEP one copy of its tokens."""
    algorithm: CollectiveAlgorithm
    """`in-network`: switches add (NVLink SHARP, InfiniBand SHARP)."""
    protocol: ProtocolName
    seconds: NonNegativeFloat
    """Seconds of one, however much of it is overlapped."""


class SchedulePart(DocumentPart, frozen=True, kw_only=True):
    """The pipeline schedule simulated slot by slot, compared with the equations of the cost model."""

    micro_batches: PositiveInt
    step_time_s: PositiveFloat
    """Step time with the simulated makespan in place of the pipeline terms of the equations."""
    difference: float
    """Relative difference of the simulated step time to that of the equations."""


class SuspectPart(DocumentPart, frozen=True, kw_only=True):
    """One thing that may be otherwise than the plan says: the plan scored again with it."""

    name: str
    title: str
    step_time_s: PositiveFloat
    seconds: float
    """By how much it makes the step longer; below zero: shorter."""
    residual_share: PositiveFloat
    """Of the residual what it explains; above 1: more than all of it."""


class LoggedStepsPart(DocumentPart, frozen=True, kw_only=True):
    """The iterations of a trainer's log that a measured step is the median of."""

    trainer: str
    """Whose lines they are."""
    used: PositiveInt
    left_out: NonNegativeInt
    """Iterations of the warm-up, and of other batches."""
    first_step: NonNegativeInt
    last_step: NonNegativeInt
    step_time_p10_s: PositiveFloat
    step_time_p90_s: PositiveFloat
    """The middle 80 % of the iterations."""


class MeasuredPart(DocumentPart, frozen=True, kw_only=True):
    """A measured step beside the predicted one, and what would explain the difference."""

    given: str
    """The value of `--measured`, or the log."""
    step_time_s: PositiveFloat
    mfu: PositiveFloat
    residual_s: float
    """Measured minus predicted: the waterfall and this add up to the measured step."""
    residual_share: float
    """Of the predicted step."""
    is_in_interval: bool
    """Whether it lies between the ends of the predicted step's interval."""
    log: LoggedStepsPart | None
    suspects: list[SuspectPart]
    """Those that change the step in the direction of the residual; first what is nearest to all of it."""


class ExplainDocument(Document, frozen=True, kw_only=True):
    """Where the time of one plan's step goes."""

    NAME: ClassVar[str] = "explain"

    schema_version: SchemaVersion
    model: ModelPart
    cluster: ClusterPart
    scenario: ScenarioPart = msgspec.field(name="training")
    plan: PositiveInt
    """Number of the plan in the plan document, from 1."""
    strategy: StrategyPart
    settings: SettingsPart
    step_time_s: PositiveFloat
    step_time_p10_s: PositiveFloat
    step_time_p90_s: PositiveFloat
    """80 % of such runs, not seen by the fit, take from p10 to p90."""
    mfu: PositiveFloat
    """Of the peak of `training.precision`."""
    mfu_bf16: PositiveFloat | None = None
    """The same FLOPs over the 16-bit peak."""
    waterfall: Annotated[list[WaterfallPart], msgspec.Meta(min_length=1)]
    overlapped: dict[str, NonNegativeFloat] = msgspec.field(name="hidden")
    """Seconds of each kind of communication that is overlapped with compute; not part of the waterfall."""
    stages: Annotated[list[StagePart], msgspec.Meta(min_length=1)]
    roofline: RooflinePart
    collectives: list[CollectivePart]
    """Those of tensor, context, expert and data parallelism; sends between pipeline stages have no algorithm."""
    schedule: SchedulePart
    bottleneck: str
    """One sentence: what limits the plan most, and which change would help most."""
    measured: MeasuredPart | msgspec.UnsetType = msgspec.UNSET
    """Absent without `--measured` and `--log`."""
