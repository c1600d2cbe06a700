"""The file of a sweep: grids of options of `plan`, expanded to points."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.errors import InputError, find_nearest_name
from planner.request.files import is_existing_path
from planner.request.options import FILE_KEYS, OUTPUT_KEYS, check_option_keys, list_option_keys
from planner.request.values import OptionValue, check_option_value, format_option_value
from planner.units import check_count_range

MAX_POINTS = 250_000
UNSWEPT_KEYS = (*OUTPUT_KEYS, "top", "pareto", "diverse", "uncertainty")
"""Options that do not change the best plan of a point; those after the first concern several plans."""
_TABLE_NAMES = ("grid", "fixed", "exclude")
_REQUIRED_KEYS = ("model", "cluster", "global_batch")

SweepPoint = Mapping[str, OptionValue]
"""The options of a point, by key."""


@dataclass(frozen=True)
class Sweep:
    """The distinct points in the order of the file; the last key of a grid varies fastest.

    `keys`: the keys of all points, in the order of the file; `key_locations`: their places in the file.
    """

    origin: str
    keys: tuple[str, ...]
    points: tuple[SweepPoint, ...]
    key_locations: Mapping[str, str]

    def order_points(self) -> list[int]:
        """The points' numbers, grouped by model and cluster, which are then read once."""
        pairs = [
            (format_option_value(point["model"]), format_option_value(point["cluster"])) for point in self.points
        ]
        rank = {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}
        return sorted(range(len(pairs)), key=lambda number: rank[pairs[number]])

    def list_files(self) -> tuple[str, ...]:
        """The files and folders that points name, sorted."""
        return tuple(sorted({name for point in self.points for name in list_point_files(point).values()}))


def list_point_files(point: SweepPoint) -> dict[str, str]:
    """The files and folders that a point names, by key."""
    names = {key: format_option_value(point[key]) for key in FILE_KEYS if key in point}
    return {key: name for key, name in names.items() if _is_file_name(key, name)}


@functools.lru_cache(1024)
def _is_file_name(key: str, name: str) -> bool:
    """Whether the value is an existing path and not the name of a preset, which has precedence."""
    from planner.request.inputs import is_preset_name

    return is_existing_path(name) and (key == "space" or not is_preset_name(key, name))


def read_sweep(path: Path) -> Sweep:
    """The sweep of a TOML file. Raises InputError for errors that do not depend on a point's other values."""
    from planner.decode import parse_mapping
    from planner.request.files import read_text_file

    origin = str(path)
    raw = parse_mapping(read_text_file(path, (".toml",), "a TOML file with a [grid]"), "toml", origin)
    for key in raw:
        if key not in _TABLE_NAMES:
            suggestion, expected = (
                find_nearest_name(key, _TABLE_NAMES),
                "tables [grid] (or several [[grid]]), [fixed], [[exclude]]",
            )
            raise InputError("unknown key", origin=origin, key=key, expected=expected, suggestion=suggestion)
    fixed = {
        key: check_option_value(value, origin, f"fixed.{key}")
        for key, value in _read_table(raw, "fixed", origin).items()
    }
    grid_tables = _read_tables(raw, "grid", origin)
    if not grid_tables:
        raise InputError(
            "is missing", origin=origin, key="grid", expected="a table [grid] of keys with lists of values"
        )
    point_grids = [_PointGrid(name, table, fixed, origin) for name, table in grid_tables]
    point_count = sum(item.point_count for item in point_grids)
    if point_count > MAX_POINTS:
        expected = f"at most {MAX_POINTS:,}"
        raise InputError("too many points", origin=origin, key="grid", value=f"{point_count:,}", expected=expected)
    keys = tuple(dict.fromkeys(key for item in point_grids for key in item.axes))
    key_locations = {key: f"{item.name}.{key}" for item in reversed(point_grids) for key in item.own_keys}
    key_locations = {**{key: f"fixed.{key}" for key in fixed}, **key_locations}
    points = {_build_point_identity(point): point for item in point_grids for point in item.enumerate_points()}
    all_points = list(points.values())
    for name, table in _read_tables(raw, "exclude", origin):
        exclusion = _read_exclude_rule(name, table, keys, all_points, origin)
        points = {key: point for key, point in points.items() if not _matches_rule(point, exclusion)}
    if not points:
        expected = "rules that leave at least one point"
        raise InputError("no point is left", origin=origin, key="exclude", expected=expected)
    return Sweep(origin, keys, tuple(points.values()), key_locations)


class _PointGrid:
    """A grid with the fixed options: the values of every key."""

    def __init__(self, name: str, table: Mapping[str, object], fixed: Mapping[str, OptionValue], origin: str) -> None:
        self.name, self.own_keys = name, tuple(key.replace("-", "_") for key in table)
        axes = {key.replace("-", "_"): _read_values(value, origin, f"{name}.{key}") for key, value in table.items()}
        self.axes = axes | {key: [value] for key, value in fixed.items() if key not in axes}
        for required_key in _REQUIRED_KEYS:
            if required_key not in self.axes:
                expected = f"a value such as `plan` takes for {required_key}, in [grid] or [fixed]"
                raise InputError("is missing", origin=origin, key=f"{name}.{required_key}", expected=expected)

    @property
    def point_count(self) -> int:
        """Number of points of the grid."""
        product = 1
        for values in self.axes.values():
            product *= len(values)
        return product

    def enumerate_points(self) -> Sequence[SweepPoint]:
        """Every combination; the last key's values vary fastest."""
        return [dict(zip(self.axes, values, strict=True)) for values in itertools.product(*self.axes.values())]


def _read_table(raw: Mapping[str, object], name: str, origin: str) -> Mapping[str, object]:
    """A table of options with checked keys, in the form with underscores."""
    table = raw.get(name, {})
    if not isinstance(table, dict):
        raise InputError("wrong type", origin=origin, key=name, value=table, expected="a table")
    known = [key for key in list_option_keys() if key not in UNSWEPT_KEYS]
    check_option_keys([key for key in table if key.replace("-", "_") not in UNSWEPT_KEYS], known, origin, name)
    for key in table:
        if key.replace("-", "_") in UNSWEPT_KEYS:
            expected = "options that decide a point's best plan"
            raise InputError("cannot be swept", origin=origin, key=f"{name}.{key}", expected=expected)
    folded = {str(key).replace("-", "_"): value for key, value in table.items()}
    if len(folded) < len(table):
        raise InputError("a key is set twice", origin=origin, key=name, expected="each option once")
    return folded


def _read_tables(raw: Mapping[str, object], name: str, origin: str) -> list[tuple[str, Mapping[str, object]]]:
    """The table or tables of this name, each with its name for messages."""
    value = raw.get(name, [])
    if isinstance(value, dict):
        return [(name, _read_table(raw, name, origin))]
    if not isinstance(value, list):
        raise InputError("wrong type", origin=origin, key=name, value=value, expected="a table, or several")
    named = {f"{name}[{number}]": item for number, item in enumerate(value, 1)}
    return [(table_name, _read_table(named, table_name, origin)) for table_name in named]


def _read_values(value: object, origin: str, key: str) -> list[OptionValue]:
    """The values of a key in a grid: a list, a range or a value; an inner list is several values of an option."""
    if isinstance(value, dict):
        return list(_read_range(value, origin, key))
    if not isinstance(value, list):
        return [check_option_value(value, origin, key)]
    if not value:
        raise InputError("has no values", origin=origin, key=key, value="[]", expected="a list of values")
    entries = [check_option_value(item, origin, key) for item in value]
    return list({format_option_value(item): item for item in entries}.values())


def _read_range(table: Mapping[str, object], origin: str, key: str) -> range | list[int]:
    """The values of `{ from = 1, to = 64, factor = 2 }`, or with a step in place of the factor; default: step 1."""
    form = "{ from = 1, to = 64, step = 1 }, or factor = 2 in place of step"
    input_error = InputError("not a range", origin=origin, key=key, value=table, expected=form)
    if not {"from", "to"} <= set(table) <= {"from", "to", "step", "factor"} or {"step", "factor"} <= set(table):
        raise input_error
    numbers = {
        name: number for name, number in table.items() if isinstance(number, int) and not isinstance(number, bool)
    }
    if len(numbers) < len(table) or not 0 < numbers["from"] <= numbers["to"]:
        raise input_error
    check_count_range(numbers.values(), reported_value=table, origin=origin, key=key)
    first, last, step = numbers["from"], numbers["to"], numbers.get("step", 1)
    factor = numbers.get("factor")
    if factor is not None and factor >= 2:
        return [first * factor**power for power in range(last.bit_length()) if first * factor**power <= last]
    if factor is not None or step < 1 or (last - first) // step >= MAX_POINTS:
        raise input_error
    return range(first, last + 1, step)


def _read_exclude_rule(
    name: str, table: Mapping[str, object], keys: Sequence[str], points: Sequence[SweepPoint], origin: str
) -> dict[str, set[str]]:
    """The values of points to leave out, by key. Raises InputError for a key or a value that no point has."""
    if not table:
        raise InputError("is empty", origin=origin, key=name, expected="keys and the values that are left out")
    rule: dict[str, set[str]] = {}
    for key, value in table.items():
        if key not in keys:
            suggestion, expected = find_nearest_name(key, keys), f"one of the sweep's keys: {', '.join(keys)}"
            problem = "is not swept"
            raise InputError(problem, origin=origin, key=f"{name}.{key}", expected=expected, suggestion=suggestion)
        existing_values = dict.fromkeys(format_option_value(point[key]) for point in points if key in point)
        rule[key] = {format_option_value(text) for text in _read_values(value, origin, f"{name}.{key}")}
        for text in rule[key]:
            if text not in existing_values:
                expected, suggestion = (
                    f"one of {', '.join(list(existing_values)[:20])}",
                    find_nearest_name(text, existing_values),
                )
                raise InputError(
                    "no point has this value",
                    origin=origin,
                    key=f"{name}.{key}",
                    value=text,
                    expected=expected,
                    suggestion=suggestion,
                )
    return rule


def _matches_rule(point: SweepPoint, rule: Mapping[str, set[str]]) -> bool:
    return all(key in point and format_option_value(point[key]) in values for key, values in rule.items())


def _build_point_identity(point: SweepPoint) -> tuple[tuple[str, str], ...]:
    """The key that is equal for equal points."""
    return tuple(sorted((key, format_option_value(value)) for key, value in point.items()))
