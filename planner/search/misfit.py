"""Why nothing is left, and what would change that: the messages of an empty search."""

from __future__ import annotations

from dataclasses import replace

from planner.cluster.cluster import Cluster
from planner.cost.step import memory_of
from planner.cost.strategies import RECOMPUTE
from planner.cost.training import Training
from planner.errors import NothingFits, PlannerError
from planner.search.fault import OPTIONS, broken_rule
from planner.search.search import Found, Wanted, search
from planner.search.space import Space
from planner.units import format_bytes


def explain_empty(cluster: Cluster, space: Space, found: Found) -> PlannerError:
    """The error for a search without a feasible plan: a rule that the pins break, or memory."""
    training = found.closest_question
    space = replace(space, global_batch=training.global_batch)
    if not found.tally.cut_by["memory"]:
        return broken_rule(training, cluster, space)
    more = _devices_that_fit(training, space, found)
    return NothingFits(_overfull(training, found) + more)


def explain_overfull(cluster: Cluster, space: Space, found: Found) -> PlannerError:
    """The error for one given plan that breaks a rule or does not fit."""
    training = found.closest_question
    space = replace(space, global_batch=training.global_batch)
    if not found.tally.cut_by["memory"]:
        return broken_rule(training, cluster, space)
    advice = "\n  what would make it fit: drop the options you gave and let `plan` choose, or "
    return NothingFits(_overfull(training, found) + advice + "a higher --tp, --pp, --zero or --recompute full")


def _overfull(training: Training, found: Found) -> str:
    plan = found.closest
    held = {kind: float(value[0]) for kind, value in memory_of(training, plan).items()}
    total, capacity = sum(held.values()), training.accelerator.memory_bytes
    row = plan.row(0)
    split = " ".join(f"{name} {row[name]}" for name in ("tp", "pp", "dp", "cp", "ep", "vpp") if row[name] > 1)
    split += f" micro-batch {row['micro_batch']}, ZeRO {row['zero_stage']}, recompute {RECOMPUTE[row['recompute']]}"
    largest = sorted(held, key=lambda kind: -held[kind])[:2]
    shares = " and ".join(f"{format_bytes(held[kind])} of {kind}" for kind in largest)
    return (
        f"no plan fits: {training.workload.title} on {training.devices} x {training.accelerator.title}\n"
        f"  nearest miss: {split.strip()}\n"
        f"  needs {format_bytes(total)}, the device has {format_bytes(capacity)}: "
        f"{format_bytes(total - capacity)} too much, mostly {shares}"
    )


def _devices_that_fit(training: Training, space: Space, found: Found) -> str:
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
    needed = sum(float(value[0]) for value in memory_of(training, found.closest).values())
    lines += f" devices of {format_bytes(needed)}"
    if space.allowed:
        lines += f", or leaving {', '.join(OPTIONS[name] for name in space.allowed)} open"
    return lines
