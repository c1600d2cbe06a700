"""Results of requirements as parts of a document, and messages for requirements that are not met."""

from __future__ import annotations

from collections.abc import Sequence

from planner.documents.check import (
    ConditionFigurePart,
    ConditionPart,
)
from planner.studies.conditions.evaluate import ConditionResult, format_unmet_condition


def build_condition_part(result: ConditionResult, line: int | None = None) -> ConditionPart:
    """The result of a requirement as part of a document; `line`: its line in the file."""
    figures = [ConditionFigurePart(name=name, value=value) for name, value in result.figures]
    return ConditionPart(
        requirement=result.condition, line=line, met=result.is_met, found=figures, told=result.explanation
    )


def list_unmet_conditions(name: str, conditions: Sequence[ConditionPart]) -> list[str]:
    """The message for each requirement that is not met; `name`: the plan."""
    return [
        f"{name}: {format_unmet_condition(condition.requirement, condition.told)}"
        for condition in conditions
        if not condition.met
    ]
