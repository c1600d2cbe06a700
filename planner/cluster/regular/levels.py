"""The levels of a fabric, from a regular cluster's file: its node's own links, then what joins nodes."""

from __future__ import annotations

import math

from planner.cluster.model.cluster import FabricLevel, TorusAxes
from planner.cluster.model.spec import ClusterSpec, LevelSpec, NodeSpec
from planner.errors import InputError
from planner.hardware.figures import parse_figure, parse_positive_figure


def has_in_network_reduction(specified: bool | None, topology: str, architecture: str) -> bool:
    """Whether a level's switches add: NVSwitches of the third generation on do, those of Hopper (NVLink SHARP)."""
    if specified is not None:
        return specified
    return topology == "nvswitch" and architecture.startswith(("hopper", "blackwell"))


def build_fabric_levels(
    spec: ClusterSpec, node: NodeSpec, architecture: str, per_node: int, nodes: int
) -> tuple[FabricLevel, ...]:
    """The node's own link, then the fabric; the last one joins all. `architecture`: the accelerators'.

    Raises InputError for figures that make no sense, and for levels that do not fit each other.
    """
    levels = [_build_node_level(spec, node, architecture, per_node)]
    if nodes == 1:
        return tuple(levels)
    uplink = _resolve_uplink(node)
    fabric = spec.fabric or (LevelSpec(name="fabric", latency=0.0),)
    for index, level in enumerate(fabric):
        key, last = f"fabric[{index}]", index == len(fabric) - 1
        extra_latency_s = parse_figure(level.latency, "s", key=f"{key}.latency")
        through_nic = level.bandwidth is None
        if level.bandwidth is not None:
            share = parse_positive_figure(level.bandwidth, "bytes_per_s", key=f"{key}.bandwidth")
            share, step_latency_s = share / level.oversubscription, levels[0].latency_s + extra_latency_s
        else:
            uplink = _extend_uplink(uplink, level, extra_latency_s)
            share, step_latency_s = uplink
        group_devices = level.nodes * per_node if level.nodes and not last else 0
        axes = _resolve_torus_axes(level, node.devices, key)
        _check_level_order(level, levels, group_devices, per_node, last, key)
        _check_torus(axes, group_devices, nodes, per_node, key)
        has_reduction = has_in_network_reduction(
            level.in_network, "" if through_nic else level.topology, architecture
        )
        levels.append(
            FabricLevel(
                level.name, level.topology, group_devices, share, step_latency_s, axes, through_nic, has_reduction
            )
        )
        if group_devices == 0 or group_devices >= nodes * per_node:
            break
    return tuple(levels)


def _build_node_level(spec: ClusterSpec, node: NodeSpec, architecture: str, per_node: int) -> FabricLevel:
    """The node's own link."""
    link = node.link
    bandwidth = parse_positive_figure(link.bandwidth, "bytes_per_s", key="node.link.bandwidth")
    latency = parse_figure(link.latency, "s", key="node.link.latency")
    # a torus goes on beyond the node: its axes are those of the fabric's first level
    axes = None
    if link.topology == "torus" and spec.fabric and spec.fabric[0].topology == "torus":
        axes = _resolve_torus_axes(spec.fabric[0], node.devices, "fabric[0]")
    elif link.topology == "torus" and link.shape:
        axes = _build_shaped_axes(link.shape, True, 0, node.devices, "node.link")
    has_reduction = has_in_network_reduction(link.in_network, link.topology, architecture)
    return FabricLevel("node", link.topology, per_node, bandwidth, latency, axes, in_network=has_reduction)


_Uplink = tuple[float, float]
"""One device's share of the uplink by NICs, bytes/s, and the latency of a step over it, s."""


def _resolve_uplink(node: NodeSpec) -> _Uplink | None:
    """At the node's NICs; None where it has none."""
    if node.nic is None:
        return None
    nic_bytes_per_s = parse_positive_figure(node.nic.bandwidth, "bytes_per_s", key="node.nic.bandwidth")
    latency = parse_figure(node.nic.latency, "s", key="node.nic.latency")
    return nic_bytes_per_s * node.nic.count / node.devices, latency


def _extend_uplink(uplink: _Uplink | None, level: LevelSpec, extra_s: float) -> _Uplink:
    """The uplink through a level's switches. Raises InputError where there are no NICs."""
    if uplink is None:
        raise InputError(
            "nodes have no NIC", key="node.nic", expected="a [node.nic] table, or a bandwidth on every fabric level"
        )
    share, latency = uplink
    return share / level.oversubscription, latency + extra_s


def _check_level_order(
    level: LevelSpec, inner_levels: list[FabricLevel], group_devices: int, per_node: int, is_last: bool, key: str
) -> None:
    """Raises InputError for a level that joins no more than the one below, and a dragonfly+ with nothing to join."""
    if group_devices and group_devices <= inner_levels[-1].devices:
        expected = f"more than the level below ({inner_levels[-1].devices // per_node})"
        raise InputError("level adds no nodes", key=f"{key}.nodes", value=level.nodes, expected=expected)
    has_nic_level = any(inner_level.through_nic for inner_level in inner_levels) and level.bandwidth is None
    if level.topology == "dragonfly+" and not (has_nic_level and is_last):
        expected = "the last level, above one whose nodes are a group"
        raise InputError(
            "dragonfly+ is not possible here", key=f"{key}.topology", value="dragonfly+", expected=expected
        )


def _check_torus(axes: TorusAxes | None, group_devices: int, nodes: int, per_node: int, key: str) -> None:
    """Raises InputError where a single torus of a given shape has fewer devices than there are."""
    if axes is not None and axes.shape and not group_devices and nodes * per_node > math.prod(axes.shape):
        expected = f"at most {math.prod(axes.shape) // per_node} nodes, or a level that joins several"
        raise InputError("more nodes than the torus has", key=f"{key}.shape", value=nodes, expected=expected)


def _resolve_torus_axes(level: LevelSpec, per_node: int, key: str) -> TorusAxes | None:
    """A torus's axes; None for other levels. Raises InputError where shape and number of nodes do not agree."""
    if level.topology != "torus":
        return None
    if level.shape is None:
        return TorusAxes(level.dims, (), _resolve_wraps(level.wrap, level.dims, key), level.wrap_multiple)
    devices = (level.nodes or math.prod(level.shape) // per_node) * per_node
    return _build_shaped_axes(level.shape, level.wrap, level.wrap_multiple, devices, key)


def _build_shaped_axes(
    shape: tuple[int, ...], wrap: bool | tuple[bool, ...], wrap_multiple: int, devices: int, key: str
) -> TorusAxes:
    """Axes of a torus whose shape is given, with `devices` devices. Raises InputError where the two do not agree."""
    if math.prod(shape) != devices:
        expected = f"axes whose product is {devices}"
        value = " x ".join(map(str, shape))
        raise InputError("shape and number of devices differ", key=f"{key}.shape", value=value, expected=expected)
    return TorusAxes(len(shape), shape, _resolve_wraps(wrap, len(shape), key), wrap_multiple)


def _resolve_wraps(wrap: bool | tuple[bool, ...], dims: int, key: str) -> tuple[bool, ...]:
    """Whether each axis is closed."""
    axis_wraps = wrap if isinstance(wrap, tuple) else (wrap,) * dims
    if len(axis_wraps) != dims:
        expected = f"true or false, or one of them for each of {dims} axes"
        raise InputError("wrong number of values", key=f"{key}.wrap", value=list(axis_wraps), expected=expected)
    return axis_wraps
