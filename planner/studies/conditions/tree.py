"""The tree of a requirement. Sums, products and lists of conditions are flat, so that only brackets add depth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from planner.documents.figures import FigureUnit, PlanFigure

ComparisonOperator = Literal["<", "<=", ">", ">=", "==", "!="]


@dataclass(frozen=True)
class Constant:
    """A number in SI, a text in quotes, `true` or `false`.

    `meaning`: quantity of a number's suffix; None for a bare number, which takes any unit.
    """

    value: float | str | bool
    position: int
    meaning: str | None = None


@dataclass(frozen=True)
class FigureReference:
    """A figure of the plan, and its name in the requirement."""

    name: str
    figure: PlanFigure
    position: int


@dataclass(frozen=True)
class ArithmeticExpression:
    """A sum of terms with their signs, or a product of factors with their exponents: 1 or -1."""

    operator: Literal["+", "*"]
    parts: tuple[tuple[int, ConditionNode], ...]
    position: int


@dataclass(frozen=True)
class ComparisonExpression:
    """A comparison of two sides: `side_texts` as the user wrote them, `unit` in which messages print both."""

    left: ConditionNode
    operator: ComparisonOperator
    right: ConditionNode
    side_texts: tuple[str, str]
    position: int
    unit: FigureUnit = "count"


@dataclass(frozen=True)
class BooleanExpression:
    """Conditions that must all hold (`and`), or of which at least one must hold (`or`)."""

    operator: Literal["and", "or"]
    parts: tuple[ConditionNode, ...]
    position: int


@dataclass(frozen=True)
class Negation:
    """A condition that must not hold, and its text."""

    part: ConditionNode
    text: str
    position: int


ConditionNode = (
    Constant | FigureReference | ArithmeticExpression | ComparisonExpression | BooleanExpression | Negation
)


def list_figure_references(node: ConditionNode) -> tuple[FigureReference, ...]:
    """The distinct figures of a tree, in the order of the text."""
    return tuple({reference.name: reference for reference in _iterate_references(node)}.values())


def _iterate_references(node: ConditionNode) -> Iterator[FigureReference]:
    parts: tuple[ConditionNode, ...] = ()
    match node:
        case FigureReference():
            yield node
        case ArithmeticExpression():
            parts = tuple(part for _, part in node.parts)
        case BooleanExpression():
            parts = node.parts
        case ComparisonExpression():
            parts = (node.left, node.right)
        case Negation():
            parts = (node.part,)
    for part in parts:
        yield from _iterate_references(part)
