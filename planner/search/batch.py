"""A global batch that no data-parallel width divides: why, and the nearest batches and node counts that work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.cluster.cluster import Cluster
from planner.cost.training import Training
from planner.errors import InputError
from planner.search.space import Ints, Space, Tally, divisors, layouts, tp_fits

_MOST_DEVICES = 16_777_216
_SPLIT = ("tp", "pp", "cp")


def batch_fault(training: Training, cluster: Cluster, space: Space) -> InputError:
    """The error for a batch that cannot be dealt to the devices under the pins of `space`."""
    batch, devices = space.global_batch, space.devices
    widths = _smallest(_widths(training, space))
    multiples = " or of ".join(str(width) for width in widths[:3]) + (" or ..." if len(widths) > 3 else "")
    pins = " ".join(f"{name} {values[0]}" for name, values in space.allowed.items() if len(values) == 1)
    beside = f" with {pins}" if pins else ""
    expected = f"{_either(_near_batches(batch, widths))} sequences"
    others = _other_sizes(training, cluster, space)
    expected += f"; or {others}" if others else ""
    return InputError(
        f"{devices} devices{beside} need a batch that is a multiple of {multiples}",
        key="--global-batch",
        value=batch,
        expected=expected,
    )


def _widths(training: Training, space: Space) -> Ints:
    """The data-parallel widths of every split that only the batch rules out."""
    neutral = {"ep": 1, "vpp": 1, "micro_batch": 1, "zero_stage": 0, "recompute": 0, "sequence_parallel": 0}
    pins: dict[str, tuple[int, ...]] = {key: values for key, values in space.allowed.items() if key in _SPLIT}
    open_space = replace(
        space, global_batch=space.devices, allowed={**{key: (value,) for key, value in neutral.items()}, **pins}
    )
    found = [block.dp for block in layouts(open_space, training.workload, Tally())]
    return np.unique(np.concatenate(found)) if found else np.array([space.devices])


def _smallest(widths: Ints) -> list[int]:
    """Those that are no multiple of another: a batch must be a multiple of one of them."""
    kept: list[int] = []
    for width in widths.tolist():
        if not any(width % less == 0 for less in kept):
            kept.append(width)
    return kept


def _near_batches(batch: int, widths: list[int]) -> list[int]:
    """The nearest batches below and above that one of the widths divides, the nearest of them first."""
    below = max(batch // width * width for width in widths)
    above = min(-(-batch // width) * width for width in widths)
    return sorted((size for size in {below, above} if size), key=lambda size: (abs(size - batch), size))


def _other_sizes(training: Training, cluster: Cluster, space: Space) -> str:
    """The nearest sizes of the cluster below and above that this batch suits, layers dealt evenly to the stages.

    Looks at every number of devices that is tp x pp x cp x dp for such degrees, a few thousand at most. A single
    node can only be used in part.
    """
    workload = training.workload
    heads = divisors(workload.heads)
    degrees = {
        "tp": heads[tp_fits(workload, heads)],
        "pp": divisors(workload.layer_count),
        "cp": np.union1d([1], divisors(max(workload.seq_length // 2, 1)) if workload.seq_length % 2 == 0 else [1]),
        "dp": divisors(space.global_batch),
    }
    totals = np.ones(1, dtype=np.int64)
    for name, values in degrees.items():
        chosen = np.array(space.allowed[name]) if name in space.allowed else values
        totals = np.unique(totals[:, None] * chosen[None, :])
        totals = totals[totals <= _MOST_DEVICES]
    below, above = totals[totals < space.devices], totals[totals > space.devices]
    if cluster.nodes == 1:
        return f"--devices {below[-1]}" if len(below) else ""
    near = [side[side % cluster.devices_per_node == 0] for side in (below, above)]
    counts = [int(count) // cluster.devices_per_node for count in (*near[0][-1:], *near[1][:1])]
    return f"--nodes {_either(counts)}" if counts else ""


def _either(numbers: list[int]) -> str:
    return " or ".join(str(number) for number in numbers)
