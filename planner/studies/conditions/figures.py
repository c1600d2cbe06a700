"""The figures that a requirement (`--require`) can name: those of a plan, and those of two compared plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.documents.figures import FigurePrerequisite, FigureValue, FigureValues, PlanFigure, collect_figures
from planner.documents.plan import PlanDocument

PLAN_FIGURES = collect_figures(PlanDocument)
"""All figures of a plan by name."""

FIGURE_PREREQUISITES: dict[FigurePrerequisite, tuple[str, str]] = {
    "tokens": ("tokens", "give the length of the run with --tokens"),
    "price": ("cost_usd_per_step", "no rental price of this accelerator is known; add prices to its file"),
    "power": ("energy_j_per_step", "the power of this accelerator is not known; add power.tdp to its file"),
    "grid": ("carbon_kg_per_step", "give the source of the electricity with --grid or --carbon-intensity"),
    "failures": ("goodput", "failures are not modelled (--no-failures), or they leave no goodput"),
    "uncertainty": ("uncertainty.first_share", "give --uncertainty to compute it"),
}
"""Prerequisites of figures: a figure that is known where the prerequisite is met, and how to meet it."""

_BASE_PREFIX, _HEAD_PREFIX, _CHANGE_PREFIX = "base.", "head.", "change."


def build_compared_figures() -> Mapping[str, PlanFigure]:
    """The figures of two plans: `base.NAME`, `head.NAME`, and the relative change `change.NAME`."""
    figures: dict[str, PlanFigure] = {}
    for name, figure in PLAN_FIGURES.items():
        for prefix in (_BASE_PREFIX, _HEAD_PREFIX):
            figures[f"{prefix}{name}"] = replace(figure, name=f"{prefix}{name}")
        if figure.unit not in ("text", "truth"):
            change_name, description = f"{_CHANGE_PREFIX}{name}", f"relative change of {name}"
            figures[change_name] = replace(figure, name=change_name, unit="ratio", description=description)
    return figures


def compute_compared_values(base: FigureValues, head: FigureValues) -> dict[str, FigureValue]:
    """The figures of two plans by the names of `build_compared_figures`."""
    values: dict[str, FigureValue] = {f"{_BASE_PREFIX}{name}": value for name, value in base.items()}
    values |= {f"{_HEAD_PREFIX}{name}": value for name, value in head.items()}
    return values | {
        f"{_CHANGE_PREFIX}{name}": compute_relative_change(base.get(name), head.get(name))
        for name in {**base, **head}
    }


def compute_relative_change(before: FigureValue, after: FigureValue) -> float | None:
    """Relative change from `before` to `after`; None where a value is not a known number, or `before` is zero."""
    if isinstance(before, str | bool) or isinstance(after, str | bool) or before is None or after is None:
        return None
    if before == after:
        return 0.0
    return after / before - 1 if before else None


def explain_unknown_figure(name: str, values: FigureValues) -> str:
    """Why a figure is not known, and how to make it known, as the end of a sentence."""
    prefix = next((item for item in (_BASE_PREFIX, _HEAD_PREFIX, _CHANGE_PREFIX) if name.startswith(item)), "")
    plain, is_change = name.removeprefix(prefix), prefix == _CHANGE_PREFIX
    if is_change:
        sides = (_BASE_PREFIX, _HEAD_PREFIX)
        prefix = next((side for side in sides if values.get(f"{side}{plain}") is None), _BASE_PREFIX)
    if f"{prefix}{plain}" not in values:
        return "it is not defined for a heterogeneous cluster"
    for prerequisite in PLAN_FIGURES[plain].prerequisites:
        witness, explanation = FIGURE_PREREQUISITES[prerequisite]
        if values.get(f"{prefix}{witness}") is None:
            return explanation
    return "it was zero before" if is_change else "the document does not have it"
