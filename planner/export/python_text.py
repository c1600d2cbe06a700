"""Python as text: calls with an argument a line."""

from __future__ import annotations

from collections.abc import Mapping


class PythonSource(str):
    """Text that stands for itself, where a string would be quoted."""

    __slots__ = ()


def format_python_call(name: str, arguments: Mapping[str, object], depth: int = 0) -> PythonSource:
    """`name(argument=value, ...)`; `depth`: by how many steps its lines are set in."""
    if not arguments:
        return PythonSource(f"{name}()")
    inner_indent, outer_indent = "    " * (depth + 1), "    " * depth
    lines = "".join(f"{inner_indent}{key}={format_python_value(value)},\n" for key, value in arguments.items())
    return PythonSource(f"{name}(\n{lines}{outer_indent})")


def format_python_value(value: object) -> str:
    """A value as Python writes it."""
    if isinstance(value, PythonSource):
        return str(value)
    return f'"{value}"' if isinstance(value, str) and '"' not in value and "\\" not in value else repr(value)
