"""Changes of what a run is given, as pure functions: from a cluster to another, and a question bound to it anew.

A figure of the cluster is named by a key (`accelerator.memory`, `fabric.leaf.bandwidth`); its change is an amount
with a unit, a factor (`2x`) or a percentage (`+20%`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from planner.cluster.build.power import resolve_power
from planner.cluster.model.cluster import Cluster, Level
from planner.cluster.network.build import build_network
from planner.cost.scenario import Training, reserved_bytes
from planner.errors import InputError, find_nearest_name
from planner.hardware.accelerator import Accelerator
from planner.hardware.figures import positive
from planner.units import Dimension, parse_quantity

QUESTIONS: Mapping[str, str] = {
    "cluster.nodes": "nodes",
    "training.global_batch": "global_batch",
    "training.precision": "precision",
    "model.seq_length": "seq_length",
}
"""Keys of what is asked rather than of the hardware, and the options that ask it."""

_FACTOR = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*x", re.IGNORECASE)
_PERCENT = re.compile(r"([+-][0-9]+(?:\.[0-9]+)?)\s*%")
_WAYS = "a factor such as 2x, or a percentage such as +20%"
_EXAMPLES: dict[Dimension, str] = {
    "bytes": "141GiB",
    "bytes_per_s": "800Gb/s",
    "s": "1us",
    "flops": "2PFLOP/s",
    "w": "1kW",
    "usd": "2.5USD",
}


@dataclass(frozen=True)
class Figure:
    """One figure of a cluster: as it is (None: not known), and the cluster with another in its place."""

    dimension: Dimension
    read: Callable[[Cluster], float | None]
    write: Callable[[Cluster, float], Cluster]


@dataclass(frozen=True)
class Change:
    """What was done to one figure or option: `given` as the user wrote it; SI numbers, or a name of a format."""

    key: str
    given: str
    dimension: Dimension | None
    before: float | str | None
    after: float | str


def rebound(training: Training, cluster: Cluster) -> Training:
    """The question on another cluster, everything that was chosen kept."""
    part, fitted = cluster.accelerator, training.calibration
    network = build_network(cluster, link_efficiency=fitted.link_efficiency, nic_efficiency=fitted.nic_efficiency)
    moved = replace(
        training,
        accelerator=part,
        devices=cluster.devices,
        network=network,
        host=cluster.host,
        devices_per_host=cluster.devices_per_node,
        power=resolve_power(cluster),
    )
    if part.usd_per_hour != training.accelerator.usd_per_hour:
        moved = replace(moved, usd_per_device_hour=part.usd_per_hour or 0.0)
    if part.memory_bytes != training.accelerator.memory_bytes:
        moved = replace(moved, reserve_bytes=reserved_bytes(part.memory_bytes))
    return moved


def scaled_accelerator(cluster: Cluster, name: str, factor: float) -> Cluster:
    """The cluster with one figure of its accelerators times a factor; peaks all together."""
    part = cluster.accelerator
    if name == "peak_flops":
        return _with_part(cluster, peak_flops={one: peak * factor for one, peak in part.peak_flops.items()})
    return _with_part(cluster, **{name: getattr(part, name) * factor})


def scaled_levels(cluster: Cluster, name: str, factor: float, *, nic: bool) -> Cluster:
    """The cluster with bandwidth or latency of all levels through network cards, or of all others, times a factor."""
    return _with_levels(cluster, lambda level: level.through_nic == nic, name, lambda old: old * factor)


def scaled_host(cluster: Cluster, name: str, factor: float) -> Cluster:
    """The cluster with one figure of its hosts times a factor; the same where nothing is known of them."""
    host = cluster.host
    return cluster if host is None else replace(cluster, host=replace(host, **{name: getattr(host, name) * factor}))


_BANDWIDTH, _LATENCY = "bandwidth_bytes_per_s", "latency_s"
SCALES: Mapping[str, Callable[[Cluster, float], Cluster]] = {
    "peak": lambda c, by: scaled_accelerator(c, "peak_flops", by),
    "memory_bandwidth": lambda c, by: scaled_accelerator(c, "memory_bandwidth_bytes_per_s", by),
    "link_bandwidth": lambda c, by: scaled_levels(c, _BANDWIDTH, by, nic=False),
    "network_bandwidth": lambda c, by: scaled_levels(c, _BANDWIDTH, by, nic=True),
    "link_latency": lambda c, by: scaled_levels(c, _LATENCY, by, nic=False),
    "network_latency": lambda c, by: scaled_levels(c, _LATENCY, by, nic=True),
    "host_link": lambda c, by: scaled_host(c, "link_bytes_per_s", by),
    "host_bandwidth": lambda c, by: scaled_host(c, "memory_bandwidth_bytes_per_s", by),
}
"""What of the hardware a step's time can depend on, each times a factor."""


def _with_part(cluster: Cluster, **changes: object) -> Cluster:
    part: Accelerator = replace(cluster.accelerator, **changes)  # type: ignore[arg-type]
    return replace(cluster, accelerator=part)


def _with_levels(
    cluster: Cluster, chosen: Callable[[Level], bool], name: str, change: Callable[[float], float]
) -> Cluster:
    def changed(level: Level) -> Level:
        new = {name: change(getattr(level, name))}
        return replace(level, **new) if chosen(level) else level  # type: ignore[arg-type]

    return replace(cluster, levels=tuple(changed(level) for level in cluster.levels))


def figures(cluster: Cluster, precision: str) -> dict[str, Figure]:
    """The figures that this cluster has, by key. An amount for all peaks is that of `precision`."""
    found = {
        "accelerator.memory": _of_part("bytes", "memory_bytes"),
        "accelerator.memory_bandwidth": _of_part("bytes_per_s", "memory_bandwidth_bytes_per_s"),
        "accelerator.peak": Figure("flops", lambda c: c.accelerator.peak(precision), _peaks(precision)),
        **{f"accelerator.peak.{one}": _peak(one) for one in cluster.accelerator.peak_flops},
        "accelerator.power": _of_part("w", "tdp_w"),
        "accelerator.price": _of_part("usd", "usd_per_hour"),
        "node.link.bandwidth": _of_level(cluster.levels[0].name, "bandwidth"),
        "node.link.latency": _of_level(cluster.levels[0].name, "latency"),
    }
    if any(level.through_nic for level in cluster.levels):
        found |= {"fabric.bandwidth": _of_network("bandwidth"), "fabric.latency": _of_network("latency")}
    for level in cluster.levels[1:]:
        found |= {f"fabric.{level.name}.{name}": _of_level(level.name, name) for name in ("bandwidth", "latency")}
    if cluster.host is not None:
        found |= {
            "host.memory": _of_host("bytes", "memory_bytes"),
            "host.link": _of_host("bytes_per_s", "link_bytes_per_s"),
            "host.bandwidth": _of_host("bytes_per_s", "memory_bandwidth_bytes_per_s"),
        }
    return found


def _of_part(dimension: Dimension, name: str) -> Figure:
    return Figure(dimension, lambda c: getattr(c.accelerator, name), lambda c, value: _with_part(c, **{name: value}))


def _peaks(precision: str) -> Callable[[Cluster, float], Cluster]:
    """All peaks in proportion, that of `precision` as given."""
    return lambda c, value: scaled_accelerator(c, "peak_flops", value / c.accelerator.peak(precision))


def _peak(precision: str) -> Figure:
    return Figure(
        "flops",
        lambda c: c.accelerator.peak_flops[precision],
        lambda c, value: _with_part(c, peak_flops={**c.accelerator.peak_flops, precision: value}),
    )


_LEVEL: dict[str, tuple[Dimension, str]] = {"bandwidth": ("bytes_per_s", _BANDWIDTH), "latency": ("s", _LATENCY)}


def _of_level(name: str, what: str) -> Figure:
    """One level's own: a device's share of its bandwidth, or the time of a step through it."""
    dimension, attribute = _LEVEL[what]
    return Figure(
        dimension,
        lambda c: next(getattr(level, attribute) for level in c.levels if level.name == name),
        lambda c, value: _with_levels(c, lambda level: level.name == name, attribute, lambda _: value),
    )


def _of_network(what: str) -> Figure:
    """All levels through network cards: an amount is that of the innermost, the others keep their proportion."""
    dimension, attribute = _LEVEL[what]

    def read(cluster: Cluster) -> float:
        return next(float(getattr(level, attribute)) for level in cluster.levels if level.through_nic)

    def write(cluster: Cluster, value: float) -> Cluster:
        old = read(cluster)
        return _with_levels(
            cluster, lambda level: level.through_nic, attribute, lambda one: one * (value / old) if old else value
        )

    return Figure(dimension, read, write)


def _of_host(dimension: Dimension, name: str) -> Figure:
    return Figure(
        dimension,
        lambda c: getattr(c.host, name),
        lambda c, value: replace(c, host=replace(c.host, **{name: value})) if c.host else c,
    )


def read_changes(texts: list[str]) -> list[tuple[str, str]]:
    """`KEY=VALUE` texts as pairs, in order. Raises InputError for another form and a key that comes twice."""
    pairs: list[tuple[str, str]] = []
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise InputError("not KEY=VALUE", key="--set", value=text, expected="such as fabric.bandwidth=2x")
        if any(key == other for other, _ in pairs):
            raise InputError("set twice", origin="--set", key=key, value=value, expected="each key once")
        pairs.append((key, value))
    return pairs


def check_key(key: str, cluster: Cluster, precision: str) -> None:
    """Raises InputError with the nearest name for a key that neither the question nor this cluster has."""
    known = [*figures(cluster, precision), *QUESTIONS]
    if key not in known:
        usual = ("fabric.bandwidth", "fabric.latency", "host.memory", "host.link", "host.bandwidth")
        problem = "this cluster has no such figure" if key in usual else "unknown key"
        expected = f"one of {', '.join(known)}"
        suggestion = "" if key in usual else find_nearest_name(key, known)
        raise InputError(problem, origin="--set", key=key, expected=expected, suggestion=suggestion)


def changed_cluster(cluster: Cluster, key: str, text: str, precision: str) -> tuple[Cluster, Change]:
    """The cluster with one figure changed, and what that did. Raises InputError naming key and value."""
    figure = figures(cluster, precision)[key]
    before = figure.read(cluster)
    after = _amount(text, before, figure.dimension, key)
    return figure.write(cluster, after), Change(key, text, figure.dimension, before, after)


def changed_option(key: str, text: str, before: int) -> str:
    """What to ask in place of a whole number: the text as it is, or the number that a factor makes of `before`."""
    factor = _factor(text)
    if factor is None:
        return text
    after = before * factor
    if abs(after - round(after)) > 1e-9 * after or round(after) < 1:
        expected = f"what makes a whole number of {before:,}"
        raise InputError("not a whole number", origin="--set", key=key, value=text, expected=expected)
    return str(round(after))


def _factor(text: str) -> float | None:
    """The factor that a text names; None where it is an amount."""
    times, percent = _FACTOR.fullmatch(text), _PERCENT.fullmatch(text)
    if times:
        return float(times[1])
    return 1.0 + float(percent[1]) / 100 if percent else None


def _amount(text: str, before: float | None, dimension: Dimension, key: str) -> float:
    """The figure's new value in SI: possible, and above zero unless it is a time."""
    factor = _factor(text)
    if factor is not None and before is None:
        example = _EXAMPLES[dimension]
        raise InputError(
            "no figure is known of it", origin="--set", key=key, value=text, expected=f"an amount such as {example}"
        )
    after = _read(text, dimension, key) if factor is None else (before or 0.0) * factor
    if after == 0.0 and dimension == "s":
        return after
    try:
        return positive(after, dimension, origin="", key="")
    except InputError as error:
        raise InputError(error.problem, origin="--set", key=key, value=text, expected=error.expected) from None


def _read(text: str, dimension: Dimension, key: str) -> float:
    """An amount with its unit. Raises InputError that tells of factors and percentages too."""
    try:
        return parse_quantity(text, dimension, allow_bare=False)
    except InputError as error:
        expected = f"an amount such as {_EXAMPLES[dimension]}, {_WAYS}"
        raise InputError(error.problem, origin="--set", key=key, value=text, expected=expected) from None
