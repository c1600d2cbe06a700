"""The check document: every plan of a file with its whole answer, and which of its requirements are met.

Field order is output order; `planner schema check` prints the schema that follows from these types.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from planner.documents.heterogeneous import HeterogeneousDocument
from planner.documents.plan import PlanDocument
from planner.documents.schema import DocumentPart, PositiveInt, build_closed_schema

SCHEMA_VERSION: Literal["1.0"] = "1.0"


CheckOutcome = Literal["met", "not met", "nothing fits"]


class ConditionFigurePart(DocumentPart, frozen=True, kw_only=True):
    """A figure that a requirement names, in SI; null where it is not known."""

    name: str
    value: float | str | bool | None


class ConditionPart(DocumentPart, frozen=True, kw_only=True):
    """One requirement of one plan."""

    requirement: str
    line: PositiveInt | None
    """Of the file: where it stands, else where the plan's table begins. Null where it is of no file."""
    met: bool
    found: list[ConditionFigurePart]
    told: str
    """What was found and what was wanted; empty where it is met."""


class PlanCheckPart(DocumentPart, frozen=True, kw_only=True):
    """One plan of the file. One of `plan` and `mixed` is its answer; both are null where nothing fits."""

    name: str
    line: PositiveInt
    """Of the file, where the plan's table begins."""
    outcome: CheckOutcome
    obstacle: str
    """Why nothing fits; empty where something does."""
    requirements: list[ConditionPart]
    plan: PlanDocument | None
    mixed: HeterogeneousDocument | None
    """Of a cluster of two kinds of nodes."""


class CheckDocument(DocumentPart, frozen=True, kw_only=True):
    """The answer to one file of plans, in the file's order. `outcome` is the worst of them."""

    schema_version: Literal["1.0"]
    file: str
    outcome: CheckOutcome
    checked: Annotated[list[PlanCheckPart], msgspec.Meta(min_length=1)]


def find_worst_outcome(outcomes: list[CheckOutcome]) -> CheckOutcome:
    """The outcome of all."""
    order: tuple[CheckOutcome, ...] = ("nothing fits", "not met", "met")
    return min(outcomes, key=order.index, default="met")


def get_checked_answer(part: PlanCheckPart) -> PlanDocument | HeterogeneousDocument | None:
    """A checked plan's answer, of whichever kind."""
    return part.plan if part.plan is not None else part.mixed


def format_obstacle_line(part: PlanCheckPart) -> str:
    """Why nothing fits, on one line."""
    return "; ".join(line.strip() for line in part.obstacle.splitlines())


def build_json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the check document."""
    return build_closed_schema(CheckDocument, f"planner check document {SCHEMA_VERSION}")
