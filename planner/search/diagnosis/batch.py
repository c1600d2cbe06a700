"""A global batch that no data-parallel width divides: why, and the nearest batches and node counts that work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.cluster.model.cluster import Cluster
from planner.cluster.model.spec import MAX_CLUSTER_DEVICES
from planner.cost.arrays import Ints
from planner.cost.scenario import Scenario
from planner.errors import InputError
from planner.search.space import (
    NEUTRAL_VALUES,
    SearchStats,
    Space,
    compute_divisors,
    enumerate_parallel_layouts,
    is_valid_tp,
)

_PIN_TITLES = {"tp": "tp", "pp": "pp", "dp": "dp", "cp": "cp", "vpp": "vpp", "micro_batch": "micro-batch"}


def build_batch_error(scenario: Scenario, cluster: Cluster, space: Space) -> InputError:
    """The error for a batch that cannot be dealt to the devices under the pins of `space`."""
    batch, devices = space.global_batch, space.devices
    required_multiples = _drop_redundant_multiples(_compute_batch_multiples(scenario, space))
    multiples = " or of ".join(str(size) for size in required_multiples[:3]) + (
        " or ..." if len(required_multiples) > 3 else ""
    )
    pins = " ".join(
        f"{_PIN_TITLES[name]} {space.allowed[name][0]}" for name in _PIN_TITLES if _is_single_pin(space, name)
    )
    expected = (
        f"{_join_alternatives(_find_nearest_batches(batch, required_multiples))} {scenario.workload.sample_name}s"
    )
    size_advice = _suggest_cluster_sizes(scenario, cluster, space)
    expected += f"; or {size_advice}" if size_advice else ""
    return InputError(
        f"{devices:,} devices{' with ' + pins if pins else ''} need a batch that is a multiple of {multiples}",
        key="--global-batch",
        value=batch,
        expected=expected,
    )


def _is_single_pin(space: Space, name: str) -> bool:
    """Whether one value is pinned, other than a size of 1 of what a batch is cut into anyway."""
    values = space.allowed.get(name, ())
    return len(values) == 1 and not (name in NEUTRAL_VALUES and values[0] == NEUTRAL_VALUES[name])


def _compute_batch_multiples(scenario: Scenario, space: Space) -> Ints:
    """What the batch must be a multiple of, for each layout that only the batch rules out."""
    neutral: dict[str, tuple[int, ...]] = {key: (value,) for key, value in NEUTRAL_VALUES.items()}
    allowed = {**neutral, **space.allowed}
    divisible_batch = space.devices * min(allowed["micro_batch"])
    multiples: list[Ints] = []
    for block in enumerate_parallel_layouts(
        replace(space, global_batch=divisible_batch, allowed=allowed), scenario.workload, SearchStats()
    ):
        rounds = np.where(block.vpp > 1, block.pp, 1)
        multiples.append(np.unique(block.dp * block.micro_batch * rounds))
    return np.unique(np.concatenate(multiples)) if multiples else np.array([space.devices])


def _drop_redundant_multiples(multiples: Ints) -> list[int]:
    """Those that are no multiple of another: a batch must be a multiple of one of them."""
    irreducible: list[int] = []
    for size in multiples.tolist():
        if not any(size % divisor == 0 for divisor in irreducible):
            irreducible.append(size)
    return irreducible


def _find_nearest_batches(batch: int, multiples: list[int]) -> list[int]:
    """The nearest batches below and above that one of the sizes divides, the nearest of them first."""
    below = max(batch // multiple * multiple for multiple in multiples)
    above = min(-(-batch // multiple) * multiple for multiple in multiples)
    return sorted((size for size in {below, above} if size), key=lambda size: (abs(size - batch), size))


def _suggest_cluster_sizes(scenario: Scenario, cluster: Cluster, space: Space) -> str:
    """The nearest sizes of the cluster below and above that this batch suits, layers dealt evenly to the stages.

    Looks at every number of devices that is tp x pp x cp x dp for such degrees, a few thousand at most. A single
    node can only be used in part.
    """
    if max(space.allowed.get("vpp", (1,))) > 1:
        return ""  # whole rounds of pp would have to be looked at too
    workload = scenario.workload
    heads = compute_divisors(workload.heads)
    degrees = {
        "tp": heads[is_valid_tp(workload, heads)],
        "pp": compute_divisors(workload.layer_count),
        "cp": np.union1d(
            [1], compute_divisors(max(workload.seq_length // 2, 1)) if workload.seq_length % 2 == 0 else [1]
        ),
        "dp": _enumerate_dp_widths(space),
    }
    totals = np.ones(1, dtype=np.int64)
    for name, values in degrees.items():
        allowed_values = np.array(space.allowed[name]) if name in space.allowed else values
        totals = np.unique(totals[:, None] * allowed_values[None, :])
        totals = totals[totals <= MAX_CLUSTER_DEVICES]
    below, above = totals[totals < space.devices], totals[totals > space.devices]
    if cluster.nodes == 1:
        return f"--devices {below[-1]}" if len(below) else ""
    if cluster.listed_hosts:
        # of hosts that are told, or left beside faults, there may be no more
        fewer = below[below % cluster.devices_per_node == 0]
        return f"{fewer[-1]} of these {space.devices:,} devices" if len(fewer) else ""
    nearest_sizes = [sizes[sizes % cluster.devices_per_node == 0] for sizes in (below, above)]
    counts = [int(count) // cluster.devices_per_node for count in (*nearest_sizes[0][-1:], *nearest_sizes[1][:1])]
    return f"--nodes {_join_alternatives(counts)}" if counts else ""


def _enumerate_dp_widths(space: Space) -> Ints:
    """The data-parallel widths that divide the batch, whole micro-batches for each."""
    sizes = [size for size in space.allowed.get("micro_batch", (1,)) if space.global_batch % size == 0]
    widths = [compute_divisors(space.global_batch // size) for size in sizes]
    return np.unique(np.concatenate(widths)) if widths else np.zeros(0, dtype=np.int64)


def _join_alternatives(numbers: list[int]) -> str:
    return " or ".join(str(number) for number in numbers)
