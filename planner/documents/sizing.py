"""What the documents of `size` and `compare` share: a run, and what it takes on so many nodes.

Parts of the plan document are used as they are. Field order is output order.
"""

from __future__ import annotations

from planner.documents.plan import StrategyPart
from planner.documents.schema import (
    Amount,
    Count,
    Part,
    Positive,
    Share,
    Whole,
)


class RunPart(Part, frozen=True, kw_only=True):
    """What is trained."""

    tokens: Count
    steps: Count
    global_batch: Count
    tokens_per_step: Count
    precision: str | None
    """Null: bf16 where the part has it, else fp16."""


class SizePart(Part, frozen=True, kw_only=True):
    """The whole run on so many nodes with the best plan, failures and lost time counted.

    Rent is of all nodes of the plan until the end; energy and carbon are at the meter of the site. Null: nobody
    published the figure that it needs.
    """

    nodes: Count
    devices: Count
    spare_nodes: Whole
    """That pay off, beside the nodes of the plan; no rent is counted for them."""
    days: Positive
    days_without_failures: Positive
    goodput_share: Share
    usd: Amount | None
    energy_kwh: Amount | None
    carbon_kg: Amount | None
    step_time_s: Positive
    tokens_per_s: Positive
    """With what failures leave of it."""
    tokens_per_usd: Amount | None
    tokens_per_joule: Amount | None
    mfu: Positive
    strategy: StrategyPart


class OptimalPart(Part, frozen=True, kw_only=True):
    """What the same FLOPs would train best by Chinchilla's rule (arXiv 2203.15556): 20 tokens a parameter."""

    parameters: Positive
    tokens: Positive
    tokens_per_parameter: Positive
    """Of the run as it is."""
