"""A requirement held against a plan's figures: whether it is met, and if not, what was found and what was wanted.

A figure that is not known makes its comparison neither true nor false; what cannot be said to be met is not met.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.studies.conditions.display import told_value
from planner.studies.conditions.parse import Requirement
from planner.studies.conditions.tree import (
    Comparison,
    Every,
    Name,
    Node,
    Not,
    Number,
    Product,
    Some,
    Sum,
    Text,
    Truth,
    names_in,
)
from planner.studies.conditions.values import Value, Values, why_unknown

_SAME = 1e-12
_FAR = 10.0
_WANTED = {
    "<": "less than {}",
    "<=": "at most {}",
    ">": "more than {}",
    ">=": "at least {}",
    "==": "{}",
    "!=": "anything but {}",
}


@dataclass(frozen=True)
class Verdict:
    """Whether a requirement is met; the figures in it; and why it is not met, empty where it is."""

    requirement: str
    met: bool
    found: tuple[tuple[str, Value], ...]
    told: str


def not_met(requirement: str, told: str) -> str:
    """What is said of a requirement that is not met; `told`: what was found and what was wanted."""
    return f"requirement not met: {requirement}\n  {told}"


def held(requirement: Requirement, values: Values) -> Verdict:
    """The requirement held against figures."""
    found = tuple((name.name, values.get(name.name)) for name in names_in(requirement.tree))
    met = _truth(requirement.tree, values) is True
    told = "" if met else "; ".join(dict.fromkeys(_faults(requirement.tree, values)))
    return Verdict(requirement.text, met, found, told)


def _truth(node: Node, values: Values) -> bool | None:
    """Kleene's logic of three values."""
    if isinstance(node, Not):
        inner = _truth(node.part, values)
        return None if inner is None else not inner
    if isinstance(node, Every | Some):
        decides = isinstance(node, Some)
        parts = [_truth(part, values) for part in node.parts]
        return decides if decides in parts else None if None in parts else not decides
    if isinstance(node, Comparison):
        return _compared(node, values)
    value = values.get(node.name) if isinstance(node, Name) else node.value if isinstance(node, Truth) else None
    return value if isinstance(value, bool) else None


def _compared(node: Comparison, values: Values) -> bool | None:
    left, right = _value(node.left, values), _value(node.right, values)
    if left is None or right is None:
        return None
    if isinstance(left, str | bool) or isinstance(right, str | bool):
        return (left == right) == (node.operator == "==")
    if node.operator in ("==", "!="):
        return math.isclose(left, right, rel_tol=_SAME) == (node.operator == "==")
    less = left < right if node.operator in ("<", "<=") else left > right
    return less or ("=" in node.operator and left == right)


def _value(node: Node, values: Values) -> Value:
    if isinstance(node, Name):
        return values.get(node.name)
    if isinstance(node, Text | Truth):
        return node.value
    if isinstance(node, Number | Sum | Product):
        return _number(node, values)
    return _truth(node, values)


def _number(node: Node, values: Values) -> float | None:
    """The number in SI; None where a part is not known, or it divides by zero."""
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Name):
        value = values.get(node.name)
        return None if value is None or isinstance(value, str) else float(value)
    if not isinstance(node, Sum | Product):
        return None
    total = 0.0 if isinstance(node, Sum) else 1.0
    for sign, part in node.parts:
        value = _number(part, values)
        if value is None or (value == 0 and sign < 0 and isinstance(node, Product)):
            return None
        if isinstance(node, Sum):
            total += sign * value
        else:
            total = total * value if sign > 0 else total / value
    return total if math.isfinite(total) else None


def _faults(node: Node, values: Values) -> list[str]:
    """Why a condition cannot be said to hold, a clause each."""
    if isinstance(node, Every):
        return [one for part in node.parts if _truth(part, values) is not True for one in _faults(part, values)]
    if isinstance(node, Some):
        return [one for part in node.parts for one in _faults(part, values)]
    unknown = [name.name for name in names_in(node) if values.get(name.name) is None]
    if unknown:
        return [f"{name} is not known: {why_unknown(name, values)}" for name in unknown]
    if isinstance(node, Comparison):
        return [_compared_told(node, values)]
    if isinstance(node, Not):
        told = ", ".join(
            f"{name.name} is {told_value(values.get(name.name), name.figure.unit)}" for name in names_in(node)
        )
        return [f"{node.text} holds" + (f" ({told})" if told else "")]
    return [f"{node.name} is no" if isinstance(node, Name) else "false is never met"]


def _compared_told(node: Comparison, values: Values) -> str:
    """`mfu is 0.3553, wanted at least 0.4 (11 % off)`."""
    left, right = _value(node.left, values), _value(node.right, values)
    if left is None or right is None:
        return f"{node.texts[0]} {node.operator} {node.texts[1]} is of no finite number"
    told, wanted = told_value(left, node.unit), told_value(right, node.unit)
    if told == wanted:
        told, wanted = str(left), str(right)
    if not isinstance(node.right, Number | Text | Truth | Sum):
        wanted = f"{wanted} ({node.texts[1]})"
    return f"{node.texts[0]} is {told}, wanted {_WANTED[node.operator].format(wanted)}{_off(node, left, right)}"


def _off(node: Comparison, left: Value, right: Value) -> str:
    """By how much a number misses the other, where that says something."""
    if node.operator in ("==", "!=") or not isinstance(left, float | int) or not isinstance(right, float | int):
        return ""
    share = abs(left / right - 1) if right else 0.0
    return f" ({_percent(share)} % off)" if 0 < share < _FAR else ""


def _percent(share: float) -> str:
    return f"{100 * share:.2g}" if share < 0.995 else f"{100 * share:.0f}"
