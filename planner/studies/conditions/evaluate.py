"""Evaluate a requirement on the figures of a plan: whether it is met, else the actual and the required values.

An unknown figure makes its comparison neither true nor false; a requirement that is not true is not met.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from planner.documents.check import ConditionFigurePart, ConditionPart
from planner.documents.figures import FigureValue, FigureValues, format_figure_value
from planner.studies.conditions.figures import explain_unknown_figure
from planner.studies.conditions.parse import Condition
from planner.studies.conditions.tree import (
    ArithmeticExpression,
    BooleanExpression,
    ComparisonExpression,
    ConditionNode,
    Constant,
    FigureReference,
    Negation,
    list_figure_references,
)

_REL_TOL = 1e-12
_MAX_PRINTED_SHORTFALL = 10.0
_EXPECTED_FORMATS = {
    "<": "less than {}",
    "<=": "at most {}",
    ">": "more than {}",
    ">=": "at least {}",
    "==": "{}",
    "!=": "anything but {}",
}


@dataclass(frozen=True)
class ConditionResult:
    """Whether a requirement is met, the figures in it, and why it is not met (empty where it is)."""

    condition: str
    is_met: bool
    figures: tuple[tuple[str, FigureValue], ...]
    explanation: str


def format_unmet_condition(condition: str, explanation: str) -> str:
    """The message for a requirement that is not met; `explanation`: the actual and the required values."""
    return f"requirement not met: {condition}\n  {explanation}"


def evaluate_condition(condition: Condition, values: FigureValues) -> ConditionResult:
    """Evaluate the requirement on the figures `values`."""
    figures = tuple((name.name, values.get(name.name)) for name in list_figure_references(condition.tree))
    is_met = _evaluate_truth(condition.tree, values) is True
    explanation = "" if is_met else "; ".join(dict.fromkeys(_list_unmet_clauses(condition.tree, values)))
    return ConditionResult(condition.text, is_met, figures, explanation)


def build_condition_part(result: ConditionResult, line: int | None = None) -> ConditionPart:
    """The result of a requirement as part of a document; `line`: its line in the file."""
    figures = [ConditionFigurePart(name=name, value=value) for name, value in result.figures]
    return ConditionPart(
        requirement=result.condition, line=line, met=result.is_met, figures=figures, reason=result.explanation
    )


def list_unmet_conditions(name: str, conditions: Sequence[ConditionPart]) -> list[str]:
    """The message for each requirement that is not met; `name`: the plan."""
    return [
        f"{name}: {format_unmet_condition(condition.requirement, condition.reason)}"
        for condition in conditions
        if not condition.met
    ]


def _evaluate_truth(node: ConditionNode, values: FigureValues) -> bool | None:
    """The truth of a condition in Kleene's three-valued logic; None: unknown."""
    if isinstance(node, Negation):
        inner = _evaluate_truth(node.part, values)
        return None if inner is None else not inner
    if isinstance(node, BooleanExpression):
        decides = node.operator == "or"
        parts = [_evaluate_truth(part, values) for part in node.parts]
        return decides if decides in parts else None if None in parts else not decides
    if isinstance(node, ComparisonExpression):
        return _evaluate_comparison(node, values)
    value = _evaluate_operand(node, values)
    return value if isinstance(value, bool) else None


def _evaluate_comparison(node: ComparisonExpression, values: FigureValues) -> bool | None:
    left, right = _evaluate_operand(node.left, values), _evaluate_operand(node.right, values)
    if left is None or right is None:
        return None
    if isinstance(left, str | bool) or isinstance(right, str | bool):
        return (left == right) == (node.operator == "==")
    if node.operator in ("==", "!="):
        return math.isclose(left, right, rel_tol=_REL_TOL) == (node.operator == "==")
    less = left < right if node.operator in ("<", "<=") else left > right
    return less or ("=" in node.operator and left == right)


def _evaluate_operand(node: ConditionNode, values: FigureValues) -> FigureValue:
    if isinstance(node, FigureReference):
        return values.get(node.name)
    if isinstance(node, Constant):
        return node.value
    if isinstance(node, ArithmeticExpression):
        return _evaluate_arithmetic(node, values)
    return _evaluate_truth(node, values)


def _evaluate_arithmetic(node: ArithmeticExpression, values: FigureValues) -> float | None:
    """The number in SI; None where a figure is not known, and for a division by zero."""
    is_sum = node.operator == "+"
    total = 0.0 if is_sum else 1.0
    for sign, part in node.parts:
        value = _evaluate_operand(part, values)
        if value is None or isinstance(value, str) or (value == 0 and sign < 0 and not is_sum):
            return None
        if is_sum:
            total += sign * value
        else:
            total = total * value if sign > 0 else total / value
    return total if math.isfinite(total) else None


def _list_unmet_clauses(node: ConditionNode, values: FigureValues) -> list[str]:
    """The reasons why a condition is not true, one clause per reason."""
    if isinstance(node, BooleanExpression):
        # the parts of an `and` that are met are no reason
        unmet = [part for part in node.parts if node.operator == "or" or _evaluate_truth(part, values) is not True]
        return [clause for part in unmet for clause in _list_unmet_clauses(part, values)]
    unknown = [name.name for name in list_figure_references(node) if values.get(name.name) is None]
    if unknown:
        return [f"{name} is not known: {explain_unknown_figure(name, values)}" for name in unknown]
    if isinstance(node, ComparisonExpression):
        return [_format_comparison(node, values)]
    if isinstance(node, Negation):
        details = ", ".join(
            f"{name.name} is {format_figure_value(values.get(name.name), name.figure.unit)}"
            for name in list_figure_references(node)
        )
        return [f"{node.text} is true" + (f" ({details})" if details else "")]
    return [f"{node.name} is no" if isinstance(node, FigureReference) else "false is never met"]


def _format_comparison(node: ComparisonExpression, values: FigureValues) -> str:
    """`mfu is 0.3553, required at least 0.4 (11 % off)`."""
    left, right = _evaluate_operand(node.left, values), _evaluate_operand(node.right, values)
    if left is None or right is None:
        return f"{node.side_texts[0]} {node.operator} {node.side_texts[1]} has no finite value"
    actual, expected = format_figure_value(left, node.unit), format_figure_value(right, node.unit)
    if actual == expected:
        actual, expected = str(left), str(right)
    if not isinstance(node.right, Constant) and not _is_sum(node.right):
        expected = f"{expected} ({node.side_texts[1]})"
    return (
        f"{node.side_texts[0]} is {actual}, required "
        f"{_EXPECTED_FORMATS[node.operator].format(expected)}{_format_shortfall(node, left, right)}"
    )


def _is_sum(node: ConditionNode) -> bool:
    return isinstance(node, ArithmeticExpression) and node.operator == "+"


def _format_shortfall(node: ComparisonExpression, left: FigureValue, right: FigureValue) -> str:
    """By which fraction a number misses the required number; empty where the fraction is not meaningful."""
    if node.operator in ("==", "!=") or not isinstance(left, float | int) or not isinstance(right, float | int):
        return ""
    share = abs(left / right - 1) if right else 0.0
    return f" ({_format_percent(share)} % off)" if 0 < share < _MAX_PRINTED_SHORTFALL else ""


def _format_percent(share: float) -> str:
    return f"{100 * share:.2g}" if share < 0.995 else f"{100 * share:.0f}"
