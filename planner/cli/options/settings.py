"""Options that open settings to the search, or pin them; from the command line or a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from planner.errors import InputError, find_nearest_name
from planner.units import check_count_range

ScheduleOption = Annotated[str | None, typer.Option("--schedule", help="1f1b, zero-bubble.")]
TpOverlap = Annotated[str | None, typer.Option("--tp-overlap", help="Hide tensor-parallel exchange: no, yes.")]
DpOverlap = Annotated[str | None, typer.Option("--dp-overlap", help="Hide gradients' exchange: yes, no.")]
CpExchangeOption = Annotated[
    str | None, typer.Option("--cp-exchange", help="Context parallelism by ring, all-gather, all-to-all.")
]
GradientsOption = Annotated[str | None, typer.Option("--gradients", help="Gradients as held and sent: fp32, bf16.")]
CommunicationOption = Annotated[
    str | None, typer.Option("--communication", help="Gradients as sent alone, however held: fp32, bf16.")
]
OffloadOption = Annotated[
    str | None,
    typer.Option("--offload", help="To the host: none, optimizer, activations, weights, or joined by +."),
]
OrderOption = Annotated[
    str | None, typer.Option("--order", help="Dimensions on ranks, inside out: tp-cp-dp-pp, tp-cp-pp-dp, ..., all.")
]
ShardGroup = Annotated[str | None, typer.Option("--shard-group", help="Ranks that ZeRO shards over: all, 8, ...")]
RecomputeLayers = Annotated[
    str | None, typer.Option("--recompute-layers", help="Layers of a chunk that full recompute repeats: all, 1, ...")
]
SpaceFile = Annotated[
    Path | None, typer.Option("--space", help="A TOML file with any of these options; the command line goes first.")
]

_MOST = 1_000_000
_MOST_LISTED = 1000
_DIGITS = 18
"""Of a number that is looked at."""


@dataclass(frozen=True)
class PinnedSettings:
    """The options as the user gave them, but for gradients."""

    schedule: ScheduleOption = None
    tp_overlap: TpOverlap = None
    dp_overlap: DpOverlap = None
    cp_exchange: CpExchangeOption = None
    communication: CommunicationOption = None
    offload: OffloadOption = None
    order: OrderOption = None
    shard_group: ShardGroup = None
    recompute_layers: RecomputeLayers = None


@dataclass(frozen=True)
class OpenSettings(PinnedSettings):
    """The options as the user gave them."""

    gradients: GradientsOption = None


def read_settings(options: dict[str, str | None]) -> dict[str, tuple[str, ...]]:
    """Allowed values of each setting that was given. Raises InputError with the nearest name."""
    from planner.search.settings import SETTINGS

    allowed = {}
    for name, text in options.items():
        if text is not None:
            setting = SETTINGS[name]
            key = f"--{name.replace('_', '-')}"
            parts = _parts(text, setting.names)
            allowed[name] = tuple(dict.fromkeys(_value(part, key, setting.names, setting.counts) for part in parts))
    return allowed


def _parts(text: str, names: tuple[str, ...]) -> list[str]:
    """The values that a text lists; `all` is every name, where none is called so."""
    parts = [part.strip().casefold() for part in text.split(",")]
    return list(names) if parts == ["all"] and "all" not in names else parts


def _value(text: str, key: str, names: tuple[str, ...], counts: bool) -> str:
    if text in names:
        return text
    if counts and text.isdecimal() and len(text) <= _DIGITS and 1 <= int(text) <= _MOST:
        return str(int(text))
    joined = "+".join(sorted(text.split("+")))
    by_parts = {"+".join(sorted(name.split("+"))): name for name in names}
    if joined in by_parts:
        return by_parts[joined]
    expected = f"one of {', '.join(names)}" + (f", or a whole number from 1 to {_MOST:,}" if counts else "")
    raise InputError(
        "unknown value", key=key, value=text, expected=expected, suggestion=find_nearest_name(text, names)
    )


def read_space(path: Path | None, options: dict[str, str | None]) -> dict[str, str | None]:
    """The options with what a file says of those that were not given. Raises InputError for a wrong key or type."""
    if path is None:
        return options
    from planner.cli.io.files import read_text
    from planner.decode import parse_mapping

    raw = parse_mapping(read_text(path, (".toml",), "a TOML file with the space's options"), "toml", str(path))
    known = {name.replace("_", "-"): name for name in options}
    read = dict(options)
    seen: set[str] = set()
    for key, value in raw.items():
        name = known.get(key.replace("_", "-"))
        if name is None:
            raise InputError(
                "unknown key",
                origin=str(path),
                key=key,
                expected=f"one of {', '.join(known)}",
                suggestion=find_nearest_name(key, known),
            )
        if name in seen:
            raise InputError("set twice", origin=str(path), key=key, expected="each option once")
        seen.add(name)
        if read[name] is None:
            read[name] = _text(value, str(path), key)
    return read


def _text(value: object, origin: str, key: str) -> str:
    """A value of the file as it would be on the command line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    check_count_range([value], reported_value=value, origin=origin, key=key)
    if isinstance(value, int | str):
        return str(value)
    if (
        isinstance(value, list)
        and 0 < len(value) <= _MOST_LISTED
        and all(isinstance(one, int | str) for one in value)
    ):
        return ",".join(_text(one, origin, key) for one in value)
    raise InputError(
        "wrong type", origin=origin, key=key, value=value, expected="a number, a text, or a list of them"
    )
