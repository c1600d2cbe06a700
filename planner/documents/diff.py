"""The diff document: what changed between two plans, or two files of plans, by how much, and in which term.

Field order is output order; `planner schema diff` prints the schema of these types.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

import msgspec

from planner.documents.check import ConditionPart
from planner.documents.schema import Document, DocumentPart, NonNegativeFloat

SchemaVersion = Literal["1.1"]
SCHEMA_VERSION: SchemaVersion = get_args(SchemaVersion)[0]

DiffStatus = Literal["changed", "unchanged", "added", "removed", "fits no more", "fits now", "fits in neither"]


class FigureChangePart(DocumentPart, frozen=True, kw_only=True):
    """One figure or input that changed. Its name is that of `--require`; numbers are in SI units, null if unknown."""

    name: str
    base: float | str | bool | None
    head: float | str | bool | None
    change: float | None
    """Head minus base; null for texts and unknown figures."""
    relative: float | None
    """The change divided by base; null where base is zero or unknown."""


class TermChangePart(DocumentPart, frozen=True, kw_only=True):
    """One term of the step time in both plans, in seconds."""

    term: str
    base_s: NonNegativeFloat
    head_s: NonNegativeFloat
    change_s: float


class StepChangeCausePart(DocumentPart, frozen=True, kw_only=True):
    """The term of the step that changed most, and the changes that it depends on."""

    term: str
    change_s: float
    step_change_s: float
    because: list[str]
    """Names of entries of `inputs` and `strategy`."""


class PlanDiffPart(DocumentPart, frozen=True, kw_only=True):
    """One plan of both documents. For an added or removed plan, `figures` has the values of its only side."""

    name: str
    status: DiffStatus
    title: str
    why: StepChangeCausePart | None
    """The main cause of the change; null where no term changed or one side is missing."""
    told_apart: bool | None
    """Whether one of the two trains faster than the other in 90 % of all cases, as far as the model can say; null
    where one side is missing."""
    inputs: list[FigureChangePart]
    strategy: list[FigureChangePart]
    """Changes of degrees and settings."""
    figures: list[FigureChangePart]
    memory: list[FigureChangePart]
    terms: list[TermChangePart]
    """All terms of the step, the largest change first."""
    overlapped: list[TermChangePart] = msgspec.field(name="hidden")
    """All times that are overlapped with compute, the largest change first."""
    no_longer_met: list[str]
    """Requirements of the file that base meets and head does not."""
    now_met: list[str]
    """Requirements of the file that head meets and base does not."""
    mfu_peaks: list[str] = msgspec.field(default_factory=list)
    """The precisions whose peaks `mfu` is of, of base and head; of the only side alone."""
    requirements: list[ConditionPart]
    """Requirements on the comparison itself, given by `--require`."""


class DiffDocument(Document, frozen=True, kw_only=True):
    """The differences of two documents. Relative changes of figures below `threshold` are left out."""

    NAME: ClassVar[str] = "diff"

    schema_version: SchemaVersion
    base: str
    head: str
    threshold: NonNegativeFloat
    differences: Annotated[list[PlanDiffPart], msgspec.Meta(min_length=1)]
