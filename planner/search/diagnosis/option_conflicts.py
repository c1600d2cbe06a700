"""Find the options that conflict where no candidate is allowed, and the values that would be valid instead.

The pinned values are reduced to a core, a minimal set that already rules out all candidates, so that messages never
name an unrelated option. Only the degrees are enumerated, with the neutral value of every other open dimension:
degrees that are valid at all are valid with micro-batch 1 and without interleaving, sequence parallelism, expert
parallelism, ZeRO and recomputation.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from planner.cluster.model.cluster import Cluster
from planner.cost.arrays import Ints, find_distinct_values
from planner.cost.scenario import Scenario
from planner.cost.schedules.catalog import FOLDED_SCHEDULES
from planner.cost.strategies import RECOMPUTE_MODES
from planner.errors import InputError
from planner.search.diagnosis.batch import build_batch_error
from planner.search.space import (
    NEUTRAL_VALUES,
    SEARCH_RULES,
    SearchStats,
    Space,
    enumerate_parallel_layouts,
    is_valid_zero_stage,
)
from planner.trainers.pipeline_layout import AUTO_LAYOUT, parse_layout
from planner.workload.operators import Workload

DIMENSION_OPTIONS = {
    "tp": "--tp",
    "pp": "--pp",
    "dp": "--dp",
    "cp": "--cp",
    "ep": "--ep",
    "etp": "--etp",
    "vpp": "--vpp",
    "micro_batch": "--micro-batch",
    "zero_stage": "--zero",
    "recompute": "--recompute",
    "sequence_parallel": "--sequence-parallel",
}
_BATCH_PIN = "global_batch"


def build_conflict_error(scenario: Scenario, cluster: Cluster, space: Space) -> InputError:
    """The error for pinned values, batch and devices that no candidate satisfies: the options and valid values."""
    workload = scenario.workload
    if _has_candidates(space, workload):
        return _build_setting_conflict_error(scenario, space)
    core = _find_conflict_core(space, workload)
    user_pins = [name for name in DIMENSION_OPTIONS if name in core and name not in space.defaulted]
    splits = ("dp", "micro_batch", "vpp")
    if _BATCH_PIN in core and not any(name in user_pins for name in splits):
        return build_batch_error(scenario, cluster, space)
    if not user_pins:
        user_pins = [name for name in DIMENSION_OPTIONS if name in core]
    other_pins = [name for name in DIMENSION_OPTIONS if name in core and name not in user_pins]
    valid_values = {name: _find_valid_values(space, workload, core, name) for name in user_pins}
    other_pins_text = _format_pins(space, other_pins)
    if len(user_pins) == 1:
        name = user_pins[0]
        return InputError(
            f"conflicts with {other_pins_text}" if other_pins_text else "no candidate can have this value",
            key=_format_option_name(space, name),
            value=_format_pin_value(space, name),
            expected=(
                f"{_format_valid_values(name, valid_values[name])} ({_explain_dimension_rule(space, workload, name)})"
            ),
        )
    alternatives = [
        f"{_format_option_name(space, name)} {_format_valid_values(name, valid_values[name])} with "
        f"{_format_pins(space, [n for n in user_pins if n != name])}"
        for name in user_pins
    ]
    product = _explain_degree_product(space, core)
    return InputError(
        f"conflict with each other{' and with ' + other_pins_text if other_pins_text else ''}{product}",
        key=", ".join(_format_option_name(space, name) for name in user_pins),
        value=", ".join(_format_pin_value(space, name) for name in user_pins),
        expected="; or ".join(alternatives)
        + ("" if product else f" ({_explain_dimension_rule(space, workload, user_pins[-1])})"),
    )


def _build_setting_conflict_error(scenario: Scenario, space: Space) -> InputError:
    """The error for a setting that rules out all candidates of the pinned values."""
    scenario_space = space.narrow_to_scenario(scenario)
    settings = {
        "--schedule": (
            replace(scenario_space, schedule="1f1b"),
            scenario.pipeline_schedule,
            _find_schedule_rule(scenario, scenario_space),
        ),
        "--layout": (replace(scenario_space, layout=AUTO_LAYOUT), scenario.layout, "layout-has-chunks"),
        "--cp-exchange": (
            replace(scenario_space, cp_shards_heads=False),
            scenario.cp_comm_type,
            "all-to-all-divides-heads",
        ),
        "--shard-group": (replace(scenario_space, shard_group=None), scenario.shard_group, "shard-group-divides"),
    }
    # the first setting that conflicts by itself; where several settings would have to change, the last is named
    option, (_, value, rule) = next(
        ((option, setting) for option, setting in settings.items() if _has_candidates(setting[0], scenario.workload)),
        ("--shard-group", settings["--shard-group"]),
    )
    pins = _format_pins(
        space, [name for name in DIMENSION_OPTIONS if name in space.allowed and name not in space.defaulted]
    )
    problem = f"conflicts with {pins}" if pins else "no candidate can have this value"
    expected = f"another value: {SEARCH_RULES[rule]}"
    if option == "--layout" and (chunks := len(parse_layout(scenario.layout).chunk_layers)):
        expected += f"; this one has {chunks}"
    return InputError(problem, key=option, value=value, expected=expected)


def _find_schedule_rule(scenario: Scenario, space: Space) -> str:
    """The rule of the scenario's schedule that leaves no candidates: on micro-batches where more of them would."""
    if scenario.pipeline_schedule not in FOLDED_SCHEDULES:
        return "zero-bubble-has-one-chunk"
    larger_space = replace(space, global_batch=2 * space.devices * space.global_batch)
    has_enough = not _has_candidates(larger_space, scenario.workload)
    return "schedule-folds-stages" if has_enough else "schedule-needs-micro-batches"


def list_unusable_values(scenario: Scenario, space: Space, listed_values: dict[str, tuple[int, ...]]) -> list[str]:
    """One sentence for each dimension of `listed_values` with values that no candidate can have."""
    workload, sentences = scenario.workload, []
    for name, values in listed_values.items():
        other_pins = frozenset({*space.allowed, _BATCH_PIN}) - {name}
        usable = _find_usable_values(_reduce_space(space, other_pins), workload, name)
        unusable_values = [value for value in values if value not in usable]
        if unusable_values:
            numbers = ", ".join(
                RECOMPUTE_MODES[value] if name == "recompute" else str(value) for value in unusable_values
            )
            sentences.append(
                f"{DIMENSION_OPTIONS[name]}: no candidate can have {numbers} "
                f"({_explain_dimension_rule(space, workload, name)})"
            )
    return sentences


def _find_conflict_core(space: Space, workload: Workload) -> frozenset[str]:
    """A minimal set of pinned dimensions, maybe with the batch, that leaves no candidates.

    The batch is considered only where the pinned dimensions do not conflict among themselves. User options are
    dropped first, the last degrees before the first, so that a default or the batch that already rules out
    everything remains alone.
    """
    core = set(space.allowed)
    if _has_candidates(_reduce_space(space, core), workload):
        core.add(_BATCH_PIN)
    pins = [name for name in reversed(DIMENSION_OPTIONS) if name in space.allowed]
    for name in (*sorted(pins, key=lambda pin: pin in space.defaulted), _BATCH_PIN):
        if not _has_candidates(_reduce_space(space, core - {name}), workload):
            core.discard(name)
    return frozenset(core)


def _reduce_space(space: Space, names: set[str] | frozenset[str]) -> Space:
    """The space with the pinned dimensions `names`; without the batch among them, a batch that any dp divides."""
    pinned_space = replace(space, allowed={name: space.allowed[name] for name in space.allowed if name in names})
    if _BATCH_PIN in names:
        return pinned_space
    return replace(pinned_space, global_batch=space.devices * min(pinned_space.allowed.get("micro_batch", (1,))))


def _has_candidates(space: Space, workload: Workload) -> bool:
    return len(_find_usable_values(space, workload, "tp")) > 0


def _find_usable_values(space: Space, workload: Workload, name: str) -> Ints:
    """The values of dimension `name` that candidates of the space have, ascending."""
    neutral = {key: (value,) for key, value in NEUTRAL_VALUES.items() if key != name}
    narrowed = replace(space, allowed={**neutral, **space.allowed})
    zero_stages = narrowed.enumerate_values(workload)["zero_stage"]
    value_blocks: list[Ints] = []
    for block in enumerate_parallel_layouts(narrowed, workload, SearchStats()):
        fits = is_valid_zero_stage(block, zero_stages, narrowed.shard_group)
        if name == "zero_stage":
            value_blocks.append(zero_stages[fits.any(axis=0)])
        else:
            value_blocks.append(find_distinct_values(getattr(block, name)[fits.any(axis=1)]))
    if not value_blocks:
        return np.zeros(0, dtype=np.int64)
    if name == "recompute":
        return np.arange(len(RECOMPUTE_MODES))
    return find_distinct_values(np.concatenate(value_blocks))


def _find_valid_values(space: Space, workload: Workload, core: frozenset[str], name: str) -> Ints:
    """The valid values of `name` with all other pinned values; if there are none, with the rest of the core."""
    other_pins = frozenset({*space.allowed, _BATCH_PIN}) - {name}  # with the batch, even where it is not in conflict
    values = _find_usable_values(_reduce_space(space, other_pins), workload, name)
    return values if len(values) else _find_usable_values(_reduce_space(space, core - {name}), workload, name)


def _format_option_name(space: Space, name: str) -> str:
    if name == "sequence_parallel" and space.allowed[name] == (0,):
        return "--no-sequence-parallel"
    return DIMENSION_OPTIONS[name]


def _format_pin_value(space: Space, name: str) -> str:
    values = space.allowed[name]
    if name == "sequence_parallel":
        return "yes" if values[0] else "no"
    if name == "recompute":
        return ",".join(RECOMPUTE_MODES[value] for value in values)
    if len(values) > 6:
        return f"{values[0]},{values[1]},...,{values[-1]}"
    return ",".join(map(str, values))


def _format_pins(space: Space, names: list[str]) -> str:
    """`--tp 16 --pp 2`: pinned values as options."""
    return " ".join(
        _format_option_name(space, name)
        + ("" if name == "sequence_parallel" else f" {_format_pin_value(space, name)}")
        for name in names
    )


def _format_valid_values(name: str, values: Ints, max_listed: int = 12) -> str:
    """The valid values as a phrase."""
    if name == "sequence_parallel":
        return "remove the option"
    if name == "recompute":
        return "one of " + ", ".join(RECOMPUTE_MODES)
    if not len(values):
        return "no value"
    if len(values) == 1:
        return str(values[0])
    if len(values) > max_listed and values[-1] - values[0] + 1 == len(values):
        return f"from {values[0]} to {values[-1]}"
    listed = ", ".join(str(value) for value in values[:max_listed])
    return f"one of {listed}" + (f", ... {values[-1]}" if len(values) > max_listed else "")


def _explain_degree_product(space: Space, core: frozenset[str]) -> str:
    """The message that the pinned degrees cannot multiply to the number of devices; empty where they can."""
    degrees = [name for name in ("tp", "pp", "dp", "cp") if name in core]
    if len(degrees) < 2 or any(len(space.allowed[name]) > 1 for name in degrees):
        return ""
    product = math.prod(space.allowed[name][0] for name in degrees)
    if len(degrees) == 4 and product != space.devices:
        return f": their product {product} is not the {space.devices} devices"
    return f": their product {product} does not divide {space.devices} devices" if space.devices % product else ""


def _explain_dimension_rule(space: Space, workload: Workload, name: str) -> str:
    """The rule of one dimension, with the figures it is about."""
    devices, batch, layers = space.devices, space.global_batch, workload.layer_count
    is_uncut = workload.heads == workload.ffn_size == 1
    if is_uncut and name in ("tp", "cp", "sequence_parallel"):
        return "operators of this model cannot be sharded: only data and pipeline parallelism are possible"
    rules = {
        "tp": f"divides {devices} devices, {workload.heads} heads and MLP {workload.ffn_size}; divides "
        f"{workload.kv_heads} KV heads or is a multiple of them",
        "pp": f"divides {devices} devices and is at most {layers} layers",
        "dp": f"divides {devices} devices and the global batch {batch}",
        "cp": f"divides {devices} devices, and 2 cp divides the sequence {workload.seq_length}",
        "ep": f"divides {workload.experts} experts and, with etp, a stage's tp x cp x dp ranks"
        if workload.experts
        else "the model has no experts",
        "etp": "etp is tp or 1" if workload.experts else "the model has no experts",
        "vpp": f"interleaving needs more than one pipeline stage, pp x vpp at most {layers} layers "
        f"(or {layers + 2} virtual stages with embedding and head), and a multiple of pp micro-batches",
        "micro_batch": f"micro-batch x dp divides the global batch {batch}",
        "zero_stage": "ZeRO needs more than one data-parallel or context-parallel rank",
        "recompute": "a recompute mode",
        "sequence_parallel": "sequence parallelism needs a tp above 1 that divides the sequence",
    }
    return rules[name]
