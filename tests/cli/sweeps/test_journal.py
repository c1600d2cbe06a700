"""The journal: what was written whole is read again, whatever was torn, lost or added."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cli.sweeps.journal import SweepJournal
from planner.errors import InputError

ANSWERS = {number: b'{"mfu":0.%d}' % (number + 1) for number in range(6)}


def _fill(path: Path) -> bytes:
    with SweepJournal(path, "one", 6) as journal:
        for number, answer in ANSWERS.items():
            journal.add_answer(number, answer)
    return path.read_bytes()


def _read(path: Path) -> dict[int, bytes]:
    with SweepJournal(path, "one", 6) as journal:
        return dict(journal.answers)


@given(cut=st.integers(0, 400))
def test_a_journal_cut_anywhere_has_the_lines_before_the_cut(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "journal"
    whole = _fill(path)
    path.write_bytes(whole[:cut])
    expected = max(whole[:cut].count(b"\n") - 1, 0)
    assert _read(path) == dict(list(ANSWERS.items())[:expected])
    if expected:
        with SweepJournal(path, "one", 6) as journal:
            for number in range(expected, 6):
                journal.add_answer(number, ANSWERS[number])
        assert path.read_bytes() == whole


@given(at=st.integers(0, 10_000), to=st.integers(1, 255))
def test_a_changed_byte_loses_its_own_line_at_most(
    at: int, to: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("bit") / "journal"
    whole = bytearray(_fill(path))
    head = whole.index(b"\n") + 1
    at = head + at % (len(whole) - head)
    whole[at] ^= to
    path.write_bytes(bytes(whole))
    read = _read(path)
    assert read.items() <= ANSWERS.items()
    # a line's end that is lost takes the next line with it
    assert len(read) >= 4


def test_the_journal_of_another_sweep_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    whole = _fill(path)
    with pytest.raises(InputError, match="--restart"):
        SweepJournal(path, "another", 6)
    with pytest.raises(InputError, match="another sweep"):
        SweepJournal(path, "one", 7)
    assert path.read_bytes() == whole
    with SweepJournal(path, "another", 6, restart=True) as journal:
        assert not journal.answers


@pytest.mark.parametrize("text", ["my notes\nof last week\n", "my notes\nof last week", "my notes", "\n"])
def test_a_file_that_is_no_journal_is_refused_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "journal"
    path.write_text(text)
    with pytest.raises(InputError, match="another sweep"):
        SweepJournal(path, "one", 6)
    assert path.read_text() == text


def test_two_processes_at_a_time_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    _fill(path)
    with (
        SweepJournal(path, "one", 6),
        pytest.raises(InputError, match=re.escape(f"{path}: another process runs this sweep")),
    ):
        SweepJournal(path, "one", 6)


def test_a_journal_without_answers_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with SweepJournal(path, "one", 6):
        assert path.exists()
    assert not path.exists()


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        SweepJournal(tmp_path / "nowhere" / "journal", "one", 6)


def test_a_disk_without_room_is_the_user_s_matter(tmp_path: Path) -> None:
    with SweepJournal(tmp_path / "journal", "one", 6) as journal, Path("/dev/full").open("wb", buffering=0) as full:
        journal._file, own = full, journal._file
        with pytest.raises(InputError, match="No space left on device; the answers so far are kept"):
            journal.add_answer(0, b"{}")
        journal._file = own
    assert _read(tmp_path / "journal") == {}
