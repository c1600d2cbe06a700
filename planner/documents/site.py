"""Parts of the plan document on the site of a run: failures and checkpoints, power and carbon."""

from __future__ import annotations

from typing import Literal

from planner.documents.schema import (
    DocumentPart,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    UnitFraction,
)


class MtbfByCausePart(DocumentPart, frozen=True, kw_only=True):
    """Mean times between failures of the whole job, by what fails."""

    device_s: PositiveFloat
    node_s: PositiveFloat
    software_s: PositiveFloat


class CheckpointPart(DocumentPart, frozen=True, kw_only=True):
    """The state of the whole job, saved once, and how often that is best done."""

    bytes: PositiveFloat
    asynchronous: bool
    blocked_s: PositiveFloat
    """For how long each checkpoint stops the training."""
    write_s: PositiveFloat
    """Until it is safe."""
    read_s: PositiveFloat
    young_interval_s: PositiveFloat
    daly_interval_s: PositiveFloat
    interval_steps: PositiveInt
    """Daly's interval in whole steps."""
    interval_s: PositiveFloat


class SpareNodesPart(DocumentPart, frozen=True, kw_only=True):
    """Nodes beside those that the plan runs on. `recommended`: as many as make the most goodput of a node."""

    nodes: NonNegativeInt
    recommended: NonNegativeInt
    nodes_in_repair: NonNegativeFloat
    """On average."""
    short_share: UnitFraction
    """Share of the time in which more nodes are out than there are spares and the job waits; of the work that is
    missing, where it shrinks."""
    when_short: Literal["wait", "shrink"]


class WastedTimePart(DocumentPart, frozen=True, kw_only=True):
    """Where the time goes. With the goodput's share they add up to one."""

    checkpoint: UnitFraction
    lost: UnitFraction
    """Work done again after a failure, and checkpoints that were cut short."""
    detection: UnitFraction
    restart: UnitFraction
    load: UnitFraction
    repair: UnitFraction


class AssumptionPart(DocumentPart, frozen=True, kw_only=True):
    """A figure in SI units and where it is from: an option, the cluster's file, or a source of hardware_db."""

    name: str
    value: NonNegativeFloat
    source: str


class ReliabilityPart(DocumentPart, frozen=True, kw_only=True):
    """What failures leave of the first plan's throughput. No step time contains any of it."""

    mtbf_s: PositiveFloat
    """Mean time between failures of the job."""
    mtbf_by_cause: MtbfByCausePart
    checkpoint: CheckpointPart
    spares: SpareNodesPart
    goodput_share: UnitFraction
    goodput_tokens_per_s: NonNegativeFloat
    wasted: WastedTimePart
    assumed: list[AssumptionPart]


class PowerPart(DocumentPart, frozen=True, kw_only=True):
    """What the first plan draws at the meter, on average, and what was assumed for it."""

    mean_w: PositiveFloat
    day_j: PositiveFloat
    run_j: PositiveFloat | None
    """Of the whole run without failures; null where its tokens are not given."""
    pue: PositiveFloat
    assumed: list[AssumptionPart]


class CarbonPart(DocumentPart, frozen=True, kw_only=True):
    """CO2-equivalent of the first plan's electricity, by the average intensity of a grid over a year."""

    grid: str
    title: str
    intensity_g_per_kwh: NonNegativeFloat
    date: str
    """The year; empty where the intensity was given."""
    source: str
    kg_per_step: NonNegativeFloat
    kg_of_run: NonNegativeFloat | None
