"""The diff document: what changed between two plans, or two files of plans, by how much, and which term it is.

Field order is output order; `planner schema diff` prints the schema that follows from these types.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from planner.documents.check import ConditionPart
from planner.documents.schema import DocumentPart, NonNegativeFloat, build_closed_schema

SCHEMA_VERSION: Literal["1.0"] = "1.0"

DiffStatus = Literal["changed", "unchanged", "added", "removed", "fits no more", "fits now", "fits in neither"]


class FigureChangePart(DocumentPart, frozen=True, kw_only=True):
    """One thing that changed, by its name in requirements; figures in SI, null where there is none."""

    name: str
    base: float | str | bool | None
    head: float | str | bool | None
    change: float | None
    """The second less the first, of numbers."""
    relative: float | None
    """Of the first; null where that is zero or not known."""


class TermChangePart(DocumentPart, frozen=True, kw_only=True):
    """A term of the step in both plans."""

    term: str
    base_s: NonNegativeFloat
    head_s: NonNegativeFloat
    change_s: float


class StepChangeCausePart(DocumentPart, frozen=True, kw_only=True):
    """The term that changed most, and what changed that it depends on."""

    term: str
    change_s: float
    step_change_s: float
    because: list[str]
    """Names of `inputs` and `strategy` below."""


class PlanDiffPart(DocumentPart, frozen=True, kw_only=True):
    """One plan in both. Of an added or removed plan, `figures` has its one side."""

    name: str
    status: DiffStatus
    title: str
    why: StepChangeCausePart | None
    """Null where no term changed, or one side is missing."""
    inputs: list[FigureChangePart]
    strategy: list[FigureChangePart]
    """Split and settings."""
    figures: list[FigureChangePart]
    memory: list[FigureChangePart]
    terms: list[TermChangePart]
    """All of them, the one that changed most first."""
    hidden: list[TermChangePart]
    no_longer_met: list[str]
    """Requirements of the file that the base met and the head does not."""
    now_met: list[str]
    requirements: list[ConditionPart]
    """Of this comparison."""


class DiffDocument(DocumentPart, frozen=True, kw_only=True):
    """The answer to two documents. A figure that changed by a smaller share than `threshold` is not told."""

    schema_version: Literal["1.0"]
    base: str
    head: str
    threshold: NonNegativeFloat
    differences: Annotated[list[PlanDiffPart], msgspec.Meta(min_length=1)]


def build_json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the diff document."""
    return build_closed_schema(DiffDocument, f"planner diff document {SCHEMA_VERSION}")
