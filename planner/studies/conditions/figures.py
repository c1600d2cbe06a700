"""The one table of a plan's figures: the name of each, what it is, its unit, and what makes it known.

Requirements and differences of plans are told in these names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from planner.cost.memory import MEMORY_CATEGORIES
from planner.cost.rank_groups import RANK_ORDERS
from planner.cost.scenario import CpCommType, PipelineSchedule
from planner.cost.step import OVERLAPPABLE_TERMS, STEP_TERMS
from planner.cost.strategies import RECOMPUTE_MODES
from planner.trainers.trainer import GradientDtype

FigureUnit = Literal["bytes", "s", "days", "usd", "j", "kg", "w", "per_s", "ratio", "count", "text", "truth"]
FigurePrerequisite = Literal["tokens", "price", "power", "grid", "failures", "uncertainty"]

FIGURE_PREREQUISITES: dict[FigurePrerequisite, tuple[str, str]] = {
    "tokens": ("tokens", "--tokens tells how long the run is"),
    "price": ("cost_usd_per_step", "no rent of this accelerator is known; prices in its file tell one"),
    "power": ("energy_j_per_step", "the power of this accelerator is not known"),
    "grid": ("carbon_kg_per_step", "--grid or --carbon-intensity tells where the electricity is from"),
    "failures": ("goodput", "failures were left out (--no-failures), or leave nothing"),
    "uncertainty": ("uncertainty.first_share", "--uncertainty asks for it"),
}
"""What a figure may need: the figure that is known where it is there, and how it comes to be."""


@dataclass(frozen=True)
class PlanFigure:
    """A figure of the best plan. `prerequisites`: what has to be there for it; `choices`: the words it may have."""

    name: str
    unit: FigureUnit
    description: str
    prerequisites: tuple[FigurePrerequisite, ...] = ()
    choices: tuple[str, ...] = ()


_STEP_FIGURES = (
    PlanFigure("step_time_s", "s", "time of one step"),
    PlanFigure("tokens_per_s", "per_s", "tokens a second, of all devices"),
    PlanFigure("tokens_per_s_per_device", "per_s", "tokens a second of one device"),
    PlanFigure("samples_per_s", "per_s", "sequences, images or whatever a batch counts, a second"),
    PlanFigure("samples_per_s_per_device", "per_s", "the same of one device"),
    PlanFigure("mfu", "ratio", "the model's FLOPs over the peak of all devices"),
    PlanFigure("hfu", "ratio", "the same with recomputation"),
    PlanFigure("global_batch", "count", "sequences of a step"),
    PlanFigure("tokens_per_step", "count", "tokens of a step"),
    PlanFigure("nodes", "count", "nodes of the cluster"),
    PlanFigure("devices", "count", "devices of the cluster"),
)
_RUN_FIGURES = (
    PlanFigure("tokens", "count", "tokens of the whole run", ("tokens",)),
    PlanFigure("steps", "count", "steps of the whole run", ("tokens",)),
    PlanFigure("days", "days", "length of the run, without failures", ("tokens",)),
    PlanFigure("days_with_failures", "days", "length of the run with what failures cost", ("tokens", "failures")),
    PlanFigure("cost_usd_per_step", "usd", "rent of a step", ("price",)),
    PlanFigure("cost_usd", "usd", "rent of the whole run, without failures", ("tokens", "price")),
    PlanFigure(
        "cost_usd_with_failures", "usd", "the same for the days with failures", ("tokens", "price", "failures")
    ),
    PlanFigure("energy_j_per_step", "j", "energy of a step, at the meter", ("power",)),
    PlanFigure("energy_j", "j", "energy of the whole run, without failures", ("tokens", "power")),
    PlanFigure("power_w", "w", "mean power at the meter", ("power",)),
    PlanFigure("carbon_kg_per_step", "kg", "CO2e of a step", ("grid", "power")),
    PlanFigure("carbon_kg", "kg", "CO2e of the whole run", ("grid", "tokens", "power")),
    PlanFigure("goodput", "ratio", "share of the time that is left by failures and checkpoints", ("failures",)),
    PlanFigure("goodput_tokens_per_s", "per_s", "tokens a second that are left by them", ("failures",)),
    PlanFigure("mtbf_s", "s", "mean time between failures of the job", ("failures",)),
    PlanFigure("spares", "count", "spare nodes", ("failures",)),
    PlanFigure("uncertainty.first_share", "ratio", "share of samples in which the plan is first", ("uncertainty",)),
    PlanFigure("uncertainty.step_time_p90_s", "s", "step time that 90 % of the samples stay below", ("uncertainty",)),
)
_MEMORY_FIGURES = (
    PlanFigure("memory.total", "bytes", "peak memory (worst stage)"),
    PlanFigure("memory.capacity", "bytes", "what a device can hold"),
    PlanFigure("memory.headroom", "bytes", "capacity less total"),
)
_DEGREE_NAMES = ("tp", "pp", "dp", "cp", "ep", "etp", "vpp")
_STRATEGY_FIGURES = (
    *(PlanFigure(f"strategy.{one}", "count", f"{one} of the plan") for one in _DEGREE_NAMES),
    PlanFigure("strategy.micro_batch", "count", "sequences of a micro-batch"),
    PlanFigure("strategy.zero_stage", "count", "ZeRO stage"),
    PlanFigure("strategy.recompute", "text", "recomputation", choices=RECOMPUTE_MODES),
    PlanFigure("strategy.sequence_parallel", "truth", "sequence parallelism"),
    PlanFigure("settings.schedule", "text", "pipeline schedule", choices=get_args(PipelineSchedule)),
    PlanFigure("settings.tp_overlap", "truth", "tensor-parallel communication overlapped"),
    PlanFigure("settings.dp_overlap", "truth", "gradient communication overlapped"),
    PlanFigure("settings.cp_exchange", "text", "exchange of context parallelism", choices=get_args(CpCommType)),
    PlanFigure("settings.gradients", "text", "dtype of gradient accumulation", choices=get_args(GradientDtype)),
    PlanFigure("settings.communication", "text", "gradients as sent", choices=get_args(GradientDtype)),
    PlanFigure("settings.offload", "text", "what is on the host, joined by +; or none"),
    PlanFigure("settings.order", "text", "dimensions on ranks, from the inside out", choices=tuple(RANK_ORDERS)),
    PlanFigure("settings.shard_group", "text", "ranks that ZeRO shards over, or all"),
    PlanFigure("settings.recompute_layers", "text", "layers of a chunk that are repeated, or all"),
    PlanFigure("model", "text", "the model's name"),
    PlanFigure("cluster", "text", "the cluster's name"),
    PlanFigure("accelerator", "text", "the accelerator's name"),
    PlanFigure("precision", "text", "the number format"),
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


PLAN_FIGURES: Mapping[str, PlanFigure] = {one.name: one for one in _enumerate_plan_figures()}
"""All figures of a plan by name."""

BASE_PREFIX, HEAD_PREFIX, CHANGE_PREFIX = "base.", "head.", "change."


def build_compared_figures() -> Mapping[str, PlanFigure]:
    """The figures of two plans: `base.NAME`, `head.NAME`, and `change.NAME`, by what share the second is more."""
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
