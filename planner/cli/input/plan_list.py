"""A file that lists plans: `[defaults]` and `[[plans]]`, each table turned into the arguments of `plan` itself.

So every option, its checks and its messages stay where they are; what is wrong is told of the file and the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from planner.cli.input.arguments import (
    FILES,
    OF_THE_ANSWER,
    Entry,
    check_keys,
    entry_of,
    options_of_plan,
)
from planner.cli.input.inputs import is_preset
from planner.cli.io.files import is_there, looks_like_path, read_text
from planner.errors import InputError, find_nearest_name

if TYPE_CHECKING:
    from planner.studies.conditions.parse import Condition

_MOST_PLANS = 1000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_TABLE = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_.\"'-]+)\s*\]\]?\s*(#.*)?")
_OWN = ("name", "require")
_EITHER = {"nodes": "devices", "devices": "nodes"}
"""Of these a plan has one: where its table has it, [defaults] does not add the other."""


@dataclass(frozen=True)
class Required:
    """One requirement, and the line of the file that it is told of."""

    requirement: Condition
    line: int


@dataclass(frozen=True)
class Listed:
    """One plan of the file: its name, the options of `plan`, what it has to meet, and where it stands."""

    name: str
    at: str
    line: int
    options: Mapping[str, Entry]
    required: tuple[Required, ...]
    inherited: frozenset[str]
    """The keys that are from [defaults]."""


def read_list(path: Path) -> tuple[Listed, ...]:
    """The plans of a file. Raises InputError that names the file and the key."""
    from planner.decode import parse_mapping

    text = read_text(path, (".toml",), "a TOML file of plans")
    raw = parse_mapping(text, "toml", str(path))
    for key in raw:
        if key not in ("defaults", "plans"):
            known = ("defaults", "plans")
            expected = "[defaults] and [[plans]]"
            raise InputError(
                "unknown key", origin=str(path), key=key, expected=expected, suggestion=find_nearest_name(key, known)
            )
    defaults = _table(raw.get("defaults", {}), str(path), "defaults")
    tables = raw.get("plans")
    if not isinstance(tables, list) or not 1 <= len(tables) <= _MOST_PLANS:
        expected = f"[[plans]] tables, from 1 to {_MOST_PLANS:,}"
        raise InputError("no plans are listed", origin=str(path), key="plans", expected=expected)
    lines = _lines(text, len(tables))
    listed = [
        _listed(_table(one, str(path), f"plans[{number}]"), defaults, path, f"plans[{number}]", lines[number])
        for number, one in enumerate(tables)
    ]
    _refuse_twice([one.name for one in listed], str(path))
    return tuple(listed)


def _refuse_twice(names: Sequence[str], origin: str) -> None:
    for number, name in enumerate(names):
        if name in names[:number]:
            key = f"plans[{number}].name"
            raise InputError("is used twice", origin=origin, key=key, value=name, expected="a name of its own")


def _table(raw: object, origin: str, at: str) -> dict[str, object]:
    """A table with its keys as options are called, `_` for `-`. Raises InputError for what is none."""
    if not isinstance(raw, dict):
        raise InputError("wrong type", origin=origin, key=at, expected="a table")
    known = ("name", "require", *options()) if at != "defaults" else ("require", *options())
    check_keys(raw, known, origin, at)
    table: dict[str, object] = {}
    for key, value in raw.items():
        name = key.replace("-", "_")
        if name in table:
            raise InputError("set twice", origin=origin, key=f"{at}.{key}", expected="each option once")
        table[name] = value
    return table


@dataclass(frozen=True)
class _Lines:
    """Where a plan's table begins, and the text of its lines."""

    first: int
    texts: tuple[str, ...]

    def of(self, text: str) -> int:
        """The first line of the table that has a text, else the table's own."""
        return next((self.first + n for n, line in enumerate(self.texts) if text in line), self.first)


def _lines(text: str, count: int) -> list[_Lines]:
    """The lines of each plan's table; line 1 alone where the file has not one header [[plans]] for each."""
    rows = text.split("\n")
    heads = [(n, found[1].strip("\"'")) for n, row in enumerate(rows) if (found := _TABLE.fullmatch(row))]
    starts = [n for n, name in heads if name == "plans"]
    if len(starts) != count:
        return [_Lines(1, ())] * count
    ends = [next((n for n, _ in heads if n > start), len(rows)) for start in starts]
    return [_Lines(start + 1, tuple(rows[start:end])) for start, end in zip(starts, ends, strict=True)]


def _listed(table: dict[str, object], defaults: dict[str, object], path: Path, at: str, lines: _Lines) -> Listed:
    origin = str(path)
    name = table.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        expected = "letters, digits and . _ + -, at most 100: the file of the plan is called so"
        raise InputError("no name", origin=origin, key=f"{at}.name", value=name, expected=expected)
    inherited = {key: value for key, value in defaults.items() if _EITHER.get(key) not in table or key in table}
    merged = {**inherited, **table}
    if "model" not in merged:
        expected = "a model, here or in [defaults]"
        raise InputError("no model is named", origin=origin, key=f"{at}.model", expected=expected)
    chosen = {
        key: _placed(key, entry_of(value, origin, f"{at}.{key}" if key in table else f"defaults.{key}"), path.parent)
        for key, value in merged.items()
        if key not in _OWN
    }
    texts = [
        *_requirements(defaults.get("require"), origin, "defaults.require"),
        *_requirements(table.get("require"), origin, f"{at}.require"),
    ]
    required = tuple(Required(one, lines.of(one.text)) for one in texts)
    return Listed(name, at, lines.first, chosen, required, frozenset(inherited.keys() - table.keys()))


def _requirements(raw: object, origin: str, key: str) -> list[Condition]:
    from planner.studies.conditions.parse import parse_condition

    texts = [] if raw is None else raw if isinstance(raw, list) else [raw]
    if not all(isinstance(one, str) for one in texts):
        raise InputError("wrong type", origin=origin, key=key, value=raw, expected='a list such as ["mfu >= 40%"]')
    return [parse_condition(one, origin=origin, key=f"{key}[{number}]") for number, one in enumerate(texts)]


def _placed(key: str, value: Entry, folder: Path) -> Entry:
    """A file that a plan names, from the folder of the list; anything else as it is."""
    if key not in FILES or not isinstance(value, str) or not value.strip():
        return value
    here = str(folder / value)
    if key == "space" or looks_like_path(value):
        return here
    return here if is_there(here) and not is_preset(key, value) else value


def options() -> list[str]:
    """The options of `plan` that a table may have: where answers go is said once, of the whole file."""
    return [key for key in options_of_plan() if key not in OF_THE_ANSWER]
