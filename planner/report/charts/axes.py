"""The axes of a plot: where a value is, which values are written beside it, in which unit, linear or logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_LOG_AXIS_DECADES = 2
"""Values that span more are drawn on a logarithmic axis."""
_MIN_DOUBLINGS = 3
"""So are powers of two that span at least so many."""
_TARGET_TICKS = 5
_MAX_TICKS = 9
_SI_PREFIXES = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))
_BYTE_UNITS = (("TiB", 2.0**40), ("GiB", 2.0**30), ("MiB", 2.0**20), ("B", 1.0))
_TIME_UNITS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6))
_PERCENT_FIGURES = ("mfu", "hfu")
_UNITS_BY_WORD = {"usd": "USD", "j": "J", "w": "W", "kg": "kg", "days": "days"}


@dataclass(frozen=True)
class PlotAxis:
    """From `min_value` to `max_value`; `ticks` are values and what is written at them; `unit_factor`: what `unit` is
    in SI.
    """

    title: str
    min_value: float
    max_value: float
    ticks: Sequence[tuple[float, str]]
    is_logarithmic: bool = False
    unit_factor: float = 1.0
    unit: str = ""

    def locate(self, value: float) -> float:
        """Where a value is, from 0 at the least to 1 at the most."""
        return compute_relative_position(value, self.min_value, self.max_value, is_logarithmic=self.is_logarithmic)

    def format_value(self, value: float) -> str:
        """A value with its unit."""
        unit = self.unit if self.unit == "%" else f" {self.unit}"
        return f"{format_short_number(value / self.unit_factor)}{unit}".rstrip()


def compute_relative_position(
    value: float, min_value: float, max_value: float, *, is_logarithmic: bool = False
) -> float:
    """Where a value is, from 0 at the least to 1 at the most; in the middle where these are one."""
    if max_value == min_value:
        return 0.5
    if is_logarithmic:
        return math.log(value / min_value) / math.log(max_value / min_value)
    return (value - min_value) / (max_value - min_value)


def build_category_axis(title: str, categories: Sequence[str]) -> PlotAxis:
    """Words side by side: the first at 0, the next at 1."""
    padding = 0.5 if len(categories) == 1 else 0.0
    return PlotAxis(
        title,
        -padding,
        len(categories) - 1 + padding,
        [(float(position), category) for position, category in enumerate(categories)],
    )


def build_number_axis(name: str, values: Sequence[float]) -> PlotAxis:
    """The axis of a figure whose name tells its unit, over its values."""
    unit, factor = _find_unit(name, max(map(abs, values)))
    title = f"{name}, {unit}" if unit else name
    low, high = min(values), max(values)
    if low > 0 and _is_doubling_range(values):
        ticks = _label_ticks(_compute_doubling_ticks(low, high), factor)
        return PlotAxis(title, low, high, ticks, True, factor, unit)
    if low > 0 and high / low > 10**_LOG_AXIS_DECADES:
        ticks = _label_ticks([tick * factor for tick in _compute_decade_ticks(low / factor, high / factor)], factor)
        return PlotAxis(title, min(low, ticks[0][0]), max(high, ticks[-1][0]), ticks, True, factor, unit)
    integers_only = not unit and all(value == math.floor(value) for value in values)
    ticks = _label_ticks(
        [tick * factor for tick in _compute_even_ticks(low / factor, high / factor, integers_only=integers_only)],
        factor,
    )
    return PlotAxis(title, ticks[0][0], ticks[-1][0], ticks, False, factor, unit)


def format_short_number(value: float, digits: int = 4) -> str:
    """A number as it stands beside an axis: few digits and a prefix."""
    magnitude = abs(value)
    for prefix, factor in _SI_PREFIXES:
        if magnitude >= 10 * factor or (magnitude >= factor > 1e3):
            return f"{value / factor:.{digits}g}{prefix}"
    return f"{value:.{digits}g}"


def _label_ticks(ticks: Sequence[float], factor: float) -> list[tuple[float, str]]:
    """Ticks with as many digits as it takes to tell them apart."""
    for digits in range(4, 17):
        labels = [format_short_number(tick / factor, digits) for tick in ticks]
        if len(set(labels)) == len(labels):
            break
    return list(zip(ticks, labels, strict=True))


def _find_unit(name: str, max_value: float) -> tuple[str, float]:
    """The unit that a figure is told in and what it is in SI: of `step_time_s` ms or s, by the size of the values."""
    suffix = name.rsplit("_", 1)[-1]
    if name in _PERCENT_FIGURES or suffix == "share":
        return "%", 0.01
    if name.endswith("_per_s") or "_per_s_" in name:
        return "", 1.0
    unit_scales = {"bytes": _BYTE_UNITS, "s": _TIME_UNITS}.get(suffix if "_" in name else "")
    if unit_scales is not None:
        return next((unit_scale for unit_scale in unit_scales if max_value >= unit_scale[1]), unit_scales[-1])
    words = name.split("_")
    return next((unit for key, unit in _UNITS_BY_WORD.items() if key in words), ""), 1.0


def _is_doubling_range(values: Sequence[float]) -> bool:
    return max(values) / min(values) >= 2**_MIN_DOUBLINGS and all(math.log2(value).is_integer() for value in values)


def _compute_doubling_ticks(low: float, high: float) -> list[float]:
    count = round(math.log2(high / low)) + 1
    step = -(-count // _MAX_TICKS)
    return [low * 2.0**power for power in range(0, count, step)]


def _compute_decade_ticks(low: float, high: float) -> list[float]:
    """Powers of ten around the values, thinned where there are many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = -(-(last - first + 1) // _MAX_TICKS)
    return [10.0**power for power in range(first, last + step, step)]


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
