"""A few commands give the same bytes whatever the hash seed, the threads, the cores and the processor.

`make same` runs all of them, in every circumstance and under other Pythons.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from planner.cost.arrays import doublings, settled
from tests.cli.run import call
from tests.examples import DEFAULTS, LAB
from tests.same.commands import commands, write_inputs
from tests.same.run import Answer, answer, difference
from tests.same.ways import OLD_CPU, Way, usual

OWN = Path(sys.executable).parent
OTHER = (
    Way("one thread", OWN, variables={"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}),
    Way("old CPU", OWN, cores="0" if shutil.which("taskset") else "", variables={**OLD_CPU, "PYTHONHASHSEED": "2"}),
)


@pytest.mark.parametrize("name", ["plan little", "topology drawn"])
def test_the_bytes_are_the_same(name: str, tmp_path: Path) -> None:
    write_inputs(tmp_path / "in")
    words = commands()[name]
    first, *others = (answer(words, way, tmp_path / "in", tmp_path / "run") for way in (usual(OWN), *OTHER))
    assert first.code == 0
    assert [difference(first, one) for one in others] == [[], []]


def test_what_differs_is_told() -> None:
    one = Answer(0, {"stdout": b"a\nb\n", "stderr": b"", "out/a": b"1\n"})
    other = Answer(2, {"stdout": b"a\nc\n", "stderr": b"", "out/b": b"1\n"})
    assert difference(one, one) == []
    assert difference(one, other) == [
        "exit code 0, 2", "out/a is there once only", "out/b is there once only",
        "--- usual", "+++ stdout", "@@ -2 +2 @@", "-b", "+c",
    ]  # fmt: skip
    assert difference(one, replace(one, parts={**one.parts, "stdout": b"a\nb"})) == ["stdout: line ends differ"]


def test_every_command_has_its_help_told_of_or_is_run() -> None:
    """A command that is new is run as well."""
    from typer.main import get_command

    from planner.cli.app import planner_app

    told = {words[at + 1] for words in commands().values() for at, word in enumerate(words) if word == "planner"}
    known = {name for name, one in get_command(planner_app()).commands.items() if not one.hidden}  # type: ignore[attr-defined]
    assert known - told == {"plan"}


def test_the_last_digits_are_settled() -> None:
    values = np.array([1.0, -1.5, np.pi, 1e-300, 1e300, np.inf])
    near = np.nextafter(values, np.inf, where=np.isfinite(values), out=values.copy())
    assert settled(values).tolist() == settled(near).tolist()
    assert settled(values) == pytest.approx(values, rel=2.0**-44, abs=0)
    assert settled(np.array([0.0, 1.0, -1.5, 2.0**40 + 1])).tolist() == [0.0, 1.0, -1.5, 2.0**40 + 1]


def test_doublings_are_whole_logarithms() -> None:
    parts = np.array([*range(1, 70), 2**20 - 1, 2**20, 2**20 + 1], dtype=np.float64)
    assert doublings(parts).tolist() == [float((int(count) - 1).bit_length()) for count in parts.tolist()]


def test_what_a_program_reads_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    text = LAB.format(**DEFAULTS).replace('"lab"', '"l\N{LATIN SMALL LETTER A WITH ACUTE}b"')
    (tmp_path / "lab.toml").write_text(text, "utf-8")
    question = ["plan", "bert-base", "-c", "in/lab.toml", "-b", "64"]
    odd = Way("odd", OWN, variables={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    first, other = (answer([*question, "-f", "csv"], way, tmp_path, tmp_path / "run") for way in (usual(OWN), odd))
    assert difference(first, other) == []
    assert "l\N{LATIN SMALL LETTER A WITH ACUTE}b".encode() in first.parts["stdout"]


def test_no_wrap_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = call("plan", "bert-base", "-c", "dgx-a100", "--nodes", "1", "-b", "8").stdout
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert call("plan", "bert-base", "-c", "dgx-a100", "--nodes", "1", "-b", "8").stdout == plain


def test_the_whole_of_parts_is_rounded_once() -> None:
    """Python's own sum of floats is another one from 3.12 on."""
    done = call("plan", "llama-3-8b", "-c", "dgx-h100", "--nodes", "2", "-b", "64", "-f", "json")
    for plan in json.loads(done.stdout)["plans"]:
        parts = [size for name, size in plan["memory"].items() if name not in ("total_bytes", "capacity_bytes")]
        assert plan["memory"]["total_bytes"] == math.fsum(parts)


def test_descriptions_of_schemas_begin_at_the_margin() -> None:
    """As docstrings do from Python 3.13 on."""
    schema = json.loads(call("planner", "schema", "topology").stdout)
    long = [part["description"] for part in schema["$defs"].values() if "\n" in part.get("description", "")]
    assert long and not any("\n " in text for text in long)
