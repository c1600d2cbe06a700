"""What a cluster's devices, nodes, network and cooling draw while a model is trained.

A figure is the cluster file's, else the architecture's in hardware_db/power, else the default's there. Each says
where it is from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from planner.cluster.model.reliability_spec import Assumption
from planner.errors import InputError
from planner.hardware.figures import Figure, Source, Sourced, number, told_source
from planner.units import Dimension

if TYPE_CHECKING:
    from planner.cluster.model.cluster import Cluster
    from planner.cluster.model.spec import NodeSpec
    from planner.hardware.accelerator import Accelerator

STATES = ("compute", "memory", "communication", "waiting")
"""What a device does: multiplies, memory-bound kernels, exchanges that nothing hides, and nothing."""


class StatesSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A device's power in each state, as a share of the way from idle to rated power."""

    compute: Figure | None = None
    memory: Figure | None = None
    communication: Figure | None = None
    waiting: Figure | None = None


class IdleSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Idle power as a share of rated power, where the accelerator's file tells none."""

    share: Figure | None = None


class NodeOverheadSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a node draws beside its devices: host, network cards, fans, power supplies."""

    share_of_rated: Figure | None = None
    """Of the node's rated power less its devices'."""
    share_of_devices: Figure | None = None
    """Of its devices' energy, where the node's rated power is not told."""
    per_device: Figure | None = None
    """Watts, where they were measured."""


class NetworkPowerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Power of one switch port and of the transceiver in it; the port's rate."""

    port_rate: Figure | None = None
    switch_port: Figure | None = None
    optics: Figure | None = None


class FacilitySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Power usage effectiveness: all that a site draws for what its computers draw."""

    pue: Figure | None = None


class PowerFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of hardware_db/power: the default's is complete, an architecture's says what differs."""

    title: str
    states: StatesSpec = StatesSpec()
    idle: IdleSpec = IdleSpec()
    node: NodeOverheadSpec = NodeOverheadSpec()
    network: NetworkPowerSpec = NetworkPowerSpec()
    facility: FacilitySpec = FacilitySpec()
    sources: dict[str, Source] = {}


@dataclass(frozen=True, slots=True)
class Power:
    """All that energy depends on beside the plan and the device's rated and idle power.

    `states`: shares in the order of STATES. `node_w`: watts a device beside it, None: `node_share` of its energy.
    """

    states: tuple[float, ...]
    idle_share: float
    node_w: float | None
    node_share: float
    network_w: float
    """Switches and transceivers, watts a device."""
    pue: float
    assumed: tuple[Assumption, ...]


def resolve_power(cluster: Cluster) -> Power:
    """The figures of a cluster, each with its source."""
    files = _files(cluster.accelerator.architecture)
    states = tuple(_known(files, "states", name, "ratio", f"{name}_power_share") for name in STATES)
    idle = _known(files, "idle", "share", "ratio", "idle_power_share")
    node, node_w, node_share = _node(cluster, files)
    network = _network(cluster, files)
    pue = cluster.pue or _known(files, "facility", "pue", "ratio", "pue")
    told = idle if cluster.accelerator.idle_w is None else None
    assumed = (*states, *((told,) if told else ()), node, network, pue)
    return Power(
        states=tuple(one.value for one in states),
        idle_share=idle.value,
        node_w=node_w,
        node_share=node_share,
        network_w=network.value,
        pue=pue.value,
        assumed=assumed,
    )


def rated_overhead(node: NodeSpec, part: Accelerator, origin: str) -> float | None:
    """Watts that a node may draw beside its devices; None where its file or the part's tells no power.

    Raises InputError where the node is rated lower than its devices.
    """
    if node.power is None or part.tdp_w is None:
        return None
    whole, devices = number(node.power.max, "w", origin=origin, key="node.power.max"), node.devices * part.tdp_w
    if whole < devices:
        expected = f"at least {devices:g} W, as the {node.devices} devices"
        raise InputError("less than its devices", origin=origin, key="node.power.max", value=whole, expected=expected)
    return whole - devices


def read_pue(figure: Figure, origin: str, key: str, source: str) -> Assumption:
    """A power usage effectiveness. Raises InputError for one that no site can have."""
    value = number(figure, "ratio", origin=origin, key=key)
    if not 1.0 <= value <= _WORST_PUE:
        raise InputError("not possible", origin=origin, key=key, value=value, expected="from 1 to 5, such as 1.15")
    return Assumption("pue", value, source)


_WORST_PUE = 5.0


def _node(cluster: Cluster, files: Sequence[PowerFile]) -> tuple[Assumption, float | None, float]:
    """What nodes draw beside their devices: the figure with its source, watts a device, share of the devices'."""
    measured = _first(files, "node", "per_device", "w", "node_w_per_device")
    if measured is not None:
        return measured, measured.value, 0.0
    if cluster.node_overhead_w is not None:
        share = _known(files, "node", "share_of_rated", "ratio", "node_w_per_device")
        watts = share.value * cluster.node_overhead_w / cluster.devices_per_node
        told = f"{share.value:.0%} of the node's rated power less its devices': {share.source}"
        return Assumption("node_w_per_device", watts, told), watts, 0.0
    share = _known(files, "node", "share_of_devices", "ratio", "node_share_of_devices")
    return share, None, share.value


def _network(cluster: Cluster, files: Sequence[PowerFile]) -> Assumption:
    """Watts of switches and transceivers a device, every port with one transceiver.

    A device's way out ends in one port of the innermost switches; each level above adds two for what goes up to it.
    """
    rate = _known(files, "network", "port_rate", "bytes_per_s", "").value
    port = _known(files, "network", "switch_port", "w", "network_w_per_device")
    optics = _known(files, "network", "optics", "w", "")
    levels = [level for level in cluster.levels if level.through_nic]
    ways = [level.bandwidth_bytes_per_s / rate for level in levels]
    ports = ways[0] + 2.0 * math.fsum(ways[1:]) if ways else 0.0
    watts = ports * (port.value + optics.value)
    told = f"{ports:.3g} ports of {port.value + optics.value:.3g} W: {port.source}; {optics.source}"
    return Assumption("network_w_per_device", watts, told if ports else "no network through cards")


def _known(files: Sequence[PowerFile], table: str, name: str, dimension: Dimension, told: str) -> Assumption:
    found = _first(files, table, name, dimension, told)
    if found is None:
        raise AssertionError(f"hardware_db/power/default.toml lacks {table}.{name}")
    return found


def _first(files: Sequence[PowerFile], table: str, name: str, dimension: Dimension, told: str) -> Assumption | None:
    """A figure of the first file that has it."""
    for file in files:
        figure = getattr(getattr(file, table), name)
        if isinstance(figure, Sourced):
            value = number(figure, dimension, origin=file.title, key=name)
            return Assumption(told, value, told_source(figure, file.sources))
    return None


@cache
def _files(architecture: str) -> tuple[PowerFile, ...]:
    """The architecture's file, where it has one, and the default."""
    from planner.hardware import database

    entries = [one for one in (architecture, "default") if one in database.names("power")]
    return tuple(database.load("power", one, PowerFile, "power", "", "architecture") for one in entries)
