"""Python as text: calls with an argument a line."""

from __future__ import annotations

from collections.abc import Mapping


class Source(str):
    """Text that stands for itself, where a string would be quoted."""

    __slots__ = ()


def call(name: str, arguments: Mapping[str, object], depth: int = 0) -> Source:
    """`name(argument=value, ...)`; `depth`: by how many steps its lines are set in."""
    if not arguments:
        return Source(f"{name}()")
    inside, outside = "    " * (depth + 1), "    " * depth
    lines = "".join(f"{inside}{key}={source(value)},\n" for key, value in arguments.items())
    return Source(f"{name}(\n{lines}{outside})")


def source(value: object) -> str:
    """A value as Python writes it."""
    if isinstance(value, Source):
        return str(value)
    return f'"{value}"' if isinstance(value, str) and '"' not in value and "\\" not in value else repr(value)
