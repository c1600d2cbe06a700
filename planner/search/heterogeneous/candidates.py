"""What replicas of two kinds may be: all layouts with each micro-batch, and what of them each kind's memory holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from planner.cost.arrays import Bools, Ints
from planner.cost.heterogeneous import Kinds
from planner.cost.memory import host_memory_totals, memory_totals
from planner.cost.pipeline.partition import ROUNDS
from planner.cost.plan_tables import Prepared, prepare
from planner.cost.scenario import Training
from planner.cost.strategies import Strategies, join
from planner.search.space import Space, Tally, layouts, zero_fits

_SMALL = 8
"""Micro-batches up to this size, or those that are pinned, may be any: a kind's share need not divide the batch."""


@dataclass(frozen=True)
class Side:
    """One kind's rows, a layout with a micro-batch each; arrays of shape [rows], memory [rows, ZeRO stages, modes].

    `replicas` of this kind; micro-batches are counted in units of `unit`. `least`, `full`: whether the memory holds
    with one unit, and with so many that the pipeline is full.
    """

    kinds: Kinds
    at: int
    s: Strategies
    p: Prepared
    replicas: Ints
    unit: Ints
    least: Bools
    full: Bools

    @property
    def training(self) -> Training:
        """The question, as if all devices were of this kind."""
        return self.kinds[self.at].shared

    def weight(self, rows: Ints) -> Ints:
        """Sequences that one unit of all replicas of this kind is."""
        weight: Ints = self.replicas[rows] * self.s.micro_batch[rows] * self.unit[rows]
        return weight


@dataclass(frozen=True)
class Table:
    """The rows of both kinds, and each row's layout; `zeros` and `modes` are the values of ZeRO and recomputation."""

    sides: tuple[Side, Side]
    layout: Ints
    layouts: int
    zeros: Ints
    modes: Ints


def share_table(kinds: Kinds, space: Space) -> Table | None:
    """All rows in which some plan of some kind fits; None where there are none."""
    training = kinds[0].shared
    values = space.values(training.workload)
    zeros, modes = values["zero_stage"], values["recompute"]
    sizes = np.union1d(values["micro_batch"], space.allowed.get("micro_batch", range(1, _SMALL + 1)))
    found = _layouts(kinds, space)
    if found is None or not len(zeros) or not len(modes):
        return None
    blocks = list(_rows_that_fit(kinds, found, sizes, zeros, modes))
    if not blocks:
        return None
    layout = np.concatenate([block.layout for block in blocks])
    rows = join([block.s for block in blocks])
    sides = []
    for at, kind in enumerate(kinds):
        least = np.concatenate([block.least[at] for block in blocks])
        full = np.concatenate([block.full[at] for block in blocks])
        replicas = kind.devices // (rows.tp * rows.pp * rows.cp)
        sides.append(Side(kinds, at, rows, prepare(kind.shared, rows), replicas, _unit(rows), least, full))
    return Table((sides[0], sides[1]), layout, len(found), zeros, modes)


def _unit(rows: Strategies) -> Ints:
    """Interleaving runs micro-batches in whole rounds of pp."""
    unit: Ints = np.where(rows.vpp > 1, rows.pp, 1)
    return unit


def _layouts(kinds: Kinds, space: Space) -> Strategies | None:
    """Layouts that both kinds can have, `dp` counting the replicas of both."""
    common = int(np.gcd(kinds[0].devices, kinds[1].devices))
    # layouts of the common divisor have a whole number of replicas in both; the batch is dealt later, so one that all
    # widths divide in whole rounds stands for it
    allowed = {name: values for name, values in space.allowed.items() if name not in ("dp", "micro_batch")}
    wide = replace(space, devices=common, global_batch=common * common, allowed={**allowed, "micro_batch": (1,)})
    blocks = list(layouts(wide, kinds[0].shared.workload, Tally()))
    if not blocks:
        return None
    found = join(blocks)
    found = replace(found, dp=(kinds[0].devices + kinds[1].devices) // (found.tp * found.pp * found.cp))
    return found.take(np.isin(found.dp, space.allowed["dp"])) if "dp" in space.allowed else found


@dataclass(frozen=True)
class _Fitting:
    """Rows of one micro-batch, their layouts, and `least` and `full` as of `Side`, of both kinds."""

    s: Strategies
    layout: Ints
    least: tuple[Bools, Bools]
    full: tuple[Bools, Bools]


def _rows_that_fit(kinds: Kinds, found: Strategies, sizes: Ints, zeros: Ints, modes: Ints) -> Iterator[_Fitting]:
    """By micro-batch, ascending: what does not fit with a smaller one does not fit with a larger one."""
    batch = kinds[0].shared.global_batch
    smallest = min(kind.devices for kind in kinds) // (found.tp * found.pp * found.cp)
    alive = np.arange(len(found))
    for size in sizes.tolist():
        alive = alive[(smallest * _unit(found))[alive] * size < batch]
        if not len(alive):
            return
        rows = replace(found.take(alive), micro_batch=np.full(len(alive), size))
        pairs = [_fits(kind.shared, rows, zeros, modes) for kind in kinds]
        keep: Bools = np.array(np.concatenate([least.any(axis=2) for least, _ in pairs], axis=1).any(axis=1))
        alive = alive[keep]
        if len(alive):
            least, full = ([pair[which][keep] for pair in pairs] for which in (0, 1))
            yield _Fitting(rows.take(keep), alive, (least[0], least[1]), (full[0], full[1]))


def _fits(training: Training, rows: Strategies, zeros: Ints, modes: Ints) -> tuple[Bools, Bools]:
    """`least` and `full` of one kind, as of `Side`."""
    p = prepare(training, rows)
    values = zeros.tolist(), modes.tolist()
    allowed = zero_fits(rows, zeros, training.shard_group)[:, :, None]
    room = training.accelerator.memory_bytes
    least = allowed & (memory_totals(training, rows, p, *values, _unit(rows)) <= room)
    if training.host is not None and training.offload.any:
        # the host is asked to hold what full pipelines leave to it
        endless = replace(training, global_batch=int((ROUNDS * rows.pp * rows.dp * rows.micro_batch).max()))
        least &= host_memory_totals(endless, rows, p, *values) <= training.host.memory_bytes
    return least, least & (memory_totals(training, rows, p, *values, ROUNDS * rows.pp) <= room)
