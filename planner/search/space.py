"""The declared space: which values each dimension may take, and every candidate of it that the rules allow.

A candidate is one value of every dimension. Rules cut what cannot run; each says how many candidates it
cut, so that the counts of the rules and of what is left add up to the size of the space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from planner.cost.arrays import Bools, Ints
from planner.cost.scenario import Scenario
from planner.cost.strategies import STRATEGY_FIELDS, Strategies
from planner.workload.operators import ExpertLinear, Workload

SEARCH_RULES = {
    "tp-divides-heads": "tensor parallelism cuts the attention heads, key/value heads and MLP evenly",
    "pp-within-layers": "every pipeline stage has at least one layer",
    "cp-divides-sequence": "context parallelism cuts the sequence into 2 cp equal pieces",
    "all-to-all-divides-heads": "all-to-all deals every rank of tp x cp the same number of heads",
    "dp-divides-batch": "every data-parallel rank gets the same whole number of sequences",
    "etp-is-one-or-tp": "experts are cut like the other layers, over tp ranks, or not at all",
    "ep-divides-experts": "experts are dealt evenly to ep ranks, each cut over etp: of a stage's tp x cp x dp ranks",
    "sp-needs-tp": "sequence parallelism cuts the sequence over more than one tensor-parallel rank",
    "vpp-within-layers": "interleaving needs more than one stage, and a layer for every chunk",
    "zero-bubble-has-one-chunk": "the zero-bubble schedule is not interleaved",
    "micro-batch-divides": "micro-batches divide a data-parallel rank's sequences",
    "interleave-in-rounds": "interleaving runs micro-batches in whole rounds of pp",
    "zero-needs-ranks": "ZeRO shards over more than one data-parallel or context-parallel rank",
    "shard-group-divides": "the sharding group divides the data-parallel and context-parallel ranks",
    "memory": "peak memory fits",
    "host-memory": "the fullest host holds what is offloaded to it",
}
"""Names of the rules in the order in which they cut, and what each one asks for."""

_DEGREE_RULES = (
    "tp-divides-heads",
    "pp-within-layers",
    "cp-divides-sequence",
    "all-to-all-divides-heads",
    "dp-divides-batch",
)
NEUTRAL_VALUES = {
    "etp": 1,
    "ep": 1,
    "vpp": 1,
    "micro_batch": 1,
    "zero_stage": 0,
    "recompute": 0,
    "sequence_parallel": 0,
}
"""Values that rule nothing out: whatever split may run at all, may run with these."""
ETP_AS_TP = 0
"""Code of an expert-tensor-parallel degree that follows tp."""
_LAYOUTS_PER_BLOCK = 100_000
"""Layouts that are handed on at once."""
_MAX_CROSSED_ROWS = 2_000_000
"""Rows that are held in memory at once, while the dimensions are crossed."""


@dataclass(frozen=True)
class Space:
    """Allowed values by dimension; a dimension that is not named takes all values that make sense.

    `defaulted` names those of the allowed dimensions that a default fixed, not the user: they are never blamed.
    `no_interleaving`, `cp_shards_heads` and `shard_group` are what the settings of a training ask for; see
    `narrow_to_scenario`.
    """

    devices: int
    global_batch: int
    allowed: dict[str, tuple[int, ...]] = field(default_factory=dict)
    defaulted: frozenset[str] = frozenset()
    no_interleaving: bool = False
    cp_shards_heads: bool = False
    shard_group: int | None = None

    def narrow_to_scenario(self, scenario: Scenario) -> Space:
        """The space of one training: its batch, and what its settings rule out."""
        return replace(
            self,
            global_batch=scenario.global_batch,
            no_interleaving=scenario.pipeline_schedule == "zero-bubble",
            cp_shards_heads=scenario.cp_comm_type == "all-to-all",
            shard_group=scenario.shard_group,
        )

    def enumerate_values(self, workload: Workload) -> dict[str, Ints]:
        """The values of each dimension other than the four degrees whose product is the number of devices."""
        value_builders: dict[str, Callable[[], Ints]] = {
            "etp": lambda: np.array([1, ETP_AS_TP]) if workload.experts else np.array([1]),
            "ep": lambda: compute_divisors(workload.experts or 1),
            "vpp": lambda: np.arange(1, workload.layer_count + 3),
            "micro_batch": lambda: compute_divisors(self.global_batch),
            "zero_stage": lambda: np.arange(4),
            "recompute": lambda: np.arange(3),
            "sequence_parallel": lambda: np.arange(2),
        }
        return {
            name: self._filter_pinned_values(name, workload) if name in self.allowed else values()
            for name, values in value_builders.items()
        }

    def _filter_pinned_values(self, name: str, workload: Workload) -> Ints:
        """Those of the allowed values that the dimension can have at all; maybe none."""
        pinned_values: Ints = np.unique(np.array(self.allowed[name], dtype=np.int64))
        if name == "vpp":
            is_possible = pinned_values <= workload.layer_count + 2
        elif name == "etp":
            is_possible = (pinned_values == 1) | bool(workload.experts)
        else:
            dividend = {"ep": workload.experts or 1, "micro_batch": self.global_batch}.get(name)
            is_possible = (
                np.ones(len(pinned_values), dtype=bool) if dividend is None else dividend % pinned_values == 0
            )
        return pinned_values[is_possible]


@dataclass
class SearchStats:
    """How many candidates there are and how many each rule cut."""

    candidates: int = 0
    rejected_by: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SEARCH_RULES, 0))
    feasible: int = 0


def compute_divisors(number: int) -> Ints:
    """All divisors, ascending."""
    small = np.arange(1, int(np.sqrt(number)) + 1)
    small = small[number % small == 0]
    large = (number // small)[::-1]
    return np.concatenate([small, large[int(large[0] == small[-1]) :]])


def enumerate_parallel_layouts(space: Space, workload: Workload, stats: SearchStats) -> Iterator[Strategies]:
    """Every layout that the rules before memory allow, in blocks, in a fixed order; counts into `stats`.

    A layout is a candidate without its ZeRO stage and recompute mode (both 0 here): it stands for one candidate of
    each pair of these.
    """
    values = space.enumerate_values(workload)
    splits = _enumerate_splits(space)
    candidates_per_split = int(np.prod([len(v) for v in values.values()], dtype=object))
    stats.candidates += len(splits["tp"]) * candidates_per_split
    if not candidates_per_split:
        return  # a pin that no candidate can have
    splits = _apply_degree_rules(space, workload, splits, candidates_per_split, stats)
    # as many splits at a time as keep what is crossed in memory at once within bounds
    splits_per_chunk = max(
        1, _MAX_CROSSED_ROWS // max(1, candidates_per_split // (len(values["zero_stage"]) * len(values["recompute"])))
    )
    for chunk_start in range(0, len(splits["tp"]), splits_per_chunk):
        split_chunk = {name: column[chunk_start : chunk_start + splits_per_chunk] for name, column in splits.items()}
        rows = _cross_inner_dimensions(space, workload, split_chunk, values, stats)
        for start in range(0, len(rows), _LAYOUTS_PER_BLOCK):
            yield rows.take(np.arange(start, min(start + _LAYOUTS_PER_BLOCK, len(rows))))


def has_valid_split(space: Space, workload: Workload) -> bool:
    """Whether the devices can be split at all within the rules that ask for the four degrees alone."""
    return bool(len(_apply_degree_rules(space, workload, _enumerate_splits(space), 1, SearchStats())["tp"]))


def _enumerate_splits(space: Space) -> dict[str, Ints]:
    """All ordered factorisations tp x pp x cp x dp of the devices, within the allowed values."""
    device_divisors = compute_divisors(space.devices)

    def list_allowed(name: str) -> Ints:
        if name not in space.allowed:
            return device_divisors
        return np.intersect1d(device_divisors, np.array(space.allowed[name], dtype=np.int64))

    tp, pp, cp = (
        a.ravel() for a in np.meshgrid(list_allowed("tp"), list_allowed("pp"), list_allowed("cp"), indexing="ij")
    )
    # a product of three divisors can pass 2**63 only beyond 2**21 devices each; floats decide safely
    fits = tp.astype(np.float64) * pp * cp <= space.devices
    tp, pp, cp = tp[fits], pp[fits], cp[fits]
    divides = space.devices % (tp * pp * cp) == 0
    tp, pp, cp = tp[divides], pp[divides], cp[divides]
    dp = space.devices // (tp * pp * cp)
    keep = np.isin(dp, list_allowed("dp"))
    return {"tp": tp[keep], "pp": pp[keep], "cp": cp[keep], "dp": dp[keep]}


def _apply_degree_rules(
    space: Space, workload: Workload, splits: dict[str, Ints], candidates_per_split: int, stats: SearchStats
) -> dict[str, Ints]:
    """The rules that ask for the four degrees alone."""
    for rule in _DEGREE_RULES:
        if rule == "tp-divides-heads":
            keep = is_valid_tp(workload, splits["tp"])
        elif rule == "pp-within-layers":
            keep = splits["pp"] <= workload.layer_count
        elif rule == "cp-divides-sequence":
            keep = (splits["cp"] == 1) | (workload.seq_length % (2 * splits["cp"]) == 0)
        elif rule == "all-to-all-divides-heads":
            divides_heads = workload.heads % (splits["tp"] * splits["cp"]) == 0
            keep = (
                (splits["cp"] == 1) | divides_heads
                if space.cp_shards_heads
                else np.ones(len(splits["cp"]), dtype=bool)
            )
        else:
            keep = space.global_batch % splits["dp"] == 0
        stats.rejected_by[rule] += int((~keep).sum()) * candidates_per_split
        splits = {name: column[keep] for name, column in splits.items()}
    return splits


def is_valid_tp(workload: Workload, tp: Ints) -> Bools:
    """Whether tp divides heads, key/value heads (or is a multiple of them, which are then copied) and MLP."""
    widths = {
        op.outputs if op.shard == "column" else op.inputs
        for layer_type in workload.layer_types
        for op in layer_type.operators
        if isinstance(op, ExpertLinear)
    }
    widths.add(workload.ffn_size)
    fits: Bools = (workload.heads % tp == 0) & ((workload.kv_heads % tp == 0) | (tp % workload.kv_heads == 0))
    for width in widths:
        fits &= width % tp == 0
    return fits


def _cross_inner_dimensions(
    space: Space, workload: Workload, splits: dict[str, Ints], values: dict[str, Ints], stats: SearchStats
) -> Strategies:
    """The splits crossed with the other dimensions, one at a time, each followed by its rule.

    `candidates_per_row` is how many candidates one row still stands for; the order is the cheapest first.
    """
    rows = dict(splits)
    candidates_per_row = int(np.prod([len(v) for v in values.values()], dtype=object))
    for name in ("etp", "ep", "sequence_parallel", "vpp", "micro_batch"):
        rows = _cross_values(rows, name, values[name])
        if name == "etp":
            rows["etp"] = np.where(rows["etp"] == ETP_AS_TP, np.where(rows["tp"] > 1, rows["tp"], 0), rows["etp"])
        candidates_per_row //= len(values[name])
        for rule, keep in _iterate_inner_rules(space, workload, name, rows):
            stats.rejected_by[rule] += int((~keep).sum()) * candidates_per_row
            rows = {key: column[keep] for key, column in rows.items()}
    stats.rejected_by["zero-needs-ranks"] += _count_unsharded_zero(rows, values)
    zeros = np.zeros_like(rows["tp"])
    return Strategies(**{name: rows.get(name, zeros) for name in STRATEGY_FIELDS})


def _count_unsharded_zero(rows: dict[str, Ints], values: dict[str, Ints]) -> int:
    """How many candidates ask for ZeRO on a single rank."""
    single_rank_rows = int((rows["dp"] * rows["cp"] == 1).sum())
    return single_rank_rows * int((values["zero_stage"] > 0).sum()) * len(values["recompute"])


def is_valid_zero_stage(s: Strategies, zero_stages: Ints, shard_group: int | None = None) -> Bools:
    """Whether each layout can have each ZeRO stage, over so many ranks (None: all), shape [layouts, zero stages]."""
    ranks = s.dp * s.cp
    is_shardable = ranks > 1 if shard_group is None else (ranks > 1) & (ranks % shard_group == 0)
    fits: Bools = (zero_stages[None, :] == 0) | is_shardable[:, None]
    return fits


def _cross_values(rows: dict[str, Ints], name: str, values: Ints) -> dict[str, Ints]:
    count = len(rows["tp"])
    crossed = {key: np.repeat(column, len(values)) for key, column in rows.items()}
    crossed[name] = np.tile(values, count)
    return crossed


def _iterate_inner_rules(
    space: Space, workload: Workload, name: str, rows: dict[str, Ints]
) -> Iterator[tuple[str, Bools]]:
    """The rules that dimension `name` completes. Lazily: a second rule sees what the first one left."""
    if name == "etp":
        # tp of one has one way only: its other name is left out
        yield "etp-is-one-or-tp", (rows["etp"] == 1) | (rows["etp"] == rows["tp"])
    elif name == "ep":
        fits = workload.experts % rows["ep"] == 0 if workload.experts else rows["ep"] == 1
        ranks = rows["tp"] // rows["etp"] * rows["dp"] * rows["cp"]
        yield "ep-divides-experts", fits & (ranks % rows["ep"] == 0)
    elif name == "sequence_parallel":
        tokens_per_rank = workload.seq_length // rows["cp"]
        yield "sp-needs-tp", (rows[name] == 0) | ((rows["tp"] > 1) & (tokens_per_rank % rows["tp"] == 0))
    elif name == "vpp":
        chunks = rows["pp"] * rows["vpp"]
        layers = workload.layer_count
        # with embedding and head dealt like layers, one more chunk at each end
        enough = (chunks <= layers) | (chunks == layers + 2)
        fits = (rows["vpp"] == 1) | ((rows["pp"] > 1) & enough)
        yield "vpp-within-layers", fits
        if space.no_interleaving:
            yield "zero-bubble-has-one-chunk", rows["vpp"][fits] == 1
    elif name == "micro_batch":
        per_rank = space.global_batch // rows["dp"]
        divides = per_rank % rows["micro_batch"] == 0
        yield "micro-batch-divides", divides
        count = (per_rank // rows["micro_batch"])[divides]
        yield "interleave-in-rounds", (rows["vpp"][divides] == 1) | (count % rows["pp"][divides] == 0)
