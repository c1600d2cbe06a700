"""A requirement as a tree. Sums, products and lists of conditions are flat: it is as deep as its brackets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from planner.studies.conditions.figures import Figure, Unit

Operator = Literal["<", "<=", ">", ">=", "==", "!="]


@dataclass(frozen=True)
class Number:
    """A number in SI. `meaning`: what its suffix is of, None for a bare one, which takes the other side's unit."""

    value: float
    meaning: str | None
    at: int


@dataclass(frozen=True)
class Text:
    """A word in quotes."""

    value: str
    at: int


@dataclass(frozen=True)
class Truth:
    """`true` or `false`."""

    value: bool
    at: int


@dataclass(frozen=True)
class Name:
    """A figure of the plan, by the name that was written."""

    name: str
    figure: Figure
    at: int


@dataclass(frozen=True)
class Sum:
    """Parts with their signs, 1 or -1."""

    parts: tuple[tuple[int, Node], ...]
    at: int


@dataclass(frozen=True)
class Product:
    """Factors with their exponents, 1 or -1."""

    parts: tuple[tuple[int, Node], ...]
    at: int


@dataclass(frozen=True)
class Comparison:
    """Two sides, the texts that they were written as, and the unit that both are told in."""

    left: Node
    operator: Operator
    right: Node
    texts: tuple[str, str]
    at: int
    unit: Unit = "count"


@dataclass(frozen=True)
class Every:
    """Conditions that must all hold."""

    parts: tuple[Node, ...]
    at: int


@dataclass(frozen=True)
class Some:
    """Conditions of which one must hold."""

    parts: tuple[Node, ...]
    at: int


@dataclass(frozen=True)
class Not:
    """A condition that must not hold, and the text it was written as."""

    part: Node
    text: str
    at: int


Node = Number | Text | Truth | Name | Sum | Product | Comparison | Every | Some | Not


def names_in(node: Node) -> tuple[Name, ...]:
    """The figures of a tree, each once, in the order they are written."""
    found: dict[str, Name] = {}
    _collect(node, found)
    return tuple(found.values())


def _collect(node: Node, found: dict[str, Name]) -> None:
    if isinstance(node, Name):
        found.setdefault(node.name, node)
    elif isinstance(node, Sum | Product):
        for _, part in node.parts:
            _collect(part, found)
    elif isinstance(node, Every | Some):
        for part in node.parts:
            _collect(part, found)
    elif isinstance(node, Comparison):
        _collect(node.left, found)
        _collect(node.right, found)
    elif isinstance(node, Not):
        _collect(node.part, found)
