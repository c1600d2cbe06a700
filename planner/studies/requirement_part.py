"""The check document: every plan of a file with its whole answer, and which of its requirements are met.

Field order is output order; `planner schema check` prints the schema that follows from these types.
"""

from __future__ import annotations

from collections.abc import Sequence

from planner.documents.check import (
    FoundPart,
    RequirementPart,
)
from planner.studies.conditions.evaluate import ConditionResult, format_unmet_condition


def requirement_part(verdict: ConditionResult, line: int | None = None) -> RequirementPart:
    """A verdict as part of a document."""
    found = [FoundPart(name=name, value=value) for name, value in verdict.figures]
    return RequirementPart(
        requirement=verdict.condition, line=line, met=verdict.is_met, found=found, told=verdict.explanation
    )


def unmet(name: str, requirements: Sequence[RequirementPart]) -> list[str]:
    """What is said of each requirement that is not met; `name`: whose they are."""
    return [f"{name}: {format_unmet_condition(one.requirement, one.told)}" for one in requirements if not one.met]
