"""Peak memory is compared with what its source counts, and reported by it."""

import numpy as np
import pytest

from planner.cost.memory.moments import MEMORY_CATEGORIES, MEMORY_MOMENTS
from planner.cost.memory.peak import StageMemory
from planner.evidence.memory_kinds import MEMORY_KINDS, find_omitted_categories
from planner.evidence.predict import RunPrediction, predict_runs
from planner.evidence.runs import parse_runs
from planner.evidence.validation_document import build_validation_document
from tests.validation.tables import format_table, read_published_rows

TORCHTITAN = "torchtitan-8b-n8-compile"
SIMUMAX = "simumax-llama3_70b_l12_tp1_pp2_dp4_mbc4_cef"


def predict_kinds(id_: str, *kinds: str) -> list[RunPrediction]:
    (row,) = read_published_rows(id_)
    runs, _ = parse_runs(format_table(*({**row, "id": f"{id_} {kind}", "memory_kind": kind} for kind in kinds)), "")
    predictions, skipped = predict_runs(runs)
    assert not skipped
    return predictions


@pytest.fixture(scope="module")
def torchtitan() -> list[RunPrediction]:
    return predict_kinds(TORCHTITAN, "allocated", "reserved", "device", "estimated", "")


def test_a_run_is_predicted_as_what_its_memory_counts(torchtitan: list[RunPrediction]) -> None:
    allocated, reserved, device, estimated, unknown = (item.memory_predicted_gib for item in torchtitan)
    assert allocated < reserved < device
    assert estimated == unknown == reserved
    (from_megatron,) = predict_kinds(SIMUMAX, "reserved")
    named = [item.not_modelled for item in (*torchtitan, from_megatron)]
    assert ["memory_kind=estimated (as reserved)" in words for words in named] == [0, 0, 0, 1, 0, 0]
    assert ["memory_kind=reserved (as allocated)" in words for words in named] == [0, 0, 0, 0, 0, 1]
    assert ["memory_kind=reserved" in item.assumed_values for item in torchtitan] == [0, 0, 0, 0, 1]


def test_errors_of_memory_are_apart_by_what_was_measured_and_by_trainer(torchtitan: list[RunPrediction]) -> None:
    document = build_validation_document([*torchtitan, *predict_kinds(SIMUMAX, "allocated")], [])
    assert [(part.memory_kind, part.trainer, part.errors.rows) for part in document.memory] == [
        ("allocated", None, 2),
        ("allocated", "fsdp2", 1),
        ("allocated", "megatron-classic", 1),
        *((kind, trainer, 1) for kind in MEMORY_KINDS[1:] for trainer in (None, "fsdp2")),
    ]
    for part in document.memory:
        assert part.omitted == [*find_omitted_categories(part.memory_kind)]
        assert abs(part.mean_error_pct) <= part.errors.mean_pct + 1e-9
    by_row = {row.memory_kind: row.memory_predicted_gib for row in document.rows}
    assert set(by_row) == {*MEMORY_KINDS}


def test_allocated_memory_may_be_largest_at_another_moment_and_stage_than_the_total() -> None:
    shape = (1, len(MEMORY_MOMENTS), 2)
    sizes = {category: np.zeros(shape) for category in MEMORY_CATEGORIES}
    sizes["activations"][0, 1, 0] = 5.0
    sizes["activations"][0, 2, 1] = 4.0
    sizes["allocator"][0, 3, 1] = 7.0
    memory = StageMemory(sizes)
    assert memory.peak.moment.tolist() == [[1, 3]]
    assert memory.compute_stage_peaks_bytes().tolist() == [[5.0, 7.0]]
    assert memory.compute_stage_peaks_bytes(("allocator", "communicators", "reserve")).tolist() == [[5.0, 4.0]]
