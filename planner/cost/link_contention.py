"""Links that several collectives want at the same time.

A data-parallel collective runs beside a micro-batch's compute, and so do the exchanges of its layers that are hidden.
A link is there once: seconds in which a hidden exchange uses a tier that the data-parallel collective uses too are
no time for the latter. While an exchange on other tiers is exposed, on the other hand, its links are idle: what
waits for that exchange is time for it.
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.collectives import find_used_tiers
from planner.cost.layer_tables import LayerTables
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
"""Exchanges inside a layer, and the ranks of each."""


def compute_shared_tier_bits(scenario: Scenario, s: Strategies) -> Ints:
    """Which kinds of exchange use a tier that the data-parallel collective uses too: one bit each, shape [plans]."""
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


def compute_overlap_windows_s(tables: LayerTables) -> tuple[Floats, Floats]:
    """Seconds of one micro-batch in one layer to add to what a data-parallel collective can run beside, forward and
    backward, by recompute mode and by the bits of `compute_shared_tier_bits`: shape [modes, 8, rows, kinds] each.

    For an exchange that uses a shared tier its hidden seconds are taken off, for one on other tiers its exposed
    seconds are added. Full recomputation repeats the forward exchanges in the backward pass.
    """
    forward_s, backward_s = (_compute_pass_windows_s(tables, pass_name) for pass_name in ("forward", "backward"))
    return np.stack([forward_s] * 3), np.stack(
        [backward_s, backward_s, backward_s + forward_s * tables.recomputable_mask]
    )


def _compute_pass_windows_s(tables: LayerTables, pass_name: str) -> Floats:
    """One pass, shape [8, rows, kinds]."""
    window_s = np.zeros((2 ** len(COMM_AXIS_GROUPS), *tables.forward.shape))
    for bit_index, comm_axis in enumerate(COMM_AXIS_GROUPS):
        overlapped_s = getattr(tables, f"{comm_axis}_hidden_{pass_name}")
        exposed_s = getattr(tables, f"{comm_axis}_{pass_name}")
        for bits in range(len(window_s)):
            window_s[bits] += -overlapped_s if bits >> bit_index & 1 else exposed_s
    return window_s
