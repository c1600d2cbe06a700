"""Links that several collectives want at the same time.

A data-parallel collective runs beside a micro-batch's compute, and so do the exchanges of its layers that are hidden.
A link is there once: seconds in which a hidden exchange uses a tier that the data-parallel collective uses too are
no time for the latter. While an exchange on other tiers is exposed, on the other hand, its links are idle: what
waits for that exchange is time for it.
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.collectives import tiers_used
from planner.cost.layer_tables import LayerTables
from planner.cost.rank_groups import context_group, data_group, expert_group, strides, tensor_group
from planner.cost.scenario import Training
from planner.cost.strategies import Strategies
from planner.cost.unique_rows import distinct

KINDS = {"tp": tensor_group, "cp": context_group, "ep": expert_group}
"""Exchanges inside a layer, and the ranks of each."""


def shared_tiers(training: Training, s: Strategies) -> Ints:
    """Which kinds of exchange use a tier that the data-parallel collective uses too: one bit each, shape [plans]."""
    at = strides(training.order, s)
    keys = distinct(s.tp, s.cp, s.ep, s.etp, s.dp, at["cp"], at["dp"])
    chosen, network = s.take(keys.first), training.network
    data = tiers_used(network, data_group(training.order, chosen))
    bits = np.zeros(len(chosen), dtype=np.int64)
    for place, ranks in enumerate(KINDS.values()):
        shared = (data & tiers_used(network, ranks(training.order, chosen))).any(axis=1)
        bits |= shared.astype(np.int64) << place
    return bits[keys.of]


def windows(tables: LayerTables) -> tuple[Floats, Floats]:
    """Seconds of one micro-batch in one layer to add to what a data-parallel collective can run beside, forward and
    backward, by recompute mode and by the bits of `shared_tiers`: shape [modes, 8, rows, kinds] each.

    For an exchange that uses a shared tier its hidden seconds are taken off, for one on other tiers its exposed
    seconds are added. Full recomputation repeats the forward exchanges in the backward pass.
    """
    forward, backward = (_added(tables, name) for name in ("forward", "backward"))
    return np.stack([forward] * 3), np.stack([backward, backward, backward + forward * tables.repeatable])


def _added(tables: LayerTables, name: str) -> Floats:
    """One pass, shape [8, rows, kinds]."""
    sums = np.zeros((2 ** len(KINDS), *tables.forward.shape))
    for place, kind in enumerate(KINDS):
        hidden = getattr(tables, f"{kind}_hidden_{name}")
        exposed = getattr(tables, f"{kind}_{name}")
        for bits in range(len(sums)):
            sums[bits] += -hidden if bits >> place & 1 else exposed
    return sums
