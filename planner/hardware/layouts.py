"""Layouts in which models were published to be trained: the degrees that experts chose, with their sources."""

from __future__ import annotations

from functools import cache

import msgspec

from planner.hardware import database
from planner.hardware.figures import FigureSource


class PublishedLayout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The degrees of one published run or recipe, on `devices` accelerators of a cluster preset.

    `parameters` and `active_parameters`: of the model, by which models of its size are found; `batch`: sequences of
    a step. Data parallelism takes what the other degrees leave.
    """

    name: str
    title: str
    model: str
    parameters: float
    active_parameters: float
    seq_length: int
    cluster: str
    accelerator: str
    devices: int
    precision: str
    batch: int
    tp: int = 1
    pp: int = 1
    cp: int = 1
    ep: int = 1
    vpp: int | None = None
    """None: not stated."""
    micro_batch: int | None = None
    settings: dict[str, str] = {}
    """By the names of the options that have them; others are the trainer's defaults."""
    source: str
    note: str = ""
    """Why the best plan has other degrees, where its step is shorter by more than 5 %."""


class LayoutsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of hardware_db/layouts."""

    title: str
    layouts: list[PublishedLayout]
    sources: dict[str, FigureSource]


@cache
def list_published_layouts() -> tuple[tuple[PublishedLayout, FigureSource], ...]:
    """All layouts with their sources, by file and in its order."""
    files = (
        database.load_database_entry("layouts", name, LayoutsFile, "layouts", "", "layouts")
        for name in database.list_database_names("layouts")
    )
    return tuple((layout, file.sources[layout.source]) for file in files for layout in file.layouts)
