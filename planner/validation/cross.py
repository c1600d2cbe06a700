"""Errors on runs that a fit has not seen: leave one source, or one model, out.

Each fold fits every group without the runs of one source (or model) and predicts those. What a row left open is
filled before the fits, by the plan alone; no fold's prediction uses parameters that saw its runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from planner.cost.calibration import Calibration, read_calibration, similar
from planner.validation.calibrate import by_group, fit_groups, relative
from planner.validation.fit import Case, Fitted


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
    found: list[Case], full: dict[str, Fitted], key: Callable[[Case], str]
) -> Iterator[tuple[str, list[Unseen]]]:
    """For each value of `key`, its runs as predicted by fits without them. `full`: the fits to all runs.

    A group that holds none of the fold's runs, nor has a relative that does, is fitted as it is with all runs.
    """
    folds = sorted({key(case) for case in found})
    with ProcessPoolExecutor() as pool:
        jobs = {fold: pool.submit(_fold, found, full, fold, key) for fold in folds}
        for fold, job in jobs.items():
            yield fold, job.result()


def _fold(found: list[Case], full: dict[str, Fitted], fold: str, key: Callable[[Case], str]) -> list[Unseen]:
    kept = [case for case in found if key(case) != fold]
    held_out = [case for case in found if key(case) == fold]
    touched = {case.group for case in held_out}
    groups = by_group(kept)
    known = {name: fitted for name, fitted in full.items() if not _stands_on(name, touched)}
    fits = fit_groups(groups, known)
    return [Unseen(case, case.predicted(_numbers(case, fits))) for case in held_out]


def _stands_on(name: str, touched: set[str]) -> bool:
    """Whether a group, or one that its prior comes from, lost runs."""
    at: str | None = name
    while at is not None:
        if at in touched:
            return True
        at = relative(at)
    return False


def _numbers(case: Case, fits: dict[str, Fitted]) -> Calibration:
    """The numbers that a user would get for the run's part and framework if only these fits existed."""
    training = case.question.training
    for name in similar(training.accelerator.architecture, training.framework.name):
        if name in fits:
            return fits[name].calibration
    return read_calibration("default")

