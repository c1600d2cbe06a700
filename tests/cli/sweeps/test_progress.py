"""How far a sweep is: shown on a terminal alone."""

from __future__ import annotations

import io
import sys

import pytest

from planner.cli.io.progress import show_sweep_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Terminal(), True), (io.StringIO(), False)])
def test_points_are_counted_on_a_terminal_alone(
    stream: io.StringIO, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    with show_sweep_progress(10, 4) as advance:
        for _ in range(3):
            advance()
    assert ("7/10" in stream.getvalue()) is shown
    assert bool(stream.getvalue()) is shown
