"""Ended from outside: a single line, the exit code of shells, and no work left half done."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.run import run
from tests.sample import mark_full
from tests.terminal import PATIENCE_S, terminal

LONG = ("llama-3-70b", "-c", "dgx-h100", "--nodes", "512", "-b", "4096", "--order", "all", "--offload", "all")
"""A search that takes minutes."""
STUCK = """
import pathlib, sys, time

def half(path, text, encoding):
    with path.open("w") as file:
        file.write(text[: len(text) // 2])
        file.flush()
        print("half", flush=True)
        time.sleep(60)

pathlib.Path.write_text = half
from planner.cli.entry import plan
sys.argv = ["plan", "llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "64", "--tp", "8", "-o", sys.argv[1]]
plan()
"""
"""A program that is stuck in the middle of a file."""
TALKING = """
import sys
from planner.cli import app, entry
from planner.search.parallel import map_in_parallel

def answer(number):
    return bytes(50_000)

def talk():
    print("begun", flush=True)
    map_in_parallel("talking", answer, range(10_000_000))

app.run_planner_program = talk
entry.planner()
"""
"""A program whose workers are nearly always in the middle of an answer, with whatever locks that takes."""


@pytest.mark.parametrize("number", mark_full([signal.SIGTERM, signal.SIGINT, signal.SIGHUP], every=3))
def test_no_half_file_is_left(number: signal.Signals, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text("as it was")
    program = [sys.executable, "-c", STUCK, str(file)]

    def heard() -> None:
        signal.signal(number, signal.SIG_DFL)  # the tests themselves may run under nohup

    with subprocess.Popen(program, stdout=-1, stderr=-1, text=True, preexec_fn=heard) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "half\n"
        assert len(list(tmp_path.iterdir())) == 2
        process.send_signal(number)
        assert process.stderr.read() == "interrupted\n"
    assert process.returncode == 128 + number
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_text() == "as it was"


def test_ctrl_c_on_a_terminal_removes_the_bar_and_prints_a_single_line(tmp_path: Path) -> None:
    with terminal(("plan", *LONG), tmp_path) as there:
        there.until("searching [")
        there.write("\x03")
        last = there.rest()
        assert there.exit_code() == 130
    assert last.endswith("^C\r\x1b[Kinterrupted\r\n")
    assert "Traceback" not in last


def test_ctrl_c_stops_the_workers_as_well(tmp_path: Path) -> None:
    arguments = ("llama-3-70b", "--any", "--devices", "2048", "--tokens", "15T")
    with terminal(("planner", "compare", *arguments), tmp_path) as there:
        there.until("comparing [")
        there.write("\x03")
        # the workers hold the terminal open as long as they live
        last = there.rest()
        assert there.exit_code() == 130
    assert last.endswith("interrupted\r\n")
    assert "Traceback" not in last


def test_workers_may_be_ended_in_the_middle_of_an_answer() -> None:
    program = [sys.executable, "-c", TALKING]
    with subprocess.Popen(program, stdout=-1, stderr=-1, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.1)  # some answers are given; whenever it is, the end has to be the same
        os.killpg(process.pid, signal.SIGINT)
        try:
            assert process.communicate(timeout=PATIENCE_S) == ("", "interrupted\n")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130


def test_ignored_signals_stay_ignored(tmp_path: Path) -> None:
    script = f"trap '' HUP; {Path(sys.executable).with_name('plan')} 70B -c dgx-h100 -b 512 & kill -HUP $!; wait $!"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert run("planner", "--version").stderr == ""
