"""The documents of `size` and `compare`: what a run takes on clusters of several sizes.

Parts of the plan document are used as they are. Field order is output order.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from planner.search.document import (
    Amount,
    Count,
    ModelPart,
    Part,
    Positive,
    Share,
    StrategyPart,
    Whole,
    closed_schema,
)

SCHEMA_VERSION: Literal["1.0"] = "1.0"

RankedBy = Literal["time", "cost", "energy", "carbon", "devices", "tokens-per-usd", "tokens-per-joule"]


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


class SizeDocument(Part, frozen=True, kw_only=True):
    """How many nodes a run needs."""

    schema_version: Literal["1.0"]
    model: ModelPart
    cluster: str
    accelerator: str
    run: RunPart
    deadline_days: Positive | None
    budget_usd: Positive | None
    answer: SizePart
    curve: list[SizePart]
    """Sizes around the answer, ascending."""
    compute_optimal: OptimalPart
    notes: list[str]


class OfferPart(Part, frozen=True, kw_only=True):
    """One cluster of a comparison. `size` is null where it is ruled out; `ruled_out` says why, else it is empty."""

    name: str
    title: str
    accelerator: str
    frameworks: list[str]
    clouds: list[str]
    size: SizePart | None
    on_front: bool
    """Whether no other is at least as good in time, money and energy together and better in one."""
    ruled_out: str


class CompareDocument(Part, frozen=True, kw_only=True):
    """The same run on several clusters, the best first, those that are ruled out last."""

    schema_version: Literal["1.0"]
    model: ModelPart
    run: RunPart
    deadline_days: Positive | None
    budget_usd: Positive | None
    ranked_by: RankedBy
    offers: Annotated[list[OfferPart], msgspec.Meta(min_length=1)]
    notes: list[str]


def json_schema(document: type[SizeDocument] | type[CompareDocument]) -> dict[str, object]:
    """JSON Schema (draft 2020-12) of one of the documents."""
    name = "size" if document is SizeDocument else "compare"
    return closed_schema(document, f"planner {name} document {SCHEMA_VERSION}")
