"""Every number of many answers is what it was when somebody last looked at it (`python -m tests.pinned`)."""

from __future__ import annotations

import pytest

from tests.pinned.answers import KEPT, answered, differences, questions, read

QUESTIONS = questions()


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_number_has_moved(name: str) -> None:
    assert list(differences(read(name), answered(QUESTIONS[name]))) == []


def test_every_answer_has_its_question() -> None:
    assert {file.stem for file in KEPT.glob("*.json")} == set(QUESTIONS)
