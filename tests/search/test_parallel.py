"""Work on several cores: the results, faults, and workers that end."""

from __future__ import annotations

import os
from unittest.mock import patch

import pytest

from planner.errors import InputError, PlannerError
from planner.search.parallel import map_in_parallel

MANY = list(range(30))


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_results_are_in_the_order_of_the_values(cores: int) -> None:
    offset = 7  # what a function holds reaches the workers as it is
    with patch("os.cpu_count", return_value=cores):
        assert map_in_parallel("adding", lambda one: one + offset, MANY) == [one + 7 for one in MANY]
        assert map_in_parallel("adding", lambda one: one + offset, []) == []


@pytest.mark.parametrize("cores", [1, 3])
def test_the_first_fault_is_raised_whole(cores: int) -> None:
    def refuse(one: int) -> int:
        if one >= 20:
            raise InputError("is too much", key=f"value-{one}", expected="less")
        return one

    with patch("os.cpu_count", return_value=cores), pytest.raises(InputError) as told:
        map_in_parallel("refusing", refuse, MANY)
    assert str(told.value) == "value-20: is too much\n  expected: less"


def test_a_worker_that_ends_is_told_and_not_waited_for() -> None:
    parent = os.getpid()

    def end(one: int) -> int:
        if one == 3 and os.getpid() != parent:
            os._exit(7)
        return one

    with patch("os.cpu_count", return_value=2), pytest.raises(PlannerError, match="ended with exit code 7"):
        map_in_parallel("ending", end, MANY)
