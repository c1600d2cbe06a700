"""Check the units of a requirement: bytes are compared with bytes. Bare numbers take the unit of the other side.

A unit is a vector of integer exponents of bytes, seconds, dollars, joules and kilograms; for counts and ratios all
exponents are zero.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from planner.cost.settings import SETTINGS
from planner.documents.figures import FigureUnit
from planner.errors import InputError, find_nearest_name
from planner.studies.conditions.tokens import ConditionSource
from planner.studies.conditions.tree import (
    ArithmeticExpression,
    ComparisonExpression,
    ConditionNode,
    Constant,
    FigureReference,
    Negation,
)
from planner.units import DAY_S

UnitExponents = tuple[int, int, int, int, int]
_DIMENSIONLESS: UnitExponents = (0, 0, 0, 0, 0)
_EXPONENTS_BY_UNIT: dict[str, UnitExponents] = {
    "bytes": (1, 0, 0, 0, 0),
    "bytes_per_s": (1, -1, 0, 0, 0),
    "s": (0, 1, 0, 0, 0),
    "days": (0, 1, 0, 0, 0),
    "per_s": (0, -1, 0, 0, 0),
    "usd": (0, 0, 1, 0, 0),
    "j": (0, 0, 0, 1, 0),
    "w": (0, -1, 0, 1, 0),
    "kg": (0, 0, 0, 0, 1),
    "ratio": _DIMENSIONLESS,
    "count": _DIMENSIONLESS,
}
_DISPLAY_UNITS: tuple[FigureUnit, ...] = ("bytes", "s", "usd", "j", "w", "kg")
_BASE_UNIT_NAMES = ("bytes", "seconds", "dollars", "joules", "kilograms")
_BYTES_EXPONENTS: UnitExponents = (1, 0, 0, 0, 0)


@dataclass(frozen=True)
class OperandType:
    """The type of a part of a requirement.

    For numbers: `exponents` of the unit, None for a bare number, which takes any unit; `scale`: the factor to SI of
    bare numbers that are compared with it or added to it, None where it implies no factor, nan where two figures
    imply different factors; `has_count_suffix`: whether it has a suffix such as `k` or `M`.
    """

    base_type: Literal["number", "text", "truth"]
    exponents: UnitExponents | None = None
    scale: float | None = None
    has_count_suffix: bool = False


_TRUTH_TYPE = OperandType("truth")


def get_unit_scale(unit: FigureUnit) -> float:
    """Factor to SI of a bare number that is compared with a figure of this unit: compared with days it means days."""
    return DAY_S if unit == "days" else 1.0


def check_condition_units(tree: ConditionNode, source: ConditionSource) -> ConditionNode:
    """The tree with bare numbers in SI. Raises InputError where it is not a condition or units are incompatible."""
    node, operand_type = _infer_type(tree, source)
    if operand_type.base_type != "truth":
        raise source.build_error("not a condition", tree.position, "a comparison such as mfu >= 0.4")
    return node


def _infer_type(node: ConditionNode, source: ConditionSource) -> tuple[ConditionNode, OperandType]:
    if isinstance(node, Constant):
        return node, _infer_constant_type(node)
    if isinstance(node, FigureReference):
        unit = node.figure.unit
        if unit == "text" or unit == "truth":
            return node, OperandType(unit)
        return node, OperandType("number", _EXPONENTS_BY_UNIT[unit], get_unit_scale(unit))
    if isinstance(node, ArithmeticExpression):
        if node.operator == "*":
            return _infer_product_type(node, source)
        parts, operand_type = _unify_units([part for _, part in node.parts], source)
        return replace(node, parts=tuple(zip([sign for sign, _ in node.parts], parts, strict=True))), operand_type
    if isinstance(node, ComparisonExpression):
        return _check_comparison(node, source), _TRUTH_TYPE
    if isinstance(node, Negation):
        return replace(node, part=_check_condition(node.part, source)), _TRUTH_TYPE
    return replace(node, parts=tuple(_check_condition(part, source) for part in node.parts)), _TRUTH_TYPE


def _infer_constant_type(node: Constant) -> OperandType:
    if isinstance(node.value, bool | str):
        return _TRUTH_TYPE if isinstance(node.value, bool) else OperandType("text")
    if node.meaning in (None, "count"):
        return OperandType("number", has_count_suffix=node.meaning == "count")
    return OperandType("number", _EXPONENTS_BY_UNIT[str(node.meaning)])


def _check_condition(node: ConditionNode, source: ConditionSource) -> ConditionNode:
    checked_node, operand_type = _infer_type(node, source)
    if operand_type.base_type != "truth":
        raise source.build_error(
            "value where a condition is expected", node.position, "a comparison such as mfu >= 0.4"
        )
    return checked_node


def _check_numbers(
    nodes: Sequence[ConditionNode], source: ConditionSource
) -> list[tuple[ConditionNode, OperandType]]:
    """The parts of a sum or product with their types. Raises InputError for a part that is not a number."""
    typed_nodes = [_infer_type(node, source) for node in nodes]
    for node, operand_type in typed_nodes:
        if operand_type.base_type != "number":
            raise source.build_error("not a number", node.position, "a number, or a figure that is a number")
    return typed_nodes


def _unify_units(nodes: Sequence[ConditionNode], source: ConditionSource) -> tuple[list[ConditionNode], OperandType]:
    """Numbers that are added or compared, in the unit that all share; bare numbers take this unit."""
    typed_nodes = _check_numbers(nodes, source)
    nodes_with_unit = [item for item in typed_nodes if item[1].exponents is not None]
    for node, operand_type in nodes_with_unit[1:]:
        if operand_type.exponents != nodes_with_unit[0][1].exponents:
            expected_unit = _format_unit(nodes_with_unit[0][1])
            raise source.build_error(
                f"incompatible units: {expected_unit} and {_format_unit(operand_type)}", node.position, expected_unit
            )
    if not nodes_with_unit:
        return [node for node, _ in typed_nodes], OperandType(
            "number", has_count_suffix=any(operand_type.has_count_suffix for _, operand_type in typed_nodes)
        )
    scales = {operand_type.scale for _, operand_type in nodes_with_unit if operand_type.scale is not None}
    exponents = nodes_with_unit[0][1].exponents
    if len(scales) > 1:
        scales = {math.nan}
    for node, operand_type in typed_nodes:
        if operand_type.exponents is None and any(map(math.isnan, scales)):
            raise source.build_error(
                "number without a unit among days and seconds", node.position, "a unit, such as 30d"
            )
        if operand_type.has_count_suffix and exponents == _BYTES_EXPONENTS:
            raise source.build_error("count suffix on bytes", node.position, "bytes such as 5GiB or 5GB")
    scale = scales.pop() if len(scales) == 1 else None
    scaled = [
        _scale_node(node, scale or 1.0) if operand_type.exponents is None else node
        for node, operand_type in typed_nodes
    ]
    return scaled, OperandType("number", exponents, scale)


def _scale_node(node: ConditionNode, scale: float) -> ConditionNode:
    if scale == 1:
        return node
    if isinstance(node, Constant) and isinstance(node.value, float):
        return replace(node, value=node.value * scale)
    return ArithmeticExpression("*", ((1, Constant(scale, node.position)), (1, node)), node.position)


def _infer_product_type(node: ArithmeticExpression, source: ConditionSource) -> tuple[ConditionNode, OperandType]:
    """The type of a product: exponents add up; bare factors count as plain numbers unless all factors are bare.

    A product without a unit is a plain number. The scale is nan where it is ambiguous, as in days times 3s.
    """
    typed_nodes = _check_numbers([part for _, part in node.parts], source)
    product = replace(
        node, parts=tuple((power, part) for (power, _), (part, _) in zip(node.parts, typed_nodes, strict=True))
    )
    if all(operand_type.exponents is None for _, operand_type in typed_nodes):
        return product, OperandType(
            "number", has_count_suffix=any(operand_type.has_count_suffix for _, operand_type in typed_nodes)
        )
    exponents, scale, has_scale = _DIMENSIONLESS, 1.0, False
    for (power, _), (_, operand_type) in zip(node.parts, typed_nodes, strict=True):
        b, s, usd, j, kg = (power * exponent for exponent in operand_type.exponents or _DIMENSIONLESS)
        exponents = (exponents[0] + b, exponents[1] + s, exponents[2] + usd, exponents[3] + j, exponents[4] + kg)
        if operand_type.scale is not None:
            scale, has_scale = scale * operand_type.scale**power, True
    if exponents == _DIMENSIONLESS:
        return product, OperandType("number", _DIMENSIONLESS, 1.0)
    has_other_units = any(
        operand_type.scale is None and operand_type.exponents not in (None, _DIMENSIONLESS)
        for _, operand_type in typed_nodes
    )
    return product, OperandType(
        "number", exponents, (math.nan if has_other_units and scale != 1 else scale) if has_scale else None
    )


def _check_comparison(node: ComparisonExpression, source: ConditionSource) -> ConditionNode:
    left, right = _infer_type(node.left, source), _infer_type(node.right, source)
    base_types = {left[1].base_type, right[1].base_type}
    if base_types == {"number"}:
        (first, second), operand_type = _unify_units([node.left, node.right], source)
        return replace(node, left=first, right=second, unit=_find_display_unit(node, operand_type))
    if len(base_types) > 1:
        expected = {"text": "a text in quotes", "truth": "yes or no", "number": "a number"}[left[1].base_type]
        raise source.build_error("sides of different types", node.right.position, expected)
    if node.operator not in ("==", "!="):
        raise source.build_error("texts and truth values have no order", node.position, "== or !=")
    for first, second in ((node.left, node.right), (node.right, node.left)):
        if isinstance(first, FigureReference) and isinstance(second, Constant) and isinstance(second.value, str):
            word = replace(second, value=_check_choice(first, second.value, source))
            return (
                replace(node, left=first, right=word) if first is node.left else replace(node, left=word, right=first)
            )
    return replace(node, left=left[0], right=right[0])


def _find_display_unit(node: ComparisonExpression, operand_type: OperandType) -> FigureUnit:
    """The unit in which messages print both sides: that of a figure on either side, else by the exponents."""
    for side in (node.left, node.right):
        if isinstance(side, FigureReference):
            return side.figure.unit
    if operand_type.exponents == _EXPONENTS_BY_UNIT["s"] and operand_type.scale == DAY_S:
        return "days"
    return next((unit for unit in _DISPLAY_UNITS if _EXPONENTS_BY_UNIT[unit] == operand_type.exponents), "count")


def _check_choice(reference: FigureReference, text: str, source: ConditionSource) -> str:
    """The text as the figure has it. Raises InputError for a text that the figure never is."""
    prefix, _, setting_name = reference.name.rpartition(".")
    setting = SETTINGS.get(setting_name) if prefix.endswith("settings") else None
    choices = setting.values if setting is not None else reference.figure.choices
    allows_counts = setting is not None and setting.kind == "count"
    if setting is not None and setting.normalize is not None:
        with contextlib.suppress(ValueError):
            return setting.normalize(text)
    joined_names = {frozenset(choice.split("+")): choice for choice in choices}
    name = joined_names.get(frozenset(text.split("+")), text)
    if not choices or name in choices or (allows_counts and text.isdecimal()):
        return name
    raise InputError(
        f"{reference.name} never has this value",
        origin=source.origin,
        key=source.key,
        value=text,
        expected=f"one of {', '.join(choices)}" + (", or a whole number" if allows_counts else ""),
        suggestion=find_nearest_name(text, choices),
    )


def _format_unit(operand_type: OperandType) -> str:
    """A unit in words: bytes, bytes/seconds, a plain number."""
    exponents = operand_type.exponents or _DIMENSIONLESS
    numerator = [_format_unit_power(word, e) for word, e in zip(_BASE_UNIT_NAMES, exponents, strict=True) if e > 0]
    denominator = [_format_unit_power(word, -e) for word, e in zip(_BASE_UNIT_NAMES, exponents, strict=True) if e < 0]
    if not numerator and not denominator:
        return "a plain number"
    return "/".join(["*".join(numerator) or "1", *denominator])


def _format_unit_power(word: str, exponent: int) -> str:
    return word if exponent == 1 else f"{word}^{exponent}"
