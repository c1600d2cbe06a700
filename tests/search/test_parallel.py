"""Work on several cores: the results, errors, and workers that end."""

from __future__ import annotations

import os
from unittest.mock import patch

import pytest

from planner.errors import InputError, PlannerError
from planner.search.parallel import map_in_parallel

MANY = list(range(30))


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_results_are_in_the_order_of_the_values(cores: int) -> None:
    offset = 7  # variables that a function refers to reach the workers unchanged
    with patch("os.cpu_count", return_value=cores):
        assert map_in_parallel("adding", lambda value: value + offset, MANY) == [value + 7 for value in MANY]
        assert map_in_parallel("adding", lambda value: value + offset, []) == []


@pytest.mark.parametrize("cores", [1, 3])
def test_the_first_error_is_raised_whole(cores: int) -> None:
    def refuse(value: int) -> int:
        if value >= 20:
            raise InputError("is too much", key=f"value-{value}", expected="less")
        return value

    with patch("os.cpu_count", return_value=cores), pytest.raises(InputError) as refused:
        map_in_parallel("refusing", refuse, MANY)
    assert str(refused.value) == "value-20: is too much\n  expected: less"


def test_a_worker_that_ends_is_reported_at_once() -> None:
    parent = os.getpid()

    def end(value: int) -> int:
        if value == 3 and os.getpid() != parent:
            os._exit(7)
        return value

    with patch("os.cpu_count", return_value=2), pytest.raises(PlannerError, match="ended with exit code 7"):
        map_in_parallel("ending", end, MANY)
