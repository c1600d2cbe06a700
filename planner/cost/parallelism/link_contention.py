"""Links that collectives of several axes use at the same time.

A data-parallel collective runs beside a micro-batch's compute, and so does its layers' overlapped communication. A
link carries one at a time: seconds in which overlapped communication uses a tier that the data-parallel collective
uses too are no time for the latter. While communication on other tiers is exposed, the collective's own links are
idle: those seconds are time for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.collectives import find_used_tiers
from planner.cost.parallelism.intra_layer_comm import AxisCommunication
from planner.cost.rank_groups import (
    build_context_group,
    build_data_group,
    build_expert_group,
    build_tensor_group,
    compute_rank_strides,
)
from planner.cost.scenario import Scenario
from planner.cost.strategies import Strategies
from planner.cost.unique_rows import find_unique_rows

COMM_AXIS_GROUPS = {"tp": build_tensor_group, "cp": build_context_group, "ep": build_expert_group}
"""Axes that communicate inside a layer, and the ranks of each."""


def compute_shared_tier_bits(scenario: Scenario, s: Strategies) -> Ints:
    """Which axes use a tier that the data-parallel collective uses too: one bit each, in the order of
    `COMM_AXIS_GROUPS`; shape [plans].
    """
    rank_strides = compute_rank_strides(scenario.rank_order, s)
    unique_keys = find_unique_rows(s.tp, s.cp, s.ep, s.etp, s.dp, rank_strides["cp"], rank_strides["dp"])
    unique_strategies, network = s.take(unique_keys.first_index), scenario.network
    data_tiers = find_used_tiers(network, build_data_group(scenario.rank_order, unique_strategies))
    bits = np.zeros(len(unique_strategies), dtype=np.int64)
    for bit_index, build_group in enumerate(COMM_AXIS_GROUPS.values()):
        is_shared = (data_tiers & find_used_tiers(network, build_group(scenario.rank_order, unique_strategies))).any(
            axis=1
        )
        bits |= is_shared.astype(np.int64) << bit_index
    return bits[unique_keys.inverse]


def compute_overlap_windows_s(
    communication: Sequence[AxisCommunication], recomputable_mask: Floats
) -> tuple[Floats, Floats]:
    """Seconds of one micro-batch in one layer to add to what a data-parallel collective can run beside, forward and
    backward, by recompute mode and by the bits of `compute_shared_tier_bits`: [modes, 8, keys, layer types] each.

    `communication`: of the axes of `COMM_AXIS_GROUPS`, arrays of shape [keys, layer types]; `recomputable_mask` as of
    `LayerTables`. Of an axis that uses a shared tier the overlapped seconds are taken off, of one on other tiers the
    exposed seconds are added. Full recomputation repeats the forward communication in the backward pass.
    """
    forward_s = _compute_pass_windows_s([(axis.forward, axis.overlapped_forward) for axis in communication])
    backward_s = _compute_pass_windows_s([(axis.backward, axis.overlapped_backward) for axis in communication])
    return np.stack([forward_s] * 3), np.stack([backward_s, backward_s, backward_s + forward_s * recomputable_mask])


def _compute_pass_windows_s(axis_times: list[tuple[Floats, Floats]]) -> Floats:
    """One pass, shape [8, keys, layer types]; `axis_times`: exposed and overlapped seconds of each axis."""
    window_s = np.zeros((2 ** len(axis_times), *axis_times[0][0].shape))
    for bit_index, (exposed_s, overlapped_s) in enumerate(axis_times):
        for bits in range(len(window_s)):
            window_s[bits] += -overlapped_s if bits >> bit_index & 1 else exposed_s
    return window_s
