"""How kernels are launched: the values of `--launch`."""

from __future__ import annotations

from typing import get_args

from planner.errors import InputError, find_nearest_name
from planner.trainers.names import GraphScope, LaunchMode

GRAPH_PREFIX = "graph:"
"""Before the parts of a layer that are graphs, in a value of `--launch`."""
_SCOPES = "|".join(get_args(GraphScope))
LAUNCH_PATTERN = rf"^({'|'.join(get_args(LaunchMode))}|{GRAPH_PREFIX}({_SCOPES})(\+({_SCOPES}))*)$"
"""A value of `--launch`."""


def parse_launch(text: str, key: str = "--launch") -> str:
    """How kernels are launched: a LaunchMode, or `graph:` and scopes joined by +, which come in one order.

    `graph:full_iteration` is `graph`. Raises InputError.
    """
    if text in get_args(LaunchMode):
        return text
    if text == f"{GRAPH_PREFIX}full_iteration":
        return "graph"
    scopes = text.removeprefix(GRAPH_PREFIX).split("+") if text.startswith(GRAPH_PREFIX) else []
    unknown = next((scope for scope in scopes if scope not in get_args(GraphScope)), None)
    if not scopes or unknown is not None:
        names = get_args(LaunchMode) if unknown is None else get_args(GraphScope)
        expected = f"{', '.join(get_args(LaunchMode))}, or graph: and {', '.join(get_args(GraphScope))} joined by +"
        suggestion = find_nearest_name(text if unknown is None else unknown, names)
        raise InputError("unknown way of launching", key=key, value=text, expected=expected, suggestion=suggestion)
    return GRAPH_PREFIX + "+".join(scope for scope in get_args(GraphScope) if scope in scopes)


def list_graph_scopes(launch: str) -> tuple[str, ...]:
    """The parts of a layer that are graphs; none where the whole step is one."""
    return tuple(launch.removeprefix(GRAPH_PREFIX).split("+")) if launch.startswith(GRAPH_PREFIX) else ()
