"""A global batch that no data-parallel width divides: why, and the nearest batches and node counts that work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.cluster.model.cluster import Cluster
from planner.cluster.model.spec import MOST_DEVICES
from planner.cost.arrays import Ints
from planner.cost.scenario import Training
from planner.errors import InputError
from planner.search.space import (
    NEUTRAL,
    Space,
    Tally,
    divisors,
    layouts,
    tp_fits,
)

_NAMES = {"tp": "tp", "pp": "pp", "dp": "dp", "cp": "cp", "vpp": "vpp", "micro_batch": "micro-batch"}


def batch_fault(training: Training, cluster: Cluster, space: Space) -> InputError:
    """The error for a batch that cannot be dealt to the devices under the pins of `space`."""
    batch, devices = space.global_batch, space.devices
    needed = _smallest(_multiples(training, space))
    multiples = " or of ".join(str(size) for size in needed[:3]) + (" or ..." if len(needed) > 3 else "")
    pins = " ".join(f"{_NAMES[name]} {space.allowed[name][0]}" for name in _NAMES if _is_single(space, name))
    expected = f"{_either(_near_batches(batch, needed))} {training.workload.sample}s"
    others = _other_sizes(training, cluster, space)
    expected += f"; or {others}" if others else ""
    return InputError(
        f"{devices:,} devices{' with ' + pins if pins else ''} need a batch that is a multiple of {multiples}",
        key="--global-batch",
        value=batch,
        expected=expected,
    )


def _is_single(space: Space, name: str) -> bool:
    """Whether one value is pinned, other than a size of 1 of what a batch is cut into anyway."""
    values = space.allowed.get(name, ())
    return len(values) == 1 and not (name in NEUTRAL and values[0] == NEUTRAL[name])


def _multiples(training: Training, space: Space) -> Ints:
    """What the batch must be a multiple of, for each layout that only the batch rules out."""
    neutral: dict[str, tuple[int, ...]] = {key: (value,) for key, value in NEUTRAL.items()}
    allowed = {**neutral, **space.allowed}
    free = space.devices * min(allowed["micro_batch"])
    found: list[Ints] = []
    for block in layouts(replace(space, global_batch=free, allowed=allowed), training.workload, Tally()):
        rounds = np.where(block.vpp > 1, block.pp, 1)
        found.append(np.unique(block.dp * block.micro_batch * rounds))
    return np.unique(np.concatenate(found)) if found else np.array([space.devices])


def _smallest(sizes: Ints) -> list[int]:
    """Those that are no multiple of another: a batch must be a multiple of one of them."""
    kept: list[int] = []
    for size in sizes.tolist():
        if not any(size % less == 0 for less in kept):
            kept.append(size)
    return kept


def _near_batches(batch: int, sizes: list[int]) -> list[int]:
    """The nearest batches below and above that one of the sizes divides, the nearest of them first."""
    below = max(batch // one * one for one in sizes)
    above = min(-(-batch // one) * one for one in sizes)
    return sorted((size for size in {below, above} if size), key=lambda size: (abs(size - batch), size))


def _other_sizes(training: Training, cluster: Cluster, space: Space) -> str:
    """The nearest sizes of the cluster below and above that this batch suits, layers dealt evenly to the stages.

    Looks at every number of devices that is tp x pp x cp x dp for such degrees, a few thousand at most. A single
    node can only be used in part.
    """
    if max(space.allowed.get("vpp", (1,))) > 1:
        return ""  # whole rounds of pp would have to be looked at too
    workload = training.workload
    heads = divisors(workload.heads)
    degrees = {
        "tp": heads[tp_fits(workload, heads)],
        "pp": divisors(workload.layer_count),
        "cp": np.union1d([1], divisors(max(workload.seq_length // 2, 1)) if workload.seq_length % 2 == 0 else [1]),
        "dp": _widths(space),
    }
    totals = np.ones(1, dtype=np.int64)
    for name, values in degrees.items():
        chosen = np.array(space.allowed[name]) if name in space.allowed else values
        totals = np.unique(totals[:, None] * chosen[None, :])
        totals = totals[totals <= MOST_DEVICES]
    below, above = totals[totals < space.devices], totals[totals > space.devices]
    if cluster.nodes == 1:
        return f"--devices {below[-1]}" if len(below) else ""
    if cluster.wiring is not None:
        # of hosts that are told, or left beside faults, there may be no more
        fewer = below[below % cluster.devices_per_node == 0]
        return f"{fewer[-1]} of these {space.devices:,} devices" if len(fewer) else ""
    near = [side[side % cluster.devices_per_node == 0] for side in (below, above)]
    counts = [int(count) // cluster.devices_per_node for count in (*near[0][-1:], *near[1][:1])]
    return f"--nodes {_either(counts)}" if counts else ""


def _widths(space: Space) -> Ints:
    """The data-parallel widths that divide the batch, whole micro-batches for each."""
    sizes = [size for size in space.allowed.get("micro_batch", (1,)) if space.global_batch % size == 0]
    found = [divisors(space.global_batch // size) for size in sizes]
    return np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)


def _either(numbers: list[int]) -> str:
    return " or ".join(str(number) for number in numbers)
