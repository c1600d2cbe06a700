"""The published runs are predicted within the errors that the documentation states."""

import pytest

from planner.evidence.predict import predict_runs
from planner.evidence.runs import find_published_runs, parse_runs
from planner.evidence.validation_document import ValidationDocument, build_validation_document

EVERY_SIXTH_RUN, ALL_RUNS = 6, pytest.param(1, marks=pytest.mark.full)


@pytest.fixture(scope="module")
def document(request: pytest.FixtureRequest) -> ValidationDocument:
    """Errors of all runs, or of each second, third, ... run."""
    path = find_published_runs()
    runs, unread = parse_runs(path.read_text("utf-8"), str(path))
    predictions, unbound = predict_runs(runs[:: request.param])
    return build_validation_document(predictions, [*unread, *unbound])


@pytest.mark.parametrize("document", [ALL_RUNS], indirect=True)
def test_every_row_is_predicted(document: ValidationDocument) -> None:
    assert len(document.rows) == 656
    assert document.skipped == []
    assert all(row.predicted > 0 and row.memory_predicted_gib > 0 for row in document.rows)
    assert document.overall.memory is not None
    assert document.overall.memory.rows == 130


@pytest.mark.parametrize("document", [EVERY_SIXTH_RUN, ALL_RUNS], indirect=True)
def test_errors_of_step_times_and_memory_are_below_their_maxima(document: ValidationDocument) -> None:
    figure, memory = document.overall.figure, document.overall.memory
    assert figure is not None and memory is not None
    # with the rows of quality C, which nothing was fitted to
    assert figure.mean_pct <= 8
    assert figure.p90_pct <= 20
    assert memory.mean_pct <= 5


@pytest.mark.parametrize("document", [ALL_RUNS], indirect=True)
@pytest.mark.parametrize(("source", "bar"), [("Korthikanti", 3.65), ("SimuMax", 5.0)])
def test_errors_on_the_runs_of_other_cost_models_are_below_theirs(
    document: ValidationDocument, source: str, bar: float
) -> None:
    (part,) = [part for name, part in document.by_source.items() if source in name]
    assert part.figure is not None
    assert part.figure.mean_pct < bar


@pytest.mark.parametrize("document", [ALL_RUNS], indirect=True)
def test_plans_of_a_source_are_in_the_measured_order(document: ValidationDocument) -> None:
    for source, part in document.by_source.items():
        if part.figure is not None and part.figure.rows >= 8:
            assert part.figure.rank_correlation is not None, source
            assert part.figure.rank_correlation >= 0.89, source


@pytest.mark.parametrize("document", [EVERY_SIXTH_RUN, ALL_RUNS], indirect=True)
def test_four_of_five_runs_lie_in_their_intervals(document: ValidationDocument) -> None:
    assert document.covered_pct is not None
    assert 70 <= document.covered_pct <= 95
    for row in document.rows:
        assert row.predicted_p10 < row.predicted < row.predicted_p90
    many_runs = [part for part in document.groups if part.by == "trainer" and part.errors.rows >= 10]
    assert many_runs
    for part in many_runs:
        assert 60 <= part.covered_pct <= 100, part.value
    for key in ("trainer", "generation", "precision", "devices", "micro_batch", "year"):
        assert sum(part.errors.rows for part in document.groups if part.by == key) == len(document.rows)
