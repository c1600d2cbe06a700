"""Residual widths: how far runs lie from the prediction of a fit that did not see them, by class of run.

They stand in hardware_db/calibration/residuals.toml, which `make calibrate` writes
(planner/evidence/residual_widths.py).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, cast, get_args

import msgspec

from planner.hardware import database
from planner.hardware.figures import FigureSource
from planner.trainers.names import TrainerName
from planner.trainers.registry import TRAINERS_BY_NAME
from planner.trainers.trainer import Trainer, find_calibration_name

ResidualClass = Literal["together", "apart", "trainer", "generation", "neither"]
"""Of a run's trainer and its generation of accelerators: fitted with runs of both together; both fitted, but never
together; the trainer alone; the generation alone; neither."""
RESIDUAL_CLASSES: tuple[ResidualClass, ...] = get_args(ResidualClass)


class ResidualWidth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Widths of the residual as those of a normal distribution, of the logarithm of a measured over a predicted time.

    `faster`: below zero, where the run is faster than predicted; `slower`: above; `posterior`: standard deviation
    that the fit left of these runs in the median, which is in their residuals already; `runs`: that they are from.
    """

    faster: float
    slower: float
    posterior: float
    runs: int


class ResidualsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """hardware_db/calibration/residuals.toml."""

    title: str
    plans: ResidualWidth
    """Of the ratio of two plans' times of one run on the same machine under the same trainer."""
    classes: dict[ResidualClass, ResidualWidth]
    pairs: dict[str, ResidualWidth]
    """By GENERATION/TRAINER of the runs, each trainer by its own name, also where its calibration is another's."""
    sources: dict[str, FigureSource]


def classify_pair(
    architecture: str,
    trainer_name: str,
    fitted_pairs: Collection[tuple[str, str]],
    fitted_architectures: Collection[str],
    fitted_trainers: Collection[str],
) -> ResidualClass:
    """The class of a generation and a trainer, by what was fitted."""
    if (architecture, trainer_name) in fitted_pairs:
        return "together"
    if architecture in fitted_architectures:
        return "apart" if trainer_name in fitted_trainers else "generation"
    return "trainer" if trainer_name in fitted_trainers else "neither"


def find_residual_class(architecture: str, trainer: Trainer) -> ResidualClass:
    """The class of a generation of accelerators and a trainer: `together` where runs of the trainer itself on the
    generation were fitted, not only of the one whose calibration it has.
    """
    fitted_pairs = {
        (generation, find_calibration_name(TRAINERS_BY_NAME[cast(TrainerName, name)]))
        for generation, _, name in (pair.partition("/") for pair in _read_residuals().pairs)
    }
    architectures = database.list_database_names("calibration/architectures")
    trainers = database.list_database_names("calibration/frameworks")
    name = find_calibration_name(trainer)
    if architecture not in architectures or name not in trainers:
        fitted_pairs = set()
    residual_class = classify_pair(architecture, name, fitted_pairs, architectures, trainers)
    is_borrowed = residual_class == "together" and f"{architecture}/{trainer.name}" not in _read_residuals().pairs
    return "apart" if is_borrowed else residual_class


def find_residual_width(architecture: str, trainer: Trainer) -> ResidualWidth:
    """The residual width of a generation of accelerators and a trainer: that of their own runs, else of its class."""
    return find_class_width(find_residual_class(architecture, trainer), architecture, trainer)


def find_class_width(residual_class: ResidualClass, architecture: str, trainer: Trainer) -> ResidualWidth:
    """The residual width of a generation and a trainer where these are of a class."""
    file = _read_residuals()
    if residual_class == "together":
        for name in (trainer.name, find_calibration_name(trainer)):
            if f"{architecture}/{name}" in file.pairs:
                return file.pairs[f"{architecture}/{name}"]
    return file.classes[residual_class]


def read_plan_residual_width() -> ResidualWidth:
    """The residual width of the ratio of two plans of one run."""
    return _read_residuals().plans


def _read_residuals() -> ResidualsFile:
    return database.load_database_entry("calibration", "residuals", ResidualsFile, "calibration", "", "residuals")
