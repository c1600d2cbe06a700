"""What is planned for a program, its exporter accepts: of twenty questions the five best plans."""

from __future__ import annotations

from typing import get_args

import pytest

from planner.export.exported import export_plan
from planner.export.trainer import UserExtras
from planner.trainers.names import ProgramName
from tests.export.found_plans import enumerate_questions, find_plans


@pytest.mark.parametrize("program", get_args(ProgramName))
def test_the_exporter_accepts_what_was_planned(program: ProgramName) -> None:
    exported = 0
    for number in enumerate_questions(program):
        for run in find_plans(program, number):
            assert export_plan(run, program, UserExtras(), None, {}).files
            exported += 1
    assert exported >= 30
