"""Errors on runs that a fit has not seen: leave one source, or one model, out.

Each fold fits all factors without the runs of one source (or model) and predicts those. What a row left open is
filled before the fits, by the plan alone; no fold's prediction uses parameters that saw its runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner.evidence.fit import Case, Fitted, derivatives, fit, reference_powers
from planner.evidence.statistics import Errors, errors
from planner.evidence.validation_document import CrossPart
from planner.progress import steps

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Unseen:
    """A run with the prediction of parameters that were fitted without it."""

    case: Case
    predicted: float


def source_of(case: Case) -> str:
    """The publication that a run is from, whichever of its pages."""
    return case.run.source.split()[0]


def model_of(case: Case) -> str:
    """The model by its shape, so that two names of one model, or a model with layers cut off, are one."""
    n = case.run.numbers
    return f"{n['hidden']} x {n['heads']} heads, {n['ffn']}, vocabulary {n['vocab']}, {n['experts'] or 1} experts"


def leave_one_out(
    found: Sequence[Case], full: Fitted, key: Callable[[Case], str]
) -> Iterator[tuple[str, list[Unseen]]]:
    """For each value of `key`, its runs as predicted by a fit without them.

    `full`: the fit to all runs, at which the runs' derivatives are taken once; each fold's residuals are its own.
    """
    powers = reference_powers(found)
    slopes = derivatives(found, [full.calibration(case.architecture, case.framework) for case in found])
    labels = [key(case) for case in found]
    with ProcessPoolExecutor() as pool:
        jobs = {}
        for fold in sorted(set(labels)):
            kept = np.array([label != fold for label in labels])
            training = [case for case, keep in zip(found, kept, strict=True) if keep]
            held_out = [case for case, keep in zip(found, kept, strict=True) if not keep]
            jobs[fold] = pool.submit(_fold, training, held_out, powers, slopes[kept])
        for fold, job in steps("fitting", jobs.items()):
            yield fold, job.result()


def _fold(kept: list[Case], held_out: list[Case], powers: dict[str, float], slopes: Floats) -> list[Unseen]:
    fitted = fit(kept, powers, known=slopes)
    return [Unseen(case, case.predicted(fitted.calibration(case.architecture, case.framework))) for case in held_out]


def cross_parts(found: Sequence[Case], told: Callable[[str], None]) -> dict[str, CrossPart]:
    """Both kinds of fold: errors overall and of each fold. `told` is given a word on each fold that is done."""
    full = fit(found, reference_powers(found))
    parts: dict[str, CrossPart] = {}
    for what, key in (("source", source_of), ("model", model_of)):
        by_fold: dict[str, Errors] = {}
        every: list[Unseen] = []
        for fold, unseen in leave_one_out(found, full, key):
            every += unseen
            by_fold[fold] = _errors(unseen)
            told(f"without the {what} {fold}: {by_fold[fold].mean_pct:.1f} % on {len(unseen)} runs")
        parts[what] = CrossPart(overall=_errors(every), by_fold=by_fold)
    return parts


def _errors(unseen: Sequence[Unseen]) -> Errors:
    found = errors([one.case.run.value for one in unseen], [one.predicted for one in unseen])
    if found is None:
        raise ValueError("a fold without runs")
    # folds mix metrics: their ranks say nothing
    return msgspec.structs.replace(found, rank_correlation=None)
