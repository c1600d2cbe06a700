"""Which option is at fault where no candidate is allowed, and what would be valid in its place.

The pins are reduced to a core: a smallest set that already rules everything out, so that an option which has
nothing to do with it is never named. Only the splits are enumerated, with the neutral value of every other
dimension that is not pinned: whatever may run, may run with one micro-batch size of 1, without interleaving,
sequence parallelism, spread experts, ZeRO or recomputation.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.cluster.model.cluster import Cluster
from planner.cost.arrays import Ints
from planner.cost.scenario import Training
from planner.cost.strategies import RECOMPUTE
from planner.errors import InputError
from planner.search.diagnosis.batch import batch_fault
from planner.search.space import (
    NEUTRAL,
    RULES,
    Space,
    Tally,
    layouts,
    zero_fits,
)
from planner.workload.operators import Workload

OPTIONS = {
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
_BATCH = "global_batch"


def broken_rule(training: Training, cluster: Cluster, space: Space) -> InputError:
    """The error for pins, batch and devices that no candidate satisfies. Names the option and what is valid."""
    workload = training.workload
    if _any(space, workload):
        return _setting_fault(training, space)
    core = _core(space, workload)
    given = [name for name in OPTIONS if name in core and name not in space.assumed]
    splits = ("dp", "micro_batch", "vpp")
    if _BATCH in core and not any(name in given for name in splits):
        return batch_fault(training, cluster, space)
    if not given:
        given = [name for name in OPTIONS if name in core]
    others = [name for name in OPTIONS if name in core and name not in given]
    valid = {name: _valid(space, workload, core, name) for name in given}
    beside = _pins(space, others)
    if len(given) == 1:
        name = given[0]
        return InputError(
            f"cannot be used {'with ' + beside if beside else 'here'}",
            key=_option(space, name),
            value=_value(space, name),
            expected=f"{_listed(name, valid[name])} ({_why(space, workload, name)})",
        )
    ways = [
        f"{_option(space, name)} {_listed(name, valid[name])} with {_pins(space, [n for n in given if n != name])}"
        for name in given
    ]
    product = _product(space, core)
    return InputError(
        f"cannot be used together{' with ' + beside if beside else ''}{product}",
        key=", ".join(_option(space, name) for name in given),
        value=", ".join(_value(space, name) for name in given),
        expected="; or ".join(ways) + ("" if product else f" ({_why(space, workload, given[-1])})"),
    )


def _setting_fault(training: Training, space: Space) -> InputError:
    """The error for a setting without which the pins would leave candidates."""
    under = space.under(training)
    settings = {
        "--schedule": (replace(under, one_chunk=False), training.schedule, "zero-bubble-has-one-chunk"),
        "--cp-exchange": (replace(under, by_heads=False), training.cp_exchange, "all-to-all-divides-heads"),
        "--shard-group": (replace(under, shard_group=None), training.shard_group, "shard-group-divides"),
    }
    # one that is enough by itself; else the pins need several settings to change, the last of which is named
    option, (_, value, rule) = next(
        ((option, one) for option, one in settings.items() if _any(one[0], training.workload)),
        ("--shard-group", settings["--shard-group"]),
    )
    pins = _pins(space, [name for name in OPTIONS if name in space.allowed and name not in space.assumed])
    problem = f"cannot be used {'with ' + pins if pins else 'here'}"
    return InputError(problem, key=option, value=value, expected=f"another value: {RULES[rule]}")


def unusable(training: Training, space: Space, listed: dict[str, tuple[int, ...]]) -> list[str]:
    """One sentence for each dimension of `listed` some of whose values no candidate can have."""
    workload, told = training.workload, []
    for name, values in listed.items():
        others = frozenset({*space.allowed, _BATCH}) - {name}
        usable = _usable(_reduced(space, others), workload, name)
        useless = [value for value in values if value not in usable]
        if useless:
            numbers = ", ".join(RECOMPUTE[value] if name == "recompute" else str(value) for value in useless)
            told.append(f"{OPTIONS[name]}: {numbers} cannot be used here ({_why(space, workload, name)})")
    return told


def _only(space: Space, names: set[str] | frozenset[str]) -> Space:
    """The space with no other pins than `names`."""
    return replace(space, allowed={name: space.allowed[name] for name in space.allowed if name in names})


def _core(space: Space, workload: Workload) -> frozenset[str]:
    """A smallest set of pins, the batch among them, that leaves nothing.

    The batch is only looked at where all pins agree with each other. What the user gave is left out first, in
    the order of what is furthest from the split, so that a default or the batch which already rules everything
    out is found by itself.
    """
    core = set(space.allowed)
    if _any(_reduced(space, core), workload):
        core.add(_BATCH)
    given = [name for name in reversed(OPTIONS) if name in space.allowed and name not in space.assumed]
    assumed = [name for name in reversed(OPTIONS) if name in space.assumed and name in space.allowed]
    for name in (*given, *assumed, _BATCH):
        if not _any(_reduced(space, core - {name}), workload):
            core.discard(name)
    return frozenset(core)


def _reduced(space: Space, names: set[str] | frozenset[str]) -> Space:
    """The space with the pins `names`; without the batch among them, one that any split can divide."""
    bare = _only(space, names)
    if _BATCH in names:
        return bare
    return replace(bare, global_batch=space.devices * min(bare.allowed.get("micro_batch", (1,))))


def _any(space: Space, workload: Workload) -> bool:
    return len(_usable(space, workload, "tp")) > 0


def _usable(space: Space, workload: Workload, name: str) -> Ints:
    """The values of dimension `name` that some candidate of the space has, ascending."""
    neutral = {key: (value,) for key, value in NEUTRAL.items() if key != name}
    narrowed = replace(space, allowed={**neutral, **space.allowed})
    zeros = narrowed.values(workload)["zero_stage"]
    found: list[Ints] = []
    for block in layouts(narrowed, workload, Tally()):
        fits = zero_fits(block, zeros, narrowed.shard_group)
        if name == "zero_stage":
            found.append(zeros[fits.any(axis=0)])
        else:
            found.append(np.unique(getattr(block, name)[fits.any(axis=1)]))
    if name == "recompute":
        return np.arange(len(RECOMPUTE)) if found else np.zeros(0, dtype=np.int64)
    return np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)


def _valid(space: Space, workload: Workload, core: frozenset[str], name: str) -> Ints:
    """What `name` could be beside all other pins, or beside the rest of the core where those rule out more."""
    everything = frozenset({*space.allowed, _BATCH}) - {name}  # the batch too, though it may not be at fault
    beside_all = _usable(_reduced(space, everything), workload, name)
    return beside_all if len(beside_all) else _usable(_reduced(space, core - {name}), workload, name)


def _option(space: Space, name: str) -> str:
    if name == "sequence_parallel" and space.allowed[name] == (0,):
        return "--no-sequence-parallel"
    return OPTIONS[name]


def _value(space: Space, name: str) -> str:
    values = space.allowed[name]
    if name == "sequence_parallel":
        return "yes" if values[0] else "no"
    if name == "recompute":
        return ",".join(RECOMPUTE[value] for value in values)
    if len(values) > 6:
        return f"{values[0]},{values[1]},...,{values[-1]}"
    return ",".join(map(str, values))


def _pins(space: Space, names: list[str]) -> str:
    """`--tp 16 --pp 2`: pins as one would give them."""
    bare = ("sequence_parallel",)
    told = [_option(space, name) + ("" if name in bare else f" {_value(space, name)}") for name in names]
    return " ".join(told)


def _listed(name: str, values: Ints, most: int = 12) -> str:
    """The valid values as a phrase."""
    if name == "sequence_parallel":
        return "left out"
    if name == "recompute":
        return "one of " + ", ".join(RECOMPUTE)
    if not len(values):
        return "no value"
    if len(values) == 1:
        return str(values[0])
    if len(values) > most and values[-1] - values[0] + 1 == len(values):
        return f"from {values[0]} to {values[-1]}"
    shown = ", ".join(str(value) for value in values[:most])
    return f"one of {shown}" + (f", ... {values[-1]}" if len(values) > most else "")


def _product(space: Space, core: frozenset[str]) -> str:
    """Told where single degrees that are pinned cannot multiply to the number of devices."""
    degrees = [name for name in ("tp", "pp", "dp", "cp") if name in core]
    if len(degrees) < 2 or any(len(space.allowed[name]) > 1 for name in degrees):
        return ""
    product = 1
    for name in degrees:
        product *= space.allowed[name][0]
    if len(degrees) == 4 and product != space.devices:
        return f": their product {product} is not the {space.devices} devices"
    return f": their product {product} does not divide {space.devices} devices" if space.devices % product else ""


def _why(space: Space, workload: Workload, name: str) -> str:
    """The rule of one dimension, with the figures it is about."""
    devices, batch, layers = space.devices, space.global_batch, workload.layer_count
    whole = workload.heads == workload.ffn_size == 1
    if whole and name in ("tp", "cp", "sequence_parallel"):
        return "the operators of this model are not cut: only its batch and its layers are dealt out"
    rules = {
        "tp": f"divides {devices} devices, {workload.heads} heads and MLP {workload.ffn_size}; divides "
        f"{workload.kv_heads} KV heads or is a multiple of them",
        "pp": f"divides {devices} devices and is at most {layers} layers",
        "dp": f"divides {devices} devices and the global batch {batch}",
        "cp": f"divides {devices} devices, and 2 cp divides the sequence {workload.seq_length}",
        "ep": f"divides {workload.experts} experts and, with etp, a stage's tp x cp x dp ranks"
        if workload.experts
        else "the model has no experts",
        "etp": "experts are cut over tp ranks or not at all" if workload.experts else "the model has no experts",
        "vpp": f"interleaving needs more than one pipeline stage, pp x vpp at most {layers} layers "
        f"(or {layers + 2} chunks with embedding and head), and a multiple of pp micro-batches",
        "micro_batch": f"micro-batch x dp divides the global batch {batch}",
        "zero_stage": "ZeRO needs more than one data-parallel or context-parallel rank",
        "recompute": "the mode of recomputation",
        "sequence_parallel": "sequence parallelism needs a tp above 1 that divides the sequence",
    }
    return rules[name]
