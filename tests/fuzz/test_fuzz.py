"""A few thousand damaged files: each is read, or refused in one message. `make fuzz N=100000` runs more of them."""

import random

import pytest

from tests.fuzz.readers import READERS
from tests.fuzz.run import fuzz, make_input
from tests.fuzz.texts import damage_bytes

SEED = 7


@pytest.mark.parametrize("numbers", [range(40), pytest.param(range(40, 120), marks=pytest.mark.full)], ids=str)
@pytest.mark.parametrize("name", READERS)
def test_every_damaged_file_is_read_or_refused(name: str, numbers: range) -> None:
    slow = READERS[name].slow
    tally = fuzz(name, SEED, range(numbers.start // slow, numbers.stop // slow))
    failures = [
        f"{verdict}: python -m tests.fuzz {name} --seed {SEED} --only {n}"
        for verdict, n in tally.list_first_failures()
    ]
    assert not failures
    assert tally.counts["accepted"] + tally.counts["refused"] == tally.counts.total()


@pytest.mark.parametrize("name", ["model", "cluster", "cluster-yaml", "import-links"])
def test_some_damaged_files_are_accepted_and_some_refused(name: str) -> None:
    counts = fuzz(name, SEED, range(50)).counts
    assert counts["accepted"] >= 3
    assert counts["refused"] >= 3


def test_an_input_depends_on_its_number_alone() -> None:
    assert make_input("cluster", 1, 3) == make_input("cluster", 1, 3)
    assert make_input("cluster", 1, 3) != make_input("cluster", 1, 4)
    assert make_input("cluster", 1, 3) != make_input("cluster", 2, 3)


def test_bytes_are_damaged_in_any_file() -> None:
    assert all(
        isinstance(damage_bytes(raw, random.Random(n)), bytes) for n in range(50) for raw in (b"", b"a", b"ab")
    )
