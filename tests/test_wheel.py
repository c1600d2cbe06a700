"""The wheel holds its data: built, installed in an environment of its own, run outside the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def list_requirements(package: Distribution) -> Iterator[Distribution]:
    """The requirements of a distribution, and theirs, as far as they are installed here; no extras."""
    for line in package.requires or []:
        name, _, marker = line.partition(";")
        if "extra" not in marker:
            try:
                requirement = distribution(re.split(r"[^A-Za-z0-9._-]", name)[0])
            except ModuleNotFoundError:  # for another system or an older Python
                continue
            yield requirement
            yield from list_requirements(requirement)


def link_packages(wanted: Iterator[Distribution], site_packages: Path) -> None:
    """Link packages into an environment that has none: no download, and no other package is there."""
    for package in wanted:
        for top in {file.parts[0] for file in package.files or [] if file.parts[0] != ".."}:
            link = site_packages / top
            if top != "__pycache__" and not link.exists():
                link.symlink_to(str(package.locate_file(top)))


@pytest.mark.full
def test_the_wheel_runs_outside_the_checkout(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "env", with_pip=False)
    python = str(tmp_path / "env/bin/python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--no-compile", str(wheel)], check=True, capture_output=True)
    (site_packages,) = (tmp_path / "env/lib").glob("python*/site-packages")
    (installed,) = distributions(name="planner", path=[str(site_packages)])
    link_packages(list_requirements(installed), site_packages)
    assert not (site_packages / "scipy").exists(), "only the requirements of the wheel"
    assert (site_packages / "planner/py.typed").exists(), "else a type checker takes `import planner` for Any"
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
