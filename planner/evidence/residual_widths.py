"""The residual widths of hardware_db/calibration/residuals.toml, from runs that were left out of the fit.

Folds leave out sources, models, trainers, generations, pairs of both, and of each pair everything that has one of the
two. Each held-out run has the class that it is in for the fit of its fold. A width towards one side is the smallest
with which 10 % of the runs of a class lie beyond 1.28 standard deviations (`planner.cost.uncertainty`): the interval
from 10 to 90 % then holds 80 % of unseen runs, whatever the distribution. Few runs are shrunk towards the width of
their class, and a class towards that of all runs.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner.cost.uncertainty.interval import NORMAL_Z90
from planner.cost.uncertainty.residuals import RESIDUAL_CLASSES, ResidualWidth
from planner.evidence.cross_validation import (
    FOLD_TYPES,
    HeldOutPrediction,
    find_left_out_runs,
    format_model_shape,
    predict_held_out_folds,
)
from planner.evidence.fit import CalibrationCase, compute_log_error
from planner.evidence.linear_fit import LinearisedRuns

_PRIOR_RUNS = 10
"""Runs that the width of the larger class counts for."""
_LEAST_KEPT_SHARE = 0.5
"""Of a pair's runs: a fit that saw fewer of them does not know the pair as the fit to all runs does."""
_TAIL_SHARE = 0.1
_UNKNOWN_WIDTH = ResidualWidth(faster=0.2, slower=0.2, posterior=0.0, runs=0)
"""Where no run was ever left out."""


def render_residuals_file(header: str, runs: LinearisedRuns) -> str:
    """The text of the file; `header`: its first words."""
    by_class: dict[str, list[HeldOutPrediction]] = defaultdict(list)
    by_pair: dict[str, list[HeldOutPrediction]] = {_name_pair(case): [] for case in runs.cases}
    for prediction in _enumerate_held_out(runs):
        if prediction.residual_class != "together":
            by_class[prediction.residual_class].append(prediction)
        elif prediction.kept_share >= _LEAST_KEPT_SHARE:
            by_class["together"].append(prediction)
            by_pair[_name_pair(prediction.case)].append(prediction)
    pooled = compute_residual_width(list(itertools.chain.from_iterable(by_class.values())), _UNKNOWN_WIDTH)
    classes = {name: compute_residual_width(by_class[name], pooled) for name in RESIDUAL_CLASSES}
    pairs = {pair: compute_residual_width(items, classes["together"]) for pair, items in sorted(by_pair.items())}
    sources = "; ".join(sorted({case.run.source for case in runs.cases}))
    return "\n".join(
        [
            f"{header} to {len(runs.cases)} measured runs: residuals of fits that left them out.",
            "# Standard deviations of the logarithm of a measured over a predicted step time, to either side.",
            'title = "Residual widths by class of run"',
            f"plans = {_format_width(compute_plan_width(runs))}",
            "",
            "[classes] # of generation and trainer: fitted together; apart; one of them alone; neither",
            *(f"{name} = {_format_width(width)}" for name, width in classes.items()),
            "",
            "[pairs] # fitted together",
            *(f'"{pair}" = {_format_width(width)}' for pair, width in pairs.items()),
            "",
            "[sources]",
            f'runs = {{ title = "{sources}" }}',
            "",
        ]
    )


def _name_pair(case: CalibrationCase) -> str:
    return f"{case.architecture}/{case.bound_run.scenario.trainer.name}"


def _format_width(width: ResidualWidth) -> str:
    widths = ", ".join(f"{name} = {getattr(width, name):.3g}" for name in ("faster", "slower", "posterior"))
    return f"{{ {widths}, runs = {width.runs} }}"


def _enumerate_held_out(runs: LinearisedRuns) -> Iterator[HeldOutPrediction]:
    """The runs of all folds: of each type of `FOLD_TYPES`, of each pair, and of all that has one of a pair."""
    architectures = np.array([case.architecture for case in runs.cases])
    frameworks = np.array([case.framework for case in runs.cases])
    folds = {
        f"{fold_type} {label}": is_left_out
        for fold_type, get_fold in FOLD_TYPES.items()
        for label, is_left_out in find_left_out_runs(runs, get_fold).items()
    }
    pairs = set(zip(architectures.tolist(), frameworks.tolist(), strict=True))
    is_pair = {pair: (architectures == pair[0]) & (frameworks == pair[1]) for pair in sorted(pairs)}
    is_either = {pair: (architectures == pair[0]) | (frameworks == pair[1]) for pair in sorted(pairs)}
    folds |= {f"pair {pair}": is_left_out for pair, is_left_out in is_pair.items()}
    for _, predictions in predict_held_out_folds(runs, folds):
        yield from predictions
    for fold, predictions in predict_held_out_folds(runs, {str(pair): mask for pair, mask in is_either.items()}):
        yield from (p for p in predictions if str((p.case.architecture, p.case.framework)) == fold)


def compute_residual_width(predictions: Sequence[HeldOutPrediction], prior: ResidualWidth) -> ResidualWidth:
    """The width of these runs, shrunk towards `prior`."""
    if not predictions:
        return msgspec.structs.replace(prior, runs=0)
    log_ratios = np.array([-compute_log_error(item.case.run, item.predicted) for item in predictions])
    posterior = np.array([item.posterior_log_std for item in predictions])
    median = float(np.median(posterior))
    excesses = np.maximum(posterior**2 - median**2, 0.0)
    runs = len({item.case.run.id for item in predictions})
    own_variances = {
        "faster": _compute_tail_variance(-log_ratios, excesses),
        "slower": _compute_tail_variance(log_ratios, excesses),
        "posterior": median**2,
    }
    share = runs / (runs + _PRIOR_RUNS)
    widths = {
        name: (share * variance + (1 - share) * getattr(prior, name) ** 2) ** 0.5
        for name, variance in own_variances.items()
    }
    return ResidualWidth(**widths, runs=runs)


def _compute_tail_variance(log_ratios: NDArray[np.float64], variances: NDArray[np.float64]) -> float:
    """What has to be added to the variances so that a tenth of the logarithms lies above the 90 % quantile."""
    required = np.where(log_ratios > 0, np.maximum((log_ratios / NORMAL_Z90) ** 2 - variances, 0.0), 0.0)
    return float(np.quantile(required, 1 - _TAIL_SHARE))


def compute_plan_width(runs: LinearisedRuns) -> ResidualWidth:
    """The width of the ratio of two plans' times, from jobs that were measured with several plans.

    A job is a source's runs of one model, batch and precision on one machine under one trainer. 80 % of the jobs have
    ratios, in the root mean square of all pairs, of at most 1.28 widths.
    """
    errors_by_job: dict[tuple[object, ...], dict[tuple[int, ...], float]] = defaultdict(dict)
    for case, error in zip(runs.cases, runs.log_errors.tolist(), strict=True):
        errors_by_job[_find_job(case)][tuple(case.plan.get_row(0).values())] = error
    spreads, count = [], 0
    for errors in errors_by_job.values():
        if len(errors) > 1:
            pairs = list(itertools.combinations(errors.values(), 2))
            spreads.append(float(np.sqrt(np.mean([(a - b) ** 2 for a, b in pairs]))))
            count += len(errors)
    if not spreads:
        return _UNKNOWN_WIDTH
    width = float(np.quantile(spreads, 0.8)) / NORMAL_Z90
    return ResidualWidth(faster=width, slower=width, posterior=0.0, runs=count)


def _find_job(case: CalibrationCase) -> tuple[object, ...]:
    """What runs of one job share."""
    s = case.bound_run.scenario
    run = case.run
    machine = (s.accelerator.name, s.devices, s.trainer.name, run.get_text("trainer_version"), run.get_text("date"))
    batch = (s.global_batch, s.precision, s.workload.seq_length)
    return (run.source, format_model_shape(case), *machine, *batch)
