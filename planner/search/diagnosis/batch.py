"""Explain a global batch that no data-parallel size divides: the nearest batches and node counts that work."""

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
    """The error for a batch that cannot be divided over the devices with the pinned values of `space`."""
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
    """Whether a dimension is pinned to a single value that restricts the batch."""
    values = space.allowed.get(name, ())
    return len(values) == 1 and not (name in NEUTRAL_VALUES and values[0] == NEUTRAL_VALUES[name])


def _compute_batch_multiples(scenario: Scenario, space: Space) -> Ints:
    """The numbers of which the batch must be a multiple, for all layouts that only the batch rules out."""
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
    """The numbers that are not a multiple of another one; a batch must be a multiple of at least one of them."""
    irreducible: list[int] = []
    for size in multiples.tolist():
        if not any(size % divisor == 0 for divisor in irreducible):
            irreducible.append(size)
    return irreducible


def _find_nearest_batches(batch: int, multiples: list[int]) -> list[int]:
    """The nearest valid batches below and above `batch`, the nearest first."""
    below = max(batch // multiple * multiple for multiple in multiples)
    above = min(-(-batch // multiple) * multiple for multiple in multiples)
    return sorted((size for size in {below, above} if size), key=lambda size: (abs(size - batch), size))


def _suggest_cluster_sizes(scenario: Scenario, cluster: Cluster, space: Space) -> str:
    """The nearest smaller and larger sizes of the cluster for which this batch is valid, with equal stages.

    All numbers of devices tp x pp x cp x dp with valid degrees are tried, a few thousand at most. For a single node
    the advice is to use a part of it.
    """
    if max(space.allowed.get("vpp", (1,))) > 1:
        return ""  # the batch would also have to be a multiple of pp micro-batches
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
        # a cluster that lists its hosts, or has failed parts, may have no more hosts
        fewer = below[below % cluster.devices_per_node == 0]
        return f"{fewer[-1]} of these {space.devices:,} devices" if len(fewer) else ""
    nearest_sizes = [sizes[sizes % cluster.devices_per_node == 0] for sizes in (below, above)]
    counts = [int(count) // cluster.devices_per_node for count in (*nearest_sizes[0][-1:], *nearest_sizes[1][:1])]
    return f"--nodes {_join_alternatives(counts)}" if counts else ""


def _enumerate_dp_widths(space: Space) -> Ints:
    """The data-parallel sizes that divide the batch into whole micro-batches."""
    sizes = [size for size in space.allowed.get("micro_batch", (1,)) if space.global_batch % size == 0]
    widths = [compute_divisors(space.global_batch // size) for size in sizes]
    return np.unique(np.concatenate(widths)) if widths else np.zeros(0, dtype=np.int64)


def _join_alternatives(numbers: list[int]) -> str:
    return " or ".join(str(number) for number in numbers)
