"""A figure in a hardware file: a number in SI, a text with a unit, or a table that also names its source."""

from __future__ import annotations

from typing import Literal

import msgspec

from planner.units import Dimension, parse_quantity


class Sourced(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A value with where it is from; `recalled` marks one that was not read in a source."""

    value: float | int | str
    source: str
    confidence: Literal["read", "recalled", "fitted"] = "read"
    note: str = ""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A document that figures are from."""

    title: str
    url: str = ""
    date: str = ""


Figure = float | int | str | Sourced


def number(figure: Figure, dimension: Dimension, *, origin: str, key: str) -> float:
    """The figure as an SI number. Raises InputError naming origin and key."""
    raw = figure.value if isinstance(figure, Sourced) else figure
    return parse_quantity(raw, dimension, origin=origin, key=key)


def positive(figure: Figure, dimension: Dimension, *, origin: str, key: str) -> float:
    """The figure as an SI number above zero. Raises InputError naming origin and key."""
    from planner.errors import InputError

    value = number(figure, dimension, origin=origin, key=key)
    if value <= 0:
        raise InputError("must be above zero", origin=origin, key=key, value=value, expected="a positive figure")
    return value
