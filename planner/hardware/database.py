"""hardware_db: the accelerators, nodes and clusters that are known by name."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, TypeVar, cast

from planner.decode import decode_text
from planner.errors import build_unknown_name_error
from planner.hardware.accelerator import AcceleratorSpec

Folder = Literal[
    "accelerators",
    "nodes",
    "clusters",
    "calibration",
    "calibration/architectures",
    "calibration/frameworks",
    "collectives",
    "reliability",
    "power",
    "grids",
]


T = TypeVar("T")


def database_path() -> Path:
    """The folder of the data: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "hardware_db"
    return installed if installed.is_dir() else package.parent / "hardware_db"


def names(folder: Folder) -> list[str]:
    """Names of all entries of one folder, sorted."""
    return list(_names(folder))


@cache
def _names(folder: Folder) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in (database_path() / folder).glob("*.toml")))


def accelerator_spec(name: str, *, origin: str = "", key: str = "accelerator") -> AcceleratorSpec:
    """The named accelerator's file. Raises InputError with the nearest name."""
    return load("accelerators", name, AcceleratorSpec, "accelerator", origin, key)


def load(folder: Folder, name: str, into: type[T], what: str, origin: str, key: str) -> T:
    """One entry of the data base, validated. Raises InputError for an unknown name."""
    known = names(folder)
    if name not in known:
        raise build_unknown_name_error(what, name, known, origin=origin, key=key)
    place = (folder, name)
    if place not in _READ:
        path = database_path() / folder / f"{name}.toml"
        _READ[place] = decode_text(path.read_text("utf-8"), "toml", into, f"hardware_db/{folder}/{name}.toml")
    return cast(T, _READ[place])


_READ: dict[tuple[Folder, str], object] = {}
"""Files that were read, each once: their values are frozen."""
