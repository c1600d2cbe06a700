"""The check document: every plan of a file with its whole answer, and which of its requirements are met.

Field order is output order; `planner schema check` prints the schema that follows from these types.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from planner.documents.heterogeneous import HeterogeneousDocument
from planner.documents.plan import Document
from planner.documents.schema import Count, Part, closed_schema

SCHEMA_VERSION: Literal["1.0"] = "1.0"


Outcome = Literal["met", "not met", "nothing fits"]


class FoundPart(Part, frozen=True, kw_only=True):
    """A figure that a requirement names, in SI; null where it is not known."""

    name: str
    value: float | str | bool | None


class RequirementPart(Part, frozen=True, kw_only=True):
    """One requirement of one plan."""

    requirement: str
    line: Count | None
    """Of the file: where it stands, else where the plan's table begins. Null where it is of no file."""
    met: bool
    found: list[FoundPart]
    told: str
    """What was found and what was wanted; empty where it is met."""


class CheckedPart(Part, frozen=True, kw_only=True):
    """One plan of the file. One of `plan` and `mixed` is its answer; both are null where nothing fits."""

    name: str
    line: Count
    """Of the file, where the plan's table begins."""
    outcome: Outcome
    obstacle: str
    """Why nothing fits; empty where something does."""
    requirements: list[RequirementPart]
    plan: Document | None
    mixed: HeterogeneousDocument | None
    """Of a cluster of two kinds of nodes."""


class CheckDocument(Part, frozen=True, kw_only=True):
    """The answer to one file of plans, in the file's order. `outcome` is the worst of them."""

    schema_version: Literal["1.0"]
    file: str
    outcome: Outcome
    checked: Annotated[list[CheckedPart], msgspec.Meta(min_length=1)]


def worst(outcomes: list[Outcome]) -> Outcome:
    """The outcome of all."""
    order: tuple[Outcome, ...] = ("nothing fits", "not met", "met")
    return min(outcomes, key=order.index, default="met")


def answer_of(part: CheckedPart) -> Document | HeterogeneousDocument | None:
    """A checked plan's answer, of whichever kind."""
    return part.plan if part.plan is not None else part.mixed


def obstacle_line(part: CheckedPart) -> str:
    """Why nothing fits, on one line."""
    return "; ".join(line.strip() for line in part.obstacle.splitlines())


def build_json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the check document."""
    return closed_schema(CheckDocument, f"planner check document {SCHEMA_VERSION}")
