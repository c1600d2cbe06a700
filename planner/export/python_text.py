"""Formats Python source: calls with an argument per line."""

from __future__ import annotations

from collections.abc import Mapping


class PythonSource(str):
    """Source text that is written unquoted."""

    __slots__ = ()


def format_python_call(name: str, arguments: Mapping[str, object], depth: int = 0) -> PythonSource:
    """`name(argument=value, ...)`; `depth`: the steps of indentation of its lines."""
    if not arguments:
        return PythonSource(f"{name}()")
    inner_indent, outer_indent = "    " * (depth + 1), "    " * depth
    lines = "".join(f"{inner_indent}{key}={format_python_value(value)},\n" for key, value in arguments.items())
    return PythonSource(f"{name}(\n{lines}{outer_indent})")


def format_python_value(value: object) -> str:
    """A value as a Python literal."""
    if isinstance(value, PythonSource):
        return str(value)
    return f'"{value}"' if isinstance(value, str) and '"' not in value and "\\" not in value else repr(value)
