"""The table of a plan's figures: name, unit, description, and what is needed to compute each.

Requirements (`--require`) and differences of plans use these names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from planner.cost.memory import MEMORY_CATEGORIES
from planner.cost.settings import SETTINGS
from planner.cost.step import OVERLAPPABLE_TERMS, STEP_TERMS
from planner.cost.strategies import RECOMPUTE_MODES

FigureUnit = Literal["bytes", "s", "days", "usd", "j", "kg", "w", "per_s", "ratio", "count", "text", "truth"]
FigurePrerequisite = Literal["tokens", "price", "power", "grid", "failures", "uncertainty"]

FIGURE_PREREQUISITES: dict[FigurePrerequisite, tuple[str, str]] = {
    "tokens": ("tokens", "give the length of the run with --tokens"),
    "price": ("cost_usd_per_step", "no rental price of this accelerator is known; add prices to its file"),
    "power": ("energy_j_per_step", "the power of this accelerator is not known; add power.tdp to its file"),
    "grid": ("carbon_kg_per_step", "give the source of the electricity with --grid or --carbon-intensity"),
    "failures": ("goodput", "failures are not modelled (--no-failures), or they leave no goodput"),
    "uncertainty": ("uncertainty.first_share", "give --uncertainty to compute it"),
}
"""Prerequisites of figures: a figure that is known where the prerequisite is met, and how to meet it."""


@dataclass(frozen=True)
class PlanFigure:
    """A figure of the best plan. `prerequisites`: what it needs to be known; `choices`: the texts it can have."""

    name: str
    unit: FigureUnit
    description: str
    prerequisites: tuple[FigurePrerequisite, ...] = ()
    choices: tuple[str, ...] = ()


_STEP_FIGURES = (
    PlanFigure("step_time_s", "s", "time of one step"),
    PlanFigure("tokens_per_s", "per_s", "tokens per second of all devices"),
    PlanFigure("tokens_per_s_per_device", "per_s", "tokens per second per device"),
    PlanFigure("samples_per_s", "per_s", "sequences, images or other items of a batch per second"),
    PlanFigure("samples_per_s_per_device", "per_s", "the same per device"),
    PlanFigure("mfu", "ratio", "model FLOPs utilization"),
    PlanFigure("hfu", "ratio", "hardware FLOPs utilization: with recomputation"),
    PlanFigure("global_batch", "count", "sequences per step"),
    PlanFigure("tokens_per_step", "count", "tokens per step"),
    PlanFigure("nodes", "count", "nodes of the cluster"),
    PlanFigure("devices", "count", "devices of the cluster"),
)
_RUN_FIGURES = (
    PlanFigure("tokens", "count", "tokens of the whole run", ("tokens",)),
    PlanFigure("steps", "count", "steps of the whole run", ("tokens",)),
    PlanFigure("days", "days", "length of the run, without failures", ("tokens",)),
    PlanFigure("days_with_failures", "days", "length of the run, with failures", ("tokens", "failures")),
    PlanFigure("cost_usd_per_step", "usd", "rental cost of a step", ("price",)),
    PlanFigure("cost_usd", "usd", "rental cost of the whole run, without failures", ("tokens", "price")),
    PlanFigure(
        "cost_usd_with_failures",
        "usd",
        "rental cost of the whole run, with failures",
        ("tokens", "price", "failures"),
    ),
    PlanFigure("energy_j_per_step", "j", "facility energy of a step (incl. PUE)", ("power",)),
    PlanFigure("energy_j", "j", "facility energy of the whole run, without failures", ("tokens", "power")),
    PlanFigure("power_w", "w", "mean facility power (incl. PUE)", ("power",)),
    PlanFigure("carbon_kg_per_step", "kg", "CO2e of a step", ("grid", "power")),
    PlanFigure("carbon_kg", "kg", "CO2e of the whole run", ("grid", "tokens", "power")),
    PlanFigure("goodput", "ratio", "fraction of the time that failures and checkpoints leave", ("failures",)),
    PlanFigure("goodput_tokens_per_s", "per_s", "tokens per second after failures and checkpoints", ("failures",)),
    PlanFigure("mtbf_s", "s", "mean time between failures of the job", ("failures",)),
    PlanFigure("spares", "count", "spare nodes", ("failures",)),
    PlanFigure(
        "uncertainty.first_share", "ratio", "fraction of samples in which the plan is the best", ("uncertainty",)
    ),
    PlanFigure("uncertainty.step_time_p90_s", "s", "90 % quantile of the step time", ("uncertainty",)),
)
_MEMORY_FIGURES = (
    PlanFigure("memory.total", "bytes", "peak memory (worst stage)"),
    PlanFigure("memory.capacity", "bytes", "memory capacity of a device"),
    PlanFigure("memory.headroom", "bytes", "capacity minus total"),
)
_DEGREE_NAMES = ("tp", "pp", "dp", "cp", "ep", "etp", "vpp")
_STRATEGY_FIGURES = (
    *(PlanFigure(f"strategy.{degree}", "count", f"{degree} of the plan") for degree in _DEGREE_NAMES),
    PlanFigure("strategy.micro_batch", "count", "sequences of a micro-batch"),
    PlanFigure("strategy.zero_stage", "count", "ZeRO stage"),
    PlanFigure("strategy.recompute", "text", "recomputation", choices=RECOMPUTE_MODES),
    PlanFigure("strategy.sequence_parallel", "truth", "sequence parallelism"),
    *(
        PlanFigure(
            f"settings.{name}",
            "truth" if setting.kind == "switch" else "text",
            setting.description,
            choices=setting.choices,
        )
        for name, setting in SETTINGS.items()
    ),
    PlanFigure("model", "text", "the model's name"),
    PlanFigure("cluster", "text", "the cluster's name"),
    PlanFigure("accelerator", "text", "the accelerator's name"),
    PlanFigure("precision", "text", "the precision of GEMMs"),
    PlanFigure("framework", "text", "the trainer"),
)


def _enumerate_plan_figures() -> Iterator[PlanFigure]:
    yield from (*_STEP_FIGURES, *_RUN_FIGURES, *_MEMORY_FIGURES)
    for category in MEMORY_CATEGORIES:
        yield PlanFigure(f"memory.{category}", "bytes", f"{category} at the peak (worst stage)")
    for name in STEP_TERMS:
        yield PlanFigure(f"terms.{name}", "s", f"{name.replace('_', ' ')} in the step")
    for name in OVERLAPPABLE_TERMS:
        yield PlanFigure(f"hidden.{name}", "s", f"{name.replace('_', ' ')} overlapped with compute")
    yield from _STRATEGY_FIGURES


PLAN_FIGURES: Mapping[str, PlanFigure] = {figure.name: figure for figure in _enumerate_plan_figures()}
"""All figures of a plan by name."""

BASE_PREFIX, HEAD_PREFIX, CHANGE_PREFIX = "base.", "head.", "change."


def build_compared_figures() -> Mapping[str, PlanFigure]:
    """The figures of two plans: `base.NAME`, `head.NAME`, and the relative change `change.NAME`."""
    figures: dict[str, PlanFigure] = {}
    for name, figure in PLAN_FIGURES.items():
        figures |= {
            f"{prefix}{name}": replace(figure, name=f"{prefix}{name}") for prefix in (BASE_PREFIX, HEAD_PREFIX)
        }
        if figure.unit not in ("text", "truth"):
            figures[f"{CHANGE_PREFIX}{name}"] = PlanFigure(
                f"{CHANGE_PREFIX}{name}", "ratio", f"relative change of {name}", figure.prerequisites
            )
    return figures
