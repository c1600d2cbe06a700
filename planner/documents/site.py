"""Parts of the plan document on the site of a run: failures and checkpoints, power and carbon."""

from __future__ import annotations

from typing import Literal

from planner.documents.schema import (
    Amount,
    Count,
    Part,
    Positive,
    Share,
    Whole,
)


class FailuresPart(Part, frozen=True, kw_only=True):
    """Mean times between failures of the whole job, by what fails."""

    device_s: Positive
    node_s: Positive
    software_s: Positive


class CheckpointPart(Part, frozen=True, kw_only=True):
    """The state of the whole job, saved once, and how often that is best done."""

    bytes: Positive
    asynchronous: bool
    blocked_s: Positive
    """For how long each checkpoint stops the training."""
    write_s: Positive
    """Until it is safe."""
    read_s: Positive
    young_interval_s: Positive
    daly_interval_s: Positive
    interval_steps: Count
    """Daly's interval in whole steps."""
    interval_s: Positive


class SparesPart(Part, frozen=True, kw_only=True):
    """Nodes beside those that the plan runs on. `recommended`: as many as make the most goodput of a node."""

    nodes: Whole
    recommended: Whole
    nodes_in_repair: Amount
    """On average."""
    short_share: Share
    """Share of the time in which more nodes are out than there are spares and the job waits; of the work that is
    missing, where it shrinks."""
    when_short: Literal["wait", "shrink"]


class WastedPart(Part, frozen=True, kw_only=True):
    """Where the time goes. With the goodput's share they add up to one."""

    checkpoint: Share
    lost: Share
    """Work done again after a failure, and checkpoints that were cut short."""
    detection: Share
    restart: Share
    load: Share
    repair: Share


class AssumedPart(Part, frozen=True, kw_only=True):
    """A figure in SI units and where it is from: an option, the cluster's file, or a source of hardware_db."""

    name: str
    value: Amount
    source: str


class ReliabilityPart(Part, frozen=True, kw_only=True):
    """What failures leave of the first plan's throughput. No step time contains any of it."""

    mtbf_s: Positive
    """Mean time between failures of the job."""
    mtbf_by_cause: FailuresPart
    checkpoint: CheckpointPart
    spares: SparesPart
    goodput_share: Share
    goodput_tokens_per_s: Amount
    wasted: WastedPart
    assumed: list[AssumedPart]


class PowerPart(Part, frozen=True, kw_only=True):
    """What the first plan draws at the meter, on average, and what was assumed for it."""

    mean_w: Positive
    day_j: Positive
    run_j: Positive | None
    """Of the whole run without failures; null where its tokens are not given."""
    pue: Positive
    assumed: list[AssumedPart]


class CarbonPart(Part, frozen=True, kw_only=True):
    """CO2-equivalent of the first plan's electricity, by the average intensity of a grid over a year."""

    grid: str
    title: str
    intensity_g_per_kwh: Amount
    date: str
    """The year; empty where the intensity was given."""
    source: str
    kg_per_step: Amount
    kg_of_run: Amount | None
