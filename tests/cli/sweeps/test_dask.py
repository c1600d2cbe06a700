"""A sweep on a Dask cluster of two processes: the same bytes as here."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.run import call, run
from tests.cli.sweeps.small import MANY, SMALL, count_answers, start_sweep, wait_until, write_results, write_sweep

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="Dask is an extra: pip install 'planner[dask]'"
)

# a cluster in a process of its own, as a user has it; it ends with its standard input
CLUSTER = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, *(worker.pid for worker in cluster.workers.values()), flush=True)
        sys.stdin.read()
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[int]]]:
    """The address of a scheduler, and the processes of its workers and of itself."""
    folder = tmp_path_factory.mktemp("dask")
    script = folder / "cluster.py"
    script.write_text(CLUSTER)
    process = subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, cwd=folder, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    address, *workers = process.stdout.readline().split()
    yield address, [*map(int, workers), process.pid]
    process.communicate("")


@pytest.mark.full
def test_a_dask_cluster_gives_the_same_bytes_whichever_worker_dies(
    cluster: tuple[str, list[int]], tmp_path: Path
) -> None:
    address, workers = cluster
    file = str(write_sweep(tmp_path, SMALL))
    outputs = [tmp_path / name for name in ("here.csv", "there.csv", "again.csv")]
    write_results(tmp_path, SMALL, "here.csv")
    there = run("planner", "sweep", file, "-o", str(outputs[1]), "--scheduler", address)
    assert (there.returncode, there.stderr) == (0, "")
    os.kill(workers[0], signal.SIGKILL)
    again = run("planner", "sweep", file, "-o", str(outputs[2]), "--scheduler", address)
    assert again.returncode == 0, again.stderr
    assert outputs[0].read_bytes() == outputs[1].read_bytes() == outputs[2].read_bytes()


def test_a_missing_scheduler_is_reported(tmp_path: Path) -> None:
    done = call(
        "planner", "sweep", str(write_sweep(tmp_path, SMALL)), "-o", str(tmp_path / "x.csv"), "--scheduler", "tcp:/x"
    )
    assert done.returncode == 2
    assert "--scheduler: no scheduler" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.toml"]


@pytest.mark.full
def test_a_scheduler_that_dies_leaves_the_answers_so_far(cluster: tuple[str, list[int]], tmp_path: Path) -> None:
    address, processes = cluster
    journal = tmp_path / "results.csv.journal"
    process = start_sweep(tmp_path, MANY, "results.csv", "--scheduler", address)
    wait_until(lambda: count_answers(journal) >= 1)
    os.killpg(processes[-1], signal.SIGKILL)
    out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    kept = "the answers so far are kept, and the same command continues"
    assert err == f"error: lost the connection to the scheduler; {kept}\n"
    assert count_answers(journal) >= 1
