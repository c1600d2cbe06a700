"""How far a predicted step time may be off: the fit's posterior, and the residuals of runs that were left out of it.

    log(measured / predicted) has a variance of r^2 + max(sum_g d_g^2 - q^2, 0)

with r the residual width of the class of the run: of its trainer and its generation of accelerators, as far as both
were fitted; d_g the change of the logarithm of the step time where the fitted numbers of a group are one standard
deviation off; and q the median of that in the runs that r is from: a plan that leans more than they do on numbers
that the fit does not know well is less certain.
"""

from __future__ import annotations

from planner.cost.uncertainty.interval import (
    NORMAL_Z90,
    StepBounds,
    StepUncertainty,
    compare_with_first,
    compute_class_bounds,
    compute_step_uncertainty,
    compute_tie_margin,
    is_change_told_apart,
    join_step_uncertainties,
)
from planner.cost.uncertainty.posterior import perturb_scenario
from planner.cost.uncertainty.residuals import RESIDUAL_CLASSES, ResidualClass, find_residual_class

__all__ = [
    "NORMAL_Z90",
    "RESIDUAL_CLASSES",
    "ResidualClass",
    "StepBounds",
    "StepUncertainty",
    "compare_with_first",
    "compute_class_bounds",
    "compute_step_uncertainty",
    "compute_tie_margin",
    "find_residual_class",
    "is_change_told_apart",
    "join_step_uncertainties",
    "perturb_scenario",
]
