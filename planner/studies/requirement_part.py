"""The check document: every plan of a file with its whole answer, and which of its requirements are met.

Field order is output order; `planner schema check` prints the schema that follows from these types.
"""

from __future__ import annotations

from collections.abc import Sequence

from planner.documents.check import (
    ConditionFigurePart,
    ConditionPart,
)
from planner.studies.conditions.evaluate import ConditionResult, format_unmet_condition


def build_condition_part(result: ConditionResult, line: int | None = None) -> ConditionPart:
    """A verdict as part of a document."""
    figures = [ConditionFigurePart(name=name, value=value) for name, value in result.figures]
    return ConditionPart(
        requirement=result.condition, line=line, met=result.is_met, found=figures, told=result.explanation
    )


def list_unmet_conditions(name: str, conditions: Sequence[ConditionPart]) -> list[str]:
    """What is said of each requirement that is not met; `name`: whose they are."""
    return [
        f"{name}: {format_unmet_condition(condition.requirement, condition.told)}"
        for condition in conditions
        if not condition.met
    ]
