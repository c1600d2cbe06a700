"""hardware_db: the accelerators, nodes and clusters that are known by name."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, TypeVar, cast

from planner.decode import decode_text
from planner.errors import build_unknown_name_error
from planner.hardware.accelerator import AcceleratorSpec

DatabaseFolder = Literal[
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
    "importers",
    "layouts",
    "input",
]


T = TypeVar("T")


def find_database_path() -> Path:
    """The folder of the data: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "hardware_db"
    return installed if installed.is_dir() else package.parent / "hardware_db"


def list_database_names(folder: DatabaseFolder) -> list[str]:
    """Names of all entries of one folder, sorted."""
    return list(_list_file_stems(folder))


@cache
def _list_file_stems(folder: DatabaseFolder) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in (find_database_path() / folder).glob("*.toml")))


def load_accelerator_spec(name: str, *, origin: str = "", key: str = "accelerator") -> AcceleratorSpec:
    """The named accelerator's file. Raises InputError with the nearest name."""
    return load_database_entry("accelerators", name, AcceleratorSpec, "accelerator", origin, key)


def load_architecture_files(folder: DatabaseFolder, architecture: str, struct_type: type[T]) -> tuple[T, ...]:
    """The file of an architecture, where it has one, and then the default, which has all figures."""
    names = [name for name in (architecture, "default") if name in _list_file_stems(folder)]
    return tuple(load_database_entry(folder, name, struct_type, folder, "", "architecture") for name in names)


def load_database_entry(
    folder: DatabaseFolder, name: str, struct_type: type[T], noun: str, origin: str, key: str
) -> T:
    """One entry of the data base, validated. Raises InputError for an unknown name."""
    known_names = list_database_names(folder)
    if name not in known_names:
        raise build_unknown_name_error(noun, name, known_names, origin=origin, key=key)
    cache_key = (folder, name)
    if cache_key not in _LOADED_FILES:
        path = find_database_path() / folder / f"{name}.toml"
        _LOADED_FILES[cache_key] = decode_text(
            path.read_text("utf-8"), "toml", struct_type, f"hardware_db/{folder}/{name}.toml"
        )
    return cast(T, _LOADED_FILES[cache_key])


_LOADED_FILES: dict[tuple[DatabaseFolder, str], object] = {}
"""Files that were read, each once: their values are frozen."""
