"""The one table of a plan's figures: the name of each, what it is, its unit, and what makes it known.

Requirements and differences of plans are told in these names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from planner.cost.memory import KINDS
from planner.cost.rank_groups import ORDERS
from planner.cost.scenario import CpExchange, Gradients, Schedule
from planner.cost.step import HIDDEN, TERMS
from planner.cost.strategies import RECOMPUTE

Unit = Literal["bytes", "s", "days", "usd", "j", "kg", "w", "per_s", "ratio", "count", "text", "truth"]
Need = Literal["tokens", "price", "power", "grid", "failures", "uncertainty"]

NEEDS: dict[Need, tuple[str, str]] = {
    "tokens": ("tokens", "--tokens tells how long the run is"),
    "price": ("cost_usd_per_step", "no rent of this accelerator is known; prices in its file tell one"),
    "power": ("energy_j_per_step", "the power of this accelerator is not known"),
    "grid": ("carbon_kg_per_step", "--grid or --carbon-intensity tells where the electricity is from"),
    "failures": ("goodput", "failures were left out (--no-failures), or leave nothing"),
    "uncertainty": ("uncertainty.first_share", "--uncertainty asks for it"),
}
"""What a figure may need: the figure that is known where it is there, and how it comes to be."""


@dataclass(frozen=True)
class Figure:
    """A figure of the best plan. `needs`: what has to be there for it; `choices`: the words it may have."""

    name: str
    unit: Unit
    what: str
    needs: tuple[Need, ...] = ()
    choices: tuple[str, ...] = ()


_STEP = (
    Figure("step_time_s", "s", "time of one step"),
    Figure("tokens_per_s", "per_s", "tokens a second, of all devices"),
    Figure("tokens_per_s_per_device", "per_s", "tokens a second of one device"),
    Figure("samples_per_s", "per_s", "sequences, images or whatever a batch counts, a second"),
    Figure("samples_per_s_per_device", "per_s", "the same of one device"),
    Figure("mfu", "ratio", "the model's FLOPs over the peak of all devices"),
    Figure("hfu", "ratio", "the same with recomputation"),
    Figure("global_batch", "count", "sequences of a step"),
    Figure("tokens_per_step", "count", "tokens of a step"),
    Figure("nodes", "count", "nodes of the cluster"),
    Figure("devices", "count", "devices of the cluster"),
)
_RUN = (
    Figure("tokens", "count", "tokens of the whole run", ("tokens",)),
    Figure("steps", "count", "steps of the whole run", ("tokens",)),
    Figure("days", "days", "length of the run, without failures", ("tokens",)),
    Figure("days_with_failures", "days", "length of the run with what failures cost", ("tokens", "failures")),
    Figure("cost_usd_per_step", "usd", "rent of a step", ("price",)),
    Figure("cost_usd", "usd", "rent of the whole run, without failures", ("tokens", "price")),
    Figure("cost_usd_with_failures", "usd", "the same for the days with failures", ("tokens", "price", "failures")),
    Figure("energy_j_per_step", "j", "energy of a step, at the meter", ("power",)),
    Figure("energy_j", "j", "energy of the whole run, without failures", ("tokens", "power")),
    Figure("power_w", "w", "mean power at the meter", ("power",)),
    Figure("carbon_kg_per_step", "kg", "CO2e of a step", ("grid", "power")),
    Figure("carbon_kg", "kg", "CO2e of the whole run", ("grid", "tokens", "power")),
    Figure("goodput", "ratio", "share of the time that is left by failures and checkpoints", ("failures",)),
    Figure("goodput_tokens_per_s", "per_s", "tokens a second that are left by them", ("failures",)),
    Figure("mtbf_s", "s", "mean time between failures of the job", ("failures",)),
    Figure("spares", "count", "spare nodes", ("failures",)),
    Figure("uncertainty.first_share", "ratio", "share of samples in which the plan is first", ("uncertainty",)),
    Figure("uncertainty.step_time_p90_s", "s", "step time that 90 % of the samples stay below", ("uncertainty",)),
)
_MEMORY = (
    Figure("memory.total", "bytes", "what the fullest device holds"),
    Figure("memory.capacity", "bytes", "what a device can hold"),
    Figure("memory.headroom", "bytes", "capacity less total"),
)
_DEGREES = ("tp", "pp", "dp", "cp", "ep", "etp", "vpp")
_SPLIT = (
    *(Figure(f"strategy.{one}", "count", f"{one} of the plan") for one in _DEGREES),
    Figure("strategy.micro_batch", "count", "sequences of a micro-batch"),
    Figure("strategy.zero_stage", "count", "ZeRO stage"),
    Figure("strategy.recompute", "text", "recomputation", choices=RECOMPUTE),
    Figure("strategy.sequence_parallel", "truth", "sequence parallelism"),
    Figure("settings.schedule", "text", "pipeline schedule", choices=get_args(Schedule)),
    Figure("settings.tp_overlap", "truth", "tensor-parallel exchange hidden"),
    Figure("settings.dp_overlap", "truth", "gradients' exchange hidden"),
    Figure("settings.cp_exchange", "text", "exchange of context parallelism", choices=get_args(CpExchange)),
    Figure("settings.gradients", "text", "gradients as held", choices=get_args(Gradients)),
    Figure("settings.communication", "text", "gradients as sent", choices=get_args(Gradients)),
    Figure("settings.offload", "text", "what is on the host, joined by +; or none"),
    Figure("settings.order", "text", "dimensions on ranks, from the inside out", choices=tuple(ORDERS)),
    Figure("settings.shard_group", "text", "ranks that ZeRO shards over, or all"),
    Figure("settings.recompute_layers", "text", "layers of a chunk that are repeated, or all"),
    Figure("model", "text", "the model's name"),
    Figure("cluster", "text", "the cluster's name"),
    Figure("accelerator", "text", "the accelerator's name"),
    Figure("precision", "text", "the number format"),
    Figure("framework", "text", "the trainer"),
)


def _all() -> Iterator[Figure]:
    yield from (*_STEP, *_RUN, *_MEMORY)
    for kind in KINDS:
        yield Figure(f"memory.{kind}", "bytes", f"{kind} on the fullest device")
    for name in TERMS:
        yield Figure(f"terms.{name}", "s", f"{name.replace('_', ' ')} in the step")
    for name in HIDDEN:
        yield Figure(f"hidden.{name}", "s", f"{name.replace('_', ' ')} beside other work")
    yield from _SPLIT


FIGURES: Mapping[str, Figure] = {one.name: one for one in _all()}
"""All figures of a plan by name."""

BASE, HEAD, CHANGE = "base.", "head.", "change."


def compared_figures() -> Mapping[str, Figure]:
    """The figures of two plans: `base.NAME`, `head.NAME`, and `change.NAME`, by what share the second is more."""
    table: dict[str, Figure] = {}
    for name, one in FIGURES.items():
        table |= {f"{side}{name}": replace(one, name=f"{side}{name}") for side in (BASE, HEAD)}
        if one.unit not in ("text", "truth"):
            table[f"{CHANGE}{name}"] = Figure(f"{CHANGE}{name}", "ratio", f"relative change of {name}", one.needs)
    return table
