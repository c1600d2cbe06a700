"""What the documents of `size` and `compare` share: a run, and what it takes on so many nodes.

Parts of the plan document are used as they are. Field order is output order.
"""

from __future__ import annotations

from planner.documents.plan import StrategyPart
from planner.documents.schema import (
    DocumentPart,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    UnitFraction,
)


class TrainingRunPart(DocumentPart, frozen=True, kw_only=True):
    """What is trained."""

    tokens: PositiveInt
    steps: PositiveInt
    global_batch: PositiveInt
    tokens_per_step: PositiveInt
    precision: str | None
    """Null: bf16 where the part has it, else fp16."""


class RunSizePart(DocumentPart, frozen=True, kw_only=True):
    """The whole run on so many nodes with the best plan, failures and lost time counted.

    Rent is of all nodes of the plan until the end; energy and carbon are at the meter of the site. Null: nobody
    published the figure that it needs.
    """

    nodes: PositiveInt
    devices: PositiveInt
    spare_nodes: NonNegativeInt
    """That pay off, beside the nodes of the plan; no rent is counted for them."""
    days: PositiveFloat
    days_without_failures: PositiveFloat
    goodput_share: UnitFraction
    usd: NonNegativeFloat | None
    energy_kwh: NonNegativeFloat | None
    carbon_kg: NonNegativeFloat | None
    step_time_s: PositiveFloat
    tokens_per_s: PositiveFloat
    """With what failures leave of it."""
    tokens_per_usd: NonNegativeFloat | None
    tokens_per_joule: NonNegativeFloat | None
    mfu: PositiveFloat
    strategy: StrategyPart


class ComputeOptimalPart(DocumentPart, frozen=True, kw_only=True):
    """What the same FLOPs would train best by Chinchilla's rule (arXiv 2203.15556): 20 tokens a parameter."""

    parameters: PositiveFloat
    tokens: PositiveFloat
    tokens_per_parameter: PositiveFloat
    """Of the run as it is."""
