"""Options that tell where the electricity is from and how good the site is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from planner.errors import InputError

if TYPE_CHECKING:
    from planner.cluster.model.cluster import Cluster
    from planner.hardware.grids import Grid

GridOption = Annotated[
    str | None,
    typer.Option("--grid", help="Tell CO2e on a grid: fr, us-avg, us-camx, gcp-europe-west9, aws-us-east-1, ..."),
]
CarbonIntensityOption = Annotated[
    str | None, typer.Option("--carbon-intensity", help="The same by an intensity of one's own: 56g/kWh.")
]
PueOption = Annotated[
    str | None,
    typer.Option("--pue", help="All that the site draws for what its computers draw; else the cluster file's, 1.15."),
]


@dataclass(frozen=True)
class SiteOptions:
    """The options as the user gave them."""

    grid: GridOption = None
    carbon_intensity: CarbonIntensityOption = None
    pue: PueOption = None


def resolve_grid(grid: str | None, intensity: str | None) -> Grid | None:
    """The grid that was named or described; None without. Raises InputError."""
    if grid is None and intensity is None:
        return None
    from planner.hardware.grids import grid_of_intensity, read_grid

    if grid is not None and intensity is not None:
        raise InputError("give one of the two", key="--grid, --carbon-intensity", expected="either")
    return read_grid(grid) if grid is not None else grid_of_intensity(str(intensity))


def replace_pue(cluster: Cluster, pue_text: str | None) -> Cluster:
    """The cluster at a site of this power usage effectiveness. Raises InputError."""
    if pue_text is None:
        return cluster
    from dataclasses import replace

    from planner.cluster.build.power import read_pue

    return replace(cluster, pue=read_pue(pue_text, "", "--pue", "--pue"))
