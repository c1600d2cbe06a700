"""How often parts of a cluster fail, how long it takes to train on, and how fast checkpoints are written and read.

A figure is the user's, else the cluster file's, else the architecture's in hardware_db/reliability, else the
default's there. Each says where it is from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import msgspec

from planner.hardware.figures import Figure, FigureSource

if TYPE_CHECKING:
    pass


MAX_SPARES = 50_000
"""No more are looked at."""


SpareCount = Annotated[int, msgspec.Meta(ge=0, le=MAX_SPARES)]


class ReliabilitySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Mean times between failures, and what a failure costs beside the work that is done again."""

    device_mtbf: Figure | None = None
    """Of one device."""
    node_mtbf: Figure | None = None
    """Of one node without its devices: host, NICs, links, power."""
    software_mtbf: Figure | None = None
    """Of what no part is replaced for, by the node: bugs, timeouts."""
    detection: Figure | None = None
    restart: Figure | None = None
    """From what was detected to the reading of the checkpoint."""
    repair: Figure | None = None
    """Of a node, until it is a spare again."""
    spares: SpareCount | None = None
    """Nodes beside those that the plan runs on."""


class StorageSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where checkpoints go: bandwidth of the whole storage, as the job gets it."""

    write: Figure | None = None
    read: Figure | None = None
    pause: Figure | None = None
    """What every checkpoint blocks training for beside the copy: planning, serialising, waiting for each other."""
    asynchronous: bool = False
    """Training goes on once the state is in the hosts' memory."""


class NodeStorageSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What hardware_db knows of storage: shares of one node."""

    write_per_node: Figure | None = None
    read_per_node: Figure | None = None
    pause: Figure | None = None


class ReliabilityFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of hardware_db/reliability: the default's is complete, an architecture's says what differs."""

    title: str
    failures: ReliabilitySpec = ReliabilitySpec()
    checkpoints: NodeStorageSpec = NodeStorageSpec()
    sources: dict[str, FigureSource] = {}


@dataclass(frozen=True, slots=True)
class Assumption:
    """A figure in SI units, and where it is from."""

    name: str
    value: float
    source: str
