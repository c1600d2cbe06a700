"""Carbon intensity of the grids that data centres are on: countries, parts of them, and clouds' regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import msgspec

from planner.errors import InputError, find_nearest_name
from planner.hardware.figures import Source, Sourced
from planner.units import parse_quantity


class GridSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One grid: grams of CO2-equivalent of a kilowatt-hour, averaged over the year `date`."""

    title: str
    intensity: Sourced
    date: str


class GridFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of hardware_db/grids: grids by name, or regions by the grid that they are on."""

    title: str
    grids: dict[str, GridSpec] = {}
    regions: dict[str, str] = {}
    sources: dict[str, Source] = {}


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid's intensity in grams of CO2-equivalent a kilowatt-hour, of which year, and where it is from."""

    name: str
    title: str
    intensity_g_per_kwh: float
    date: str
    source: str


MOST_INTENSE = 3000.0
"""Grams a kilowatt-hour; lignite alone is about 1,200."""


def read_grid(name: str) -> Grid:
    """The named grid or region. Raises InputError with the nearest name."""
    files = _files()
    wanted = name.casefold()
    regions = {region: grid for file in files.values() for region, grid in file.regions.items()}
    known = {**regions, **{one: one for file in files.values() for one in file.grids}}
    if wanted not in known:
        expected = (
            "a country's two letters (fr), us-avg or an eGRID subregion (us-camx), or a region of a cloud "
            "(gcp-europe-west9, aws-us-east-1, azure-eastus)"
        )
        raise InputError(
            "unknown grid", key="--grid", value=name, expected=expected, suggestion=find_nearest_name(wanted, known)
        )
    return _grid(wanted, known[wanted], files)


def grid_of_intensity(text: str) -> Grid:
    """A grid of which only the intensity is told: `56g/kWh`. Raises InputError."""
    key = "--carbon-intensity"
    value = parse_quantity(text, "intensity", key=key, allow_bare=False)
    if value > MOST_INTENSE:
        expected = f"at most {MOST_INTENSE:,.0f} g/kWh"
        raise InputError("is not possible", key=key, value=text, expected=expected)
    return Grid("given", f"{value:g} g/kWh as given", value, "", key)


def _grid(name: str, grid: str, files: Mapping[str, GridFile]) -> Grid:
    for file in files.values():
        if grid in file.grids:
            spec = file.grids[grid]
            value = parse_quantity(spec.intensity.value, "intensity", origin=file.title, key=grid)
            region = "" if name == grid else f"{name}, on the grid of "
            return Grid(name, f"{region}{spec.title}", value, spec.date, file.sources[spec.intensity.source].title)
    raise AssertionError(f"hardware_db/grids: {name} is on {grid}, which is in no file")


@cache
def _files() -> dict[str, GridFile]:
    from planner.hardware import database

    return {one: database.load("grids", one, GridFile, "grid", "", "grid") for one in database.names("grids")}
