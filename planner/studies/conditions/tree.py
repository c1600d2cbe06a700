"""The tree of a requirement. Sums, products and lists of conditions are flat, so that only brackets add depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from planner.documents.figures import FigureUnit, PlanFigure

ComparisonOperator = Literal["<", "<=", ">", ">=", "==", "!="]


@dataclass(frozen=True)
class NumberLiteral:
    """A number in SI. `meaning`: quantity of its suffix; None for a bare number, which takes any unit."""

    value: float
    meaning: str | None
    position: int


@dataclass(frozen=True)
class TextLiteral:
    """A text in quotes."""

    value: str
    position: int


@dataclass(frozen=True)
class TruthLiteral:
    """`true` or `false`."""

    value: bool
    position: int


@dataclass(frozen=True)
class FigureReference:
    """A figure of the plan, and its name in the requirement."""

    name: str
    figure: PlanFigure
    position: int


@dataclass(frozen=True)
class SumExpression:
    """A sum: terms with their signs, 1 or -1."""

    parts: tuple[tuple[int, ConditionNode], ...]
    position: int


@dataclass(frozen=True)
class ProductExpression:
    """A product: factors with their exponents, 1 or -1."""

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
class AllOf:
    """Conditions that must all hold."""

    parts: tuple[ConditionNode, ...]
    position: int


@dataclass(frozen=True)
class AnyOf:
    """Conditions of which at least one must hold."""

    parts: tuple[ConditionNode, ...]
    position: int


@dataclass(frozen=True)
class Negation:
    """A condition that must not hold, and its text."""

    part: ConditionNode
    text: str
    position: int


ConditionNode = (
    NumberLiteral
    | TextLiteral
    | TruthLiteral
    | FigureReference
    | SumExpression
    | ProductExpression
    | ComparisonExpression
    | AllOf
    | AnyOf
    | Negation
)


def list_figure_references(node: ConditionNode) -> tuple[FigureReference, ...]:
    """The distinct figures of a tree, in the order of the text."""
    references: dict[str, FigureReference] = {}
    _collect_references(node, references)
    return tuple(references.values())


def _collect_references(node: ConditionNode, references: dict[str, FigureReference]) -> None:
    if isinstance(node, FigureReference):
        references.setdefault(node.name, node)
    elif isinstance(node, SumExpression | ProductExpression):
        for _, part in node.parts:
            _collect_references(part, references)
    elif isinstance(node, AllOf | AnyOf):
        for part in node.parts:
            _collect_references(part, references)
    elif isinstance(node, ComparisonExpression):
        _collect_references(node.left, references)
        _collect_references(node.right, references)
    elif isinstance(node, Negation):
        _collect_references(node.part, references)
