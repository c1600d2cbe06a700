"""Carbon intensity of the grids that data centres are on: countries, parts of them, and clouds' regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import msgspec

from planner.errors import InputError, find_nearest_name
from planner.hardware import database
from planner.hardware.figures import FigureSource, SourcedFigure
from planner.units import parse_quantity


class PowerGridSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One grid: grams of CO2-equivalent of a kilowatt-hour, averaged over the year `date`."""

    title: str
    intensity: SourcedFigure
    date: str


class PowerGridFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of hardware_db/grids: grids by name, or regions by the grid that they are on."""

    title: str
    grids: dict[str, PowerGridSpec] = {}
    regions: dict[str, str] = {}
    sources: dict[str, FigureSource] = {}


@dataclass(frozen=True, slots=True)
class PowerGrid:
    """A grid's intensity in grams of CO2-equivalent a kilowatt-hour, of which year, and where it is from."""

    name: str
    title: str
    intensity_g_per_kwh: float
    date: str
    source: str


MAX_INTENSITY_G_PER_KWH = 3000.0
"""Grams a kilowatt-hour; lignite alone is about 1,200."""


def read_grid(name: str) -> PowerGrid:
    """The named grid or region. Raises InputError with the nearest name."""
    files = _read_grid_files()
    folded_name = name.casefold()
    regions = {region: grid for file in files.values() for region, grid in file.regions.items()}
    grid_by_name = {**regions, **{grid_name: grid_name for file in files.values() for grid_name in file.grids}}
    if folded_name not in grid_by_name:
        expected = (
            "a country's two letters (fr), us-avg or an eGRID subregion (us-camx), or a region of a cloud "
            "(gcp-europe-west9, aws-us-east-1, azure-eastus)"
        )
        suggestion = find_nearest_name(folded_name, grid_by_name)
        raise InputError("unknown grid", key="--grid", value=name, expected=expected, suggestion=suggestion)
    return _build_grid(folded_name, grid_by_name[folded_name], files)


def parse_grid_intensity(text: str) -> PowerGrid:
    """A grid of which only the intensity is given: `56g/kWh`. Raises InputError."""
    key = "--carbon-intensity"
    value = parse_quantity(text, "intensity", key=key, allow_bare=False)
    if value > MAX_INTENSITY_G_PER_KWH:
        expected = f"at most {MAX_INTENSITY_G_PER_KWH:,.0f} g/kWh"
        raise InputError("out of range", key=key, value=text, expected=expected)
    return PowerGrid("given", f"{value:g} g/kWh as given", value, "", key)


def _build_grid(name: str, grid_name: str, files: Mapping[str, PowerGridFile]) -> PowerGrid:
    for file in files.values():
        if grid_name in file.grids:
            spec = file.grids[grid_name]
            value = parse_quantity(spec.intensity.value, "intensity", origin=file.title, key=grid_name)
            region = "" if name == grid_name else f"{name}, on the grid of "
            source = file.sources[spec.intensity.source].title
            return PowerGrid(name, f"{region}{spec.title}", value, spec.date, source)
    raise AssertionError(f"hardware_db/grids: {name} is on {grid_name}, which is in no file")


@cache
def _read_grid_files() -> dict[str, PowerGridFile]:
    return {
        file_name: database.load_database_entry("grids", file_name, PowerGridFile, "grid", "", "grid")
        for file_name in database.list_database_names("grids")
    }
