"""The same input gives the same bytes, whatever the hash seed, the threads, the locale and the processor."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from planner.cost.arrays import compute_ceil_log2, round_significant
from tests.cli.run import call, run
from tests.examples import DEFAULTS, LAB

OLD_CPU = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR AVX2 FMA3 AVX512F AVX512CD AVX512_SKX",
    "OPENBLAS_CORETYPE": "Nehalem",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F",
}
"""What numpy, its BLAS and the C library are not to find in a processor, by old names and new."""
CIRCUMSTANCES = {
    **OLD_CPU,
    "PYTHONHASHSEED": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "COLUMNS": "40",
    "FORCE_COLOR": "1",
    "LC_ALL": "C",
}
"""An old processor with one thread, another hash seed, a narrow terminal with colors, another locale."""
TWO_NODES = "llama-3-8b -c dgx-h100 --nodes 2 -b 64"
COMMANDS = (
    f"plan {TWO_NODES} --tokens 1T --grid fr -f json",
    f"plan {TWO_NODES} --tp 2,4 --pp 1 --cp 1 --uncertainty 5 -f csv",
    "plan llama-3-8b -c dgx-h100 --nodes 4 -b 64 --tp 4 --vpp 1 --fault node-3 --fault node-1:2=0.5 -f json",
    "planner compare llama-3-8b --on dgx-h100 --on dgx-a100:4 --devices 16 --tokens 9B --objective cost -f markdown",
    "planner topology dgx-h100 --nodes 4 -f json",
    f"planner what-if {TWO_NODES} --tp 4 --pp 1 --cp 1 --set fabric.bandwidth=2x -f json",
    "planner check plan.toml -f json",
    f"planner explain {Path(__file__).parent / 'fixtures' / 'plan.json'} --trace trace.json -f json",
)
PLANS = """
[[plans]]
name = "small"
model = "llama-3-8b"
cluster = "dgx-h100"
nodes = 2
global_batch = 64
tp = 4
require = ["mfu >= 10%"]
"""


SEPARATOR = "\f"
PROGRAMS = f"""
import sys
from planner.cli.app import run_plan_program, run_planner_program

for command in sys.argv[1:]:
    sys.argv = command.split()
    (run_plan_program if sys.argv[0] == "plan" else run_planner_program)()
    print({SEPARATOR!r}, end="")
"""
"""All commands one after another; the first that fails ends it."""


def run_commands(folder: Path, **variables: str) -> list[str]:
    """What each command prints, in a process with these variables, and the trace that one of them writes."""
    (folder / "plan.toml").write_text(PLANS)
    program = [sys.executable, "-c", PROGRAMS, *COMMANDS]
    environment = {**os.environ, **variables}
    done = subprocess.run(program, capture_output=True, text=True, env=environment, check=False, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    *texts, rest = done.stdout.split(SEPARATOR)
    assert rest == ""
    return [*texts, (folder / "trace.json").read_text()]


def test_the_bytes_are_the_same(tmp_path: Path) -> None:
    others = run_commands(tmp_path, **CIRCUMSTANCES)
    assert all(others)
    for command, other in zip(COMMANDS, others[:-1], strict=True):
        assert call(*command.split(), cwd=tmp_path).stdout == other, command
    assert (tmp_path / "trace.json").read_text() == others[-1]


def test_last_digits_are_rounded() -> None:
    values = np.array([1.0, -1.5, np.pi, 1e-300, 1e300, np.inf])
    near = np.nextafter(values, np.inf, where=np.isfinite(values), out=values.copy())
    assert round_significant(values).tolist() == round_significant(near).tolist()
    assert round_significant(values) == pytest.approx(values, rel=2.0**-44, abs=0)
    assert round_significant(np.array([0.0, 1.0, -1.5, 2.0**40 + 1])).tolist() == [0.0, 1.0, -1.5, 2.0**40 + 1]


def test_doublings_are_whole_logarithms() -> None:
    parts = np.array([*range(1, 70), 2**20 - 1, 2**20, 2**20 + 1], dtype=np.float64)
    assert compute_ceil_log2(parts).tolist() == [float((int(count) - 1).bit_length()) for count in parts.tolist()]


def test_files_are_read_as_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    name = "l\N{LATIN SMALL LETTER A WITH ACUTE}b"
    (tmp_path / "lab.toml").write_text(LAB.format(**DEFAULTS).replace('"lab"', f'"{name}"'), "utf-8")
    words = ("bert-base", "-c", str(tmp_path / "lab.toml"), "-b", "64", "-f", "csv")
    usual = call("plan", *words)
    assert name in usual.stdout
    assert run("plan", *words, PYTHONUTF8="0", LC_ALL="C.UTF-8").stdout == usual.stdout


def test_the_whole_of_parts_is_rounded_once() -> None:
    """Python's own sum of floats is another one from 3.12 on."""
    done = call("plan", *TWO_NODES.split(), "-f", "json")
    for plan in json.loads(done.stdout)["plans"]:
        sizes = {name: size for name, size in plan["memory"].items() if name.endswith("_bytes")}
        parts = [size for name, size in sizes.items() if name not in ("total_bytes", "capacity_bytes")]
        assert plan["memory"]["total_bytes"] == math.fsum(parts)


def test_descriptions_of_schemas_begin_at_the_margin() -> None:
    """As docstrings do from Python 3.13 on."""
    schema = json.loads(call("planner", "schema", "topology").stdout)
    long = [part["description"] for part in schema["$defs"].values() if "\n" in part.get("description", "")]
    assert long
    assert not any("\n " in text for text in long)
