"""Laws that every answer keeps, over many questions; and a few figures, each of one term of the model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from tests.pinned.answers import Answer, answer_question, find_figure, read_figures, read_questions

QUESTIONS = read_questions()
FIGURES = read_figures()


@cache
def answer(name: str) -> Answer:
    return answer_question(QUESTIONS[name].command)


def plans_in(value: object) -> Iterator[dict[str, Any]]:
    """Whatever has a strategy and the terms of its step, wherever it is in a document."""
    if isinstance(value, dict):
        if "strategy" in value and isinstance(value.get("step_time_s"), float) and "terms" in value:
            yield value
        for inner in value.values():
            yield from plans_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from plans_in(inner)


@pytest.mark.parametrize("name", QUESTIONS)
def test_an_answer_keeps_the_laws(name: str) -> None:
    done = answer(name)
    assert done.exit_code == QUESTIONS[name].exit_code
    if done.document is None:
        assert done.exit_code in (2, 3)
        assert re.match(r"error: \S", done.stderr)
        assert "Traceback" not in done.stderr
    for plan in plans_in(done.document):
        assert sum(plan["terms"].values()) == pytest.approx(plan["step_time_s"], rel=1e-9)
        assert min(plan["terms"].values()) >= 0
        if memory := plan.get("memory"):
            parts = [value for key, value in memory.items() if key not in ("total_bytes", "capacity_bytes")]
            assert sum(parts) == pytest.approx(memory["total_bytes"], rel=1e-9)
            assert memory["total_bytes"] <= memory["capacity_bytes"]


@pytest.mark.parametrize(("name", "path"), FIGURES)
def test_a_figure_has_not_moved(name: str, path: str) -> None:
    assert find_figure(answer(name).document, path) == pytest.approx(FIGURES[name, path], rel=1e-9)
