"""Pipelines across two kinds: which stages are on which kind, and how many layers each stage has.

The declared space: tp, cp, dp, ep, etp, micro-batch, sequence parallelism and ZeRO stage are the same for all
stages; tp cp dp divides both kinds' devices, and each kind has as many stages as its devices make, the first ones or
the last ones; vpp is 1; each kind has its own recompute mode; ZeRO 0 and 1 unless it is pinned, as 2 and 3 exchange
after every micro-batch. Every stage has at least one layer. For every number of layers that the first kind may have,
they are dealt so that the slowest stage is fastest, exactly; of these the plan with the shortest step is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from planner.cost.arrays import Floats, Ints, added, weighted
from planner.cost.heterogeneous import Half, Kinds, half, pipeline_terms
from planner.cost.layer_tables import layer_tables
from planner.cost.memory import memory_of
from planner.cost.pipeline.partition import dealt_chunks, layer_prefix
from planner.cost.scenario import Training
from planner.cost.step import layer_terms, micro_batches, pipeline_sends
from planner.cost.strategies import Strategies, join
from planner.search.heterogeneous.bounds import Load, memory_load, slowest_bound
from planner.search.heterogeneous.layer_partition import (
    Contents,
    backward_split,
    contents_of,
    forward_split,
    stage_fits,
)
from planner.search.space import Space, Tally, divisors, layouts, zero_fits

_BLOCK = 4096
"""Plans that are bounded by memory at once."""
_CHUNK, _EVEN_CHUNK = 48, 512
"""Plans whose layers are dealt at once, in order of their bound."""
_AT_ONCE = 128
"""Splits that are scored at once."""
_NEAR = 1e-9


@dataclass(frozen=True)
class Staged:
    """The best plan found: both kinds' plans (of length one; `pp` counts all stages), how many stages each kind has,
    which has the first ones, and the layers at which the pipeline is cut.
    """

    plans: tuple[Strategies, Strategies]
    stages: tuple[int, int]
    first: int
    bounds: tuple[int, ...]
    step_time_s: float


@dataclass(frozen=True)
class _Rows:
    """Plans before their layers are dealt: both kinds' strategies differ in the recompute mode only. `stages` of each
    kind, `first` the kind in front; all rows alike. `seconds`: of one layer of each kind, [kinds, rows, layer kinds].
    """

    plans: tuple[Strategies, Strategies]
    stages: tuple[int, int]
    first: int
    seconds: tuple[Floats, Floats]
    bound: Floats

    def bounded(self, bound: Floats) -> _Rows:
        """The same with another bound."""
        return replace(self, bound=bound)

    def take(self, index: Ints) -> _Rows:
        """The rows at `index`."""
        return _Rows(
            (self.plans[0].take(index), self.plans[1].take(index)),
            self.stages,
            self.first,
            (self.seconds[0][index], self.seconds[1][index]),
            self.bound[index],
        )


def best_stages(kinds: Kinds, space: Space, *, even: bool = False) -> Staged | None:
    """The best plan of the declared space; None where none fits. `even`: layers are dealt as if all devices were
    alike, with the same recompute mode.
    """
    best: Staged | None = None
    contents = contents_of(layer_prefix(kinds[0].shared.workload))
    tighten, deal, size = (_even_bound, _even, _EVEN_CHUNK) if even else (_tight_bound, _balanced, _CHUNK)

    def limit() -> float:
        return np.inf if best is None else best.step_time_s * (1 + _NEAR)

    for rows in sorted(_groups(kinds, space, even), key=lambda rows: float(rows.bound.min())):
        for some in _in_order(rows, rows.bound, _BLOCK, limit):
            near = some.bounded(tighten(kinds, some, contents))
            for chunk in _in_order(near, near.bound, size, limit):
                found = deal(kinds, chunk, contents, limit())
                if found is not None and (best is None or found.step_time_s < best.step_time_s):
                    best = found
    return best


def _in_order(rows: _Rows, bound: Floats, size: int, limit: Callable[[], float]) -> Iterator[_Rows]:
    """The rows by their bound, `size` at once, as long as they are within the limit, which may fall."""
    order = np.argsort(bound, kind="stable")
    order = order[np.isfinite(bound[order])]
    for start in range(0, len(order), size):
        chunk = order[start : start + size]
        chunk = chunk[bound[chunk] <= limit()]
        if not len(chunk):
            return
        yield rows.take(chunk)


def _groups(kinds: Kinds, space: Space, even: bool) -> Iterator[_Rows]:
    """All plans before their layers are dealt, by the width of a stage and the kind in front."""
    training = kinds[0].shared
    workload, devices = training.workload, (kinds[0].devices, kinds[1].devices)
    modes = space.values(workload)["recompute"]
    zeros = space.values(workload)["zero_stage"] if "zero_stage" in space.allowed else np.arange(2)
    if 1 not in space.allowed.get("vpp", (1,)):
        return
    for width in divisors(int(np.gcd(*devices))).tolist():
        stages = devices[0] // width, devices[1] // width
        total = sum(stages)
        if total > workload.layer_count or total not in space.allowed.get("pp", (total,)):
            continue
        inner = replace(space, devices=width, allowed={**space.allowed, "pp": (1,), "vpp": (1,)})
        blocks = list(layouts(inner, workload, Tally()))
        if not blocks:
            continue
        found = replace(join(blocks), pp=np.full(sum(map(len, blocks)), total))
        at, zero, mode, other = (
            column.ravel()
            for column in np.meshgrid(np.arange(len(found)), np.arange(len(zeros)), modes, modes, indexing="ij")
        )
        keep = zero_fits(found, zeros, training.shard_group)[at, zero] & ((mode == other) | (not even))
        at, zero, mode, other = at[keep], zeros[zero[keep]], mode[keep], other[keep]
        if not len(at):
            continue
        plans = tuple(replace(found.take(at), zero_stage=zero, recompute=each) for each in (mode, other))
        seconds = tuple(
            _layer_seconds(kind.shared, found, at, each) for kind, each in zip(kinds, (mode, other), strict=True)
        )
        for first in (0, 1):
            pair, times = (plans[0], plans[1]), (seconds[0], seconds[1])
            yield _Rows(pair, stages, first, times, _bound(kinds, pair, stages, times))


def _layer_seconds(training: Training, found: Strategies, at: Ints, mode: Ints) -> Floats:
    """Seconds of one micro-batch in one layer of each kind, [rows, layer kinds]."""
    tables, row = layer_tables(training, found)
    rows = replace(found.take(at), recompute=mode)
    return added(layer_terms(training, rows, tables, row[at]).values())


def _bound(
    kinds: Kinds, plans: tuple[Strategies, Strategies], stages: tuple[int, int], seconds: tuple[Floats, Floats]
) -> Floats:
    """A lower bound of the step, shape [rows].

    The slowest stage takes T at least where layers could be cut at will: kind k has p_k T seconds for its layers.
    With y_k >= 0 and sum y_k p_k = 1, T = sum_k y_k p_k T >= sum over layers of min_k y_k tau_k. y_k goes as one over
    the kind's mean layer, which is exact where all layers are alike.
    """
    workload = kinds[0].shared.workload
    count = layer_prefix(workload)[-1]
    body = [table[:, :-2] for table in seconds]
    mean = [(table * count).sum(axis=1) / count.sum() for table in body]
    scale = sum(p / m for p, m in zip(stages, mean, strict=True))
    least = np.minimum(*(table / m[:, None] for table, m in zip(body, mean, strict=True)))
    slowest = (least * count).sum(axis=1) / scale
    n = micro_batches(kinds[0].shared, plans[0])
    sends = np.maximum(*(pipeline_sends(kind.shared, s, n)[0] for kind, s in zip(kinds, plans, strict=True)))
    bound: Floats = (n * slowest + sends) * (1 - _NEAR)
    return bound


def _tight_bound(kinds: Kinds, rows: _Rows, contents: Contents) -> Floats:
    """A bound of the step that knows what each device holds, infinite where it holds too little; shape [rows]."""
    n = micro_batches(kinds[0].shared, rows.plans[0])
    loads = [
        Load(seconds, *memory_load(kind.shared, s))
        for kind, s, seconds in zip(kinds, rows.plans, rows.seconds, strict=True)
    ]
    room = kinds[0].shared.accelerator.memory_bytes, kinds[1].shared.accelerator.memory_bytes
    workload = kinds[0].shared.workload
    slowest = slowest_bound(workload, (loads[0], loads[1]), room, rows.stages, rows.first, n)
    return _with_filling(kinds, rows, contents, slowest, n)


def _even_bound(kinds: Kinds, rows: _Rows, contents: Contents) -> Floats:
    """The same of layers that are dealt evenly, whether they fit or not."""
    dealt = dealt_chunks(contents.prefix.astype(np.int64), sum(rows.stages), 1)[0]
    at = rows.stages[rows.first]
    front, back = rows.seconds[rows.first][:, None], rows.seconds[1 - rows.first][:, None]
    ahead, behind = weighted(front, dealt[:at]), weighted(back, dealt[at:])
    slowest = np.maximum(ahead.max(axis=1), behind.max(axis=1))
    return _with_filling(kinds, rows, contents, slowest, micro_batches(kinds[0].shared, rows.plans[0]))


def _with_filling(kinds: Kinds, rows: _Rows, contents: Contents, slowest: Floats, n: Ints) -> Floats:
    """The step's bound with this slowest stage, the least of all numbers of layers in front, [rows]."""
    some = np.where(np.isfinite(slowest), slowest, 0.0)[:, None]
    least = _filling(kinds, rows, contents, np.broadcast_to(some, (len(some), len(contents.prefix)))).min(axis=1)
    bound: Floats = (n * slowest + least) * (1 - _NEAR)
    return bound


def _balanced(kinds: Kinds, rows: _Rows, contents: Contents, limit: float) -> Staged | None:
    """The best split of some plans that may take at most `limit` seconds."""
    n = micro_batches(kinds[0].shared, rows.plans[0])
    costs = _stage_costs(kinds, rows, contents, n)
    at = rows.stages[rows.first]
    ahead, ahead_way = forward_split(costs[:at])
    behind, behind_way = backward_split(costs[at:])
    slowest = np.maximum(ahead, behind)
    lower = n[:, None] * slowest + np.where(np.isfinite(slowest), _filling(kinds, rows, contents, slowest), 0.0)
    row, split = np.nonzero(np.isfinite(lower) & (lower <= limit * (1 + _NEAR)))
    order = np.argsort(lower[row, split], kind="stable")
    row, split = row[order], split[order]
    best: Staged | None = None
    for start in range(0, len(row), _AT_ONCE):
        some, cut = row[start : start + _AT_ONCE], split[start : start + _AT_ONCE]
        if lower[some[0], cut[0]] > limit * (1 + _NEAR):
            break
        bounds = np.concatenate([ahead_way(some, cut), cut[:, None], behind_way(some, cut)], axis=1)
        found = _fastest(kinds, rows.take(some), bounds)
        if found.step_time_s < limit:
            best, limit = found, found.step_time_s
    return best


def _filling(kinds: Kinds, rows: _Rows, contents: Contents, slowest: Floats) -> Floats:
    """At least the time to fill and drain and to send for each number of layers in front, [rows, layers + 1]."""
    training = kinds[0].shared
    plans, n = rows.plans, micro_batches(training, rows.plans[0])
    sends = np.maximum(*(pipeline_sends(kind.shared, s, n)[0] for kind, s in zip(kinds, plans, strict=True)))
    if training.schedule == "zero-bubble":
        return np.broadcast_to(sends[:, None], slowest.shape)
    front, back = rows.seconds[rows.first][:, None], rows.seconds[1 - rows.first][:, None]
    ahead = weighted(front[..., :-2], contents.prefix) + front[..., -2]
    behind = weighted(back[..., :-2], contents.prefix[-1] - contents.prefix) + back[..., -1]
    filling: Floats = np.maximum((ahead + behind) * (1 - _NEAR) - slowest, 0.0) + sends[:, None]
    return filling


def _stage_costs(kinds: Kinds, rows: _Rows, contents: Contents, n: Ints) -> list[Floats]:
    """Of every stage, seconds of one micro-batch with the layers from one to another, infinite where it does not fit:
    shape [rows, layers + 1, layers + 1] each.
    """
    front, total = rows.first, sum(rows.stages)
    tables = [layer_tables(kind.shared, s) for kind, s in zip(kinds, rows.plans, strict=True)]
    costs = []
    for position in range(total):
        k = front if position < rows.stages[front] else 1 - front
        ends = np.array([float(position == 0), float(position == total - 1)])
        each = rows.seconds[k][:, None]
        seconds = weighted(each[..., :-2], contents.counts) + weighted(each[..., -2:], ends)
        fits = stage_fits(kinds[k].shared, rows.plans[k], contents, ends, position, n, tables[k])
        costs.append(contents.spread(np.where(fits, seconds, np.inf)))
    return costs


def _even(kinds: Kinds, rows: _Rows, contents: Contents, limit: float) -> Staged | None:
    """The best of some plans with layers dealt evenly."""
    dealt = dealt_chunks(contents.prefix.astype(np.int64), sum(rows.stages), 1)[0]
    bounds = np.concatenate([[0], np.cumsum(dealt[:, :-2].sum(axis=1))]).astype(np.int64)[1:-1]
    n = micro_batches(kinds[0].shared, rows.plans[0])
    every = np.tile(bounds, (len(rows.bound), 1))
    fits = np.ones(len(every), dtype=bool)
    for part in halves_of(kinds, rows.plans, rows.stages, rows.first, every):
        held = added(memory_of(part.training, part.s, part.p, n).values())
        fits &= held <= part.training.accelerator.memory_bytes
    if not fits.any():
        return None
    return _fastest(kinds, rows.take(np.flatnonzero(fits)), every[fits])


def _fastest(kinds: Kinds, rows: _Rows, bounds: Ints) -> Staged:
    """The fastest of some plans whose layers are dealt, by their full scores."""
    n = micro_batches(kinds[0].shared, rows.plans[0])
    joined = pipeline_terms(halves_of(kinds, rows.plans, rows.stages, rows.first, bounds), n)
    step = added(joined.terms.values())
    at = int(np.argmin(step))
    one = rows.take(np.array([at]))
    return Staged(one.plans, rows.stages, rows.first, tuple(bounds[at].tolist()), float(step[at]))


def halves_of(
    kinds: Kinds, plans: tuple[Strategies, Strategies], stages: tuple[int, int], first: int, bounds: Ints
) -> tuple[Half, Half]:
    """Both kinds' halves of pipelines that are cut at `bounds`, shape [plans, stages - 1]."""
    prefix = layer_prefix(kinds[0].shared.workload)
    total = sum(stages)
    edges = np.concatenate([np.zeros((len(bounds), 1), dtype=np.int64), bounds], axis=1)
    edges = np.concatenate([edges, np.full((len(bounds), 1), len(prefix) - 1)], axis=1)
    counts = np.zeros((len(bounds), total, prefix.shape[1] + 2))
    counts[:, :, :-2] = prefix[edges[:, 1:]] - prefix[edges[:, :-1]]
    counts[:, 0, -2] = counts[:, -1, -1] = 1
    place = np.tile(np.arange(total), (len(bounds), 1))
    spans = {first: slice(0, stages[first]), 1 - first: slice(stages[first], total)}
    one, two = (half(kinds[k].shared, plans[k], counts[:, spans[k]], place[:, spans[k]]) for k in (0, 1))
    return one, two
