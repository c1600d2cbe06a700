"""What a cluster's devices, nodes, network and cooling draw while a model is trained.

A figure is the cluster file's, else the architecture's in hardware_db/power, else the default's there. Each has
its source.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from planner.cluster.model.cluster import Cluster
from planner.cluster.model.spec import NodeSpec
from planner.errors import InputError
from planner.hardware import database
from planner.hardware.accelerator import Accelerator
from planner.hardware.figures import Assumption, Figure, FigureSource, find_assumption, parse_figure
from planner.units import Dimension

POWER_STATES = ("compute", "memory", "communication", "waiting")
"""What a device does: matrix products, memory-bound kernels, exposed communication, nothing."""


class StatePowerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A device's power in each state, as a share of the way from idle to rated power."""

    compute: Figure | None = None
    memory: Figure | None = None
    communication: Figure | None = None
    waiting: Figure | None = None


class IdlePowerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Idle power as a share of rated power, where the accelerator's file gives none."""

    share: Figure | None = None


class NodeOverheadSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a node draws besides its devices: host, NICs, fans, power supplies."""

    share_of_rated: Figure | None = None
    """Of the node's rated power less its devices'."""
    share_of_devices: Figure | None = None
    """Of its devices' energy, where the node's rated power is not given."""
    per_device: Figure | None = None
    """Watts, where they were measured."""


class NetworkPowerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Power of one switch port and of the transceiver in it; the port's rate."""

    port_rate: Figure | None = None
    switch_port: Figure | None = None
    optics: Figure | None = None


class FacilityPowerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Power usage effectiveness: all that a site draws for what its computers draw."""

    pue: Figure | None = None


class PowerFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of hardware_db/power: the default's is complete, an architecture's has what differs."""

    title: str
    states: StatePowerSpec = StatePowerSpec()
    idle: IdlePowerSpec = IdlePowerSpec()
    node: NodeOverheadSpec = NodeOverheadSpec()
    network: NetworkPowerSpec = NetworkPowerSpec()
    facility: FacilityPowerSpec = FacilityPowerSpec()
    sources: dict[str, FigureSource] = {}


@dataclass(frozen=True, slots=True)
class PowerModel:
    """All that energy depends on besides the plan and the device's rated and idle power.

    `state_shares`: power in each of POWER_STATES, as a share of the way from idle to rated power; `idle_share`: idle
    power as a share of rated power; `node_w_per_device`: what a node draws besides its devices, None: `node_share` of
    their energy; `network_w_per_device`: switches and transceivers; `pue`: what the site draws for what its computers
    draw. Powers in watts a device.
    """

    state_shares: tuple[float, ...]
    idle_share: float
    node_w_per_device: float | None
    node_share: float
    network_w_per_device: float
    pue: float
    assumptions: tuple[Assumption, ...]


def resolve_power(cluster: Cluster) -> PowerModel:
    """The figures of a cluster, each with its source."""
    files = database.load_architecture_files("power", cluster.accelerator.architecture, PowerFile)
    states = tuple(_get_assumption(files, "states", name, "ratio", f"{name}_power_share") for name in POWER_STATES)
    idle = _get_assumption(files, "idle", "share", "ratio", "idle_power_share")
    node, node_w, node_share = _resolve_node_power(cluster, files)
    network = _resolve_network_power(cluster, files)
    pue = cluster.pue or _get_assumption(files, "facility", "pue", "ratio", "pue")
    assumed_idle = (idle,) if cluster.accelerator.idle_w is None else ()
    return PowerModel(
        state_shares=tuple(state.value for state in states),
        idle_share=idle.value,
        node_w_per_device=node_w,
        node_share=node_share,
        network_w_per_device=network.value,
        pue=pue.value,
        assumptions=(*states, *assumed_idle, node, network, pue),
    )


def compute_rated_overhead_w(node: NodeSpec, accelerator: Accelerator) -> float | None:
    """Watts that a node may draw besides its devices; None where its file or the part's gives no power.

    Raises InputError where the node is rated lower than its devices.
    """
    if node.power is None or accelerator.tdp_w is None:
        return None
    key, devices_w = "node.power.max", node.devices * accelerator.tdp_w
    node_w = parse_figure(node.power.max, "w", key=key)
    if node_w < devices_w:
        expected = f"at least {devices_w:g} W, as the {node.devices} devices"
        raise InputError("less than the rated power of its devices", key=key, value=node_w, expected=expected)
    return node_w - devices_w


def parse_pue(figure: Figure, key: str, source: str) -> Assumption:
    """A power usage effectiveness. Raises InputError for one that no site can have."""
    value = parse_figure(figure, "ratio", key=key)
    if not 1.0 <= value <= 5.0:
        raise InputError("out of range", key=key, value=value, expected="from 1 to 5, such as 1.15")
    return Assumption("pue", value, source)


def _resolve_node_power(cluster: Cluster, files: Sequence[PowerFile]) -> tuple[Assumption, float | None, float]:
    """What nodes draw besides their devices: the figure with its source, watts a device, share of the devices'."""
    measured = find_assumption(files, "node", "per_device", "w", "node_w_per_device")
    if measured is not None:
        return measured, measured.value, 0.0
    if cluster.node_overhead_w is not None:
        share = _get_assumption(files, "node", "share_of_rated", "ratio", "node_w_per_device")
        watts = share.value * cluster.node_overhead_w / cluster.devices_per_node
        source_text = f"{share.value:.0%} of the node's rated power less its devices': {share.source}"
        return Assumption("node_w_per_device", watts, source_text), watts, 0.0
    share = _get_assumption(files, "node", "share_of_devices", "ratio", "node_share_of_devices")
    return share, None, share.value


def _resolve_network_power(cluster: Cluster, files: Sequence[PowerFile]) -> Assumption:
    """Watts of switches and transceivers a device, every port with one transceiver.

    A device's uplink ends in one port of the innermost switches; each level above adds two for what goes up to it.
    """
    rate = _get_assumption(files, "network", "port_rate", "bytes_per_s", "").value
    port = _get_assumption(files, "network", "switch_port", "w", "network_w_per_device")
    optics = _get_assumption(files, "network", "optics", "w", "")
    levels = [level for level in cluster.levels if level.through_nic]
    level_ports = [level.bandwidth_bytes_per_s / rate for level in levels]
    ports = level_ports[0] + 2.0 * math.fsum(level_ports[1:]) if level_ports else 0.0
    watts = ports * (port.value + optics.value)
    source_text = f"{ports:.3g} ports of {port.value + optics.value:.3g} W: {port.source}; {optics.source}"
    return Assumption("network_w_per_device", watts, source_text if ports else "no network through NICs")


def _get_assumption(
    files: Sequence[PowerFile], table: str, name: str, dimension: Dimension, assumption_name: str
) -> Assumption:
    assumption = find_assumption(files, table, name, dimension, assumption_name)
    if assumption is None:
        raise AssertionError(f"hardware_db/power/default.toml lacks {table}.{name}")
    return assumption
