"""Quantities as people of the field write them (`80GiB`, `400Gb/s`, `15T`, `2us`) to SI numbers, and back."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Literal

from planner.errors import InputError

Dimension = Literal["bytes", "bytes_per_s", "s", "duration", "flops", "w", "count", "usd", "ratio", "intensity"]

_DECIMAL_PREFIXES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY_PREFIXES = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}
_SIZE_PREFIXES = _DECIMAL_PREFIXES | _BINARY_PREFIXES
_COUNT_SUFFIXES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}
DAY_S, YEAR_S = 86_400.0, 365.25 * 86_400.0
J_PER_KWH = 3.6e6
_TIME_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": DAY_S}
_DURATION_UNITS_S = _TIME_UNITS_S | {"w": 7 * DAY_S, "y": YEAR_S}
_MASS_UNITS_G = {"g": 1.0, "kg": 1e3, "t": 1e6, "lb": 453.59237}

_SUFFIXES_BY_DIMENSION: dict[Dimension, dict[str, float]] = {
    "bytes": {f"{p}B": f for p, f in _SIZE_PREFIXES.items()},
    "bytes_per_s": {f"{p}B/s": f for p, f in _SIZE_PREFIXES.items()}
    | {f"{p}b/s": f / 8 for p, f in _SIZE_PREFIXES.items()}
    | {f"{p}bps": f / 8 for p, f in _DECIMAL_PREFIXES.items()}
    | {f"{p}bit/s": f / 8 for p, f in _DECIMAL_PREFIXES.items()},
    "s": _TIME_UNITS_S,
    "duration": _DURATION_UNITS_S,
    "flops": {
        f"{p}{unit}": f for p, f in _DECIMAL_PREFIXES.items() for unit in ("FLOP/s", "flop/s", "FLOPS", "flops")
    },
    "w": {f"{p}W": f for p, f in _DECIMAL_PREFIXES.items()},
    "count": _COUNT_SUFFIXES,
    "usd": {f"{p}USD": f for p, f in _COUNT_SUFFIXES.items()}
    | {f"{p}$": f for p, f in _COUNT_SUFFIXES.items()}
    | _COUNT_SUFFIXES,
    "ratio": {"": 1.0, "%": 0.01, "x": 1.0},
    # carbon intensity of a grid, in grams of CO2-equivalent per kilowatt-hour
    "intensity": {
        f"{mass}{gas}/{energy}": grams / kwh
        for mass, grams in _MASS_UNITS_G.items()
        for gas in ("", "CO2", "CO2e", "CO2eq")
        for energy, kwh in (("kWh", 1.0), ("MWh", 1e3))
    },
}
_ENERGY_UNITS_J = {
    f"{p}{unit}": f * joules for p, f in _DECIMAL_PREFIXES.items() for unit, joules in (("J", 1.0), ("Wh", 3600.0))
}
_DIMENSION_EXAMPLES: dict[Dimension, str] = {
    "bytes": "a size such as 80GiB or 80GB",
    "bytes_per_s": "a rate such as 300GB/s or 400Gb/s",
    "s": "a time such as 2us, 5ms or 30d",
    "duration": "a duration such as 10min, 50000h or 5y",
    "flops": "a speed such as 989TFLOP/s",
    "w": "a power such as 700W or 10.2kW",
    "count": "a number such as 1024, 70B or 1.5T",
    "usd": "an amount such as 2MUSD",
    "ratio": "a ratio such as 0.9, 90% or 2x",
    "intensity": "an intensity such as 56g/kWh",
}
_QUANTITY_PATTERN = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*([^\s\d].*)?")


def parse_quantity(
    text: str | int | float, dimension: Dimension, *, origin: str = "", key: str = "", allow_bare: bool = True
) -> float:
    """Read a non-negative quantity of one dimension into its SI number.

    A bare number is taken as SI already; with `allow_bare` False it must have a unit, unless it is zero or the
    dimension has none. Counts take their suffix in either case. Raises InputError that names origin and key.
    """
    input_error = InputError(
        f"not {_DIMENSION_EXAMPLES[dimension].partition(' such as')[0]}",
        origin=origin,
        key=key,
        value=text,
        expected=_DIMENSION_EXAMPLES[dimension],
    )
    if isinstance(text, int | float) and not isinstance(text, bool):
        # compared before float(): an integer of thousands of digits does not fit a float
        if not 0 <= text < 1e30:
            raise input_error
        return _apply_unit(float(text), "", dimension, allow_bare, input_error)
    if not isinstance(text, str) or len(text) > 64:
        raise input_error
    match = _QUANTITY_PATTERN.fullmatch(text)
    if match is None:
        raise input_error
    return _apply_unit(float(match[1].replace("_", "")), (match[2] or "").strip(), dimension, allow_bare, input_error)


def _apply_unit(value: float, unit: str, dimension: Dimension, allow_bare: bool, input_error: InputError) -> float:
    """The number times its unit. Raises `input_error` for a unit of another dimension and for a missing unit."""
    unit_factors = _SUFFIXES_BY_DIMENSION[dimension]
    factor = unit_factors.get(unit)
    if factor is None and dimension == "count":
        factor = unit_factors.get(unit.upper())
    if not unit and (factor is not None or allow_bare or value == 0):
        factor = 1.0
    elif not unit:
        raise InputError(
            "a number without a unit",
            origin=input_error.origin,
            key=input_error.key,
            value=input_error.value,
            expected=_DIMENSION_EXAMPLES[dimension],
        )
    if factor is None or not value * factor < 1e30:
        raise input_error
    return value * factor


QuantityName = Literal["bytes", "bytes_per_s", "s", "usd", "j", "kg", "w", "ratio", "count"]
_SUFFIX_MEANINGS: dict[str, tuple[QuantityName, float]] = {
    **{suffix: ("kg", grams / 1e3) for suffix, grams in _MASS_UNITS_G.items()},
    **{suffix: ("j", factor) for suffix, factor in _ENERGY_UNITS_J.items()},
    **{suffix: ("w", factor) for suffix, factor in _SUFFIXES_BY_DIMENSION["w"].items()},
    **{suffix: ("usd", factor) for suffix, factor in _SUFFIXES_BY_DIMENSION["usd"].items()},
    **{suffix: ("bytes_per_s", factor) for suffix, factor in _SUFFIXES_BY_DIMENSION["bytes_per_s"].items()},
    **{suffix: ("bytes", factor) for suffix, factor in _SUFFIXES_BY_DIMENSION["bytes"].items()},
    **{suffix: ("s", factor) for suffix, factor in _DURATION_UNITS_S.items()},
    **{suffix: ("ratio", factor) for suffix, factor in _SUFFIXES_BY_DIMENSION["ratio"].items()},
    **{suffix: ("count", factor) for suffix, factor in _COUNT_SUFFIXES.items()},
}
"""Quantity and factor to SI of each suffix where the dimension is not given; the last entry of a suffix wins."""


def find_suffix_meaning(suffix: str) -> tuple[QuantityName, float] | None:
    """The quantity that a suffix stands for, and its factor to SI; None where it is unknown. `B` is a billion."""
    return _SUFFIX_MEANINGS.get(suffix)


def list_unit_suffixes() -> tuple[str, ...]:
    """All suffixes of quantities."""
    return tuple(suffix for suffix in _SUFFIX_MEANINGS if suffix)


MAX_COUNT = 10**18


def check_count_range(values: Iterable[object], *, reported_value: object, origin: str = "", key: str = "") -> None:
    """Raise InputError that names `reported_value` where a whole number among `values` exceeds MAX_COUNT."""
    if any(isinstance(value, int) and abs(value) > MAX_COUNT for value in values):
        raise InputError(
            "out of range", origin=origin, key=key, value=reported_value, expected=f"at most {MAX_COUNT:,}"
        )


def parse_count(
    text: str | int, *, origin: str = "", key: str = "", minimum: int = 1, maximum: int = MAX_COUNT, example: str = ""
) -> int:
    """Read a whole number from `minimum` to `maximum`, suffixes allowed (`4M`). Raises InputError."""
    expected = f"a whole number from {minimum} to {maximum:,}" + (f", such as {example}" if example else "")
    try:
        value = parse_quantity(text, "count", origin=origin, key=key)
    except InputError:
        is_negative = re.fullmatch(r"\s*-[0-9][0-9_]*\s*[a-zA-Z]?\s*", str(text)[:64]) is not None
        problem = "out of range" if is_negative else "not a count"
        raise InputError(problem, origin=origin, key=key, value=text, expected=expected) from None
    rounded = round(value)
    if not math.isclose(value, rounded, rel_tol=1e-12):
        raise InputError("not a whole number", origin=origin, key=key, value=text, expected=expected)
    if not minimum <= rounded <= maximum:
        raise InputError("out of range", origin=origin, key=key, value=text, expected=expected)
    return rounded


def format_bytes(size_bytes: float) -> str:
    """`80.00 GiB`: binary prefixes, two decimals."""
    for prefix, factor in reversed(_BINARY_PREFIXES.items()):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.2f} {prefix}B"
    return f"{size_bytes:.0f} B"


def format_seconds(time_s: float) -> str:
    """`12.3 s`, `4.56 ms`, `7.8 us`: three significant digits."""
    for unit, factor in (("s", 1.0), ("ms", 1e-3)):
        if time_s >= factor * 0.9995:
            return f"{_format_three_digits(time_s / factor)} {unit}"
    return "0 s" if time_s == 0 else f"{_format_three_digits(time_s / 1e-6)} us"


def format_duration(duration_s: float) -> str:
    """`9.04 y`, `3.09 h`, `12.3 s`: three significant digits of the largest unit that fits."""
    for unit in ("y", "d", "h", "min"):
        if duration_s >= _DURATION_UNITS_S[unit]:
            return f"{_format_three_digits(duration_s / _DURATION_UNITS_S[unit])} {unit}"
    return format_seconds(duration_s)


def format_days(days: float) -> str:
    """`30 days`, `2.5 days`, `1 day`; less than a day in hours and minutes: `1.52 h`."""
    if days < 1:
        return format_duration(DAY_S * days)
    text = f"{days:,.1f}".removesuffix(".0")
    return f"{text} day" if text == "1" else f"{text} days"


def format_with_interval(value: float, low: float, high: float, format_value: Callable[[float], str]) -> str:
    """`10 s (9-12)`: a value with its interval, whose unit stands there only where it is another one.

    Two significant digits, three where the interval is within 5 % of the value: it is not known any better.
    """
    return f"{format_uncertain(value, low, high, format_value)} ({format_interval(value, low, high, format_value)})"


def format_uncertain(value: float, low: float, high: float, format_value: Callable[[float], str]) -> str:
    """`10 s`: a value with as many digits as its interval supports."""
    return _drop_digits(format_value(value), value, _compute_rounding_unit(value, low, high))


def format_interval(value: float, low: float, high: float, format_value: Callable[[float], str]) -> str:
    """`9-12`: the interval of a value with the digits of that, without its unit where both ends have that."""
    unit = format_value(value).partition(" ")[2]
    rounding_unit = _compute_rounding_unit(value, low, high)
    ends = [_drop_digits(format_value(end), end, rounding_unit) for end in (low, high)]
    if all(end.partition(" ")[2] == unit for end in ends):
        ends = [end.partition(" ")[0] for end in ends]
    return "-".join(ends)


_NARROW_INTERVAL = 0.05
"""Half of an interval over its value, below which the value has a third digit."""


def _compute_rounding_unit(value: float, low: float, high: float) -> float:
    """The value of the last digit over the value itself that the interval supports, in the digits of the value."""
    digits = 3 if (high - low) / 2 < _NARROW_INTERVAL * value else 2
    return value * 10.0 ** (1 - digits)


def _drop_digits(text: str, value: float, rounding_unit: float) -> str:
    """The number at the start of a text, which stands for `value`, without the digits that do not count.

    `rounding_unit`: the largest value whose first digit counts.
    """
    match = re.match(r"[\d,]*\.?\d+", text)
    if match is None or value <= 0 or rounding_unit <= 0:
        return text
    shown = float(match[0].replace(",", ""))
    exponent = math.floor(math.log10(shown / value * rounding_unit) + 1e-9)
    rounded = round(shown / 10**exponent) * 10**exponent if exponent > 0 else shown
    written = f"{rounded:,.{max(0, -exponent)}f}"
    # never more digits than the text has
    return (written if len(written) <= len(match[0]) else match[0]) + text[match.end() :]


def format_counted_noun(count: int, noun: str, plural: str = "") -> str:
    """`1 node`, `1,024 nodes`; `plural`: the plural of a noun that does not just take an s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def format_usd(amount_usd: float | None) -> str:
    """`1.26M USD`, `12,300 USD`; `no known rent` where there is none."""
    if amount_usd is None:
        return "no known rent"
    if amount_usd < 10:
        return f"{amount_usd:.2f} USD"
    return f"{format_count(amount_usd)} USD" if amount_usd >= 1e6 else f"{amount_usd:,.0f} USD"


def format_usd_interval(amount_usd: float, low_usd: float, high_usd: float) -> str:
    """An amount with its interval, with as many digits as that supports: `12,000 USD (11K-14K)`."""
    amount = format_uncertain(amount_usd, low_usd, high_usd, format_usd)
    return f"{amount} ({format_interval(amount_usd, low_usd, high_usd, format_count)})"


def format_energy(energy_j: float) -> str:
    """`812 MWh`, `1.90 GWh`, `45.6 kWh`: three significant digits."""
    return format_si(energy_j / 3600, "Wh")


def format_mass(mass_kg: float) -> str:
    """`310 t`, `12.3 kg`: three significant digits; thousands of tonnes are written out."""
    return f"{_format_three_digits(mass_kg / 1000)} t" if mass_kg >= 1000 else f"{_format_three_digits(mass_kg)} kg"


def format_si(value: float, unit: str = "") -> str:
    """`312 T`, `15.0 T`, `70.6 G`: decimal prefixes, three significant digits."""
    for prefix, factor in reversed(_DECIMAL_PREFIXES.items()):
        if prefix != "K" and value >= factor * 0.9995:
            return f"{_format_three_digits(value / factor)} {prefix}{unit}".rstrip()
    return f"{_format_three_digits(value)} {unit}".rstrip()


def format_count(count: float) -> str:
    """`15T`, `553K`, `3.12M`: counts and their rates as the field writes them, three significant digits."""
    for suffix, factor in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if count >= factor * 0.9995:
            return f"{count / factor:.3g}{suffix}"
    return f"{count:.3g}"


def format_parameter_count(parameter_count: float) -> str:
    """`70.6B`, `671B`, `1.01T`: model sizes as the field writes them, three significant digits."""
    for prefix, factor in (("T", 1e12), ("B", 1e9), ("M", 1e6)):
        if parameter_count >= factor * 0.9995:
            return f"{parameter_count / factor:.3g}{prefix}"
    return f"{parameter_count:,.0f}"


def _format_three_digits(value: float) -> str:
    """Three significant digits, trailing zeros kept so that columns line up; thousands separated."""
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{decimals}f}"
