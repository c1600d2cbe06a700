"""Of many alike cases `make test` runs a fixed sample; the others are marked `full`, for `make test-full`."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest


def mark_full(
    values: Iterable[object],
    *,
    every: int = 1,
    keep: Collection[object] = (),
    costly: Collection[object] = (),
) -> list[object]:
    """The values as parameters of a test: each `every`-th but those of `costly`, and those of `keep`, for every run,
    the others `full`.

    A tuple is the values of several parameters.
    """
    return [
        value if value in keep or (number % every == 0 and value not in costly) else _mark_value(value)
        for number, value in enumerate(values)
    ]


def _mark_value(value: object) -> object:
    return pytest.param(*value if isinstance(value, tuple) else (value,), marks=pytest.mark.full)
