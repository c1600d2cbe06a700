"""The models that are known by name: TOML files of the same format as a user's own."""

from __future__ import annotations

from importlib.resources import files

from planner.errors import unknown_name
from planner.workload.spec import ModelSpec, parse_spec

_FOLDER = files("planner.workload") / "models"


def preset_names() -> list[str]:
    """All names, sorted."""
    return sorted(entry.name.removesuffix(".toml") for entry in _FOLDER.iterdir() if entry.name.endswith(".toml"))


def preset(name: str) -> ModelSpec:
    """The named preset. Raises InputError with the nearest name for an unknown one."""
    names = preset_names()
    if name not in names:
        raise unknown_name("model", name, names, key="MODEL")
    return parse_spec((_FOLDER / f"{name}.toml").read_text("utf-8"), "toml", f"{name}.toml")
