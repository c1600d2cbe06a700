"""Values of figures as text with units."""

from __future__ import annotations

from planner.studies.conditions.figures import FigureUnit
from planner.units import (
    DAY_S,
    format_bytes,
    format_energy,
    format_mass,
    format_seconds,
    format_si,
)

_MAX_EXACT_INTEGER = 1e15


def format_figure_value(value: float | str | bool | None, unit: FigureUnit) -> str:
    """`74.51 GiB`, `9.04 s`, `1,234,567 USD`, `45.12 %`, `yes`."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return "".join(character for character in value if character.isprintable())
    if value < 0:
        return f"-{format_figure_value(-value, unit)}"
    if unit == "bytes":
        return format_bytes(value)
    if unit == "s":
        return format_seconds(value)
    if unit == "days":
        return f"{value / DAY_S:,.1f} days"
    if unit == "usd":
        return f"{value:,.0f} USD" if value >= 1000 else f"{value:.4g} USD"
    if unit == "j":
        return format_energy(value)
    if unit == "w":
        return format_si(value, "W")
    if unit == "kg":
        return format_mass(value)
    if unit == "ratio":
        return f"{100 * value:.4g} %"
    return (
        f"{value:,.0f}"
        if (float(value).is_integer() and value < _MAX_EXACT_INTEGER) or value >= 1e4
        else f"{value:.4g}"
    )
