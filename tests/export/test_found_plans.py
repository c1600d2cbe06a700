"""What is planned for a program, its exporter accepts: of each question the five best plans."""

from __future__ import annotations

from typing import get_args

import pytest

from planner.export.exported import export_plan
from planner.export.trainer import UserExtras
from planner.trainers.names import ExportName
from tests.cli.run import call
from tests.export.found_plans import SETTING_QUESTIONS, enumerate_questions, find_plans


@pytest.mark.parametrize("program", get_args(ExportName))
def test_the_exporter_accepts_what_was_planned(program: ExportName) -> None:
    exported = 0
    for number in enumerate_questions(program):
        for run in find_plans(program, number):
            assert export_plan(run, program, UserExtras(), None, {}).files
            exported += 1
    assert exported >= 30
    setting_questions = SETTING_QUESTIONS.get(program, ())
    numbers = list(enumerate_questions(program))
    assert all(find_plans(program, number) for number in numbers[len(numbers) - len(setting_questions) :])


@pytest.mark.parametrize("option", ["--loss fused", "--pp-overlap yes", "--attention-precision fp8"])
def test_a_setting_that_the_files_of_a_program_do_not_write_is_refused_before_the_search(option: str) -> None:
    """As export refuses it: what is found for a program starts."""
    words = ("llama-3-8b", "--cluster", "dgx-h100", "--nodes", "1", "--global-batch", "64", *option.split())
    refused = call("plan", *words, "--trainer", "torchtitan")
    assert refused.returncode == 2
    assert f"{option.split()[0]}: unsupported by torchtitan" in refused.stderr


def test_a_setting_that_the_default_trainer_does_not_write_is_warned_of() -> None:
    words = ("llama-3-8b", "--cluster", "dgx-h100", "--nodes", "1", "--global-batch", "64", "--reshard", "never")
    default = call("plan", *words)
    assert default.returncode == 0
    assert "warning: --reshard: unsupported by" in default.stderr
