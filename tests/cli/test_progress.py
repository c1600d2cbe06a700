"""The bar of progress: on a terminal alone, after a second, gone at the end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from planner.cli.io.progress import format_bar
from planner.progress import track_steps, watch_progress
from planner.search.parallel import map_in_parallel
from tests.cli.run import call
from tests.terminal import terminal

ARGUMENTS = (
    "llama-3-8b",
    "-c",
    "dgx-h100",
    "--nodes",
    "1",
    "-b",
    "64",
    "--tp",
    "8",
    "--vpp",
    "1",
)
SAMPLED = ("--uncertainty", "12")
HURRIED = """
import sys
from planner.cli import entry
from planner.cli.io import progress
progress._DELAY_S, progress._INTERVAL_S = float(sys.argv.pop(1)), 0.01
entry.plan()
"""
"""The program, with a first second of another length."""


def build_hurried_command(first_s: float, *options: str) -> tuple[str, ...]:
    return (sys.executable, "-c", HURRIED, str(first_s), *ARGUMENTS, *options)


def watch_loop(loop) -> list[tuple[str, int, int]]:  # type: ignore[no-untyped-def]
    """What a watcher receives of a loop."""
    heard: list[tuple[str, int, int]] = []
    with watch_progress(lambda *word: heard.append(word)):
        loop()
    return heard


def test_the_outermost_loop_of_several_steps_is_reported() -> None:
    def loop() -> None:
        for _ in track_steps("one", [1]):
            for _ in track_steps("many", [1, 2]):
                list(track_steps("few", [1, 2, 3]))

    heard = watch_loop(loop)
    assert heard == [("one", 0, 1), ("many", 0, 2), ("many", 1, 2), ("many", 2, 2), ("one", 1, 1)]


def test_after_a_loop_that_is_left_early_the_next_loop_is_reported() -> None:
    def loop() -> None:
        for _ in track_steps("left", [1, 2, 3]):
            break
        list(track_steps("next", [1, 2]))

    assert ("next", 1, 2) in watch_loop(loop)


def test_values_pass_unchanged_with_and_without_a_watcher() -> None:
    for values in ([], [3], [3, 1, 2]):
        assert list(track_steps("these", values)) == values
        watch_loop(lambda values=values: values == list(track_steps("these", values)) or 1 / 0)


def test_work_on_all_cores_is_counted() -> None:
    results: list[int] = []
    heard = watch_loop(lambda: results.extend(map_in_parallel("squaring", abs, [-3, 1, -2, 5, 4])))
    assert results == [3, 1, 2, 5, 4]
    assert heard[-1] == ("squaring", 5, 5)


def test_the_bar_grows_or_moves() -> None:
    assert format_bar("searching", 0, 4, 1.0) == f"searching [{' ' * 24}] 0 of 4 0:01"
    assert format_bar("searching", 2, 4, 61.0) == f"searching [{'=' * 12}{' ' * 12}] 2 of 4 1:01"
    assert format_bar("searching", 4, 4, 61.0) == f"searching [{'=' * 24}] 4 of 4 1:01"
    moving = {format_bar("working", 0, 1, tenths / 5)[:34] for tenths in range(50)}
    assert len(moving) == 20
    assert {bar.count("=") for bar in moving} == {5}


def test_a_bar_is_shown_on_a_terminal_and_gone_before_the_answer(tmp_path: Path) -> None:
    command = build_hurried_command(0.01, *SAMPLED)
    with terminal(("bash", "-c", '"$@" > answer.txt', "bash", *command), tmp_path) as there:
        shown = there.rest()
        assert there.exit_code() == 0
    assert "working [" in shown
    assert "sampling [" in shown
    assert shown.endswith("\r\x1b[K")
    assert (tmp_path / "answer.txt").read_text() == call("plan", *ARGUMENTS, *SAMPLED).stdout
    with terminal(build_hurried_command(0.01), tmp_path) as there:
        before, _, after = there.rest().partition("Llama 3 8B")
        assert there.exit_code() == 0
    assert "working [" in before
    assert "working [" not in after


def test_no_bar_without_a_terminal_nor_for_quick_work(tmp_path: Path) -> None:
    done = subprocess.run(build_hurried_command(0.01), capture_output=True, text=True, check=True)
    assert done.stderr == ""
    quiet = ("bash", "-c", '"$@" > answer.txt', "bash")
    with terminal((*quiet, *build_hurried_command(60.0)), tmp_path) as there:
        assert there.rest() == ""
    with terminal((*quiet, *build_hurried_command(0.01)), tmp_path, {"TERM": "dumb"}) as there:
        assert there.rest() == ""
