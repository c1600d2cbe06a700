"""The axes of charts: the unit that values are shown in, where an axis is logarithmic, and its ticks.

Ticks of linear axes are the drawing library's, except in the terminal, which has no library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from planner.report.report import ChartAxis

_LOG_AXIS_DECADES = 2
"""Values that span more are drawn on a logarithmic axis."""
_MIN_DOUBLINGS = 3
"""So are powers of two that span at least this many."""
_MIN_MAGNITUDE = 1e-100
_TARGET_TICKS = 5
_MAX_TICKS = 9
_SI_PREFIXES = (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3))
"""Of plain counts and of dollars, as the field writes them."""
_RATE_PREFIXES = (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0))
_DISPLAY_UNITS = {
    "B": (("TiB", 2.0**40), ("GiB", 2.0**30), ("MiB", 2.0**20), ("B", 1.0)),
    "s": (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)),
    "share": (("%", 0.01),),
    **{
        unit: tuple((f"{prefix}{unit}", factor) for prefix, factor in _RATE_PREFIXES)
        for unit in ("B/s", "FLOP/s", "OP/s", "FLOP/s/W", "OP/s/W", "FLOP/USD")
    },
}


@dataclass(frozen=True)
class DisplayUnit:
    """What the values of an axis are shown in: `factor` is the unit in that of the values."""

    name: str
    factor: float = 1.0

    def format_value(self, value: float) -> str:
        """A value with its unit."""
        unit = self.name if self.name == "%" else f" {self.name}"
        return f"{format_short_number(value / self.factor)}{unit}".rstrip()


@dataclass(frozen=True)
class AxisScale:
    """From `min_value` to `max_value`; `base` of a logarithmic axis, 0 of a linear one."""

    min_value: float
    max_value: float
    base: int = 0

    def locate(self, value: float) -> float:
        """Where a value is, from 0 at the least to 1 at the most; in the middle where these are the same."""
        if self.max_value == self.min_value:
            return 0.5
        if self.base:
            return math.log(value / self.min_value) / math.log(self.max_value / self.min_value)
        return (value - self.min_value) / (self.max_value - self.min_value)


def choose_display_unit(unit: str, values: Sequence[float]) -> DisplayUnit:
    """The unit that values in `unit` are shown in: of `s` ms or s, by the size of the largest."""
    max_value = max(map(abs, values), default=0.0)
    display_units = _DISPLAY_UNITS.get(unit, ((unit, 1.0),))
    return DisplayUnit(*next((pair for pair in display_units if max_value >= pair[1]), display_units[-1]))


def format_axis_title(axis: ChartAxis, display_unit: DisplayUnit) -> str:
    """`step time, ms`."""
    return ", ".join(filter(None, (axis.title, display_unit.name)))


def is_drawable(value: float) -> bool:
    """Whether a value has a place on an axis: infinite ones have none, nor what no float holds the logarithm of."""
    return value == 0 or _MIN_MAGNITUDE < abs(value) < 1 / _MIN_MAGNITUDE


def choose_log_base(values: Sequence[float]) -> int:
    """The base of the logarithmic axis of such values, 0 where it is linear."""
    low, high = min(values), max(values)
    if low <= 0:
        return 0
    if high / low >= 2**_MIN_DOUBLINGS and all(math.frexp(value)[0] == 0.5 for value in values):
        return 2
    return 10 if high / low > 10**_LOG_AXIS_DECADES else 0


def compute_log_ticks(low: float, high: float, base: int) -> list[float]:
    """Powers of the base around the values, thinned where there are many."""
    first, last = math.floor(math.log(low, base) + 1e-9), math.ceil(math.log(high, base) - 1e-9)
    step = -(-(last - first + 1) // _MAX_TICKS)
    return [float(base) ** power for power in range(first, last + (step if base == 10 else 1), step)]


def build_number_axis(
    values: Sequence[float], *, integers_only: bool = False
) -> tuple[AxisScale, list[tuple[float, str]]]:
    """The scale of numbers in their display unit, and its ticks, each with its label."""
    low, high, base = min(values), max(values), choose_log_base(values)
    ticks = (
        compute_log_ticks(low, high, base) if base else _compute_even_ticks(low, high, integers_only=integers_only)
    )
    return AxisScale(min(low, ticks[0]), max(high, ticks[-1]), base), _label_ticks(ticks)


def build_category_axis(categories: Sequence[str]) -> tuple[AxisScale, list[tuple[float, str]]]:
    """Names side by side: the first at 0, the next at 1."""
    padding = 0.5 if len(categories) == 1 else 0.0
    ticks = [(float(position), category) for position, category in enumerate(categories)]
    return AxisScale(-padding, len(categories) - 1 + padding), ticks


def format_short_number(value: float, digits: int = 4) -> str:
    """A number as it stands beside an axis: few digits and a prefix."""
    magnitude = abs(value)
    for prefix, factor in _SI_PREFIXES:
        if magnitude >= 10 * factor or (magnitude >= factor > 1e3):
            return f"{value / factor:.{digits}g}{prefix}"
    return f"{value:.{digits}g}"


def _label_ticks(ticks: Sequence[float]) -> list[tuple[float, str]]:
    """Ticks with as many digits as it takes to tell them apart."""
    for digits in range(4, 17):
        labels = [format_short_number(tick, digits) for tick in ticks]
        if len(set(labels)) == len(labels):
            break
    return list(zip(ticks, labels, strict=True))


def _compute_even_ticks(low: float, high: float, *, integers_only: bool = False) -> list[float]:
    """Multiples of one, two or five of a power of ten around the values; of whole numbers whole ones."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = low - (abs(low) or 1.0) / 10, high + (abs(high) or 1.0) / 10
    rough_step = (high - low) / _TARGET_TICKS
    power = 10.0 ** math.floor(math.log10(rough_step))
    step = next(power * multiplier for multiplier in (1, 2, 5, 10) if power * multiplier >= rough_step * (1 - 1e-9))
    step = max(step, 1.0) if integers_only else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]
