"""Cross-validation: predictions of runs that are left out of the fit, by source, model, trainer or generation.

Each fold fits all factors without the runs of one source (or model, ...) and predicts these runs. Open columns of a
row are filled before the fits; no prediction uses parameters that were fitted to its run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner.cost.calibration import Calibration
from planner.cost.uncertainty.interval import NORMAL_Z90, compute_log_stds
from planner.cost.uncertainty.posterior import PARAMETER_GROUPS
from planner.cost.uncertainty.residuals import ResidualClass, classify_pair, find_class_width
from planner.errors import InputError
from planner.evidence import fit
from planner.evidence.fit import CalibrationCase, FittedFactors
from planner.evidence.linear_fit import LinearisedRuns, fit_kept_runs, linearise_runs, read_shipped_factors
from planner.evidence.statistics import PredictionErrors, compute_prediction_errors
from planner.evidence.validation_document import CrossValidationPart
from planner.progress import track_steps

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HeldOutPrediction:
    """A run with the prediction of parameters that were fitted without it.

    `residual_class`: of its pair of generation and trainer in that fit; `kept_share`: of the pair's runs, how many
    the fit saw; `posterior_log_std`: standard deviation of the logarithm of its step time that the fit leaves.
    """

    case: CalibrationCase
    predicted: float
    residual_class: ResidualClass
    kept_share: float
    posterior_log_std: float


def extract_source(case: CalibrationCase) -> str:
    """The publication of a run, without the page."""
    return case.run.source.split()[0]


def format_model_shape(case: CalibrationCase) -> str:
    """The shape of the model, equal for different names of a model and for a model with fewer layers."""
    hidden, heads, ffn, vocab, experts = map(case.run.get_count, ("hidden", "heads", "ffn", "vocab", "experts"))
    return f"{hidden} x {heads} heads, {ffn}, vocabulary {vocab}, {experts or 1} experts"


FOLD_TYPES: dict[str, Callable[[CalibrationCase], str]] = {
    "source": extract_source,
    "model": format_model_shape,
    "trainer": lambda case: case.framework,
    "generation": lambda case: case.architecture,
}
"""What is left out as a whole: a publication, a shape of model, a trainer's calibration, a generation of
accelerators."""


def predict_held_out_folds(
    runs: LinearisedRuns, is_left_out_by_fold: Mapping[str, NDArray[np.bool_]]
) -> Iterator[tuple[str, list[HeldOutPrediction]]]:
    """For each fold its runs, predicted by a fit without them; folds that leave no run are left out.

    `is_left_out_by_fold`: which runs a fold leaves out, [runs].
    """
    with ProcessPoolExecutor() as pool:
        jobs = {}
        for fold, is_left_out in is_left_out_by_fold.items():
            if is_left_out.all():
                continue
            fitted = fit_kept_runs(runs, ~is_left_out)
            held_out = [case for case, leave in zip(runs.cases, is_left_out.tolist(), strict=True) if leave]
            work = [(case, fitted.build_calibration(case.architecture, case.framework)) for case in held_out]
            jobs[fold] = (fitted, is_left_out, held_out, pool.submit(_predict_figures, work))
        for fold, (fitted, is_left_out, held_out, job) in track_steps("fitting", jobs.items()):
            classes, kept_shares = _classify_cases(runs, is_left_out, held_out)
            log_stds = compute_posterior_log_std(runs, fitted)[is_left_out].tolist()
            yield (
                fold,
                [
                    HeldOutPrediction(*items)
                    for items in zip(held_out, job.result(), classes, kept_shares, log_stds, strict=True)
                ],
            )


def find_left_out_runs(
    runs: LinearisedRuns, get_fold: Callable[[CalibrationCase], str]
) -> dict[str, NDArray[np.bool_]]:
    """For each value of `get_fold`, which runs have it, [runs]."""
    labels = np.array([get_fold(case) for case in runs.cases])
    return {label: labels == label for label in sorted(set(labels.tolist()))}


def _predict_figures(work: Sequence[tuple[CalibrationCase, Calibration]]) -> list[float]:
    return fit.evaluate_distinct(work, CalibrationCase.predict_figure)


def _classify_cases(
    runs: LinearisedRuns, is_left_out: NDArray[np.bool_], held_out: Sequence[CalibrationCase]
) -> tuple[list[ResidualClass], list[float]]:
    """The class of each run in a fit to the runs that are kept, and which share of its pair's runs these are."""
    kept_cases = [case for case, leave in zip(runs.cases, is_left_out.tolist(), strict=True) if not leave]
    kept, left_out = (
        Counter((case.architecture, case.framework) for case in cases) for cases in (kept_cases, held_out)
    )
    architectures, trainers = ({pair[index] for pair in kept} for index in (0, 1))
    classes = [classify_pair(case.architecture, case.framework, kept, architectures, trainers) for case in held_out]
    pairs = [(case.architecture, case.framework) for case in held_out]
    return classes, [kept[pair] / (kept[pair] + left_out[pair]) for pair in pairs]


def compute_posterior_log_std(runs: LinearisedRuns, fitted: FittedFactors) -> Floats:
    """Standard deviation of the logarithm of each run's step time that a fit leaves, [runs].

    First order, by the groups of `planner.cost.uncertainty.posterior`; a factor that was not fitted has the width of
    its prior.
    """
    columns = {name: column for column, name in enumerate(runs.names)}
    variance = np.zeros((len(runs.cases), len(runs.names)))
    for row, case in enumerate(runs.cases):
        for index, owner in enumerate((case.architecture, case.framework), start=1):
            for name, widths in fit.PRIOR_WIDTHS.items():
                variance[row, columns[name]] += fitted.log_std.get((owner, name), widths[index]) ** 2
    changes = np.abs(runs.slopes) * np.sqrt(variance)
    groups = [[columns[name] for name in names if name in columns] for names in PARAMETER_GROUPS.values()]
    log_std: Floats = np.sqrt(sum(changes[:, group].sum(axis=1) ** 2 for group in groups))
    return log_std


def build_cross_validation_parts(
    cases: Sequence[CalibrationCase], report_progress: Callable[[str], None]
) -> dict[str, CrossValidationPart]:
    """Errors by source, model, trainer and generation, overall and per fold; only those of which the runs have at
    least two.

    `report_progress` gets a line on each finished fold. Raises InputError where no run can be left out.
    """
    folds = {name: get_fold for name, get_fold in FOLD_TYPES.items() if len({get_fold(case) for case in cases}) > 1}
    if not folds:
        expected = "a table with runs of at least two sources or two models"
        raise InputError("no run can be left out of the fit", key="--cross", expected=expected)
    runs = linearise_runs(cases, read_shipped_factors(cases))
    parts: dict[str, CrossValidationPart] = {}
    for fold_type, get_fold in folds.items():
        by_fold: dict[str, PredictionErrors] = {}
        all_unseen: list[HeldOutPrediction] = []
        for fold, unseen in predict_held_out_folds(runs, find_left_out_runs(runs, get_fold)):
            all_unseen += unseen
            by_fold[fold] = _compute_fold_errors(unseen)
            report_progress(f"without the {fold_type} {fold}: {by_fold[fold].mean_pct:.1f} % on {len(unseen)} runs")
        parts[fold_type] = CrossValidationPart(
            overall=_compute_fold_errors(all_unseen),
            covered_pct=100 * sum(map(_is_covered, all_unseen)) / len(all_unseen),
            by_fold=by_fold,
        )
    return parts


def _is_covered(prediction: HeldOutPrediction) -> bool:
    """Whether a run lies in the interval of the fit without it."""
    case = prediction.case
    width = find_class_width(prediction.residual_class, case.architecture, case.bound_run.scenario.trainer)
    faster, slower = compute_log_stds(np.array([prediction.posterior_log_std**2]), width)
    log_ratio = -fit.compute_log_error(case.run, prediction.predicted)
    return bool(-NORMAL_Z90 * faster[0] <= log_ratio <= NORMAL_Z90 * slower[0])


def _compute_fold_errors(unseen: Sequence[HeldOutPrediction]) -> PredictionErrors:
    fold_errors = compute_prediction_errors(
        [prediction.case.run.value for prediction in unseen], [prediction.predicted for prediction in unseen]
    )
    if fold_errors is None:
        raise ValueError("a fold without runs")
    # folds contain several metrics, so that ranks have no meaning
    return msgspec.structs.replace(fold_errors, rank_correlation=None)
