"""The check document: for every plan of a file the complete answer, and which of its requirements are met.

Field order is output order; `planner schema check` prints the schema of these types.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

import msgspec

from planner.documents.heterogeneous import HeterogeneousDocument
from planner.documents.plan import PlanDocument
from planner.documents.schema import Document, DocumentPart, PositiveInt

SchemaVersion = Literal["1.1"]
SCHEMA_VERSION: SchemaVersion = get_args(SchemaVersion)[0]


CheckOutcome = Literal["met", "not met", "nothing fits"]


class ConditionFigurePart(DocumentPart, frozen=True, kw_only=True):
    """A figure that a requirement names. Numbers are in SI units; null where the figure is not known."""

    name: str
    value: float | str | bool | None


class ConditionPart(DocumentPart, frozen=True, kw_only=True):
    """One requirement of one plan, and whether the plan meets it."""

    requirement: str
    line: PositiveInt | None
    """Line of the file: that of the requirement, else the first of the plan's table. Null where there is no file."""
    met: bool
    figures: list[ConditionFigurePart] = msgspec.field(name="found")
    """The figures that the requirement names, with their values."""
    reason: str = msgspec.field(name="told")
    """Why the requirement is not met: actual and required values. Empty where it is met."""


class PlanCheckPart(DocumentPart, frozen=True, kw_only=True):
    """One plan of the file. Its answer is `plan` or `mixed`; both are null where nothing fits."""

    name: str
    line: PositiveInt
    """First line of the plan's table in the file."""
    outcome: CheckOutcome
    obstacle: str
    """Why nothing fits; empty where a plan fits."""
    requirements: list[ConditionPart]
    plan: PlanDocument | None
    heterogeneous: HeterogeneousDocument | None = msgspec.field(name="mixed")
    """The answer for a heterogeneous cluster of two pools of nodes."""


class CheckDocument(Document, frozen=True, kw_only=True):
    """The answers to one file of plans, in the order of the file. `outcome` is the worst outcome of all plans."""

    NAME: ClassVar[str] = "check"

    schema_version: SchemaVersion
    file: str
    outcome: CheckOutcome
    checked: Annotated[list[PlanCheckPart], msgspec.Meta(min_length=1)]


def find_worst_outcome(outcomes: list[CheckOutcome]) -> CheckOutcome:
    """The worst of some outcomes; `met` for no outcomes."""
    order: tuple[CheckOutcome, ...] = ("nothing fits", "not met", "met")
    return min(outcomes, key=order.index, default="met")


def get_checked_answer(part: PlanCheckPart) -> PlanDocument | HeterogeneousDocument | None:
    """The answer of a checked plan: for a homogeneous or a heterogeneous cluster; None where nothing fits."""
    return part.plan if part.plan is not None else part.heterogeneous


def format_obstacle_line(part: PlanCheckPart) -> str:
    """Why nothing fits, on one line."""
    return "; ".join(line.strip() for line in part.obstacle.splitlines())
