"""Options that open settings to the search, or pin them; from the command line or a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from planner.errors import InputError, find_nearest_name
from planner.units import check_count_range

ScheduleOption = Annotated[str | None, typer.Option("--schedule", help="1f1b, zero-bubble.")]
TpOverlapOption = Annotated[str | None, typer.Option("--tp-overlap", help="Hide tensor-parallel exchange: no, yes.")]
DpOverlapOption = Annotated[str | None, typer.Option("--dp-overlap", help="Hide gradients' exchange: yes, no.")]
CpCommOption = Annotated[
    str | None, typer.Option("--cp-exchange", help="Context parallelism by ring, all-gather, all-to-all.")
]
GradientDtypesOption = Annotated[
    str | None, typer.Option("--gradients", help="Gradients as held and sent: fp32, bf16.")
]
GradReduceDtypesOption = Annotated[
    str | None, typer.Option("--communication", help="Gradients as sent alone, however held: fp32, bf16.")
]
OffloadOption = Annotated[
    str | None,
    typer.Option("--offload", help="To the host: none, optimizer, activations, weights, or joined by +."),
]
RankOrderOption = Annotated[
    str | None, typer.Option("--order", help="Dimensions on ranks, inside out: tp-cp-dp-pp, tp-cp-pp-dp, ..., all.")
]
ShardGroupOption = Annotated[
    str | None, typer.Option("--shard-group", help="Ranks that ZeRO shards over: all, 8, ...")
]
RecomputeLayersOption = Annotated[
    str | None, typer.Option("--recompute-layers", help="Layers of a chunk that full recompute repeats: all, 1, ...")
]
SpaceFileOption = Annotated[
    Path | None, typer.Option("--space", help="A TOML file with any of these options; the command line goes first.")
]

_MAX_SETTING_VALUE = 1_000_000
_MAX_LISTED_VALUES = 1000
_MAX_DIGITS = 18
"""Of a number that is looked at."""


@dataclass(frozen=True)
class PinnedSettings:
    """The options as the user gave them, but for gradients."""

    schedule: ScheduleOption = None
    tp_overlap: TpOverlapOption = None
    dp_overlap: DpOverlapOption = None
    cp_exchange: CpCommOption = None
    communication: GradReduceDtypesOption = None
    offload: OffloadOption = None
    order: RankOrderOption = None
    shard_group: ShardGroupOption = None
    recompute_layers: RecomputeLayersOption = None


@dataclass(frozen=True)
class OpenSettings(PinnedSettings):
    """The options as the user gave them."""

    gradients: GradientDtypesOption = None


def read_settings(options: dict[str, str | None]) -> dict[str, tuple[str, ...]]:
    """Allowed values of each setting that was given. Raises InputError with the nearest name."""
    from planner.search.settings import SETTINGS

    allowed = {}
    for name, text in options.items():
        if text is not None:
            setting = SETTINGS[name]
            key = f"--{name.replace('_', '-')}"
            parts = _split_setting_values(text, setting.names)
            allowed[name] = tuple(
                dict.fromkeys(_parse_setting_value(part, key, setting.names, setting.counts) for part in parts)
            )
    return allowed


def _split_setting_values(text: str, names: tuple[str, ...]) -> list[str]:
    """The values that a text lists; `all` is every name, where none is called so."""
    parts = [part.strip().casefold() for part in text.split(",")]
    return list(names) if parts == ["all"] and "all" not in names else parts


def _parse_setting_value(text: str, key: str, names: tuple[str, ...], allows_counts: bool) -> str:
    if text in names:
        return text
    if allows_counts and text.isdecimal() and len(text) <= _MAX_DIGITS and 1 <= int(text) <= _MAX_SETTING_VALUE:
        return str(int(text))
    joined = "+".join(sorted(text.split("+")))
    name_by_sorted_parts = {"+".join(sorted(name.split("+"))): name for name in names}
    if joined in name_by_sorted_parts:
        return name_by_sorted_parts[joined]
    expected = f"one of {', '.join(names)}" + (
        f", or a whole number from 1 to {_MAX_SETTING_VALUE:,}" if allows_counts else ""
    )
    raise InputError(
        "unknown value", key=key, value=text, expected=expected, suggestion=find_nearest_name(text, names)
    )


def read_space_file(path: Path | None, options: dict[str, str | None]) -> dict[str, str | None]:
    """The options with what a file says of those that were not given. Raises InputError for a wrong key or type."""
    if path is None:
        return options
    from planner.cli.io.files import read_text_file
    from planner.decode import parse_mapping

    raw = parse_mapping(read_text_file(path, (".toml",), "a TOML file with the space's options"), "toml", str(path))
    name_by_key = {name.replace("_", "-"): name for name in options}
    texts_by_name = dict(options)
    seen_names: set[str] = set()
    for key, value in raw.items():
        name = name_by_key.get(key.replace("_", "-"))
        if name is None:
            raise InputError(
                "unknown key",
                origin=str(path),
                key=key,
                expected=f"one of {', '.join(name_by_key)}",
                suggestion=find_nearest_name(key, name_by_key),
            )
        if name in seen_names:
            raise InputError("set twice", origin=str(path), key=key, expected="each option once")
        seen_names.add(name)
        if texts_by_name[name] is None:
            texts_by_name[name] = _format_file_value(value, str(path), key)
    return texts_by_name


def _format_file_value(value: object, origin: str, key: str) -> str:
    """A value of the file as it would be on the command line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    check_count_range([value], reported_value=value, origin=origin, key=key)
    if isinstance(value, int | str):
        return str(value)
    if (
        isinstance(value, list)
        and 0 < len(value) <= _MAX_LISTED_VALUES
        and all(isinstance(item, int | str) for item in value)
    ):
        return ",".join(_format_file_value(item, origin, key) for item in value)
    raise InputError(
        "wrong type", origin=origin, key=key, value=value, expected="a number, a text, or a list of them"
    )
