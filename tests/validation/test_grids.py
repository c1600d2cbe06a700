"""Splits of one job: the regret of the split that is predicted fastest, and Kendall's tau."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.evidence.statistics import compute_kendall_tau
from tests.cli.run import call

HEADER = "id,source,model,layers,hidden,heads,ffn,vocab,seq,accelerator,devices,precision,tp,pp,dp,global_batch"
HEADER += ",micro_batch,metric,value,trainer"
SPLITS = ((1, 1, 8), (2, 1, 4), (4, 1, 2), (8, 1, 1))


def validate_splits(tmp_path: Path, values: tuple[float, ...], *options: str) -> str:
    rows = [
        f"r{n},paper,m,8,4096,32,16384,50304,2048,a100-sxm-80gb,8,bf16,{tp},{pp},{dp},64,1,step_time_s,{value},megatron-lm"
        for n, ((tp, pp, dp), value) in enumerate(zip(SPLITS, values, strict=False))
    ]
    file = tmp_path / "runs.csv"
    file.write_text("\n".join([HEADER, *rows]) + "\n")
    done = call("planner", "validate", "--runs", str(file), *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_regret_is_that_of_the_split_that_is_predicted_fastest(tmp_path: Path) -> None:
    values = (2.0, 1.5, 3.0, 4.0)
    document = json.loads(validate_splits(tmp_path, values, "--format", "json"))
    predicted = [row["predicted"] for row in document["rows"]]
    (grid,) = document["grids"]["grids"]
    chosen = predicted.index(min(predicted))
    assert (grid["chosen"], grid["fastest"], grid["splits"]) == (f"r{chosen}", "r1", 4)
    assert grid["regret_pct"] == pytest.approx(100 * (values[chosen] / 1.5 - 1))
    assert document["grids"]["mean_regret_pct"] == document["grids"]["worst_regret_pct"] == grid["regret_pct"]
    text = validate_splits(tmp_path, values)
    assert f"mean {grid['regret_pct']:.1f} %" in text and f"Kendall's tau {grid['kendall_tau']:.2f}" in text


def test_two_splits_are_no_grid(tmp_path: Path) -> None:
    assert json.loads(validate_splits(tmp_path, (2.0, 1.5), "--format", "json"))["grids"] is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12))
def test_kendalls_tau_counts_pairs(points: list[tuple[int, int]]) -> None:
    a, b = np.array(points, dtype=float).T
    pairs = list(itertools.combinations(points, 2))
    agree = sum((p[0] - q[0]) * (p[1] - q[1]) > 0 for p, q in pairs)
    differ = sum((p[0] - q[0]) * (p[1] - q[1]) < 0 for p, q in pairs)
    untied = [sum(p[axis] != q[axis] for p, q in pairs) for axis in (0, 1)]
    tau = compute_kendall_tau(a, b)
    if 0 in untied:
        assert tau is None
    else:
        assert tau == pytest.approx((agree - differ) / (untied[0] * untied[1]) ** 0.5)
