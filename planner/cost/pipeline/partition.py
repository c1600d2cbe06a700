"""Which layers each pipeline stage has, and which of its chunks can decide time or memory.

The layers are dealt to pp x vpp chunks as evenly as their number allows, the longer chunks first; stage i has
chunks i, i + pp, i + 2 pp, ... (interleaved 1F1B, Narayanan et al. 2021, arXiv 2104.04473, section 2.2). Where only
layers + 2 can be dealt evenly, embedding and head count as a layer each (Llama 3, arXiv 2407.21783, section 3.3.2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.cost.arrays import (
    Array,
    Floats,
    Ints,
    gathered,
    largest,
    weighted,
)
from planner.cost.strategies import Strategies
from planner.cost.unique_rows import distinct
from planner.workload.operators import Workload


@dataclass(frozen=True)
class Stages:
    """Stages and chunks of each distinct (pp, vpp), padded to the same number of them.

    Counts are layers of each kind (embedding and head as the last two kinds). `counts`: distinct stages, shape
    [splits, stages, kinds]; `index`: the first pipeline position of such a stage, shape [splits, stages]: of equal
    stages the earliest keeps the most micro-batches, so it stands for the others. `chunks`: distinct chunks that run
    at the same time (the v-th of every stage), for each distinct such turn, shape [splits, turns, chunks, kinds];
    `turns`: how many such turns there are, shape [splits, turns]. Padding repeats the first entry (0 turns); `sizes`:
    distinct turns and the most distinct chunks in one, without padding, shape [splits, 2].
    `first`: layers of each kind in the first turn of all stages together, shape [splits, kinds]. `lengths`: for each
    split whose stages have chunks of different length, their layers, shape [vpp, stages].
    """

    counts: Floats
    index: Ints
    chunks: Floats
    turns: Floats
    sizes: Ints
    first: Floats
    lengths: tuple[Floats | None, ...]

    def slowest_path(self, split: Ints, per_layer: Floats) -> Floats:
        """Seconds of one micro-batch where in each turn all stages wait for the slowest chunk, shape [plans].

        `per_layer`: seconds of one layer of each kind, shape [plans, kinds].
        """
        seconds = np.empty(len(split))
        sizes = self.sizes[split]
        # padding is left out: most splits have a few turns of a few different chunks
        for turns, chunks in np.unique(self.sizes, axis=0).tolist():
            these = np.flatnonzero((sizes[:, 0] == turns) & (sizes[:, 1] == chunks))
            rows = split[these]
            times = weighted(gathered(self.chunks[:, :turns, :chunks], rows), per_layer[these, None, None, :])
            seconds[these] = weighted(gathered(self.turns[:, :turns], rows), largest(times))
        return seconds

    def filling(self, split: Ints, per_layer: Floats) -> Floats:
        """Seconds of one micro-batch in the first chunks of all stages but the slowest, shape [plans]."""
        first = weighted(gathered(self.chunks[:, 0], split), per_layer[:, None, :])
        others = weighted(gathered(self.first, split), per_layer) - largest(first)
        return np.maximum(others, 0.0)

    def slowest_layers(self, split: Ints, per_layer: Floats) -> Floats:
        """Layers of each kind on that path, shape [plans, kinds]."""
        chunks = gathered(self.chunks, split)
        times = weighted(chunks, per_layer[:, None, None, :])
        chosen = np.take_along_axis(chunks, np.argmax(times, axis=2)[:, :, None, None], axis=2)[:, :, 0]
        return weighted(gathered(self.turns, split)[:, None, :], np.moveaxis(chosen, 1, 2))


def stage_tables(workload: Workload, strategies: Strategies) -> tuple[Stages, Ints]:
    """The stages, and for each plan its row in them."""
    splits = distinct(strategies.pp, strategies.vpp)
    pairs = zip(strategies.pp[splits.first], strategies.vpp[splits.first], strict=True)
    prefix = layer_prefix(workload)
    dealt = [dealt_chunks(prefix, int(pp), int(vpp)) for pp, vpp in pairs]
    stages = [_distinct_rows(chunks.sum(axis=0)) for chunks in dealt]
    turns = [_turns(chunks) for chunks in dealt]
    index = _padded([first for _, first in stages])
    return Stages(
        counts=_padded([counts for counts, _ in stages]),
        index=index,
        chunks=_padded_turns([found for found, _ in turns]),
        turns=_padded([repeats for _, repeats in turns], repeat=False),
        sizes=np.array([(len(found), max(map(len, found))) for found, _ in turns]),
        first=np.stack([chunks[0].sum(axis=0) for chunks in dealt]),
        lengths=_lengths(dealt, index),
    ), splits.of


def every_stage(workload: Workload, strategies: Strategies) -> tuple[Stages, Ints]:
    """The stages of a single plan as `stage_tables` gives them, but each one told, equal ones too."""
    stages, split = stage_tables(workload, strategies)
    pp, vpp = int(strategies.pp[0]), int(strategies.vpp[0])
    dealt = dealt_chunks(layer_prefix(workload), pp, vpp)
    index = np.arange(pp)[None]
    return replace(stages, counts=dealt.sum(axis=0)[None], index=index, lengths=_lengths([dealt], index)), split


def _lengths(dealt: list[Floats], index: Ints) -> tuple[Floats | None, ...]:
    """Layers of every chunk of the distinct stages, shape [vpp, stages], of each split that is not dealt evenly."""
    layers = [chunks[:, at, :-2].sum(axis=2) for chunks, at in zip(dealt, index, strict=True)]
    return tuple(None if (one == one[0]).all() else one for one in layers)


def _padded(tables: list[Array], *, repeat: bool = True) -> Array:
    """All tables as one, each made as long as the longest by its first row, or by zeros."""
    longest = max(map(len, tables))
    whole = np.zeros((len(tables), longest, *tables[0].shape[1:]), dtype=tables[0].dtype)
    for padded, table in zip(whole, tables, strict=True):
        if repeat:
            padded[:] = table[0]
        padded[: len(table)] = table
    return whole


def _padded_turns(found: list[list[Floats]]) -> Floats:
    """The chunks of every split's turns as one table, shape [splits, turns, chunks, kinds]."""
    chunks = _padded([chunks for turns in found for chunks in turns])
    ends = np.cumsum([len(turns) for turns in found])
    return _padded(np.split(chunks, ends[:-1]))


def layer_prefix(workload: Workload) -> Ints:
    """Layers of each kind among the first i layers: shape [layers + 1, kinds]."""
    kinds = {kind: i for i, kind in enumerate(workload.kinds)}
    column = np.concatenate([np.full(run.count, kinds[run.layer]) for run in workload.runs])
    one_hot = np.zeros((len(column) + 1, len(kinds)), dtype=np.int64)
    one_hot[np.arange(len(column)) + 1, column] = 1
    return np.cumsum(one_hot, axis=0)


def dealt_chunks(prefix: Ints, pp: int, vpp: int) -> Floats:
    """Layers of each kind, embedding and head, in every chunk: shape [vpp, pp, kinds + 2]."""
    bounds = _bounds(len(prefix) - 1, pp * vpp)
    per_chunk = np.zeros((len(bounds) - 1, prefix.shape[1] + 2))
    per_chunk[:, :-2] = prefix[bounds[1:]] - prefix[bounds[:-1]]
    per_chunk[0, -2] = per_chunk[-1, -1] = 1
    return per_chunk.reshape(vpp, pp, -1)


def _bounds(layers: int, chunks: int) -> Ints:
    """The layers at which chunks begin, and where the last one ends: shape [chunks + 1]."""
    ends_count = chunks > 1 and layers % chunks > 0 and (layers + 2) % chunks == 0
    base, longer = divmod(layers + 2 if ends_count else layers, chunks)
    chunk = np.arange(chunks + 1)
    bounds = chunk * base + np.minimum(chunk, longer)
    return np.clip(bounds - 1, 0, layers) if ends_count else bounds


def handed_on(workload: Workload, strategies: Strategies) -> Floats:
    """Values per token that a chunk hands to the next, where it is most, shape [plans].

    The slowest hop sets the pace; chunks of a transformer all hand on the hidden state.
    """
    given = [run.layer.inputs or workload.hidden_size for run in workload.runs]
    if set(given) == {workload.hidden_size}:
        return np.full(len(strategies), float(workload.hidden_size))
    splits = distinct(strategies.pp * strategies.vpp)
    ends = [run.count for run in workload.runs]
    widths = np.array([*np.repeat(given, ends), workload.head.inputs or workload.hidden_size], dtype=np.float64)
    chunks = (strategies.pp * strategies.vpp)[splits.first]
    # the last bound is the head's, which is on the last chunk
    widest = [widths[_bounds(sum(ends), count)[1:-1]].max(initial=0.0) for count in chunks.tolist()]
    return np.array(widest)[splits.of]


def _distinct_rows(rows: Floats) -> tuple[Floats, Ints]:
    """The distinct rows, and each one's first position, in order of that."""
    if len(rows) == 1:
        return rows, np.zeros(1, dtype=np.int64)
    # neighbours repeat: compare with the one before, then only the few that differ with each other
    changes = (rows[1:] != rows[:-1]).any(axis=1).nonzero()[0] + 1
    first: dict[bytes, int] = {rows[0].tobytes(): 0}
    for i in changes.tolist():
        first.setdefault(rows[i].tobytes(), i)
    index = np.array(list(first.values()))
    return rows[index], index


def _turns(chunks: Floats) -> tuple[list[Floats], Floats]:
    """Distinct turns as their distinct chunks, and how often each comes: from [vpp, pp, kinds]."""
    whole = chunks.reshape(len(chunks), -1)
    flat, index = _distinct_rows(whole)
    repeats = [float((whole == one).all(axis=1).sum()) for one in flat]
    return [_distinct_rows(chunks[i])[0] for i in index.tolist()], np.array(repeats)


ROUNDS = 3
"""Rounds of pp micro-batches after which a stage has been at its fullest: the warm-up takes less than (vpp + 1) pp
chunks, and what follows repeats every pp vpp."""


def in_flight(stages: Stages, split: Ints, pp: Ints, vpp: Ints, micro_batches: Ints) -> Floats:
    """Micro-batches whose activations a stage holds at its fullest, in whole passes through the stage.

    1F1B: pp - i on stage i. Interleaved: 2 (pp - i - 1) + (vpp - 1) pp + 1 chunks, of 1/vpp stage each where they
    are equal (arXiv 2205.05198, section 4.2.3), else by their lengths. Never more than there are. `split`, `pp`,
    `vpp` and `micro_batches` have shape [plans]; result [plans, stages].
    """
    index = stages.index[split]
    plain = np.minimum(micro_batches[:, None], (pp - index.T).T)
    chunks = np.minimum((micro_batches * vpp)[:, None], (2 * (pp - index.T - 1) + (vpp - 1) * pp + 1).T)
    held: Floats = np.where(vpp[:, None] == 1, plain, chunks / vpp[:, None])
    for row, at in enumerate(split.tolist()):
        lengths = stages.lengths[at]
        if lengths is not None:
            held[row] = _fullest(lengths, int(pp[row]), int(micro_batches[row]), chunks[row])
    return held


def _fullest(lengths: Floats, pp: int, micro_batches: int, warm_up: Ints) -> Floats:
    """Whole passes that stages hold at their fullest, by running through the interleaved schedule; shape [stages].

    `lengths`: layers of each chunk, shape [vpp, stages]. Each chunk runs for pp micro-batches, then the next one; the
    backward passes take them from the last to the first. After the warm-up a chunk is dropped for each that is begun.
    """
    vpp = len(lengths)
    turn = np.arange(micro_batches * vpp) // pp % vpp
    begun = np.cumsum(lengths[turn], axis=0)
    dropped = np.cumsum(np.concatenate([np.zeros((1, lengths.shape[1])), lengths[vpp - 1 - turn]]), axis=0)
    step = np.arange(len(turn))
    fullest = [
        (begun[:, i] - dropped[np.maximum(step + 1 - int(warm_up[i]), 0), i]).max() for i in range(lengths.shape[1])
    ]
    passes: Floats = np.array(fullest) / np.maximum(lengths.sum(axis=0), 1)
    return passes
