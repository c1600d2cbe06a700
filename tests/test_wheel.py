"""The wheel holds its data: built, installed in an empty environment, run outside the checkout."""

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_runs_outside_the_checkout(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [
            str(tmp_path / "env/bin/plan"),
            "gpt-3-175b",
            "--cluster",
            "dgx-a100",
            "--nodes",
            "128",
            "--global-batch",
            "1536",
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "1,024 devices" in done.stdout
    assert (tmp_path / "env/share/man/man1/plan.1").read_text().startswith(".TH PLAN 1")
    script = subprocess.run(
        [str(tmp_path / "env/bin/planner"), "completion", "bash"], capture_output=True, text=True, check=True
    )
    assert "complete -F" in script.stdout
