"""Parts of the plan document about the site of a run: failures and checkpoints, power and carbon."""

from __future__ import annotations

from typing import Annotated, Literal

from planner.documents.figures import declare_figure
from planner.documents.schema import (
    DocumentPart,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    UnitFraction,
)


class MtbfByCausePart(DocumentPart, frozen=True, kw_only=True):
    """MTBF of the whole job by the part that fails, in seconds."""

    device_s: PositiveFloat
    node_s: PositiveFloat
    software_s: PositiveFloat


class CheckpointPart(DocumentPart, frozen=True, kw_only=True):
    """One checkpoint of the whole job: its size, its times, and the best interval between checkpoints."""

    bytes: PositiveFloat
    asynchronous: bool
    blocked_s: PositiveFloat
    """Seconds for which each checkpoint stops the training."""
    write_s: PositiveFloat
    """Seconds until the checkpoint is stored completely."""
    read_s: PositiveFloat
    young_interval_s: PositiveFloat
    daly_interval_s: PositiveFloat
    interval_steps: PositiveInt
    """Daly's interval in whole steps; the plan uses it."""
    interval_s: PositiveFloat


class SpareNodesPart(DocumentPart, frozen=True, kw_only=True):
    """Spare nodes, in addition to the nodes of the plan. `recommended` maximises the goodput per node."""

    nodes: Annotated[NonNegativeInt, declare_figure("count", "spare nodes", name="spares", needs=("failures",))]
    recommended: NonNegativeInt
    nodes_in_repair: NonNegativeFloat
    """Mean number of nodes that are in repair."""
    short_share: UnitFraction
    """Fraction of the time in which the job waits because more nodes are in repair than there are spares; with
    `shrink`, the fraction of work that is missing."""
    when_short: Literal["wait", "shrink"]
    """What the job does while spares are missing."""


class WastedTimePart(DocumentPart, frozen=True, kw_only=True):
    """Fractions of the time that are lost. Together with `goodput_share` they add up to 1."""

    checkpoint: UnitFraction
    lost: UnitFraction
    """Lost work: steps that are repeated after a failure, and interrupted checkpoints."""
    detection: UnitFraction
    restart: UnitFraction
    load: UnitFraction
    repair: UnitFraction


class AssumptionPart(DocumentPart, frozen=True, kw_only=True):
    """An assumed figure in SI units and its source: an option, the cluster file, or a source of hardware_db."""

    name: str
    value: NonNegativeFloat
    source: str


class ReliabilityPart(DocumentPart, frozen=True, kw_only=True):
    """Goodput of the first plan: its throughput after failures and checkpoints. Step times do not include these."""

    mtbf_s: Annotated[
        PositiveFloat, declare_figure("s", "mean time between failures of the job", needs=("failures",))
    ]
    mtbf_by_cause: MtbfByCausePart
    checkpoint: CheckpointPart
    spares: SpareNodesPart
    goodput_share: Annotated[
        UnitFraction,
        declare_figure(
            "ratio", "fraction of the time that failures and checkpoints leave", name="goodput", needs=("failures",)
        ),
    ]
    goodput_tokens_per_s: Annotated[
        NonNegativeFloat,
        declare_figure("per_s", "tokens per second after failures and checkpoints", needs=("failures",)),
    ]
    goodput_tokens_per_s_p10: NonNegativeFloat | None
    goodput_tokens_per_s_p90: NonNegativeFloat | None
    """80 % of such runs lie between: the interval of the plan's throughput; failures have none of their own. Null:
    the plan's is not known."""
    wasted: WastedTimePart
    assumed: list[AssumptionPart]


class PowerPart(DocumentPart, frozen=True, kw_only=True):
    """Mean power and energy of the first plan at the facility (including PUE), and the assumptions behind them."""

    mean_w: Annotated[
        PositiveFloat, declare_figure("w", "mean facility power (incl. PUE)", name="power_w", needs=("power",))
    ]
    day_j: PositiveFloat
    run_j: Annotated[
        PositiveFloat | None,
        declare_figure(
            "j", "facility energy of the whole run, without failures", name="energy_j", needs=("tokens", "power")
        ),
    ]
    """Null without `--tokens`."""
    pue: PositiveFloat
    assumed: list[AssumptionPart]


class CarbonPart(DocumentPart, frozen=True, kw_only=True):
    """CO2-equivalent of the first plan's electricity, by the yearly average carbon intensity of a grid."""

    grid: str
    title: str
    intensity_g_per_kwh: NonNegativeFloat
    date: str
    """The year of the intensity; empty with `--carbon-intensity`."""
    source: str
    kg_per_step: Annotated[
        NonNegativeFloat,
        declare_figure(
            "kg", "CO2e of a step", name="carbon_kg_per_step", label="carbon/step", needs=("grid", "power")
        ),
    ]
    kg_of_run: Annotated[
        NonNegativeFloat | None,
        declare_figure("kg", "CO2e of the whole run", name="carbon_kg", needs=("grid", "tokens", "power")),
    ]
    """Null without `--tokens`."""
