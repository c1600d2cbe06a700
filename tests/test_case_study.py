"""The case study's table has the figures that the commands print today."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.cli.run import call

PAGE = (Path(__file__).parents[1] / "docs" / "explanation" / "case-study.md").read_text()
COMMANDS = re.findall(r"^planner (compare .*)$", PAGE, re.MULTILINE)
ROWS = re.findall(r"^\| ([^|]+?) \| (8 [^|]+?) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
NAMES = {"BERT-large": "bert-large", "GPT 1.7B": "gpt-1.7b"}
BASELINES = {"V100, fp16": "dgx-v100", "A100, bf16": "dgx-a100", "Xeon 8480+, bf16": "xeon-8480plus"}


@pytest.fixture(scope="module")
def sizes() -> dict[tuple[str, str], dict[str, float]]:
    """The size of each cluster, by model and name; with `fp32` where the command has that precision."""
    by_name = {}
    for command in COMMANDS:
        done = call("planner", *shlex.split(command), "--format", "json")
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        for offer in document["offers"]:
            suffix = " fp32" if "fp32" in command else ""
            by_name[document["model"]["name"], offer["name"] + suffix] = offer["size"]
    return by_name


def test_there_are_rows_and_commands() -> None:
    assert len(ROWS) == 8
    assert len(COMMANDS) == 4


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} against {row[1]}")
def test_a_row_has_the_ratios_of_the_commands(
    row: tuple[str, ...], sizes: dict[tuple[str, str], dict[str, float]]
) -> None:
    model, baseline = NAMES[row[0]], row[1].removeprefix("8 ")
    other = sizes[model, BASELINES.get(baseline, "dgx-v100 fp32")]
    tpu = sizes[model, "tpu-v3"]
    assert other["devices"] == tpu["devices"] == 8
    time, energy = tpu["days"] / other["days"], tpu["energy_kwh"] / other["energy_kwh"]
    assert [f"{value:.2f}" for value in (time, energy, energy / time)] == list(row[2:])
