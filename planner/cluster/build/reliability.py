"""How often parts of a cluster fail, how long it takes to train on, and how fast checkpoints are written and read.

A figure is the user's, else the cluster file's, else the architecture's in hardware_db/reliability, else the
default's there. Each says where it is from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.hardware.figures import Figure, Sourced, number, positive, told_source
from planner.units import Dimension

if TYPE_CHECKING:
    from planner.cluster.model.cluster import Cluster
from planner.cluster.model.reliability_spec import Assumption, ReliabilityFile, ReliabilitySpec, StorageSpec


@dataclass(frozen=True, slots=True)
class Reliability:
    """All that goodput depends on beside the plan. `spares`: None, as many as pay off."""

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
    asynchronous: bool
    shrinks: bool
    """Whether the job goes on with fewer data-parallel replicas when spares run out, instead of waiting."""
    assumed: tuple[Assumption, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What the user says on the command line, by the fields of Reliability; each value with its option's name."""

    figures: Mapping[str, tuple[float, str]]
    spares: int | None = None
    asynchronous: bool | None = None
    shrinks: bool = False


_FAILURES = ("device_mtbf", "node_mtbf", "software_mtbf", "detection", "restart", "repair")


_STORAGE: dict[str, Dimension] = {"write": "bytes_per_s", "read": "bytes_per_s", "pause": "duration"}


def resolve_reliability(cluster: Cluster, told: Told) -> Reliability:
    """The figures of a cluster in SI units, each with its source."""
    files = [file for entry in (cluster.accelerator.architecture, "default") if (file := _file(entry))]
    assumed = tuple(_assumption(name, cluster, told, files) for name in (*_FAILURES, *_STORAGE))
    failures, storage = cluster.reliability or ReliabilitySpec(), cluster.storage or StorageSpec()
    return Reliability(
        **{one.name: one.value for one in assumed},
        spares=failures.spares if told.spares is None else told.spares,
        asynchronous=storage.asynchronous if told.asynchronous is None else told.asynchronous,
        shrinks=told.shrinks,
        assumed=assumed,
    )


def check_reliability(failures: ReliabilitySpec | None, storage: StorageSpec | None, origin: str) -> None:
    """Every figure of a cluster's file is above zero. Raises InputError naming the key."""
    for table, spec, names in (("reliability", failures, _FAILURES), ("storage", storage, tuple(_STORAGE))):
        for name in names:
            if (figure := getattr(spec, name, None)) is not None:
                positive(figure, _STORAGE.get(name, "duration"), origin=origin, key=f"{table}.{name}")


def _assumption(name: str, cluster: Cluster, told: Told, files: Sequence[ReliabilityFile]) -> Assumption:
    """One figure: the command line's, else the cluster file's, else that of the first file that has it."""
    dimension = _STORAGE.get(name, "duration")
    field = f"{name}_{'bytes_per_s' if dimension == 'bytes_per_s' else 's'}"
    if field in told.figures:
        return Assumption(field, *told.figures[field])
    figure: Figure | None = getattr(cluster.reliability if name in _FAILURES else cluster.storage, name, None)
    if figure is not None:
        return Assumption(field, number(figure, dimension, origin=cluster.name, key=name), "the cluster's file")
    for file in files:
        per_node = dimension == "bytes_per_s"
        known = getattr(file.failures if name in _FAILURES else file.checkpoints, name + per_node * "_per_node")
        if isinstance(known, Sourced):
            value = number(known, dimension, origin=file.title, key=name) * (cluster.nodes if per_node else 1)
            return Assumption(field, value, told_source(known, file.sources))
    raise AssertionError(f"hardware_db/reliability/default.toml lacks {name}")


def _file(name: str) -> ReliabilityFile | None:
    """A file of hardware_db/reliability; none where the architecture has none."""
    from planner.hardware import database

    if name not in database.names("reliability"):
        return None
    return database.load("reliability", name, ReliabilityFile, "reliability", "", "architecture")
