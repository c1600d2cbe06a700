"""Why nothing is left, and what would change that: the messages of an empty search."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.cost.step import memory_of
from planner.cost.strategies import RECOMPUTE
from planner.cost.training import Training
from planner.errors import InputError, NothingFits, PlannerError
from planner.search.search import Found, search
from planner.search.space import RULES, Space, divisors, tp_fits
from planner.units import format_bytes

_OPTIONS = {
    "tp": "--tp",
    "pp": "--pp",
    "dp": "--dp",
    "cp": "--cp",
    "ep": "--ep",
    "vpp": "--vpp",
    "micro_batch": "--micro-batch",
    "zero_stage": "--zero",
    "recompute": "--recompute",
    "sequence_parallel": "--sequence-parallel",
}


def explain_empty(training: Training, space: Space, found: Found) -> PlannerError:
    """The error for a search without a feasible plan: a rule that the pins break, or memory."""
    if not found.tally.cut_by["memory"]:
        return _broken_rule(training, space, found)
    more = _devices_that_fit(training, space)
    return NothingFits(_overfull(training, found) + more)


def explain_overfull(training: Training, space: Space, found: Found) -> PlannerError:
    """The error for one given plan that breaks a rule or does not fit."""
    if not found.tally.cut_by["memory"]:
        return _broken_rule(training, space, found)
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


def _devices_that_fit(training: Training, space: Space) -> str:
    """Look for a multiple of the devices, or a memory size, that admits a plan."""
    lines = "\n  what would make it fit:"
    for factor in (2, 4, 8, 16, 32, 64):
        wider = Space(space.devices * factor, space.global_batch, space.allowed)
        # the network decides time only, so it can stay: this asks about memory
        if search(replace(training, devices=wider.devices), wider, top=1).tally.feasible:
            lines += f" {wider.devices} devices, or"
            break
    closest = search(training, space, top=1).closest
    needed = sum(float(value[0]) for value in memory_of(training, closest).values())
    lines += f" devices of {format_bytes(needed)}"
    if space.allowed:
        lines += f", or leaving {', '.join(_OPTIONS[name] for name in space.allowed)} open"
    return lines


def _broken_rule(training: Training, space: Space, found: Found) -> InputError:
    """Pins (or batch and devices themselves) that no candidate satisfies: name the option and what is valid."""
    workload = training.workload
    parts = divisors(space.devices)
    layers, batch = workload.layer_count, space.global_batch
    valid = {
        "tp": parts[tp_fits(workload, parts)],
        "pp": parts[parts <= layers],
        "dp": parts[batch % parts == 0],
        "cp": parts[(parts == 1) | (workload.seq_length % (2 * parts) == 0)],
        "ep": divisors(workload.experts) if workload.experts else np.array([1]),
        "vpp": np.arange(1, layers + 1),
        "micro_batch": divisors(batch),
    }
    why = {
        "tp": f"divides {space.devices} devices, {workload.heads} heads, {workload.kv_heads} KV heads and MLP "
        f"{workload.ffn_size}",
        "pp": f"divides {space.devices} devices and is at most {layers} layers",
        "dp": f"divides {space.devices} devices and the global batch {batch}",
        "cp": f"divides {space.devices} devices, 2 cp divides the sequence {workload.seq_length}",
        "ep": f"divides {workload.experts} experts" if workload.experts else "1: the model has no experts",
        "vpp": f"at most {layers} layers",
        "micro_batch": f"divides the global batch {batch}",
    }
    for name, values in space.allowed.items():
        if name in valid and not np.isin(values, valid[name]).any():
            return InputError(
                "cannot be used here",
                key=_OPTIONS[name],
                value=",".join(map(str, values)),
                expected=f"{_listed(valid[name])} ({why[name]})",
            )
    cut = [rule for rule in RULES if found.tally.cut_by[rule]]
    reasons = "; ".join(f"{rule}: {RULES[rule]}" for rule in cut)
    options = ", ".join(_OPTIONS[name] for name in space.allowed) or "--global-batch, --nodes"
    problem = "leave no candidate together" if cut else f"their product is not the {space.devices} devices"
    return InputError(problem, key=options, expected=reasons or "tp x pp x cp x dp equal to the number of devices")


def _listed(values: np.ndarray[tuple[int], np.dtype[np.int64]], most: int = 12) -> str:
    shown = ", ".join(str(value) for value in values[:most])
    return f"one of {shown}" + (f", ... {values[-1]}" if len(values) > most else "")
