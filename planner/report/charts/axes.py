"""The axes of a plot: where a value is, which values are written beside it, in which unit, linear or logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_DECADES = 2
"""Values that span more are drawn on a logarithmic axis."""
_DOUBLINGS = 3
"""So are powers of two that span at least so many."""
_TICKS = 5
_MOST_TICKS = 9
_PREFIXES = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))
_SIZES = (("TiB", 2.0**40), ("GiB", 2.0**30), ("MiB", 2.0**20), ("B", 1.0))
_TIMES = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6))
_SHARES = ("mfu", "hfu")
_UNITS = {"usd": "USD", "j": "J", "w": "W", "kg": "kg", "days": "days"}


@dataclass(frozen=True)
class Axis:
    """From `least` to `most`; `ticks` are values and what is written at them; `factor`: what `unit` is in SI."""

    title: str
    least: float
    most: float
    ticks: Sequence[tuple[float, str]]
    is_logarithmic: bool = False
    factor: float = 1.0
    unit: str = ""

    def place(self, value: float) -> float:
        """Where a value is, from 0 at the least to 1 at the most."""
        return share_between(value, self.least, self.most, is_logarithmic=self.is_logarithmic)

    def said(self, value: float) -> str:
        """A value with its unit."""
        unit = self.unit if self.unit == "%" else f" {self.unit}"
        return f"{short(value / self.factor)}{unit}".rstrip()


def share_between(value: float, least: float, most: float, *, is_logarithmic: bool = False) -> float:
    """Where a value is, from 0 at the least to 1 at the most; in the middle where these are one."""
    if most == least:
        return 0.5
    if is_logarithmic:
        return math.log(value / least) / math.log(most / least)
    return (value - least) / (most - least)


def word_axis(title: str, words: Sequence[str]) -> Axis:
    """Words side by side: the first at 0, the next at 1."""
    half = 0.5 if len(words) == 1 else 0.0
    return Axis(title, -half, len(words) - 1 + half, [(float(place), word) for place, word in enumerate(words)])


def number_axis(name: str, values: Sequence[float]) -> Axis:
    """The axis of a figure whose name tells its unit, over its values."""
    unit, factor = _unit(name, max(map(abs, values)))
    title = f"{name}, {unit}" if unit else name
    low, high = min(values), max(values)
    if low > 0 and _are_doublings(values):
        told = _labelled(_doublings(low, high), factor)
        return Axis(title, low, high, told, True, factor, unit)
    if low > 0 and high / low > 10**_DECADES:
        told = _labelled([tick * factor for tick in _decades(low / factor, high / factor)], factor)
        return Axis(title, min(low, told[0][0]), max(high, told[-1][0]), told, True, factor, unit)
    whole = not unit and all(value == math.floor(value) for value in values)
    told = _labelled([tick * factor for tick in _even(low / factor, high / factor, whole=whole)], factor)
    return Axis(title, told[0][0], told[-1][0], told, False, factor, unit)


def short(value: float, digits: int = 4) -> str:
    """A number as it stands beside an axis: few digits and a prefix."""
    size = abs(value)
    for prefix, factor in _PREFIXES:
        if size >= 10 * factor or (size >= factor > 1e3):
            return f"{value / factor:.{digits}g}{prefix}"
    return f"{value:.{digits}g}"


def _labelled(ticks: Sequence[float], factor: float) -> list[tuple[float, str]]:
    """Ticks with as many digits as it takes to tell them apart."""
    for digits in range(4, 17):
        words = [short(tick / factor, digits) for tick in ticks]
        if len(set(words)) == len(words):
            break
    return list(zip(ticks, words, strict=True))


def _unit(name: str, most: float) -> tuple[str, float]:
    """The unit that a figure is told in and what it is in SI: of `step_time_s` ms or s, by the size of the values."""
    ending = name.rsplit("_", 1)[-1]
    if name in _SHARES or ending == "share":
        return "%", 0.01
    if name.endswith("_per_s") or "_per_s_" in name:
        return "", 1.0
    scale = {"bytes": _SIZES, "s": _TIMES}.get(ending if "_" in name else "")
    if scale is not None:
        return next((one for one in scale if most >= one[1]), scale[-1])
    words = name.split("_")
    return next((told for key, told in _UNITS.items() if key in words), ""), 1.0


def _are_doublings(values: Sequence[float]) -> bool:
    return max(values) / min(values) >= 2**_DOUBLINGS and all(math.log2(value).is_integer() for value in values)


def _doublings(low: float, high: float) -> list[float]:
    count = round(math.log2(high / low)) + 1
    step = -(-count // _MOST_TICKS)
    return [low * 2.0**power for power in range(0, count, step)]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten around the values, thinned where there are many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = -(-(last - first + 1) // _MOST_TICKS)
    return [10.0**power for power in range(first, last + step, step)]


def _even(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Multiples of one, two or five of a power of ten around the values; of whole numbers whole ones."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = low - (abs(low) or 1.0) / 10, high + (abs(high) or 1.0) / 10
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * one for one in (1, 2, 5, 10) if power * one >= rough * (1 - 1e-9))
    step = max(step, 1.0) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]
