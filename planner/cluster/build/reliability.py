"""How often parts of a cluster fail, how long it takes to train on, and how fast checkpoints are written and read.

A figure is the user's, else the cluster file's, else the architecture's in hardware_db/reliability, else the
default's there. Each has its source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from planner.cluster.model.cluster import Cluster
from planner.cluster.model.spec import ReliabilityFile, ReliabilitySpec, StorageSpec
from planner.hardware import database
from planner.hardware.figures import Assumption, Figure, find_assumption, parse_figure, parse_positive_figure
from planner.units import Dimension


@dataclass(frozen=True, slots=True)
class Reliability:
    """All that goodput depends on besides the plan.

    Mean times between failures, of one device, of one node without its devices, and of software by the node; times to
    detect a failure, to restart before the checkpoint is read, and to repair a node until it is a spare again;
    `pause_s`: what a checkpoint blocks training for besides the copy; bandwidth of the whole storage in bytes/s.
    `spares`: nodes in addition to those of the plan, None: as many as pay off.
    """

    device_mtbf_s: float
    node_mtbf_s: float
    software_mtbf_s: float
    detection_s: float
    restart_s: float
    repair_s: float
    pause_s: float
    write_bytes_per_s: float
    read_bytes_per_s: float
    spares: int | None
    is_async_checkpoint: bool
    is_shrinkable: bool
    """Whether the job goes on with fewer data-parallel replicas when spares run out, instead of waiting."""
    assumptions: tuple[Assumption, ...]


@dataclass(frozen=True, slots=True)
class ReliabilityOverrides:
    """The user's options. `figures`: values in SI units with the option's name, by the fields of `Reliability`."""

    figures: Mapping[str, tuple[float, str]]
    spares: int | None = None
    is_async_checkpoint: bool | None = None
    is_shrinkable: bool = False


_FAILURE_KEYS = ("device_mtbf", "node_mtbf", "software_mtbf", "detection", "restart", "repair")
_STORAGE_DIMENSIONS: dict[str, Dimension] = {"write": "bytes_per_s", "read": "bytes_per_s", "pause": "duration"}


def resolve_reliability(cluster: Cluster, overrides: ReliabilityOverrides) -> Reliability:
    """The figures of a cluster in SI units, each with its source."""
    files = database.load_architecture_files("reliability", cluster.accelerator.architecture, ReliabilityFile)
    assumptions = tuple(
        _resolve_assumption(name, cluster, overrides, files) for name in (*_FAILURE_KEYS, *_STORAGE_DIMENSIONS)
    )
    failures, storage = cluster.reliability or ReliabilitySpec(), cluster.storage or StorageSpec()
    is_async = overrides.is_async_checkpoint
    return Reliability(
        **{assumption.name: assumption.value for assumption in assumptions},
        spares=failures.spares if overrides.spares is None else overrides.spares,
        is_async_checkpoint=storage.asynchronous if is_async is None else is_async,
        is_shrinkable=overrides.is_shrinkable,
        assumptions=assumptions,
    )


def check_reliability(failures: ReliabilitySpec | None, storage: StorageSpec | None) -> None:
    """Every figure of a cluster's file is above zero. Raises InputError naming the key."""
    for name in (*_FAILURE_KEYS, *_STORAGE_DIMENSIONS):
        table, spec = ("reliability", failures) if name in _FAILURE_KEYS else ("storage", storage)
        if (figure := getattr(spec, name, None)) is not None:
            parse_positive_figure(figure, _STORAGE_DIMENSIONS.get(name, "duration"), key=f"{table}.{name}")


def _resolve_assumption(
    name: str, cluster: Cluster, overrides: ReliabilityOverrides, files: Sequence[ReliabilityFile]
) -> Assumption:
    """One figure: the command line's, else the cluster file's, else that of the first file that has it."""
    dimension = _STORAGE_DIMENSIONS.get(name, "duration")
    field = f"{name}_{'bytes_per_s' if dimension == 'bytes_per_s' else 's'}"
    if field in overrides.figures:
        return Assumption(field, *overrides.figures[field])
    figure: Figure | None = getattr(cluster.reliability if name in _FAILURE_KEYS else cluster.storage, name, None)
    if figure is not None:
        return Assumption(field, parse_figure(figure, dimension, origin=cluster.name, key=name), "the cluster's file")
    per_node = dimension == "bytes_per_s"
    table, key = ("failures" if name in _FAILURE_KEYS else "checkpoints"), name + per_node * "_per_node"
    default = find_assumption(files, table, key, dimension, field)
    if default is None:
        raise AssertionError(f"hardware_db/reliability/default.toml lacks {name}")
    return replace(default, value=default.value * cluster.nodes) if per_node else default
