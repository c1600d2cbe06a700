"""A figure in a hardware file: a text with a unit, or a table that names its source beside a number in SI.

A plain number has no unit that one could check, so it is taken only with its source:
`{ value = 4.5e11, source = "guide" }`, as in hardware_db. `bandwidth = 300` is refused, `"300GB/s"` is right.
A zero, and a figure without a dimension (a ratio, a count), need no unit. Whatever a figure's form, one that no
machine has is refused: a slip of a unit is a factor of a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from planner.errors import InputError
from planner.units import Dimension, parse_quantity


class SourcedFigure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A value with where it is from; `recalled` marks one that was not read in a source.

    `spread`: relative standard deviation, where one was estimated.
    """

    value: float | int | str
    source: str
    confidence: Literal["read", "recalled", "fitted"] = "read"
    note: str = ""
    spread: float | None = None


class FigureSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A document that figures are from."""

    title: str
    url: str = ""
    date: str = ""


Figure = float | int | str | SourcedFigure


@dataclass(frozen=True, slots=True)
class Assumption:
    """A figure in SI units, and where it is from."""

    name: str
    value: float
    source: str


class FiguresFile(Protocol):
    """A file of figures in tables, such as one of hardware_db/power: its title, and what its figures are from."""

    @property
    def title(self) -> str:
        """For messages."""
        ...

    @property
    def sources(self) -> Mapping[str, FigureSource]:
        """By the names that figures use."""
        ...


_PLAUSIBLE_RANGES: dict[Dimension, tuple[float, float, str]] = {
    "bytes": (1024.0, 2.0**50, "from 1KiB to 1PiB"),
    "bytes_per_s": (1e6, 5e16, "from 1MB/s to 50PB/s"),
    "s": (0.0, 1.0, "at most 1s"),
    "duration": (0.001, 1e11, "from 1ms to 3,000 years"),
    "flops": (1e6, 1e18, "from 1MFLOP/s to 1EFLOP/s"),
    "w": (0.01, 1e6, "from 0.01W to 1MW"),
    "usd": (0.0, 1e6, "at most 1MUSD"),
}
"""Smallest and largest figure of each dimension, and how the two are written."""

FIGURE_DIMENSIONS: dict[str, Dimension] = {
    "capacity": "bytes",
    "on_chip": "bytes",
    "reserved": "bytes",
    "memory": "bytes",
    "bandwidth": "bytes_per_s",
    "bridge": "bytes_per_s",
    "link": "bytes_per_s",
    "cores": "count",
    "storage": "bytes_per_s",
    "bus_bits": "count",
    "data_rate": "bytes_per_s",
    "latency": "s",
    "write": "bytes_per_s",
    "read": "bytes_per_s",
    "device_mtbf": "duration",
    "node_mtbf": "duration",
    "software_mtbf": "duration",
    "detection": "duration",
    "restart": "duration",
    "repair": "duration",
    "pause": "duration",
    "peak_flops": "flops",
    "tdp": "w",
    "idle": "w",
    "max": "w",
    "usd_per_hour": "usd",
    "pue": "ratio",
}
"""What the keys of hardware files that hold figures are figures of."""


def parse_figure(figure: Figure, dimension: Dimension, *, origin: str = "", key: str) -> float:
    """The figure as an SI number. Raises InputError naming origin and key."""
    return parse_quantity(_get_raw_value(figure), dimension, origin=origin, key=key)


def _get_raw_value(figure: Figure) -> float | int | str:
    return figure.value if isinstance(figure, SourcedFigure) else figure


def format_figure_source(figure: SourcedFigure, sources: Mapping[str, FigureSource]) -> str:
    """Where a figure is from, in words, and whether it was only recalled."""
    return sources[figure.source].title + (", recalled" if figure.confidence == "recalled" else "")


def find_assumption(
    files: Iterable[FiguresFile], table: str, key: str, dimension: Dimension, name: str
) -> Assumption | None:
    """The figure `table.key` of the first file that has it, in SI units and called `name`; None where none has it."""
    for file in files:
        figure = getattr(getattr(file, table), key)
        if isinstance(figure, SourcedFigure):
            value = parse_figure(figure, dimension, origin=file.title, key=key)
            return Assumption(name, value, format_figure_source(figure, file.sources))
    return None


def parse_positive_figure(figure: Figure, dimension: Dimension, *, origin: str = "", key: str) -> float:
    """The figure as an SI number above zero that a machine can have. Raises InputError naming origin and key."""
    value = parse_figure(figure, dimension, origin=origin, key=key)
    if value <= 0:
        raise InputError("must be above zero", origin=origin, key=key, value=value, expected="a positive figure")
    _check_plausible(figure, value, dimension, origin=origin, key=key)
    return value


def check_figures(spec: msgspec.Struct, origin: str) -> None:
    """Every figure of a user's file: units are there, values are possible. Raises InputError naming the key."""
    for key, name, figure in _enumerate_figures(spec, ""):
        dimension = FIGURE_DIMENSIONS[name]
        raw = _get_raw_value(figure)
        has_source = isinstance(figure, SourcedFigure) and not isinstance(raw, str)
        value = parse_quantity(raw, dimension, origin=origin, key=key, allow_bare=has_source)
        if value > 0:  # whether zero is allowed is checked where the figure is used
            _check_plausible(figure, value, dimension, origin=origin, key=key)


def _enumerate_figures(value: object, path: str, name: str = "") -> Iterator[tuple[str, str, Figure]]:
    """Every figure below `value` with its path and the key that gives its dimension."""
    if isinstance(value, SourcedFigure) or (name in FIGURE_DIMENSIONS and isinstance(value, int | float | str)):
        if name in FIGURE_DIMENSIONS:
            yield path, name, value
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from _enumerate_figures(getattr(value, field), f"{path}.{field}" if path else field, field)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _enumerate_figures(item, f"{path}.{key}", name)
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _enumerate_figures(item, f"{path}[{index}]", name)


def _check_plausible(figure: Figure, value: float, dimension: Dimension, *, origin: str, key: str) -> None:
    minimum, maximum, range_text = _PLAUSIBLE_RANGES.get(dimension, (0.0, math.inf, ""))
    if not minimum <= value <= maximum:
        raise InputError("out of range", origin=origin, key=key, value=_get_raw_value(figure), expected=range_text)
