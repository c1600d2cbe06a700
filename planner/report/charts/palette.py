"""The colours of charts: one for each term, on every page. Terms that share a chart differ for every kind of colour
vision, and each is seen on white and on black (`tests/report/test_charts.py` measures both).
"""

from __future__ import annotations

_INDIGO, _PERIWINKLE, _SKY, _ORANGE, _YELLOW, _CRIMSON = (
    "#5a4be0", "#8c9cff", "#81cdff", "#e64d00", "#f2c81f", "#b0244f",
)  # fmt: skip
_PINK, _SAGE, _GREEN, _BROWN, _PURPLE, _MAUVE = "#ed72be", "#b5bfa6", "#22a555", "#8f501f", "#6f53a8", "#8a6088"
_VIOLET = "#7700ff"

STEP_COLOURS = {
    "forward": _INDIGO,
    "backward": _PERIWINKLE,
    "recompute": _SKY,
    "tensor parallel": _ORANGE,
    "context parallel": _YELLOW,
    "expert parallel": _CRIMSON,
    "pipeline sends": _PINK,
    "pipeline bubble": _SAGE,
    "data parallel": _GREEN,
    "optimizer": _BROWN,
    "offload": _PURPLE,
    "overhead": _MAUVE,
    "input": _VIOLET,
}
MEMORY_COLOURS = {
    "weights": _INDIGO,
    "gradients": _PERIWINKLE,
    "optimizer": _BROWN,
    "activations": _YELLOW,
    "logits": _ORANGE,
    "buffers": _GREEN,
    "allocator": _MAUVE,
    "communicators": _PURPLE,
    "reserve": _SAGE,
}
BOUND_COLOURS = {"compute": _INDIGO, "memory": _YELLOW, "launch": _PINK}
"""Of operators, by what limits them."""
_COLOURS = {
    **STEP_COLOURS,
    **MEMORY_COLOURS,
    **BOUND_COLOURS,
    "kernels": _PERIWINKLE,
    "training": _INDIGO,
    "failures": _CRIMSON,
    "rent": _GREEN,
    "energy": _ORANGE,
}
SERIES_COLOURS = (
    _INDIGO, _ORANGE, _GREEN, _PINK, _YELLOW, _SKY, _BROWN, _PERIWINKLE, _CRIMSON, _SAGE, _PURPLE, _MAUVE,
)  # fmt: skip
"""Of names that are no term, in the order in which they first appear."""


def sort_terms(names: list[str]) -> list[str]:
    """Terms of a step, or categories of memory, in their order everywhere; other names as they are."""
    for colours in (STEP_COLOURS, MEMORY_COLOURS):
        if colours.keys() >= set(names):
            return [name for name in colours if name in names]
    return names


def choose_colours(names: list[str]) -> list[str]:
    """The colour of each name: its term's own, or the next of `SERIES_COLOURS`."""
    others = [name for name in names if name not in _COLOURS]
    series_colours = {name: SERIES_COLOURS[number % len(SERIES_COLOURS)] for number, name in enumerate(others)}
    return [_COLOURS.get(name) or series_colours[name] for name in names]
