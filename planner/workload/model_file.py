"""Writes a model's description as the TOML file that is read back as the same model."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec

from planner.workload.spec import ModelSpec

_COMMENT_WIDTH = 116


def format_model_file(spec: ModelSpec, notes: tuple[str, ...] = ()) -> str:
    """The keys that differ from their defaults, tables after them; `notes` are comments before all."""
    comments = [f"# {note}"[:_COMMENT_WIDTH] for note in notes]
    return "\n".join([*comments, *_format_keys(spec), *_format_tables(spec), ""])


def _list_given(spec: msgspec.Struct) -> dict[str, object]:
    """The fields that differ from their defaults, and those without one."""
    given = {}
    for field in msgspec.structs.fields(type(spec)):
        value = getattr(spec, field.name)
        if field.required or value != field.default:
            given[field.encode_name] = value
    return given


def _format_keys(spec: msgspec.Struct) -> Iterator[str]:
    for key, value in _list_given(spec).items():
        if not isinstance(value, msgspec.Struct) and not _is_list_of_tables(value):
            yield f"{key} = {_format_value(value)}"


def _format_tables(spec: msgspec.Struct, prefix: str = "") -> Iterator[str]:
    for key, value in _list_given(spec).items():
        if isinstance(value, msgspec.Struct):
            yield from ("", f"[{prefix}{key}]", *_format_keys(value))
        elif isinstance(value, tuple) and _is_list_of_tables(value):
            for item in value:
                yield from ("", f"[[{prefix}{key}]]", *_format_keys(item), *_format_tables(item, f"{prefix}{key}."))


def _is_list_of_tables(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], msgspec.Struct)


def _format_value(value: object) -> str:
    # a number, a text, true or false, and a list of those are written alike in JSON and TOML
    return json.dumps(list(value) if isinstance(value, tuple) else value)
