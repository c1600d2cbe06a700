"""Laws of every document, over many commands; and a few figures, each of one term of the model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.pinned.commands import get_figure, read_commands, read_figures, run_pinned_command
from tests.sample import mark_full

COMMANDS = read_commands()
FIGURES_BY_COMMAND: dict[str, dict[str, float]] = {}
for (of_command, figure_path), pinned_value in read_figures().items():
    FIGURES_BY_COMMAND.setdefault(of_command, {})[figure_path] = pinned_value


def iterate_plans(value: object) -> Iterator[dict[str, Any]]:
    """Every object of a document that has a strategy and the terms of its step."""
    if isinstance(value, dict):
        if "strategy" in value and isinstance(value.get("step_time_s"), float) and "terms" in value:
            yield value
        for inner in value.values():
            yield from iterate_plans(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from iterate_plans(inner)


@pytest.mark.parametrize("name", mark_full(COMMANDS, every=7, keep=FIGURES_BY_COMMAND))
def test_a_document_keeps_the_laws_and_its_figures(name: str) -> None:
    result = run_pinned_command(COMMANDS[name].command)
    assert result.exit_code == COMMANDS[name].exit_code
    if result.document is None:
        assert result.exit_code in (2, 3)
        assert re.search(r"^error: \S", result.stderr, re.MULTILINE)
        assert "Traceback" not in result.stderr
    for plan in iterate_plans(result.document):
        assert sum(plan["terms"].values()) == pytest.approx(plan["step_time_s"], rel=1e-9)
        assert min(plan["terms"].values()) >= 0
        if memory := plan.get("memory"):
            parts = [
                value
                for key, value in memory.items()
                if key.endswith("_bytes") and key not in ("total_bytes", "capacity_bytes")
            ]
            assert sum(parts) == pytest.approx(memory["total_bytes"], rel=1e-9)
            assert memory["total_bytes"] <= memory["capacity_bytes"]

    for path, value in FIGURES_BY_COMMAND.get(name, {}).items():
        assert get_figure(result.document, path) == pytest.approx(value, rel=1e-9), path


def test_every_figure_is_of_a_command() -> None:
    assert set(FIGURES_BY_COMMAND) <= set(COMMANDS)
