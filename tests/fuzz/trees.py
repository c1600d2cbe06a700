"""Damage to the structure of a file: keys and values removed, doubled, swapped, of other types, nested."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable

from tests.fuzz.hostile import RAW, SCALARS, TEXTS, Raw, Table

_MOST_SPOTS = 20_000
Spot = tuple[list, int]
"""A list or table, and the place in it."""


def build_tree(value: object) -> object:
    """A parsed file with tables in which a key may come twice."""
    if isinstance(value, dict):
        return Table((str(key), build_tree(item)) for key, item in value.items())
    return [build_tree(item) for item in value] if isinstance(value, list) else value


def damage_tree(tree: Table, rng: random.Random, file_format: str) -> Table:
    """A copy with up to four damages."""
    copy = _copy(tree)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        spots = _list_spots(copy)
        if 0 < len(spots) < _MOST_SPOTS:
            rng.choice(_DAMAGES)(rng.choice(spots), spots, rng, file_format)
    return copy


def _copy(value: object) -> object:
    if isinstance(value, Table):
        return Table((key, _copy(item)) for key, item in value)
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _list_spots(value: object) -> list[Spot]:
    """Every place of a tree."""
    spots: list[Spot] = []
    left = [value]
    while left:
        branch = left.pop()
        if isinstance(branch, list):
            spots += [(branch, place) for place in range(len(branch))]
            left += [item[1] if isinstance(branch, Table) else item for item in branch]
    return spots


def _get(spot: Spot) -> object:
    inside, place = spot
    return inside[place][1] if isinstance(inside, Table) else inside[place]


def _put(spot: Spot, value: object) -> None:
    inside, place = spot
    if place < len(inside):
        inside[place] = (inside[place][0], value) if isinstance(inside, Table) else value


def _remove(spot: Spot, spots: list[Spot], rng: random.Random, file_format: str) -> None:
    del spot[0][spot[1]]


def _double(spot: Spot, spots: list[Spot], rng: random.Random, file_format: str) -> None:
    inside, place = spot
    value = _get(spot)
    text = value if isinstance(value, str) else value.text if isinstance(value, Raw) else ""
    most = 5_000 // (1 + len(_list_spots(value)) + len(text) // 50)
    times = 1 if isinstance(inside, Table) else min(rng.choice((1, 2, 10, 200, 2000)), most)
    inside[place:place] = [inside[place]] * times


def _replace(spot: Spot, spots: list[Spot], rng: random.Random, file_format: str) -> None:
    _put(spot, rng.choice(SCALARS))


def _replace_raw(spot: Spot, spots: list[Spot], rng: random.Random, file_format: str) -> None:
    _put(spot, Raw(rng.choice(RAW[file_format])))


def _swap(spot: Spot, spots: list[Spot], rng: random.Random, file_format: str) -> None:
    other = rng.choice(spots)
    first, second = _copy(_get(spot)), _copy(_get(other))
    _put(spot, second)
    _put(other, first)


def _rename(spot: Spot, spots: list[Spot], rng: random.Random, file_format: str) -> None:
    inside, place = spot
    if isinstance(inside, Table):
        key, value = inside[place]
        keys = [other[0][other[1]][0] for other in spots if isinstance(other[0], Table) and other[1] < len(other[0])]
        name = rng.choice((rng.choice(keys), rng.choice(TEXTS), key[:-1], key + "s", key.upper()))
        inside[place] = (name, value)


def _add(spot: Spot, spots: list[Spot], rng: random.Random, file_format: str) -> None:
    inside, place = spot
    key, value = rng.choice(TEXTS), rng.choice(SCALARS)
    inside.insert(place, (key, value) if isinstance(inside, Table) else value)


def _scale(spot: Spot, spots: list[Spot], rng: random.Random, file_format: str) -> None:
    value = _get(spot)
    if isinstance(value, int | float):
        factor = rng.choice((-1, 0, 2, 3, 10, 1000, 10**9, 10**18, 0.5, 1.0, 1e-9))
        _put(spot, value * factor if abs(value) < 1e280 else 1)  # also of what is no number
    elif isinstance(value, str):
        _put(spot, _damage_text(value, rng))


def _damage_text(text: str, rng: random.Random) -> str:
    place = rng.randrange(len(text) + 1)
    put = rng.choice((rng.choice(TEXTS), "0", "00000", "9", "-", ".", "e9", " "))
    return text[:place] + put + text[place + rng.choice((0, 0, 1, 3)) :]


def _nearby(spot: Spot, spots: list[Spot], rng: random.Random, file_format: str) -> None:
    """Another value that could stand there."""
    value = _get(spot)
    if isinstance(value, bool):
        _put(spot, not value)
    elif isinstance(value, int):
        _put(spot, rng.choice((value + 1, value - 1, value * 2, value // 2, rng.randrange(1, 100), 1, 2**20)))
    elif isinstance(value, float):
        _put(spot, value * rng.choice((0.1, 0.5, 2.0, 10.0)))
    elif isinstance(value, str):
        number = re.match(r"[0-9.]+", value)
        texts = [text for other in rng.sample(spots, min(20, len(spots))) if isinstance(text := _value(other), str)]
        _put(spot, f"{rng.randrange(1, 2000)}{value[number.end() :]}" if number else rng.choice([value, *texts]))


def _value(spot: Spot) -> object:
    """The value there, None where that place was removed."""
    return _get(spot) if spot[1] < len(spot[0]) else None


def _other_type(spot: Spot, spots: list[Spot], rng: random.Random, file_format: str) -> None:
    value = _get(spot)
    if isinstance(value, str):
        _put(spot, Raw(value))
    elif isinstance(value, bool | int | float):
        _put(spot, rng.choice((str(value), [value], float(value) if abs(value) < 1e300 else 0.0)))
    else:
        _put(spot, rng.choice(("text", 3, True, [value], Table([("value", value)]))))


def _nest(spot: Spot, spots: list[Spot], rng: random.Random, file_format: str) -> None:
    before, behind = rng.choice((("[", "]"), ('{"a": ' if file_format != "toml" else "{a = ", "}")))
    times = rng.choice((1, 2, 10, 100, 1000))
    _put(spot, Raw(before * times + _inline(_get(spot), file_format) + behind * times))


_DAMAGES: list[Callable[[Spot, list[Spot], random.Random, str], None]] = [
    _remove, _remove, _double, _replace, _replace_raw, _swap, _rename, _add, _scale, _other_type, _nest,
    _nearby, _nearby, _nearby, _nearby, _nearby,
]  # fmt: skip


def render_tree(tree: Table, file_format: str) -> str:
    """The text of a tree in a format; it need not be valid."""
    if file_format == "toml":
        return "\n".join(_toml_lines(tree, "")) + "\n"
    return _inline(tree, file_format)


def _toml_lines(table: Table, path: str) -> list[str]:
    """Plain values first, then a section for each table and list of tables."""
    lines, sections = [], []
    for key, value in table:
        name = f"{path}{_toml_key(key)}"
        if isinstance(value, Table) and value:
            sections += [f"[{name}]", *_toml_lines(value, f"{name}.")]
        elif isinstance(value, list) and value and all(isinstance(item, Table) for item in value):
            for item in value:
                sections += [f"[[{name}]]", *_toml_lines(item, f"{name}.")]
        else:
            lines.append(f"{_toml_key(key)} = {_inline(value, 'toml')}")
    return lines + sections


def _toml_key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else _quoted(key, "toml")


def _inline(value: object, file_format: str) -> str:
    """A value on one line. YAML is written as its flow style, which is nearly JSON."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, Table):
        colon = " = " if file_format == "toml" else ": "
        quoted = (f"{_quoted(key, file_format)}{colon}{_inline(item, file_format)}" for key, item in value)
        return "{" + ", ".join(quoted) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(item, file_format) for item in value) + "]"
    if isinstance(value, str):
        return _quoted(value, file_format)
    if isinstance(value, float) and not math.isfinite(value):
        sign = "-" if value < 0 else ""
        nan, inf = {"toml": ("nan", "inf"), "yaml": (".nan", ".inf"), "json": ("NaN", "1e999")}[file_format]
        return nan if math.isnan(value) else sign + inf
    return json.dumps(value)


def _quoted(text: str, file_format: str) -> str:
    """A text in quotes; control signs as escapes, so that the readers see them and not the parsers."""
    quoted = json.dumps(text, ensure_ascii=file_format == "json")
    return quoted.replace("\x7f", "\\u007f")
