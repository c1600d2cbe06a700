"""Cross-validation: prediction errors on runs that are left out of the fit, by source or by model.

Each fold fits all factors without the runs of one source (or model) and predicts these runs. Open columns of a row
are filled before the fits; no prediction uses parameters that were fitted to its run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner.errors import InputError
from planner.evidence.fit import (
    CalibrationCase,
    FittedFactors,
    compute_log_derivatives,
    compute_reference_powers_w,
    fit_calibration,
)
from planner.evidence.statistics import PredictionErrors, compute_prediction_errors
from planner.evidence.validation_document import CrossValidationPart
from planner.progress import track_steps

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HeldOutPrediction:
    """A run with the prediction of parameters that were fitted without it."""

    case: CalibrationCase
    predicted: float


def extract_source(case: CalibrationCase) -> str:
    """The publication of a run, without the page."""
    return case.run.source.split()[0]


def format_model_shape(case: CalibrationCase) -> str:
    """The shape of the model, equal for different names of a model and for a model with fewer layers."""
    hidden, heads, ffn, vocab, experts = map(case.run.get_count, ("hidden", "heads", "ffn", "vocab", "experts"))
    return f"{hidden} x {heads} heads, {ffn}, vocabulary {vocab}, {experts or 1} experts"


def predict_held_out_folds(
    cases: Sequence[CalibrationCase], full_fit: FittedFactors, get_fold: Callable[[CalibrationCase], str]
) -> Iterator[tuple[str, list[HeldOutPrediction]]]:
    """For each value of `get_fold`: its runs, predicted by a fit without them.

    `full_fit`: the fit to all runs; all folds use the derivatives at its parameters, with their own residuals.
    """
    powers = compute_reference_powers_w(cases)
    slopes = compute_log_derivatives(
        cases, [full_fit.build_calibration(case.architecture, case.framework) for case in cases]
    )
    labels = [get_fold(case) for case in cases]
    with ProcessPoolExecutor() as pool:
        jobs = {}
        for fold in sorted(set(labels)):
            is_kept = np.array([label != fold for label in labels])
            fit_cases = [case for case, keep in zip(cases, is_kept, strict=True) if keep]
            held_out = [case for case, keep in zip(cases, is_kept, strict=True) if not keep]
            jobs[fold] = pool.submit(_predict_fold, fit_cases, held_out, powers, slopes[is_kept])
        for fold, job in track_steps("fitting", jobs.items()):
            yield fold, job.result()


def _predict_fold(
    fit_cases: list[CalibrationCase], held_out: list[CalibrationCase], powers: dict[str, float], slopes: Floats
) -> list[HeldOutPrediction]:
    fitted = fit_calibration(fit_cases, powers, known_slopes=slopes)
    return [
        HeldOutPrediction(case, case.predict_figure(fitted.build_calibration(case.architecture, case.framework)))
        for case in held_out
    ]


def build_cross_validation_parts(
    cases: Sequence[CalibrationCase], report_progress: Callable[[str], None]
) -> dict[str, CrossValidationPart]:
    """Errors by source and by model, overall and per fold; only those of which the runs have at least two.

    `report_progress` gets a line on each finished fold. Raises InputError where no run can be left out.
    """
    folds = {
        fold_type: get_fold
        for fold_type, get_fold in (("source", extract_source), ("model", format_model_shape))
        if len({get_fold(case) for case in cases}) > 1
    }
    if not folds:
        expected = "a table with runs of at least two sources or two models"
        raise InputError("no run can be left out of the fit", key="--cross", expected=expected)
    full_fit = fit_calibration(cases, compute_reference_powers_w(cases))
    parts: dict[str, CrossValidationPart] = {}
    for fold_type, get_fold in folds.items():
        by_fold: dict[str, PredictionErrors] = {}
        all_unseen: list[HeldOutPrediction] = []
        for fold, unseen in predict_held_out_folds(cases, full_fit, get_fold):
            all_unseen += unseen
            by_fold[fold] = _compute_fold_errors(unseen)
            report_progress(f"without the {fold_type} {fold}: {by_fold[fold].mean_pct:.1f} % on {len(unseen)} runs")
        parts[fold_type] = CrossValidationPart(overall=_compute_fold_errors(all_unseen), by_fold=by_fold)
    return parts


def _compute_fold_errors(unseen: Sequence[HeldOutPrediction]) -> PredictionErrors:
    fold_errors = compute_prediction_errors(
        [prediction.case.run.value for prediction in unseen], [prediction.predicted for prediction in unseen]
    )
    if fold_errors is None:
        raise ValueError("a fold without runs")
    # folds contain several metrics, so that ranks have no meaning
    return msgspec.structs.replace(fold_errors, rank_correlation=None)
