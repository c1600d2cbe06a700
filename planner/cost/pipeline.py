"""Which layers each pipeline stage has, and which stages can decide time or memory.

The layers are dealt to pp x vpp chunks as evenly as their number allows, the longer chunks first (the last
one also has the head); stage i has chunks i, i + pp, i + 2 pp, ... (interleaved 1F1B, Narayanan et al. 2021,
arXiv 2104.04473, section 2.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.cost.distinct import distinct
from planner.cost.strategies import Strategies
from planner.workload.operators import Workload

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Stages:
    """Distinct stages of each distinct (pp, vpp), padded to the same number of them.

    `counts`: layers of each kind (embedding and head as the last two kinds), shape [splits, stages, kinds];
    `index`: the first pipeline position of such a stage, shape [splits, stages]: of equal stages the
    earliest keeps the most micro-batches, so it stands for the others. Padding repeats the first stage.
    `whole`: layers of each kind in the whole model, shape [kinds].
    """

    counts: Floats
    index: Ints
    whole: Floats


def stage_tables(workload: Workload, strategies: Strategies) -> tuple[Stages, Ints]:
    """The stages, and for each plan its row in them."""
    splits = distinct(strategies.pp, strategies.vpp)
    pairs = zip(strategies.pp[splits.first], strategies.vpp[splits.first], strict=True)
    prefix = _prefix(workload)
    found = [_stages(prefix, int(pp), int(vpp)) for pp, vpp in pairs]
    most = max(len(index) for _, index in found)
    counts = np.stack([counts[_padded(len(index), most)] for counts, index in found])
    index = np.stack([index[_padded(len(index), most)] for _, index in found])
    whole = np.concatenate([prefix[-1], [1, 1]]).astype(np.float64)
    return Stages(counts, index, whole), splits.of


def _padded(length: int, most: int) -> Ints:
    return np.concatenate([np.arange(length), np.zeros(most - length, dtype=np.int64)])


def _prefix(workload: Workload) -> Ints:
    """Layers of each kind among the first i layers: shape [layers + 1, kinds]."""
    kinds = {kind: i for i, kind in enumerate(workload.kinds)}
    column = np.concatenate([np.full(run.count, kinds[run.layer]) for run in workload.runs])
    one_hot = np.zeros((len(column) + 1, len(kinds)), dtype=np.int64)
    one_hot[np.arange(len(column)) + 1, column] = 1
    return np.cumsum(one_hot, axis=0)


def _stages(prefix: Ints, pp: int, vpp: int) -> tuple[Floats, Ints]:
    """Distinct stages of one split: counts [stages, kinds + 2], first index [stages]."""
    layers = len(prefix) - 1
    base, longer = divmod(layers, pp * vpp)
    chunk = np.arange(pp * vpp + 1)
    bounds = chunk * base + np.minimum(chunk, longer)
    per_chunk = prefix[bounds[1:]] - prefix[bounds[:-1]]
    per_stage = per_chunk.reshape(vpp, pp, -1).sum(axis=0)
    ends = np.zeros((pp, 2), dtype=np.int64)
    ends[0, 0] = ends[-1, 1] = 1
    full = np.concatenate([per_stage, ends], axis=1)
    # neighbours repeat: compare with the one before, then only the few that differ with each other
    changes = np.concatenate([[0], np.flatnonzero(np.any(full[1:] != full[:-1], axis=1)) + 1])
    first: dict[bytes, int] = {}
    for i in changes:
        first.setdefault(full[i].tobytes(), int(i))
    index = np.array(list(first.values()))
    return full[index].astype(np.float64), index


def in_flight(pp: Ints, vpp: Ints, micro_batches: Ints, index: Ints) -> Floats:
    """Micro-batches whose activations a stage holds at its fullest, in whole passes through the stage.

    1F1B: pp - index. Interleaved: 2 (pp - index - 1) + (vpp - 1) pp + 1 chunks of 1/vpp stage each. Never
    more than there are. `index` has shape [plans, stages], the others [plans]; result [plans, stages].
    """
    pp, vpp, n = pp[:, None], vpp[:, None], micro_batches[:, None]
    plain = np.minimum(n, pp - index)
    chunks = np.minimum(n * vpp, 2 * (pp - index - 1) + (vpp - 1) * pp + 1)
    held: Floats = np.where(vpp == 1, plain, chunks / vpp)
    return held
