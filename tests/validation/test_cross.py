"""Errors on runs that are left out of the fit, and the files of a fit; few runs and factors, so that it is quick."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from planner.errors import InputError
from planner.evidence import calibrate, fit
from planner.evidence import cross_validation as cross
from planner.evidence.cross_validation import (
    extract_source,
    find_left_out_runs,
    format_model_shape,
    predict_held_out_folds,
)
from planner.evidence.fit import CalibrationCase, FittedFactors
from planner.evidence.linear_fit import fit_calibration, linearise_runs
from planner.evidence.runs import parse_runs
from tests.cli.run import call
from tests.validation.tables import format_table, read_published_rows

MPT = "foundry-a100_80gb-7b-s2048-n8-mb6-ga2-amp_bf16"
FULL, SELECTIVE = "korthikanti-22B-full", "korthikanti-22B-selective"
TABLE = format_table(*read_published_rows(MPT, FULL, SELECTIVE))


@pytest.fixture(autouse=True)
def make_fits_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits of two factors, in this process."""
    names = ("gemm_efficiency", "step_overhead_s")
    monkeypatch.setattr(fit, "CALIBRATION_PARAMETERS", names)
    monkeypatch.setattr(fit, "PRIOR_WIDTHS", {name: fit.PRIOR_WIDTHS[name] for name in names})
    for module in (fit, cross):
        monkeypatch.setattr(module, "ProcessPoolExecutor", ThreadPoolExecutor)


def read_cases() -> list[CalibrationCase]:
    runs, _ = parse_runs(TABLE, "runs.csv")
    return calibrate.build_calibration_cases(runs)


def predict_without_sources(cases: list[CalibrationCase], full: FittedFactors) -> dict[str, dict[str, float]]:
    """The predictions of the runs of each source by a fit without them."""
    runs = linearise_runs(cases, full)
    return {
        fold: {prediction.case.run.id: prediction.predicted for prediction in predictions}
        for fold, predictions in predict_held_out_folds(runs, find_left_out_runs(runs, extract_source))
    }


def test_no_prediction_is_of_a_fit_that_saw_the_run() -> None:
    cases = read_cases()
    full = fit_calibration(cases)
    before = predict_without_sources(cases, full)
    assert before["Korthikanti"].keys() == {FULL, SELECTIVE}
    # these are twice as slow: their own predictions stay, those of the other source change
    slower = [
        case
        if case.run.id == MPT
        else replace(case, run=replace(case.run, cells={**case.run.cells, "value": 2 * case.run.value}))
        for case in cases
    ]
    after = predict_without_sources(slower, full)
    assert after["Korthikanti"] == before["Korthikanti"]
    assert after["mosaicml/llm-foundry"] != before["mosaicml/llm-foundry"]


def test_a_model_is_its_shape() -> None:
    assert len({format_model_shape(case) for case in read_cases()}) == 2


def test_the_command_prints_folds_by_source_model_and_trainer(tmp_path: Path) -> None:
    path, file = tmp_path / "mine.csv", tmp_path / "errors.json"
    path.write_text(TABLE)
    done = call("planner", "validate", "--runs", str(path), "--cross", "-o", str(file))
    assert done.returncode == 0, done.stderr
    document = json.loads(file.read_text())
    source, model = document["leave_one_source_out"], document["leave_one_model_out"]
    assert {name: fold["rows"] for name, fold in source["by_fold"].items()} == {
        "Korthikanti": 2,
        "mosaicml/llm-foundry": 1,
    }
    assert sorted(fold["rows"] for fold in model["by_fold"].values()) == [1, 2]
    trainer = document["leave_one_trainer_out"]
    assert {name: fold["rows"] for name, fold in trainer["by_fold"].items()} == {"fsdp": 1, "megatron-classic": 2}
    assert document["leave_one_generation_out"] is None, "there is one generation"
    for part in (source, model, trainer):
        assert 0 <= part["covered_pct"] <= 100
        assert part["overall"]["rows"] == 3
        assert part["overall"]["rank_correlation"] is None
        assert part["overall"]["worst_pct"] == max(fold["worst_pct"] for fold in part["by_fold"].values())
    assert done.stderr.count("without the ") == 6
    assert "without the source Korthikanti: " in done.stderr
    for words in ("fitted without the source", "fitted without the model", "fitted without the trainer"):
        assert words in done.stdout


def test_a_fit_replaces_its_files_and_keeps_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibrate, "database", SimpleNamespace(find_database_path=lambda: tmp_path))
    path, chips = tmp_path / "runs.csv", tmp_path / "calibration" / "architectures"
    path.write_text(
        format_table(
            *read_published_rows(MPT, FULL, SELECTIVE), {**read_published_rows(FULL)[0], "id": "unread", "tp": "3"}
        )
    )
    chips.mkdir(parents=True)
    (chips / "old.toml").write_text(f"{calibrate._GENERATED_HEADER} to 3 measured runs")
    (chips / "read.toml").write_text("# Read off a data sheet")
    texts = []
    for _ in range(2):
        calibrate.main([str(path)])
        texts.append({file.name: file.read_text() for file in (tmp_path / "calibration").rglob("*.toml")})
    assert texts[0] == texts[1]
    assert {"ampere.toml", "read.toml", "residuals.toml"} < texts[0].keys()
    assert "old.toml" not in texts[0]
    ampere = msgspec.toml.decode(texts[0]["ampere.toml"])
    assert ampere["fitted_on"]["Korthikanti et al. 2022 (arXiv 2205.05198)"] == [FULL, SELECTIVE]
    assert ampere["parameters"].keys() == {"gemm_efficiency"}  # the overhead of a step is the software's
    residuals = msgspec.toml.decode(texts[0]["residuals.toml"])
    assert residuals["pairs"].keys() == {"ampere/fsdp", "ampere/megatron-classic"}
    assert all(width[side] > 0 for width in residuals["classes"].values() for side in ("faster", "slower"))
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("round ")]
    assert lines[-1].split()[:3] == ["all", "3", "runs,"]
    assert len(lines) == 2 * len({(case.architecture, case.framework) for case in read_cases()}) + 2


def test_a_fold_is_left_out_only_where_runs_remain_to_fit() -> None:
    cases = {case.run.id: case for case in read_cases()}
    with pytest.raises(InputError, match="no run can be left out of the fit"):
        cross.build_cross_validation_parts([cases[FULL], cases[SELECTIVE]], lambda line: None)
    runs, _ = parse_runs(
        format_table(*read_published_rows(FULL), *read_published_rows("korthikanti-175B-full")), "runs.csv"
    )
    parts = cross.build_cross_validation_parts(calibrate.build_calibration_cases(runs), lambda line: None)
    assert list(parts) == ["model"]
