"""`planner sweep` as it is run: its rows are what `plan` says, and whoever is killed, the table is the same."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from planner.cli.sweeps.grid import read_sweep
from planner.cli.sweeps.journal import SweepJournal, compute_fingerprint
from planner.hardware import database
from tests.cli.run import call, run
from tests.cli.sweeps.small import (
    MANY,
    SINGLE_POINT,
    SMALL,
    count_answers,
    is_alive,
    list_workers,
    run_sweep,
    start_sweep,
    wait_until,
    write_results,
    write_sweep,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for workers in /proc")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the rows of a small sweep in all forms."""
    folder = tmp_path_factory.mktemp("small")
    write_results(folder, SMALL, "results.csv", "results.jsonl", "results.parquet")
    return folder


def _read_rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_row_equals_the_answer_of_plan_for_the_point(small: Path) -> None:
    for row in _read_rows(small / "results.jsonl"):
        arguments = [str(row["model"]), "--cluster", str(row["cluster"]), "--nodes", str(row["nodes"])]
        arguments += [
            "--global-batch",
            str(row["global_batch"]),
            "--tp",
            "1,2",
            "--pp",
            "1",
            "--cp",
            "1",
            "--format",
            "jsonl",
        ]
        plan = call("plan", *arguments)
        if row["status"] != "planned":
            assert plan.returncode == 2
            assert str(row["reason"]).split(";")[0] in plan.stderr
            continue
        planned = json.loads(plan.stdout.splitlines()[0])
        mine = {
            name: row[f"plan_{name}" if name in ("tp", "pp", "cp", "global_batch") else name]
            for name in planned
            if name in row
        }
        planned |= {"offload": "none"}
        assert mine == {name: planned[name] for name in mine}
        assert {"step_time_s", "mfu", "memory_total_bytes", "term_data_parallel_s"} <= mine.keys()
        assert row["tp"] == "1,2"


def test_the_forms_have_the_same_cells(small: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = _read_rows(small / "results.jsonl")
    table = parquet.read_table(small / "results.parquet")
    assert table.to_pylist() == rows
    with (small / "results.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [list(line) for line in lines] == [list(row) for row in rows]
    assert [line["mfu"] for line in lines] == ["" if row["mfu"] is None else repr(row["mfu"]) for row in rows]
    keys = ["model", "cluster", "nodes", "global_batch", "tp", "pp", "cp", "status", "reason"]
    assert list(rows[0])[: len(keys)] == keys


def test_the_command_writes_only_these_rows(small: Path, tmp_path: Path) -> None:
    output = tmp_path / "results.csv"
    done = run("planner", "sweep", str(write_sweep(tmp_path, SMALL)), "-o", str(output))
    assert done.stdout == f"{output}: 12 points: 8 planned, 4 bad input\n"
    assert (done.returncode, done.stderr) == (0, "")
    assert output.read_bytes() == (small / "results.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.csv", "sweep.toml"]


@pytest.mark.full
def test_after_any_killed_process_the_table_has_the_same_bytes(tmp_path: Path) -> None:
    through, output, journal = (tmp_path / name for name in ("through.csv", "results.csv", "results.csv.journal"))
    write_results(tmp_path, MANY, "through.csv")

    # a worker is replaced; Ctrl-C keeps what is answered and says how to go on
    process = start_sweep(tmp_path, MANY, "results.csv", "--workers", "2")
    wait_until(lambda: count_answers(journal) >= 8 and len(list_workers(process)) == 2)
    os.kill(list_workers(process)[0], signal.SIGKILL)
    wait_until(lambda: count_answers(journal) >= 20)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    had = count_answers(journal)
    assert err == f"stopped: {had} of 56 points are kept; the same command continues\n"

    # the last line is torn; the parent is killed, and its workers end by themselves
    journal.write_bytes(journal.read_bytes()[:-20])
    process = start_sweep(tmp_path, MANY, "results.csv", "--workers", "1")
    wait_until(lambda: count_answers(journal) >= had + 10 and len(list_workers(process)) == 1)
    workers = list_workers(process)
    process.kill()
    _, err = process.communicate()
    assert err == f"{journal}: {had - 1} of 56 points are answered already\n"
    assert count_answers(journal) < 56
    assert not output.exists()
    wait_until(lambda: not any(map(is_alive, workers)))

    assert call("planner", "sweep", str(tmp_path / "sweep.toml"), "-o", str(output)).returncode == 0
    assert output.read_bytes() == through.read_bytes()
    assert not journal.exists()


def test_another_sweep_does_not_resume_this_sweep(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    with SweepJournal(
        tmp_path / "results.jsonl.journal", compute_fingerprint(read_sweep(write_sweep(tmp_path, MANY))), 56
    ) as begun:
        begun.add_answer(0, b"{}")
    other = str(write_sweep(tmp_path, SINGLE_POINT, "other.toml"))
    refused = call("planner", "sweep", other, "-o", str(output))
    assert refused.returncode == 2
    assert "results.jsonl.journal: is the journal of another sweep" in refused.stderr
    anew = call("planner", "sweep", other, "-o", str(output), "--restart")
    assert (anew.returncode, len(_read_rows(output))) == (0, 1)


def test_a_file_that_a_point_names_belongs_to_the_sweep(tmp_path: Path) -> None:
    space = tmp_path / "space.toml"
    path = write_sweep(tmp_path, f'{SINGLE_POINT}space = "{space}"\n')
    fingerprints = []
    for text in ("tp = 1", "tp = 2", "tp = 1"):
        space.write_text(text)
        fingerprints.append(compute_fingerprint(read_sweep(path)))
    assert fingerprints[0] == fingerprints[2] != fingerprints[1]


def test_an_edited_figure_of_hardware_db_makes_another_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "hardware_db" / "nodes"
    folder.mkdir(parents=True)
    sweep = read_sweep(write_sweep(tmp_path, SINGLE_POINT))
    monkeypatch.setattr(database, "find_database_path", lambda: tmp_path / "hardware_db")
    fingerprints = [compute_fingerprint(sweep)]
    for text in ("devices = 8", "devices = 4", "devices = 8"):
        (folder / "lab.toml").write_text(text)
        fingerprints.append(compute_fingerprint(sweep))
    assert fingerprints[1] == fingerprints[3]
    assert len(set(fingerprints)) == 3


def test_infeasible_and_heterogeneous_points_are_rows(tmp_path: Path) -> None:
    text = """
    [fixed]
    global_batch = 64
    tp = 2
    pp = 1
    tokens = "1B"

    [[grid]]
    model = ["llama-3-70b", "gpt-1.7b"]
    cluster = "dgx-h100"
    nodes = 1

    [[grid]]
    model = "gpt-1.7b"
    cluster = "dgx-h100:1+dgx-a100:1"
    """
    unfit, regular, heterogeneous = run_sweep(tmp_path, text)
    assert (unfit["status"], unfit["mfu"]) == ("nothing fits", None)
    assert "nearest miss" in str(unfit["reason"])
    assert (heterogeneous["status"], heterogeneous["devices"], heterogeneous["pools"], regular["pools"]) == (
        "planned", 16, "dgx-h100+dgx-a100", None,
    )  # fmt: skip
    assert heterogeneous["days"]
    assert regular["days_with_failures"]


def test_a_sweep_without_any_plan_is_reported_and_writes_its_rows(tmp_path: Path) -> None:
    text = '[grid]\nmodel = "llama-3-70b"\ncluster = "dgx-a100"\nnodes = 1\nglobal_batch = 64\n'
    done = call("planner", "sweep", str(write_sweep(tmp_path, text)), "-o", str(tmp_path / "results.csv"))
    assert done.returncode == 3
    assert "no plan fits at any point" in done.stderr
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "x.xlsx"], "expected: a file ending in .parquet, .csv, .jsonl"),
        (["-o", "nowhere/x.csv"], "cannot be written"),
        (["-o", "x.csv", "--workers", "2", "--scheduler", "tcp://127.0.0.1:1"], "one of the two"),
    ],
)
def test_wrong_options_are_reported_before_any_point_runs(options: list[str], message: str, tmp_path: Path) -> None:
    done = call("planner", "sweep", str(write_sweep(tmp_path, SMALL)), *options, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.toml"]


def test_parquet_without_its_package_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = call("planner", "sweep", str(write_sweep(tmp_path, SMALL)), "-o", str(tmp_path / "x.parquet"))
    assert done.returncode == 2
    assert "pip install 'planner[sweep]'" in done.stderr
