"""Plans that ran out of memory, by their sources, do not fit; plans that ran do: `tests/published/fits.csv`."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from planner.cost.scenario import Scenario
from planner.evidence.bind_run import BoundRun, bind_run
from planner.evidence.predict import predict_runs
from planner.evidence.runs import parse_runs
from planner.search.search import SearchTarget, search_plans

_TABLE = Path(__file__).parents[1] / "published" / "fits.csv"
CASES = list(csv.DictReader(io.StringIO(_TABLE.read_text(encoding="utf-8"))))
MEASURED = {"metric": "step_time_s", "value": "1", "sharding": ""}
"""A row of a runs file measures something."""


def read_case(case: dict[str, str]) -> BoundRun:
    own_columns = ("fits", "host_memory_gb")
    row = MEASURED | {name: text for name, text in case.items() if name not in own_columns}
    lines = io.StringIO()
    writer = csv.DictWriter(lines, row)
    writer.writeheader()
    writer.writerow(row)
    (run,), skipped = parse_runs(lines.getvalue(), "fits.csv")
    assert not skipped
    return bind_run(run)


def set_host_memory(scenario: Scenario, memory_gb: str) -> Scenario:
    if not memory_gb:
        return scenario
    assert scenario.host is not None
    return replace(scenario, host=replace(scenario.host, memory_bytes=float(memory_gb) * 1e9))


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_a_plan_fits_as_its_source_says(case: dict[str, str]) -> None:
    bound = read_case(case)
    scenario = set_host_memory(bound.scenario, case["host_memory_gb"])
    stats = search_plans(scenario, bound.default_space, SearchTarget(top=1)).stats
    reasons = {rule for rule, plans in stats.rejected_by.items() if plans}
    assert bool(stats.feasible) == (case["fits"] == "yes"), reasons
    limit = "host-memory" if case["host_memory_gb"] else "memory"
    assert case["fits"] == "yes" or reasons == {limit}


def is_over_memory(assumed_value: str) -> bool:
    """Whether an assumed value says that no plan fits."""
    return assumed_value.startswith("memory=")


@pytest.mark.full
def test_no_run_of_a_known_setup_on_gpus_is_said_not_to_fit() -> None:
    runs, _ = parse_runs((_TABLE.parent / "runs.csv").read_text("utf-8"), "runs.csv")
    known = [run for run in runs if run.get_text("quality") in "AB" and not run.accelerator.startswith("tpu")]
    predictions, _ = predict_runs(known)
    too_large = [item.run.id for item in predictions if any(map(is_over_memory, item.assumed_values))]
    assert len(predictions) > 400
    assert too_large == []
