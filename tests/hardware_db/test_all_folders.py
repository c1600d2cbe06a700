"""Every numeric field of the whole data base has a source that its file names, whatever folder it is in."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from planner.cost.collectives.algorithms import CollectiveAlgorithm
from planner.hardware import database

FILES = sorted(database.find_database_path().rglob("*.toml"))
COUNTS = {
    "nodes",
    "max_nodes",
    "devices",
    "count",
    "dims",
    "shape",
    "wrap_multiple",
    "switch_devices",
    "bridges",
    "year",
}
"""Whole numbers that say what a thing is made of, not what it was measured or rated at."""
CHOICES = {"oversubscription", "unfitted", "reference_power_w", "first_year", "spread", "tokens", "value"}


def enumerate_figures(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every number and every sourced figure below `value`."""
    if isinstance(value, dict):
        if "value" in value and "source" in value:
            yield path, value
            return
        for key, item in value.items():
            yield from enumerate_figures(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from enumerate_figures(item, f"{path}[{number}]")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def test_every_figure_has_a_source() -> None:
    for file in FILES:
        check_sources(file)


def check_sources(file: Path) -> None:
    content = tomllib.loads(file.read_text("utf-8"))
    sources = content.get("sources", {})
    if file.name == "residuals.toml":  # widths of residuals: its sources are the whole file's
        assert sources and all(source["title"] for source in sources.values())
        return
    if file.parent.name == "layouts":  # facts about a run: each layout names its source
        assert all(sources[layout["source"]]["title"] for layout in content["layouts"])
        return
    if file.parent.name == "collectives":  # a table of a tuner: its sources are the whole file's
        assert sources and all(source["title"] for source in sources.values())
        assert set(content["algorithms"]) <= set(get_args(CollectiveAlgorithm)), (
            "a name that no algorithm has is not read"
        )
        return
    for path, figure in enumerate_figures({key: value for key, value in content.items() if key != "sources"}):
        names = {part.partition("[")[0] for part in path.split(".")}
        if isinstance(figure, dict):
            assert figure["source"] in sources, f"{file.name}: {path}: no source is called {figure['source']}"
            assert sources[figure["source"]]["title"], (file.name, path)
        else:
            assert names & (COUNTS | CHOICES), f"{file.name}: {path} = {figure} names no source"
