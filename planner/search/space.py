"""The search space: the values of each dimension, and the enumeration of all candidates that the rules allow.

A candidate has one value for every dimension. Rules reject candidates that cannot run. Each rule counts the
candidates that it rejects, so that these counts and the remaining candidates add up to the size of the space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from planner.cost.arrays import Bools, Ints, find_distinct_values, find_unique_rows
from planner.cost.scenario import Scenario
from planner.cost.schedules.catalog import FOLDED_SCHEDULES, SINGLE_CHUNK_SCHEDULES, V_SCHEDULES, is_folded
from planner.cost.settings import PipelineSchedule
from planner.cost.strategies import STRATEGY_FIELDS, Strategies
from planner.trainers.pipeline_layout import AUTO_LAYOUT, parse_layout
from planner.workload.operators import ExpertLinear, Workload

SEARCH_RULES = {
    "tp-divides-heads": "tensor parallelism divides attention heads, key/value heads and MLP evenly",
    "pp-within-layers": "every pipeline stage has at least one layer",
    "cp-divides-sequence": "context parallelism divides the sequence into 2 cp equal parts",
    "all-to-all-divides-heads": "all-to-all context parallelism needs equally many heads on all tp x cp ranks",
    "dp-divides-batch": "every data-parallel rank gets the same whole number of sequences",
    "etp-is-one-or-tp": "experts are sharded over tp ranks, like the other layers, or not at all",
    "ep-divides-experts": "ep divides the experts, and ep x etp divides the tp x cp x dp ranks of a stage",
    "sp-needs-tp": "sequence parallelism needs tp > 1, and tp divides the sequence",
    "vpp-within-layers": "interleaving needs more than one stage, and at least one layer per virtual stage",
    "zero-bubble-has-one-chunk": "the schedules zero-bubble, gpipe and dualpipe are not interleaved",
    "schedule-folds-stages": "the schedules zb-v and dualpipe-v need vpp 2, dualpipe an even number of stages",
    "layout-has-chunks": "the layout partitions the layers into pp x vpp chunks",
    "micro-batch-divides": "the micro-batch divides the sequences of a data-parallel rank",
    "interleave-in-rounds": "interleaving needs a multiple of pp micro-batches",
    "schedule-needs-micro-batches": "the schedules zb-v, dualpipe and dualpipe-v need 2 pp micro-batches or more, "
    "dualpipe an even number",
    "zero-needs-ranks": "ZeRO shards over more than one data-parallel or context-parallel rank",
    "shard-group-divides": "the shard group divides the dp x cp ranks",
    "trainer": "the trainer runs such plans: `planner trainers show`",
    "memory": "peak memory fits",
    "host-memory": "the memory of the hosts is large enough for what is offloaded to them",
}
"""Rules in the order in which they are applied: name and meaning."""

NEUTRAL_VALUES = {
    "etp": 1,
    "ep": 1,
    "vpp": 1,
    "micro_batch": 1,
    "zero_stage": 0,
    "recompute": 0,
    "sequence_parallel": 0,
}
"""Values that no rule rejects: degrees that are valid with any values are valid with these."""
ETP_AS_TP = 0
"""Code of an expert-tensor-parallel degree that equals tp."""
_LAYOUTS_PER_BLOCK = 100_000
"""Layouts per block that the enumeration yields."""
_MAX_CROSSED_ROWS = 2_000_000
"""Rows in memory at the same time while the product of the dimensions is built."""


@dataclass(frozen=True)
class Space:
    """Allowed values by dimension; a dimension without an entry takes all values that make sense.

    `defaulted`: allowed dimensions that were fixed by a default and not by the user; messages do not name them.
    `schedule`, `layout`, `cp_shards_heads` and `shard_group` follow from the settings of a scenario; see
    `narrow_to_scenario`.
    """

    devices: int
    global_batch: int
    allowed: dict[str, tuple[int, ...]] = field(default_factory=dict)
    defaulted: frozenset[str] = frozenset()
    schedule: PipelineSchedule = "1f1b"
    layout: str = AUTO_LAYOUT
    cp_shards_heads: bool = False
    shard_group: int | None = None

    def narrow_to_scenario(self, scenario: Scenario) -> Space:
        """The space of one scenario: its batch, and the restrictions of its settings."""
        return replace(
            self,
            global_batch=scenario.global_batch,
            schedule=scenario.pipeline_schedule,
            layout=scenario.layout,
            cp_shards_heads=scenario.cp_comm_type == "all-to-all",
            shard_group=scenario.shard_group,
        )

    def enumerate_values(self, workload: Workload) -> dict[str, Ints]:
        """The values of each dimension except tp, pp, cp and dp, whose product is the number of devices."""
        value_builders: dict[str, Callable[[], Ints]] = {
            "etp": lambda: np.array([1, ETP_AS_TP]) if workload.experts else np.array([1]),
            "ep": lambda: compute_divisors(workload.experts or 1),
            "vpp": lambda: np.arange(1, self._count_most_chunks(workload) + 1),
            "micro_batch": lambda: compute_divisors(self.global_batch),
            "zero_stage": lambda: np.arange(4),
            "recompute": lambda: np.arange(3),
            "sequence_parallel": lambda: np.arange(2),
        }
        return {
            name: self._filter_pinned_values(name, workload) if name in self.allowed else values()
            for name, values in value_builders.items()
        }

    def _count_most_chunks(self, workload: Workload) -> int:
        """Chunks of a pipeline of so many layers: with embedding and head two more, in a layout of one's own more."""
        return max(workload.layer_count + 2, len(parse_layout(self.layout).chunk_layers))

    def _filter_pinned_values(self, name: str, workload: Workload) -> Ints:
        """The allowed values that the dimension can have for this workload; may be empty."""
        pinned_values = find_distinct_values(np.array(self.allowed[name], dtype=np.int64))
        if name == "vpp":
            is_possible = pinned_values <= self._count_most_chunks(workload)
        elif name == "etp":
            is_possible = (pinned_values == 1) | bool(workload.experts)
        else:
            dividend = {"ep": workload.experts or 1, "micro_batch": self.global_batch}.get(name)
            is_possible = np.full(len(pinned_values), True) if dividend is None else dividend % pinned_values == 0
        return pinned_values[is_possible]


LayoutRows = dict[str, Ints]
"""Layouts, complete or not: by dimension an array of shape [rows]."""
LayoutRule = Callable[[Space, Workload, LayoutRows], Bools]
"""Whether a rule allows each row, shape [rows]."""


@dataclass
class SearchStats:
    """Number of candidates, of candidates that each rule rejected, and of feasible candidates."""

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
    """All layouts that the rules before memory allow, in blocks, in a fixed order; updates `stats`.

    A layout is a candidate without its ZeRO stage and recompute mode (both 0 here); it stands for one candidate of
    each pair of these.
    """
    values = space.enumerate_values(workload)
    splits = _enumerate_splits(space)
    candidates_per_split = _count_candidates_per_split(values)
    stats.candidates += len(splits["tp"]) * candidates_per_split
    if not candidates_per_split:
        return  # a pinned value that no candidate can have
    splits = _apply_rules(_DEGREE_RULES, space, workload, splits, candidates_per_split, stats)
    # the chunk size bounds the rows that are in memory at the same time
    splits_per_chunk = max(
        1, _MAX_CROSSED_ROWS // max(1, candidates_per_split // (len(values["zero_stage"]) * len(values["recompute"])))
    )
    for chunk_start in range(0, len(splits["tp"]), splits_per_chunk):
        split_chunk = {name: column[chunk_start : chunk_start + splits_per_chunk] for name, column in splits.items()}
        rows = _cross_inner_dimensions(space, workload, split_chunk, values, stats)
        for start in range(0, len(rows), _LAYOUTS_PER_BLOCK):
            yield rows.take(np.arange(start, min(start + _LAYOUTS_PER_BLOCK, len(rows))))


def reject_all_candidates(space: Space, workload: Workload, rule: str, stats: SearchStats) -> None:
    """Count all candidates of the space as rejected by one rule, without enumerating them."""
    splits = _enumerate_splits(space)
    count = len(splits["tp"]) * _count_candidates_per_split(space.enumerate_values(workload))
    stats.candidates += count
    stats.rejected_by[rule] += count


def _count_candidates_per_split(values: Mapping[str, Ints]) -> int:
    """Candidates with the same tp, pp, cp and dp."""
    return int(np.prod([len(v) for v in values.values()], dtype=object))


def has_valid_split(space: Space, workload: Workload) -> bool:
    """Whether some degrees tp, pp, cp, dp satisfy all rules on these four degrees."""
    splits = _apply_rules(_DEGREE_RULES, space, workload, _enumerate_splits(space), 1, SearchStats())
    return len(splits["tp"]) > 0


def _enumerate_splits(space: Space) -> LayoutRows:
    """All ordered factorisations tp x pp x cp x dp of the devices, within the allowed values."""
    device_divisors = compute_divisors(space.devices)

    def list_allowed(name: str) -> Ints:
        if name not in space.allowed:
            return device_divisors
        return device_divisors[np.isin(device_divisors, np.array(space.allowed[name], dtype=np.int64))]

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


def _apply_rules(
    rules: Mapping[str, LayoutRule],
    space: Space,
    workload: Workload,
    rows: LayoutRows,
    candidates_per_row: int,
    stats: SearchStats,
) -> LayoutRows:
    """The rows that the rules allow, applied in order; `candidates_per_row`: number of candidates that a row stands
    for in `stats`.
    """
    for name, is_valid in rules.items():
        keep = is_valid(space, workload, rows)
        stats.rejected_by[name] += int((~keep).sum()) * candidates_per_row
        rows = {dimension: column[keep] for dimension, column in rows.items()}
    return rows


def is_valid_tp(workload: Workload, tp: Ints) -> Bools:
    """Whether tp divides heads, key/value heads (or is a multiple of these: they are replicated) and MLP."""
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


def _is_valid_ep(space: Space, workload: Workload, rows: LayoutRows) -> Bools:
    divides_experts = workload.experts % rows["ep"] == 0 if workload.experts else rows["ep"] == 1
    ranks = rows["tp"] // rows["etp"] * rows["dp"] * rows["cp"]
    valid: Bools = divides_experts & (ranks % rows["ep"] == 0)
    return valid


def _is_valid_sequence_parallel(space: Space, workload: Workload, rows: LayoutRows) -> Bools:
    tokens_per_rank = workload.seq_length // rows["cp"]
    valid: Bools = (rows["sequence_parallel"] == 0) | ((rows["tp"] > 1) & (tokens_per_rank % rows["tp"] == 0))
    return valid


def _is_valid_vpp(space: Space, workload: Workload, rows: LayoutRows) -> Bools:
    virtual_stages, layers = rows["pp"] * rows["vpp"], workload.layer_count
    # if embedding and head count as layers, there is one more virtual stage at each end
    has_enough_layers = (virtual_stages <= layers) | (virtual_stages == layers + 2) | (space.layout != AUTO_LAYOUT)
    valid: Bools = (rows["vpp"] == 1) | ((rows["pp"] > 1) & has_enough_layers)
    return valid


def _is_valid_micro_batch_count(space: Space, workload: Workload, rows: LayoutRows) -> Bools:
    micro_batches = space.global_batch // rows["dp"] // rows["micro_batch"]
    valid: Bools = (rows["vpp"] == 1) | (micro_batches % rows["pp"] == 0) | (space.schedule in V_SCHEDULES)
    return valid


def _can_fold_stages(space: Space, workload: Workload, rows: LayoutRows) -> Bools:
    needs_folding = (rows["pp"] > 1) & (space.schedule in FOLDED_SCHEDULES)
    valid: Bools = ~needs_folding | is_folded(space.schedule, rows["pp"], rows["vpp"])
    return valid


def _has_micro_batches_to_fold(space: Space, workload: Workload, rows: LayoutRows) -> Bools:
    micro_batches = space.global_batch // rows["dp"] // rows["micro_batch"]
    has_enough = (micro_batches >= 2 * rows["pp"]) & ((micro_batches % 2 == 0) | (space.schedule != "dualpipe"))
    valid: Bools = ~is_folded(space.schedule, rows["pp"], rows["vpp"]) | has_enough
    return valid


def _fits_layout(space: Space, workload: Workload, rows: LayoutRows) -> Bools:
    layout = parse_layout(space.layout)
    if layout.is_auto:
        return np.ones(len(rows["pp"]), dtype=np.bool_)
    unique = find_unique_rows(rows["pp"], rows["vpp"])
    degrees = zip(rows["pp"][unique.first_index].tolist(), rows["vpp"][unique.first_index].tolist(), strict=True)
    fits = [layout.list_chunk_layers(workload.layer_count, pp, vpp) is not None for pp, vpp in degrees]
    return np.array(fits, dtype=np.bool_)[unique.inverse]


_DEGREE_RULES: dict[str, LayoutRule] = {
    "tp-divides-heads": lambda space, workload, rows: is_valid_tp(workload, rows["tp"]),
    "pp-within-layers": lambda space, workload, rows: (
        (rows["pp"] <= workload.layer_count) | (space.layout != AUTO_LAYOUT)
    ),
    "cp-divides-sequence": lambda space, workload, rows: (
        (rows["cp"] == 1) | (workload.seq_length % (2 * rows["cp"]) == 0)
    ),
    "all-to-all-divides-heads": lambda space, workload, rows: (
        (rows["cp"] == 1) | (not space.cp_shards_heads) | (workload.heads % (rows["tp"] * rows["cp"]) == 0)
    ),
    "dp-divides-batch": lambda space, workload, rows: space.global_batch % rows["dp"] == 0,
}
"""Rules on tp, pp, cp and dp alone."""
_INNER_RULES: dict[str, dict[str, LayoutRule]] = {
    # with tp 1, etp 1 and etp = tp are the same: only the first is kept
    "etp": {
        "etp-is-one-or-tp": lambda space, workload, rows: (rows["etp"] == 1) | (rows["etp"] == rows["tp"]),
    },
    "ep": {"ep-divides-experts": _is_valid_ep},
    "sequence_parallel": {"sp-needs-tp": _is_valid_sequence_parallel},
    "vpp": {
        "vpp-within-layers": _is_valid_vpp,
        "zero-bubble-has-one-chunk": lambda space, workload, rows: (
            (rows["vpp"] == 1) | (space.schedule not in SINGLE_CHUNK_SCHEDULES)
        ),
        "schedule-folds-stages": _can_fold_stages,
        "layout-has-chunks": _fits_layout,
    },
    "micro_batch": {
        "micro-batch-divides": lambda space, workload, rows: (
            space.global_batch // rows["dp"] % rows["micro_batch"] == 0
        ),
        "interleave-in-rounds": _is_valid_micro_batch_count,
        "schedule-needs-micro-batches": _has_micro_batches_to_fold,
    },
}
"""The other dimensions in the order in which they are enumerated, the cheapest first, and the rules that each of them
completes."""


def _cross_inner_dimensions(
    space: Space, workload: Workload, splits: LayoutRows, values: dict[str, Ints], stats: SearchStats
) -> Strategies:
    """The product of the degrees with the other dimensions, one dimension at a time, each followed by its rules."""
    rows = splits
    candidates_per_row = _count_candidates_per_split(values)
    for name, rules in _INNER_RULES.items():
        count = len(rows["tp"])
        rows = {dimension: np.repeat(column, len(values[name])) for dimension, column in rows.items()}
        rows[name] = np.tile(values[name], count)
        if name == "etp":
            rows["etp"] = np.where(rows["etp"] == ETP_AS_TP, np.where(rows["tp"] > 1, rows["tp"], 0), rows["etp"])
        candidates_per_row //= len(values[name])
        rows = _apply_rules(rules, space, workload, rows, candidates_per_row, stats)
    single_rank_rows = int((rows["dp"] * rows["cp"] == 1).sum())
    sharding_candidates = int((values["zero_stage"] > 0).sum()) * len(values["recompute"])
    stats.rejected_by["zero-needs-ranks"] += single_rank_rows * sharding_candidates
    zeros = np.zeros_like(rows["tp"])
    return Strategies(**{name: rows.get(name, zeros) for name in STRATEGY_FIELDS})


def is_valid_zero_stage(s: Strategies, zero_stages: Ints, shard_group: int | None = None) -> Bools:
    """Whether each layout allows each ZeRO stage with this shard group (None: all), shape [layouts, ZeRO stages]."""
    ranks = s.dp * s.cp
    is_shardable = ranks > 1 if shard_group is None else (ranks > 1) & (ranks % shard_group == 0)
    fits: Bools = (zero_stages[None, :] == 0) | is_shardable[:, None]
    return fits
