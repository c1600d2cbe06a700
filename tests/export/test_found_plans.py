"""What is planned for a program, its exporter accepts: of some questions the five best plans, of each third in
`make test-full`.

`tests/export/real/test_found_plans.py` has all questions.
"""

from __future__ import annotations

from typing import get_args

import pytest

from planner.export.exported import export_plan
from planner.trainers.names import ExportName
from tests.cli.run import call
from tests.export.found_plans import SETTING_QUESTIONS, allow_losses, enumerate_questions, find_plans


@pytest.mark.parametrize("step", [9, pytest.param(3, marks=pytest.mark.full)])
@pytest.mark.parametrize(("index", "program"), list(enumerate(get_args(ExportName))))
def test_the_exporter_accepts_what_was_planned(index: int, program: ExportName, step: int) -> None:
    exported, numbers = 0, list(enumerate_questions(program))
    first_setting = len(numbers) - len(SETTING_QUESTIONS.get(program, ()))
    settings = numbers[first_setting:] if step == 3 else numbers[first_setting : first_setting + 1]
    for number in (*numbers[:first_setting][(index + index // 3) % 3 :: step], *settings):
        plans = find_plans(program, number)
        assert plans or number < first_setting
        for run in plans:
            assert export_plan(run, program, allow_losses(run, program), None, {}).files
            exported += 1
    assert exported >= 45 // step


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
