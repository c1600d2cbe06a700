"""The fit returns factors that were put into the runs, and keeps factors that the runs do not determine."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from planner.cost.calibration import CALIBRATION_PARAMETERS, combine_calibration, read_default_calibration
from planner.evidence import fit
from planner.evidence.calibrate import build_calibration_cases, render_calibration_file
from planner.evidence.fit import (
    CalibrationCase,
    FittedFactors,
    compute_log_derivatives,
    compute_log_errors,
    find_references,
)
from planner.evidence.linear_fit import fit_calibration
from planner.evidence.runs import MeasuredRun, parse_runs
from tests.validation.tables import format_table, read_published_rows

IDS = [f"foundry-a100_80gb-{size}" for size in ("7b-s2048-n8-mb6-ga2-amp_bf16", "3b-s2048-n8-mb10-ga2-amp_bf16")] + [
    "sc21-1.7B",
    "sc21-18.4B",
    "korthikanti-22B-selective",
]


@pytest.fixture(scope="module")
def simulated_cases() -> tuple[list[CalibrationCase], float]:
    """Real configurations with the model's times where GEMMs reach 0.85 of the default efficiency."""
    known = [line for run_id in IDS for line in _read_rows_if_published(run_id)]
    runs, _ = parse_runs(format_table(*known), "runs.csv")
    cases = build_calibration_cases(runs)
    factors = FittedFactors({}, {"ampere": {"gemm_efficiency": 0.85}}, {}, {}, find_references(cases))
    truth = factors.build_calibration("ampere", "fsdp")
    return [replace(case, run=_replace_value(case.run, case.predict_figure(truth))) for case in cases], 0.85


def _replace_value(run: MeasuredRun, value: float) -> MeasuredRun:
    return replace(run, cells={**run.cells, "value": value})


def _read_rows_if_published(run_id: str) -> list[dict[str, str]]:
    try:
        return read_published_rows(run_id)
    except KeyError:
        return []


def test_a_factor_is_fitted_and_the_others_stay(
    simulated_cases: tuple[list[CalibrationCase], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("gemm_efficiency", "gemm_efficiency_4bit", "eager_traffic", "step_overhead_s")
    monkeypatch.setattr(fit, "CALIBRATION_PARAMETERS", names)
    monkeypatch.setattr(fit, "PRIOR_WIDTHS", {name: fit.PRIOR_WIDTHS[name] for name in names})
    monkeypatch.setattr(fit, "ProcessPoolExecutor", ThreadPoolExecutor)
    cases, factor = simulated_cases
    assert len(cases) >= 5
    fitted = fit_calibration(cases)
    errors = compute_log_errors(
        cases, [fitted.build_calibration(case.architecture, case.framework) for case in cases]
    )
    before = compute_log_errors(cases, [read_default_calibration()] * len(cases))
    assert np.abs(errors).max() < 0.4 * np.abs(before).max()
    chip = fitted.architectures["ampere"]
    for trainer in fitted.frameworks.values():
        together = chip["gemm_efficiency"] * fitted.common["gemm_efficiency"] * trainer["gemm_efficiency"]
        assert factor - 0.05 < together < 1
    assert chip["gemm_efficiency_4bit"] == pytest.approx(1, abs=1e-6), "no run in 4 bit"
    width = np.hypot.reduce(fit.PRIOR_WIDTHS["gemm_efficiency_4bit"])
    assert fitted.log_std["ampere", "gemm_efficiency_4bit"] == pytest.approx(width, rel=1e-3), "the priors' own width"
    assert "eager_traffic" not in chip, "a factor of the software is not a factor of the accelerator"
    text = render_calibration_file("ampere", "architecture", fitted, cases)
    assert msgspec.toml.decode(text)["fitted_on"]


def test_derivatives_are_those_of_the_prediction(simulated_cases: tuple[list[CalibrationCase], float]) -> None:
    cases, _ = simulated_cases
    numbers = [read_default_calibration()] * len(cases)
    slopes = compute_log_derivatives(cases, numbers)
    assert slopes.shape == (len(cases), len(CALIBRATION_PARAMETERS))
    moved = [combine_calibration(numbers[0], {"gemm_efficiency": 1.01})] * len(cases)
    difference = (compute_log_errors(cases, moved) - compute_log_errors(cases, numbers)) / np.log(1.01)
    assert slopes[:, CALIBRATION_PARAMETERS.index("gemm_efficiency")] == pytest.approx(difference, abs=0.02)
    assert (slopes[:, CALIBRATION_PARAMETERS.index("gemm_efficiency_4bit")] == 0).all()


def test_fitted_shares_never_exceed_their_maximum() -> None:
    numbers = combine_calibration(
        read_default_calibration(), {"gemm_efficiency": 3.0, "overlap": 2.0, "step_overhead_s": 3.0}
    )
    assert numbers.gemm_efficiency == numbers.overlap == 0.97
    assert numbers.step_overhead_s == pytest.approx(3 * read_default_calibration().step_overhead_s)
