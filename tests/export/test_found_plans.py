"""What is planned for a program, its exporter accepts: of each question the five best plans."""

from __future__ import annotations

from typing import get_args

import pytest

from planner.export.exported import export_plan
from planner.export.trainer import UserExtras
from planner.trainers.names import ProgramName
from tests.cli.run import call
from tests.export.found_plans import enumerate_questions, find_plans


@pytest.mark.parametrize("program", get_args(ProgramName))
def test_the_exporter_accepts_what_was_planned(program: ProgramName) -> None:
    exported = 0
    for number in enumerate_questions(program):
        for run in find_plans(program, number):
            assert export_plan(run, program, UserExtras(), None, {}).files
            exported += 1
    assert exported >= 30


@pytest.mark.parametrize("option", ["--loss chunked", "--master none", "--reshard never"])
def test_a_setting_that_the_files_of_a_program_do_not_write_is_refused_before_the_search(option: str) -> None:
    """As export refuses it: what is found for a program starts."""
    words = ("llama-3-8b", "--cluster", "dgx-h100", "--nodes", "1", "--global-batch", "64", *option.split())
    refused = call("plan", *words, "--trainer", "torchtitan")
    assert refused.returncode == 2
    assert f"{option.split()[0]}: unsupported by torchtitan" in refused.stderr
    assert "--trainer" not in refused.stderr, "no other program writes it either"
    default = call("plan", *words)
    assert default.returncode == 0
    assert f"warning: {option.split()[0]}: unsupported by" in default.stderr
