"""Every script, by shellcheck; Slurm's batch script, by `sbatch --test-only` where there is a Slurm."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.export.plans import CASES, PLANS_BY_TRAINER, export_plan
from tests.export.real.needs import skip_or_fail

pytestmark = pytest.mark.export


def find_shellcheck() -> str:
    installed = Path(sys.executable).with_name("shellcheck")
    return (
        str(installed) if installed.exists() else shutil.which("shellcheck") or skip_or_fail("there is no shellcheck")
    )


def check_scripts(folder: Path) -> int:
    scripts = [str(file) for file in sorted(folder.iterdir()) if file.suffix in (".sh", ".sbatch")]
    done = subprocess.run([find_shellcheck(), *scripts], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    return len(scripts)


@pytest.mark.parametrize(("trainer", "name"), CASES)
def test_shellcheck_accepts_every_script(trainer: str, name: str, tmp_path: Path) -> None:
    find_shellcheck()
    assert check_scripts(export_plan(tmp_path, name, trainer)) == 1


@pytest.mark.parametrize("launcher", ["slurm", "torchrun"])
@pytest.mark.parametrize("trainer", [name for name in PLANS_BY_TRAINER if name != "maxtext"])
def test_shellcheck_accepts_the_scripts_of_launchers(trainer: str, launcher: str, tmp_path: Path) -> None:
    find_shellcheck()
    words = ("--arguments", "my script.py --name 'it''s'", "--env", "DATA=/a b/c")
    assert (
        check_scripts(export_plan(tmp_path, PLANS_BY_TRAINER[trainer][0], trainer, "--launcher", launcher, *words))
        == 2
    )


@pytest.mark.parametrize(
    ("trainer", "name"), [("megatron-lm", "dense"), ("megatron-lm", "latent"), ("fsdp2", "hybrid")]
)
def test_slurm_takes_the_batch_script(trainer: str, name: str, tmp_path: Path) -> None:
    there = shutil.which("sbatch") and subprocess.run(["scontrol", "ping"], capture_output=True, check=False)
    if not there or there.returncode:
        pytest.skip("there is no Slurm here: shellcheck has read its script, a pretended srun has run it")
    folder = export_plan(tmp_path, name, trainer, "--launcher", "slurm")
    words = ["sbatch", "--test-only", "slurm.sbatch", "--lr", "1e-4"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
