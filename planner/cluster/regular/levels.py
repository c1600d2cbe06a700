"""The levels of a fabric, as a regular cluster's file tells them: its node's own links, then what joins nodes."""

from __future__ import annotations

import math

from planner.cluster.model.cluster import Axes, Level
from planner.cluster.model.spec import ClusterSpec, LevelSpec, NodeSpec
from planner.errors import InputError
from planner.hardware.figures import number, positive


def switches_add(told: bool | None, topology: str, architecture: str) -> bool:
    """Whether a level's switches add: NVSwitches of the third generation on do, those of Hopper (NVLink SHARP)."""
    return topology == "nvswitch" and architecture.startswith(("hopper", "blackwell")) if told is None else told


def fabric_levels(
    spec: ClusterSpec, node: NodeSpec, architecture: str, per_node: int, nodes: int, origin: str
) -> tuple[Level, ...]:
    """The node's own link, then the fabric; the last one joins all. `architecture`: the accelerators'.

    Raises InputError for figures that make no sense, and for levels that do not fit each other.
    """
    levels = [_inside_of(spec, node, architecture, per_node, origin)]
    if nodes == 1:
        return tuple(levels)
    way = _way_out(node, origin)
    fabric = spec.fabric or (LevelSpec(name="fabric", latency=0.0),)
    for index, level in enumerate(fabric):
        key, last = f"fabric[{index}]", index == len(fabric) - 1
        extra = number(level.latency, "s", origin=origin, key=f"{key}.latency")
        through_nic = level.bandwidth is None
        if level.bandwidth is not None:
            share = positive(level.bandwidth, "bytes_per_s", origin=origin, key=f"{key}.bandwidth")
            share, step = share / level.oversubscription, levels[0].latency_s + extra
        else:
            way = _further(way, level, extra, origin)
            share, step = way
        joined = level.nodes * per_node if level.nodes and not last else 0
        axes = _axes(level, node.devices, origin, key)
        _check_place(level, levels, joined, per_node, last, origin, key)
        _check_torus(axes, joined, nodes, per_node, origin, key)
        adds = switches_add(level.in_network, "" if through_nic else level.topology, architecture)
        levels.append(Level(level.name, level.topology, joined, share, step, axes, through_nic, adds))
        if joined == 0 or joined >= nodes * per_node:
            break
    return tuple(levels)


def _inside_of(spec: ClusterSpec, node: NodeSpec, architecture: str, per_node: int, origin: str) -> Level:
    """The node's own link."""
    link = node.link
    bandwidth = positive(link.bandwidth, "bytes_per_s", origin=origin, key="node.link.bandwidth")
    latency = number(link.latency, "s", origin=origin, key="node.link.latency")
    # a torus goes on beyond the node: its axes are those of the fabric's first level
    axes = None
    if link.topology == "torus" and spec.fabric and spec.fabric[0].topology == "torus":
        axes = _axes(spec.fabric[0], node.devices, origin, "fabric[0]")
    elif link.topology == "torus" and link.shape:
        axes = _shaped(link.shape, True, 0, node.devices, origin, "node.link")
    adds = switches_add(link.in_network, link.topology, architecture)
    return Level("node", link.topology, per_node, bandwidth, latency, axes, in_network=adds)


_Way = tuple[float, float]
"""One device's share of the way out by network cards, bytes/s, and the latency of a step over it, s."""


def _way_out(node: NodeSpec, origin: str) -> _Way | None:
    """At the node's cards; None where it has none."""
    if node.nic is None:
        return None
    each = positive(node.nic.bandwidth, "bytes_per_s", origin=origin, key="node.nic.bandwidth")
    latency = number(node.nic.latency, "s", origin=origin, key="node.nic.latency")
    return each * node.nic.count / node.devices, latency


def _further(way: _Way | None, level: LevelSpec, extra_s: float, origin: str) -> _Way:
    """The way on through a level's switches. Raises InputError where there are no cards."""
    if way is None:
        raise InputError(
            "the nodes have no way out",
            origin=origin,
            key="node.nic",
            expected="a [node.nic] table, or a bandwidth on every fabric level",
        )
    share, latency = way
    return share / level.oversubscription, latency + extra_s


def _check_place(
    level: LevelSpec, below: list[Level], joined: int, per_node: int, last: bool, origin: str, key: str
) -> None:
    """Raises InputError for a level that joins no more than the one below, and a dragonfly+ with nothing to join."""
    if joined and joined <= below[-1].devices:
        expected = f"more than the level below ({below[-1].devices // per_node})"
        raise InputError("joins nothing", origin=origin, key=f"{key}.nodes", value=level.nodes, expected=expected)
    reached = any(one.through_nic for one in below) and level.bandwidth is None
    if level.topology == "dragonfly+" and not (reached and last):
        expected = "the last level, above one whose nodes are a group"
        raise InputError("out of place", origin=origin, key=f"{key}.topology", value="dragonfly+", expected=expected)


def _check_torus(axes: Axes | None, joined: int, nodes: int, per_node: int, origin: str, key: str) -> None:
    """Raises InputError where a single torus of a told shape has fewer devices than there are."""
    if axes is not None and axes.shape and not joined and nodes * per_node > math.prod(axes.shape):
        expected = f"at most {math.prod(axes.shape) // per_node} nodes, or a level that joins several"
        raise InputError("more than the torus has", origin=origin, key=f"{key}.shape", value=nodes, expected=expected)


def _axes(level: LevelSpec, per_node: int, origin: str, key: str) -> Axes | None:
    """A torus's axes; None for other levels. Raises InputError where shape and number of nodes do not agree."""
    if level.topology != "torus":
        return None
    if level.shape is None:
        return Axes(level.dims, (), _each(level.wrap, level.dims, origin, key), level.wrap_multiple)
    devices = (level.nodes or math.prod(level.shape) // per_node) * per_node
    return _shaped(level.shape, level.wrap, level.wrap_multiple, devices, origin, key)


def _shaped(
    shape: tuple[int, ...], wrap: bool | tuple[bool, ...], multiple: int, devices: int, origin: str, key: str
) -> Axes:
    """Axes of a torus whose shape is told, of so many devices. Raises InputError where the two do not agree."""
    if math.prod(shape) != devices:
        expected = f"axes whose product is {devices}"
        value = " x ".join(map(str, shape))
        raise InputError("not its devices", origin=origin, key=f"{key}.shape", value=value, expected=expected)
    return Axes(len(shape), shape, _each(wrap, len(shape), origin, key), multiple)


def _each(wrap: bool | tuple[bool, ...], dims: int, origin: str, key: str) -> tuple[bool, ...]:
    """Whether each axis is closed."""
    each = wrap if isinstance(wrap, tuple) else (wrap,) * dims
    if len(each) != dims:
        expected = f"true or false, or one of them for each of {dims} axes"
        raise InputError(
            "not one for each axis", origin=origin, key=f"{key}.wrap", value=list(each), expected=expected
        )
    return each
