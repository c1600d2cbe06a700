"""A file that lists plans: `[defaults]` and `[[plans]]`, whose tables have the options of `plan`.

The options are parsed as those of `plan`; errors name the file and the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.cli.lazy import import_lazily
from planner.errors import InputError, find_nearest_name
from planner.request.files import is_existing_path, is_path_like, read_text_file
from planner.request.options import FILE_KEYS, check_option_keys, list_option_keys
from planner.request.values import OptionValue, check_option_value

with import_lazily():
    from planner import decode
    from planner.request import inputs
    from planner.studies.conditions import parse

_MAX_PLANS = 1000
_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_TABLE_PATTERN = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_.\"'-]+)\s*\]\]?\s*(#.*)?")
_LIST_ONLY_KEYS = ("name", "require")
_EXCLUSIVE_KEY = {"nodes": "devices", "devices": "nodes"}
"""Options that exclude each other: where a plan's table has one, [defaults] does not add the other."""


@dataclass(frozen=True)
class LocatedCondition:
    """A requirement, and its line in the file for messages."""

    condition: parse.Condition
    line: int


@dataclass(frozen=True)
class PlanEntry:
    """A plan of the file: its name, the options of `plan`, its requirements, and its place."""

    name: str
    key_path: str
    line: int
    options: Mapping[str, OptionValue]
    conditions: tuple[LocatedCondition, ...]
    inherited_keys: frozenset[str]
    """The keys that come from [defaults]."""


def read_plan_list(path: Path) -> tuple[PlanEntry, ...]:
    """The plans of a file. Raises InputError that names the file and the key."""
    text = read_text_file(path, (".toml",), "a TOML file of plans")
    raw = decode.parse_mapping(text, "toml", str(path))
    for key in raw:
        if key not in ("defaults", "plans"):
            known_keys = ("defaults", "plans")
            expected = "[defaults] and [[plans]]"
            raise InputError(
                "unknown key",
                origin=str(path),
                key=key,
                expected=expected,
                suggestion=find_nearest_name(key, known_keys),
            )
    defaults = _read_option_table(raw.get("defaults", {}), str(path), "defaults")
    tables = raw.get("plans")
    if not isinstance(tables, list) or not 1 <= len(tables) <= _MAX_PLANS:
        expected = f"[[plans]] tables, from 1 to {_MAX_PLANS:,}"
        raise InputError("no plans are listed", origin=str(path), key="plans", expected=expected)
    lines = _find_table_lines(text, len(tables))
    plan_entries = [
        _build_plan_entry(
            _read_option_table(item, str(path), f"plans[{number}]"), defaults, path, f"plans[{number}]", lines[number]
        )
        for number, item in enumerate(tables)
    ]
    _check_unique_names([item.name for item in plan_entries], str(path))
    return tuple(plan_entries)


def _check_unique_names(names: Sequence[str], origin: str) -> None:
    for number, name in enumerate(names):
        if name in names[:number]:
            key = f"plans[{number}].name"
            raise InputError("is used twice", origin=origin, key=key, value=name, expected="a distinct name")


def _read_option_table(raw: object, origin: str, key_path: str) -> dict[str, object]:
    """A table with `_` for `-` in its keys. Raises InputError for another type, or for a repeated key."""
    if not isinstance(raw, dict):
        raise InputError("wrong type", origin=origin, key=key_path, expected="a table")
    known_keys = (
        ("name", "require", *list_plan_table_keys())
        if key_path != "defaults"
        else ("require", *list_plan_table_keys())
    )
    check_option_keys(raw, known_keys, origin, key_path)
    table: dict[str, object] = {}
    for key, value in raw.items():
        name = key.replace("-", "_")
        if name in table:
            raise InputError("set twice", origin=origin, key=f"{key_path}.{key}", expected="each option once")
        table[name] = value
    return table


@dataclass(frozen=True)
class _TableLines:
    """The first line of a plan's table, and the text of its lines."""

    first_line: int
    texts: tuple[str, ...]

    def find_line(self, text: str) -> int:
        """The first line of the table that contains a text, else the table's header."""
        return next((self.first_line + n for n, line in enumerate(self.texts) if text in line), self.first_line)


def _find_table_lines(text: str, count: int) -> list[_TableLines]:
    """The lines of each plan's table; only line 1 where the headers [[plans]] do not match the plans."""
    rows = text.split("\n")
    headers = [(n, match[1].strip("\"'")) for n, row in enumerate(rows) if (match := _TABLE_PATTERN.fullmatch(row))]
    starts = [n for n, name in headers if name == "plans"]
    if len(starts) != count:
        return [_TableLines(1, ())] * count
    stops = [next((n for n, _ in headers if n > start), len(rows)) for start in starts]
    return [_TableLines(start + 1, tuple(rows[start:stop])) for start, stop in zip(starts, stops, strict=True)]


def _build_plan_entry(
    table: dict[str, object], defaults: dict[str, object], path: Path, key_path: str, lines: _TableLines
) -> PlanEntry:
    origin = str(path)
    name = table.get("name")
    if not isinstance(name, str) or not _NAME_PATTERN.fullmatch(name):
        expected = "letters, digits and . _ + -, at most 100 characters, since the plan's file has this name"
        raise InputError("not a name", origin=origin, key=f"{key_path}.name", value=name, expected=expected)
    inherited_options = {
        key: value for key, value in defaults.items() if _EXCLUSIVE_KEY.get(key) not in table or key in table
    }
    merged = {**inherited_options, **table}
    if "model" not in merged:
        expected = "a model, here or in [defaults]"
        raise InputError("no model is named", origin=origin, key=f"{key_path}.model", expected=expected)
    options_by_key = {
        key: _resolve_file_option(
            key,
            check_option_value(value, origin, f"{key_path}.{key}" if key in table else f"defaults.{key}"),
            path.parent,
        )
        for key, value in merged.items()
        if key not in _LIST_ONLY_KEYS
    }
    conditions = [
        *_parse_table_conditions(defaults.get("require"), origin, "defaults.require"),
        *_parse_table_conditions(table.get("require"), origin, f"{key_path}.require"),
    ]
    located_conditions = tuple(
        LocatedCondition(condition, lines.find_line(condition.text)) for condition in conditions
    )
    return PlanEntry(
        name,
        key_path,
        lines.first_line,
        options_by_key,
        located_conditions,
        frozenset(inherited_options.keys() - table.keys()),
    )


def _parse_table_conditions(raw: object, origin: str, key: str) -> list[parse.Condition]:
    texts = [] if raw is None else raw if isinstance(raw, list) else [raw]
    if not all(isinstance(condition_text, str) for condition_text in texts):
        raise InputError("wrong type", origin=origin, key=key, value=raw, expected='a list such as ["mfu >= 40%"]')
    return [
        parse.parse_condition(condition_text, origin=origin, key=f"{key}[{number}]")
        for number, condition_text in enumerate(texts)
    ]


def _resolve_file_option(key: str, value: OptionValue, folder: Path) -> OptionValue:
    """The path of a file that a plan names, relative to the folder of the list; any other value unchanged."""
    if key not in FILE_KEYS or not isinstance(value, str) or not value.strip():
        return value
    local_path = str(folder / value)
    if key == "space" or is_path_like(value):
        return local_path
    return local_path if is_existing_path(local_path) and not inputs.is_preset_name(key, value) else value


def list_plan_table_keys() -> list[str]:
    """The options of `plan` that a table may have; output options apply to the whole file instead."""
    return list(list_option_keys())
