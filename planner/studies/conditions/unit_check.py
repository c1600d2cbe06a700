"""Whether a requirement makes sense: bytes are compared with bytes. Bare numbers take the unit of what they meet.

A unit is a vector of whole exponents of bytes, seconds, dollars, joules and kilograms; counts and ratios have none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from planner.errors import InputError, nearest
from planner.studies.conditions.figures import Unit
from planner.studies.conditions.tokens import Place
from planner.studies.conditions.tree import (
    Comparison,
    Name,
    Node,
    Not,
    Number,
    Product,
    Sum,
    Text,
    Truth,
)
from planner.units import DAY_S

Exponents = tuple[int, int, int, int, int]
_NONE: Exponents = (0, 0, 0, 0, 0)
_EXPONENTS: dict[str, Exponents] = {
    "bytes": (1, 0, 0, 0, 0),
    "bytes_per_s": (1, -1, 0, 0, 0),
    "s": (0, 1, 0, 0, 0),
    "days": (0, 1, 0, 0, 0),
    "per_s": (0, -1, 0, 0, 0),
    "usd": (0, 0, 1, 0, 0),
    "j": (0, 0, 0, 1, 0),
    "w": (0, -1, 0, 1, 0),
    "kg": (0, 0, 0, 0, 1),
    "ratio": _NONE,
    "count": _NONE,
}
_TOLD_IN: tuple[Unit, ...] = ("bytes", "s", "usd", "j", "w", "kg")
_WORDS = ("bytes", "seconds", "dollars", "joules", "kilograms")
_BYTES: Exponents = (1, 0, 0, 0, 0)


@dataclass(frozen=True)
class Kind:
    """What a part of a requirement is. Of a number: its exponents, None where it takes any unit; `scale`: what a bare
    number beside it is multiplied by, None where nothing says, nan where two figures say different things; `counted`:
    it has a suffix such as `k` or `M`.
    """

    what: Literal["number", "text", "truth"]
    exponents: Exponents | None = None
    scale: float | None = None
    counted: bool = False


_TRUTH = Kind("truth")


def unit_scale(unit: Unit) -> float:
    """SI of one of a figure's own unit: a bare number compared with days is of days."""
    return DAY_S if unit == "days" else 1.0


def checked(tree: Node, place: Place) -> Node:
    """The tree with bare numbers in SI. Raises InputError where it is no condition, or units do not agree."""
    node, kind = _kind(tree, place)
    if kind.what != "truth":
        raise place.fault("is no condition", tree.at, "a comparison such as mfu >= 0.4")
    return node


def _kind(node: Node, place: Place) -> tuple[Node, Kind]:
    if isinstance(node, Number):
        return node, _number_kind(node)
    if isinstance(node, Name):
        unit = node.figure.unit
        if unit == "text" or unit == "truth":
            return node, Kind(unit)
        return node, Kind("number", _EXPONENTS[unit], unit_scale(unit))
    if isinstance(node, Text):
        return node, Kind("text")
    if isinstance(node, Truth):
        return node, _TRUTH
    if isinstance(node, Sum):
        parts, kind = _alike([part for _, part in node.parts], place)
        return replace(node, parts=tuple(zip([sign for sign, _ in node.parts], parts, strict=True))), kind
    if isinstance(node, Product):
        return _product(node, place)
    if isinstance(node, Comparison):
        return _comparison(node, place), _TRUTH
    if isinstance(node, Not):
        return replace(node, part=_condition(node.part, place)), _TRUTH
    return replace(node, parts=tuple(_condition(part, place) for part in node.parts)), _TRUTH


def _number_kind(node: Number) -> Kind:
    if node.meaning in (None, "count"):
        return Kind("number", counted=node.meaning == "count")
    return Kind("number", _EXPONENTS[str(node.meaning)])


def _condition(node: Node, place: Place) -> Node:
    done, kind = _kind(node, place)
    if kind.what != "truth":
        raise place.fault("a value where a condition is needed", node.at, "a comparison such as mfu >= 0.4")
    return done


def _numbers(nodes: Sequence[Node], place: Place) -> list[tuple[Node, Kind]]:
    """The parts of a sum or product. Raises InputError where one is no number."""
    done = [_kind(node, place) for node in nodes]
    for node, kind in done:
        if kind.what != "number":
            raise place.fault("no number to calculate with", node.at, "a number or a figure that is one")
    return done


def _alike(nodes: Sequence[Node], place: Place) -> tuple[list[Node], Kind]:
    """Numbers that are added or compared: one unit for all, which bare ones take."""
    done = _numbers(nodes, place)
    known = [(node, kind) for node, kind in done if kind.exponents is not None]
    for node, kind in known[1:]:
        if kind.exponents != known[0][1].exponents:
            told = f"{_told(known[0][1])} with {_told(kind)}"
            raise place.fault(f"{told}: units do not agree", node.at, f"{_told(known[0][1])} on both sides")
    if not known:
        return [node for node, _ in done], Kind("number", counted=any(kind.counted for _, kind in done))
    scales = {kind.scale for _, kind in known if kind.scale is not None}
    exponents = known[0][1].exponents
    if len(scales) > 1:
        scales = {math.nan}
    for node, kind in done:
        if kind.exponents is None and any(map(math.isnan, scales)):
            raise place.fault("a bare number beside two units of time", node.at, "its unit, such as 30d")
        if kind.counted and exponents == _BYTES:
            raise place.fault("a count beside bytes", node.at, "bytes such as 5GiB or 5GB")
    scale = scales.pop() if len(scales) == 1 else None
    scaled = [_scaled(node, scale or 1.0) if kind.exponents is None else node for node, kind in done]
    return scaled, Kind("number", exponents, scale)


def _scaled(node: Node, scale: float) -> Node:
    if scale == 1:
        return node
    if isinstance(node, Number):
        return replace(node, value=node.value * scale)
    return Product(((1, Number(scale, None, node.at)), (1, node)), node.at)


def _product(node: Product, place: Place) -> tuple[Node, Kind]:
    """Exponents add up; a bare factor has none, unless all are bare. What is left without a unit is a plain number;
    a bare number beside days times 3s could be either's.
    """
    done = _numbers([part for _, part in node.parts], place)
    made = replace(node, parts=tuple((power, part) for (power, _), (part, _) in zip(node.parts, done, strict=True)))
    if all(kind.exponents is None for _, kind in done):
        return made, Kind("number", counted=any(kind.counted for _, kind in done))
    exponents, scale, scaled = _NONE, 1.0, False
    for (power, _), (_, kind) in zip(node.parts, done, strict=True):
        b, s, usd, j, kg = (power * one for one in kind.exponents or _NONE)
        exponents = (exponents[0] + b, exponents[1] + s, exponents[2] + usd, exponents[3] + j, exponents[4] + kg)
        if kind.scale is not None:
            scale, scaled = scale * kind.scale**power, True
    if exponents == _NONE:
        return made, Kind("number", _NONE, 1.0)
    units = any(kind.scale is None and kind.exponents not in (None, _NONE) for _, kind in done)
    return made, Kind("number", exponents, (math.nan if units and scale != 1 else scale) if scaled else None)


def _comparison(node: Comparison, place: Place) -> Node:
    left, right = _kind(node.left, place), _kind(node.right, place)
    whats = {left[1].what, right[1].what}
    if whats == {"number"}:
        (one, other), kind = _alike([node.left, node.right], place)
        return replace(node, left=one, right=other, unit=_unit_of(node, kind))
    if len(whats) > 1:
        expected = {"text": "a word in quotes", "truth": "true or false", "number": "a number"}[left[1].what]
        raise place.fault("sides of different kinds", node.right.at, expected)
    if node.operator not in ("==", "!="):
        raise place.fault("words have no order", node.at, "== or !=")
    for one, other in ((node.left, node.right), (node.right, node.left)):
        if isinstance(one, Name) and isinstance(other, Text):
            _check_choice(one, other, place)
    return replace(node, left=left[0], right=right[0])


def _unit_of(node: Comparison, kind: Kind) -> Unit:
    """The unit that both sides are told in: that of a figure on one side, else the one of these exponents."""
    for side in (node.left, node.right):
        if isinstance(side, Name):
            return side.figure.unit
    if kind.exponents == _EXPONENTS["s"] and kind.scale == DAY_S:
        return "days"
    return next((unit for unit in _TOLD_IN if _EXPONENTS[unit] == kind.exponents), "count")


def _check_choice(name: Name, word: Text, place: Place) -> None:
    choices = name.figure.choices
    if choices and word.value not in choices:
        raise InputError(
            f"{name.name} is never this",
            origin=place.origin,
            key=place.key,
            value=word.value,
            expected=f"one of {', '.join(choices)}",
            suggestion=nearest(word.value, choices),
        )


def _told(kind: Kind) -> str:
    """A unit in words: bytes, bytes/seconds, a plain number."""
    exponents = kind.exponents or _NONE
    over = [_power(word, e) for word, e in zip(_WORDS, exponents, strict=True) if e > 0]
    under = [_power(word, -e) for word, e in zip(_WORDS, exponents, strict=True) if e < 0]
    if not over and not under:
        return "a plain number"
    return "/".join(["*".join(over) or "1", *under])


def _power(word: str, exponent: int) -> str:
    return word if exponent == 1 else f"{word}^{exponent}"
