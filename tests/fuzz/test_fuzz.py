"""A few thousand damaged files: each is read, or told in one message. `make fuzz N=100000` runs more of the same."""

import random

import pytest

from tests.fuzz.readers import READERS
from tests.fuzz.run import fuzz, made
from tests.fuzz.texts import damaged_bytes

SEED = 7


@pytest.mark.parametrize("name", READERS)
def test_every_damaged_file_is_read_or_told(name: str) -> None:
    tally = fuzz(name, SEED, range(120 // READERS[name].slow))
    faults = [f"{kind}: python -m tests.fuzz {name} --seed {SEED} --only {n}" for kind, n in tally.first_faults()]
    assert not faults
    assert tally.counts["accepted"] + tally.counts["refused"] == tally.counts.total()


@pytest.mark.parametrize("name", ["model", "cluster", "cluster-yaml", "import-links"])
def test_damage_is_neither_always_fatal_nor_never(name: str) -> None:
    counts = fuzz(name, SEED, range(50)).counts
    assert counts["accepted"] >= 3
    assert counts["refused"] >= 3


def test_an_input_depends_on_its_number_alone() -> None:
    assert made("cluster", 1, 3) == made("cluster", 1, 3)
    assert made("cluster", 1, 3) != made("cluster", 1, 4)
    assert made("cluster", 1, 3) != made("cluster", 2, 3)


def test_bytes_are_damaged_in_any_file() -> None:
    assert all(
        isinstance(damaged_bytes(raw, random.Random(n)), bytes) for n in range(50) for raw in (b"", b"a", b"ab")
    )
