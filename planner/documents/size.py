"""The size document: how many nodes a run needs, and the sizes around it. Field order is output order.

The compare document has its parts too: a training run, and its outcome on a number of nodes.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

from planner.documents.figures import declare_columns
from planner.documents.plan import ModelPart, StrategyPart
from planner.documents.schema import (
    Document,
    DocumentPart,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    UnitFraction,
)

SchemaVersion = Literal["1.2"]
SCHEMA_VERSION: SchemaVersion = get_args(SchemaVersion)[0]


class BatchPart(DocumentPart, frozen=True, kw_only=True):
    """How the batch of each size was chosen: `given`; by time of a `range`, or of batches around the critical batch
    (`auto`), in each case of those that the size's widths divide.
    """

    rule: Literal["given", "range", "auto"]
    low: PositiveInt
    """The fewest sequences that a size may have."""
    high: PositiveInt
    critical_tokens: PositiveFloat | None
    """Tokens of the critical batch of the model's size; null where it decides nothing."""


class TrainingRunPart(DocumentPart, frozen=True, kw_only=True):
    """The training run: its tokens, steps and batch; those of the answer, null where sizes without one differ."""

    tokens: PositiveInt
    steps: PositiveInt | None
    global_batch: PositiveInt | None
    tokens_per_step: PositiveInt | None
    batch: BatchPart
    precision: str | None
    """Null: bf16 where the accelerator supports it, else fp16."""
    memory_limit: str | None
    """What plans may use of each device: `90%`, `70.00 GiB`, `all but 8.00 GiB`; null: all of its memory."""


class RunSizePart(DocumentPart, frozen=True, kw_only=True):
    """The whole run on a number of nodes with the best plan; failures and lost time are included.

    `usd` is the rental cost of all nodes of the plan until the end; energy and carbon are those of the facility. A
    value is null where no source states the figure that it needs.
    """

    nodes: PositiveInt
    devices: PositiveInt
    global_batch: PositiveInt
    steps: PositiveInt
    spare_nodes: NonNegativeInt
    """Spare nodes that pay off, in addition to the nodes of the plan; their rent is not included."""
    days: PositiveFloat
    days_p10: PositiveFloat
    days_p90: PositiveFloat
    """80 % of such runs, not seen by the fit, take from p10 to p90."""
    days_without_failures: PositiveFloat
    goodput_share: UnitFraction
    usd: NonNegativeFloat | None
    usd_p10: NonNegativeFloat | None
    usd_p90: NonNegativeFloat | None
    energy_kwh: NonNegativeFloat | None
    carbon_kg: NonNegativeFloat | None
    step_time_s: PositiveFloat
    step_time_p10_s: PositiveFloat
    step_time_p90_s: PositiveFloat
    tokens_per_s: PositiveFloat
    tokens_per_s_p10: PositiveFloat
    tokens_per_s_p90: PositiveFloat
    """Goodput: tokens per second after failures."""
    tokens_per_usd: NonNegativeFloat | None
    tokens_per_joule: NonNegativeFloat | None
    mfu: PositiveFloat
    """Of the peak of `mfu_peak`."""
    mfu_peak: str = ""
    """The precision whose peak it is."""
    mfu_bf16: PositiveFloat | None = None
    """The same FLOPs over the 16-bit peak."""
    strategy: Annotated[StrategyPart, declare_columns("{}")]


class ComputeOptimalPart(DocumentPart, frozen=True, kw_only=True):
    """The compute-optimal model for the same FLOPs by Chinchilla's rule (arXiv 2203.15556): 20 tokens a parameter."""

    parameters: PositiveFloat
    tokens: PositiveFloat
    tokens_per_parameter: PositiveFloat
    """Tokens per parameter of the run itself."""


class SizeDocument(Document, frozen=True, kw_only=True):
    """The number of nodes that a training run needs."""

    NAME: ClassVar[str] = "size"

    schema_version: SchemaVersion
    model: ModelPart
    cluster: str
    accelerator: str
    run: TrainingRunPart
    deadline_days: PositiveFloat | None
    budget_usd: PositiveFloat | None
    answer: RunSizePart
    curve: list[RunSizePart]
    """Sizes around the answer, in ascending order."""
    compute_optimal: ComputeOptimalPart | None
    """Null for models that are not language models."""
    notes: list[str]
