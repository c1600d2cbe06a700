"""The model presets: TOML files of the same format as a user's model file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from planner.decode import FileFormat, parse_mapping
from planner.errors import InputError, build_unknown_name_error
from planner.workload.spec import ModelSpec, is_operator_list, parse_model_spec

if TYPE_CHECKING:
    from planner.workload.operator_list.spec import OperatorListSpec


def get_presets_path() -> Path:
    """The folder of the presets."""
    return Path(__file__).parent / "models"


def list_preset_names() -> list[str]:
    """All names, sorted."""
    return sorted(
        entry.name.removesuffix(".toml") for entry in get_presets_path().iterdir() if entry.name.endswith(".toml")
    )


def list_hub_names() -> list[str]:
    """Names of models as on Hugging Face's hub, `ORGANISATION/MODEL`, sorted."""
    return sorted(
        entry.name.removesuffix(".toml").replace("--", "/", 1) for entry in (get_presets_path() / "hub").iterdir()
    )


def find_hub_name(name: str) -> str | None:
    """The name of a preset that is `name` in any case, or a name that it had before; None where there is none."""
    name = _FORMER_HUB_NAMES.get(name.casefold(), name.casefold())
    return next((known for known in list_hub_names() if known.casefold() == name), None)


_FORMER_HUB_NAMES = {
    f"meta-llama/meta-llama-3.1-{size}": f"meta-llama/llama-3.1-{size}" for size in ("8b", "70b", "405b")
}


def read_hub_preset(name: str) -> ModelSpec:
    """The preset of this name, one of `list_hub_names`."""
    spec = _read_preset_file(get_presets_path() / "hub" / f"{name.replace('/', '--')}.toml")
    assert isinstance(spec, ModelSpec)
    return spec


def read_model_preset(name: str) -> ModelSpec | OperatorListSpec:
    """The named preset: a transformer or a list of operators. Raises InputError with the nearest name for an
    unknown name.
    """
    names = list_preset_names()
    if name not in names:
        raise build_unknown_name_error("model", name, names, key="MODEL")
    return _read_preset_file(get_presets_path() / f"{name}.toml")


@cache
def _read_preset_file(path: Path) -> ModelSpec | OperatorListSpec:
    return parse_model_file(path.read_text("utf-8"), "toml", path.name)


def read_transformer_preset(name: str) -> ModelSpec:
    """The named preset where it is a transformer. Raises InputError for any other."""
    spec = read_model_preset(name)
    if not isinstance(spec, ModelSpec):
        raise InputError(
            "is not a transformer", key="MODEL", value=name, expected="a preset with layers of attention"
        )
    return spec


def parse_model_file(text: str, file_format: FileFormat, origin: str) -> ModelSpec | OperatorListSpec:
    """The spec of a model file: a transformer or a list of operators, by its keys. Raises InputError with origin, key
    and expected value.
    """
    raw = parse_mapping(text, file_format, origin)
    if not is_operator_list(raw):
        return parse_model_spec(raw, origin)
    from planner.workload.operator_list.spec import parse_operator_list

    return parse_operator_list(raw, origin)
