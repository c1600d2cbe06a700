"""Why nothing is left, and what would change that: the messages of an empty search."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from planner.cluster.model.cluster import Cluster
from planner.cost.memory import host_memory_totals, memory_of
from planner.cost.plan_tables import prepare
from planner.cost.scenario import Training, memory_that_holds
from planner.cost.strategies import FULL, RECOMPUTE, Strategies
from planner.errors import NothingFits, PlannerError
from planner.search.diagnosis.option_conflicts import OPTIONS, broken_rule
from planner.search.search import Found, Wanted, search
from planner.search.space import Space
from planner.units import format_bytes


def explain_empty(cluster: Cluster, space: Space, found: Found) -> PlannerError:
    """The error for a search without a feasible plan: a rule that the pins break, or memory."""
    training = found.closest_question
    space = replace(space, global_batch=training.global_batch)
    if not _too_large(found):
        return broken_rule(training, cluster, space)
    miss = _nearest_miss(training, found.closest)
    return NothingFits(_told(training, miss) + _what_fits(training, space, miss))


def explain_overfull(cluster: Cluster, space: Space, found: Found) -> PlannerError:
    """The error for one given plan that breaks a rule or does not fit."""
    training = found.closest_question
    space = replace(space, global_batch=training.global_batch)
    if not _too_large(found):
        return broken_rule(training, cluster, space)
    miss = _nearest_miss(training, found.closest)
    lighter = _lighter(found.closest) if miss.holder == "device" else "less in --offload, or more nodes"
    advice = "\n  what would make it fit: drop the options you gave and let `plan` choose, or "
    return NothingFits(_told(training, miss) + advice + lighter)


def _lighter(plan: Strategies) -> str:
    """What makes a plan's devices hold less, of what is not already at its end."""
    row = plan.row(0)
    higher = ["--tp", "--pp", *(["--zero"] if row["zero_stage"] < 3 else [])]
    if row["recompute"] != FULL:
        return f"a higher {', '.join(higher)} or --recompute full"
    return f"a higher {', '.join(higher[:-1])} or {higher[-1]}"


def _too_large(found: Found) -> bool:
    """Whether some candidate broke no rule but those of memory."""
    return bool(found.tally.cut_by["memory"] or found.tally.cut_by["host-memory"])


@dataclass(frozen=True)
class _Miss:
    """The plan that needs least, what it needs, and who has too little: the device, or the host for its devices."""

    split: str
    holder: Literal["device", "host"]
    needed_bytes: float
    capacity_bytes: float
    mostly: str


def _nearest_miss(training: Training, plan: Strategies) -> _Miss:
    row = plan.row(0)
    split = " ".join(f"{name} {row[name]}" for name in ("tp", "pp", "dp", "cp", "ep", "vpp") if row[name] > 1)
    split += f" micro-batch {row['micro_batch']}, ZeRO {row['zero_stage']}, recompute {RECOMPUTE[row['recompute']]}"
    held = {kind: float(value[0]) for kind, value in memory_of(training, plan).items()}
    total, capacity = math.fsum(held.values()), training.usable_memory_bytes
    if total <= capacity and training.host is not None:
        state = ((row["zero_stage"],), (row["recompute"],))
        on_host = host_memory_totals(training, plan, prepare(training, plan), *state)
        return _Miss(split.strip(), "host", float(on_host[0, 0, 0]), training.host.memory_bytes, "")
    largest = sorted(held, key=lambda kind: -held[kind])[:2]
    mostly = ", mostly " + " and ".join(f"{format_bytes(held[kind])} of {kind}" for kind in largest)
    return _Miss(split.strip(), "device", total, capacity, mostly)


def _told(training: Training, miss: _Miss) -> str:
    over = miss.needed_bytes - miss.capacity_bytes
    needs = "needs" if miss.holder == "device" else "offloads"
    has = f"the {miss.holder} has {format_bytes(miss.capacity_bytes)}"
    if training.memory_limit is not None and miss.holder == "device":
        memory = format_bytes(training.accelerator.memory_bytes)
        has = f"the memory limit allows {format_bytes(miss.capacity_bytes)} of {memory}"
    return (
        f"no plan fits: {training.workload.title} on {training.devices} x {training.accelerator.title}\n"
        f"  nearest miss: {miss.split}\n"
        f"  {needs} {format_bytes(miss.needed_bytes)}, {has}: "
        f"{format_bytes(over)} too much{miss.mostly}"
    )


def _what_fits(training: Training, space: Space, miss: _Miss) -> str:
    """Look for a multiple of the devices, or a memory size, that admits a plan.

    Where a dimension is open, only the value that holds least is looked at: enough to know that a plan fits.
    """
    lines = "\n  what would make it fit:"
    frugal: dict[str, tuple[int, ...]] = {"micro_batch": (1,), "vpp": (1,), "zero_stage": (0, 3), "recompute": (2,)}
    for factor in (2, 4, 8, 16, 32, 64):
        wider = replace(space, devices=space.devices * factor, allowed={**frugal, **space.allowed})
        # the network decides time only, so it can stay: this asks about memory
        if search(replace(training, devices=wider.devices), wider, Wanted(top=1)).tally.feasible:
            lines += f" {wider.devices} devices, or"
            break
    needed = miss.needed_bytes
    if miss.holder == "device":
        if needed <= training.accelerator.memory_bytes:
            lines += f" --memory-limit {100 * needed / training.accelerator.memory_bytes + 0.05:.1f}%, or"
        needed = memory_that_holds(needed - training.reserve_bytes)
    # told to a hundredth of a GiB, so that what is told is enough
    lines += f" {miss.holder}s of {format_bytes(math.ceil(needed / 2**30 * 100) / 100 * 2**30)}"
    given = [OPTIONS[name] for name in space.allowed if name not in space.assumed]
    if given:
        lines += f", or leaving {', '.join(given)} open"
    return lines
