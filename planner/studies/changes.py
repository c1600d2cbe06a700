"""Changes of the inputs of a plan as pure functions: from one cluster to another, and a scenario moved to it.

A figure of the cluster is named by a key (`accelerator.memory`, `fabric.leaf.bandwidth`); its change is an amount
with a unit, a factor (`2x`) or a percentage (`+20%`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from planner.cluster.build.power import resolve_power
from planner.cluster.model.cluster import Cluster, FabricLevel
from planner.cluster.network.build import build_network
from planner.cost.input_pipeline import read_input_supply
from planner.cost.scenario import Scenario, compute_runtime_reserve_bytes
from planner.errors import InputError, find_nearest_name
from planner.hardware.figures import parse_positive_figure
from planner.units import Dimension, parse_quantity

SCENARIO_KEYS: Mapping[str, str] = {
    "cluster": "cluster",
    "cluster.nodes": "nodes",
    "training.global_batch": "global_batch",
    "training.precision": "precision",
    "training.trainer": "trainer",
    "model.seq_length": "seq_length",
}
"""Keys that change the scenario instead of a figure of the hardware, and their options."""
PART_KEYS = ("accelerator", "node")
"""Keys that exchange a part of the cluster for another of hardware_db."""
_FACTOR_PATTERN = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*x", re.IGNORECASE)
_PERCENT_PATTERN = re.compile(r"([+-][0-9]+(?:\.[0-9]+)?)\s*%")
_RELATIVE_FORMS = "a factor such as 2x, or a percentage such as +20%"
_EXAMPLE_AMOUNTS: dict[Dimension, str] = {
    "bytes": "141GiB",
    "bytes_per_s": "800Gb/s",
    "s": "1us",
    "flops": "2PFLOP/s",
    "w": "1kW",
    "usd": "2.5USD",
}


ClusterPartName = Literal["accelerator", "host"]


@dataclass(frozen=True)
class ClusterFigure:
    """One figure of a cluster: `read` gives its value (None: not known), `write` the cluster with another value."""

    dimension: Dimension
    read: Callable[[Cluster], float | None]
    write: Callable[[Cluster, float], Cluster]


@dataclass(frozen=True)
class InputChange:
    """A change of one figure or option. `given`: the user's text; values: SI numbers, or the name of a precision."""

    key: str
    given: str
    dimension: Dimension | None
    before: float | str | None
    after: float | str


def rebind_scenario(scenario: Scenario, cluster: Cluster) -> Scenario:
    """The scenario on another cluster, with all choices kept."""
    accelerator, calibration = cluster.accelerator, scenario.calibration
    network = build_network(
        cluster, link_efficiency=calibration.link_efficiency, nic_efficiency=calibration.nic_efficiency
    )
    rebound_scenario = replace(
        scenario,
        accelerator=accelerator,
        devices=cluster.devices,
        network=network,
        host=cluster.host,
        devices_per_host=cluster.devices_per_node,
        input_supply=read_input_supply(cluster),
        power=resolve_power(cluster),
    )
    if accelerator.usd_per_hour != scenario.accelerator.usd_per_hour:
        rebound_scenario = replace(rebound_scenario, usd_per_device_hour=accelerator.usd_per_hour or 0.0)
    reserve_bytes = compute_runtime_reserve_bytes(accelerator)
    if reserve_bytes != compute_runtime_reserve_bytes(scenario.accelerator):
        rebound_scenario = replace(rebound_scenario, runtime_reserve_bytes=reserve_bytes)
    return rebound_scenario


def scale_peaks(cluster: Cluster, factor: float) -> Cluster:
    """The cluster with the peaks of all precisions of its accelerators multiplied by a factor."""
    peak_flops = {precision: peak * factor for precision, peak in cluster.accelerator.peak_flops.items()}
    return _replace_in_part(cluster, "accelerator", "peak_flops", peak_flops)


def scale_part(cluster: Cluster, part: ClusterPartName, attribute: str, factor: float) -> Cluster:
    """The cluster with one figure of its accelerators or hosts times a factor; unchanged without such a part."""
    old = getattr(cluster, part)
    return cluster if old is None else _replace_in_part(cluster, part, attribute, getattr(old, attribute) * factor)


def scale_levels(cluster: Cluster, attribute: str, factor: float, *, through_nic: bool) -> Cluster:
    """The cluster with bandwidth or latency of all levels through NICs, or of all others, times a factor."""
    return _replace_levels(
        cluster, lambda level: level.through_nic == through_nic, attribute, lambda old: old * factor
    )


_BANDWIDTH, _LATENCY = "bandwidth_bytes_per_s", "latency_s"
HARDWARE_SCALES: Mapping[str, Callable[[Cluster, float], Cluster]] = {
    "peak": scale_peaks,
    "memory_bandwidth": lambda c, by: scale_part(c, "accelerator", "memory_bandwidth_bytes_per_s", by),
    "link_bandwidth": lambda c, by: scale_levels(c, _BANDWIDTH, by, through_nic=False),
    "network_bandwidth": lambda c, by: scale_levels(c, _BANDWIDTH, by, through_nic=True),
    "link_latency": lambda c, by: scale_levels(c, _LATENCY, by, through_nic=False),
    "network_latency": lambda c, by: scale_levels(c, _LATENCY, by, through_nic=True),
    "host_link": lambda c, by: scale_part(c, "host", "link_bytes_per_s", by),
    "host_bandwidth": lambda c, by: scale_part(c, "host", "memory_bandwidth_bytes_per_s", by),
}
"""The hardware figures that a step's time can depend on, as functions that multiply each by a factor."""


def _replace_in_part(cluster: Cluster, part: ClusterPartName, attribute: str, value: object) -> Cluster:
    """The cluster with another value of one attribute of a part; unchanged where the part is not described."""
    old = getattr(cluster, part)
    return cluster if old is None else replace(cluster, **{part: replace(old, **{attribute: value})})


def _replace_levels(
    cluster: Cluster,
    is_selected: Callable[[FabricLevel], bool],
    attribute: str,
    change_value: Callable[[float], float],
) -> Cluster:
    def change_level(level: FabricLevel) -> FabricLevel:
        new = {attribute: change_value(getattr(level, attribute))}
        return replace(level, **new) if is_selected(level) else level  # type: ignore[arg-type]

    return replace(cluster, levels=tuple(change_level(level) for level in cluster.levels))


def build_cluster_figures(cluster: Cluster, precision: str) -> dict[str, ClusterFigure]:
    """The figures of this cluster by key. `accelerator.peak` is that of `precision`; the others change with it."""
    figures_by_key = {
        "accelerator.memory": _build_part_figure("accelerator", "memory_bytes", "bytes"),
        "accelerator.memory_bandwidth": _build_part_figure(
            "accelerator", "memory_bandwidth_bytes_per_s", "bytes_per_s"
        ),
        "accelerator.peak": ClusterFigure(
            "flops", lambda c: c.accelerator.get_peak_flops(precision), _build_peaks_writer(precision)
        ),
        **{
            f"accelerator.peak.{number_format}": _build_peak_figure(number_format)
            for number_format in cluster.accelerator.peak_flops
        },
        "accelerator.power": _build_part_figure("accelerator", "tdp_w", "w"),
        "accelerator.price": _build_part_figure("accelerator", "usd_per_hour", "usd"),
        "node.link.bandwidth": _build_level_figure(cluster.levels[0].name, "bandwidth"),
        "node.link.latency": _build_level_figure(cluster.levels[0].name, "latency"),
    }
    if any(level.through_nic for level in cluster.levels):
        figures_by_key |= {
            "fabric.bandwidth": _build_network_figure("bandwidth"),
            "fabric.latency": _build_network_figure("latency"),
        }
    for level in cluster.levels[1:]:
        figures_by_key |= {
            f"fabric.{level.name}.{name}": _build_level_figure(level.name, name) for name in ("bandwidth", "latency")
        }
    if cluster.host is not None:
        figures_by_key |= {
            "host.memory": _build_part_figure("host", "memory_bytes", "bytes"),
            "host.link": _build_part_figure("host", "link_bytes_per_s", "bytes_per_s"),
            "host.bandwidth": _build_part_figure("host", "memory_bandwidth_bytes_per_s", "bytes_per_s"),
        }
    return figures_by_key


def _build_part_figure(part: ClusterPartName, attribute: str, dimension: Dimension) -> ClusterFigure:
    return ClusterFigure(
        dimension,
        lambda c: getattr(getattr(c, part), attribute),
        lambda c, value: _replace_in_part(c, part, attribute, value),
    )


def _build_peaks_writer(precision: str) -> Callable[[Cluster, float], Cluster]:
    """Set the peak of `precision`, and scale all other peaks in proportion."""
    return lambda c, value: scale_peaks(c, value / c.accelerator.get_peak_flops(precision))


def _build_peak_figure(precision: str) -> ClusterFigure:
    return ClusterFigure(
        "flops",
        lambda c: c.accelerator.peak_flops[precision],
        lambda c, value: _replace_in_part(
            c, "accelerator", "peak_flops", {**c.accelerator.peak_flops, precision: value}
        ),
    )


_LEVEL_ATTRIBUTES: dict[str, tuple[Dimension, str]] = {
    "bandwidth": ("bytes_per_s", _BANDWIDTH),
    "latency": ("s", _LATENCY),
}


def _build_level_figure(name: str, quantity: str) -> ClusterFigure:
    """A figure of one level: bandwidth per device, or latency of a message through it."""
    dimension, attribute = _LEVEL_ATTRIBUTES[quantity]
    return ClusterFigure(
        dimension,
        lambda c: next(getattr(level, attribute) for level in c.levels if level.name == name),
        lambda c, value: _replace_levels(c, lambda level: level.name == name, attribute, lambda _: value),
    )


def _build_network_figure(quantity: str) -> ClusterFigure:
    """A figure of all levels through NICs: the value is that of the innermost, the others keep their proportion."""
    dimension, attribute = _LEVEL_ATTRIBUTES[quantity]

    def read(cluster: Cluster) -> float:
        return next(float(getattr(level, attribute)) for level in cluster.levels if level.through_nic)

    def write(cluster: Cluster, value: float) -> Cluster:
        old = read(cluster)
        return _replace_levels(
            cluster,
            lambda level: level.through_nic,
            attribute,
            lambda level_value: level_value * (value / old) if old else value,
        )

    return ClusterFigure(dimension, read, write)


def parse_changes(texts: list[str]) -> list[tuple[str, str]]:
    """Parse `KEY=VALUE` texts into pairs, in order. Raises InputError for other texts and for duplicate keys."""
    pairs: list[tuple[str, str]] = []
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise InputError("not KEY=VALUE", key="--set", value=text, expected="such as fabric.bandwidth=2x")
        if any(key == earlier_key for earlier_key, _ in pairs):
            raise InputError("set twice", origin="--set", key=key, value=value, expected="each key once")
        pairs.append((key, value))
    return pairs


def check_change_key(key: str, cluster: Cluster, precision: str) -> None:
    """Raise InputError, with the nearest name, for a key that neither the scenario nor this cluster has."""
    known_keys = [*PART_KEYS, *build_cluster_figures(cluster, precision), *SCENARIO_KEYS]
    if key not in known_keys:
        common_keys = ("fabric.bandwidth", "fabric.latency", "host.memory", "host.link", "host.bandwidth")
        problem = "this cluster has no such figure" if key in common_keys else "unknown key"
        expected = f"one of {', '.join(known_keys)}"
        suggestion = "" if key in common_keys else find_nearest_name(key, known_keys)
        raise InputError(problem, origin="--set", key=key, expected=expected, suggestion=suggestion)


def apply_cluster_change(cluster: Cluster, key: str, text: str, precision: str) -> tuple[Cluster, InputChange]:
    """The cluster with one figure changed, and the change. Raises InputError naming key and value."""
    figure = build_cluster_figures(cluster, precision)[key]
    before = figure.read(cluster)
    after = _compute_changed_value(text, before, figure.dimension, key)
    return figure.write(cluster, after), InputChange(key, text, figure.dimension, before, after)


def apply_option_change(key: str, text: str, before: int) -> str:
    """The new value of an option with a whole number: the text itself, or `before` multiplied by a factor."""
    factor = _parse_factor(text)
    if factor is None:
        return text
    after = before * factor
    if abs(after - round(after)) > 1e-9 * after or round(after) < 1:
        expected = f"a factor that gives a whole number from {before:,}"
        raise InputError("not a whole number", origin="--set", key=key, value=text, expected=expected)
    return str(round(after))


def _parse_factor(text: str) -> float | None:
    """The factor of a text such as 2x or +20%; None where it is an amount."""
    times, percent = _FACTOR_PATTERN.fullmatch(text), _PERCENT_PATTERN.fullmatch(text)
    if times:
        return float(times[1])
    return 1.0 + float(percent[1]) / 100 if percent else None


def _compute_changed_value(text: str, before: float | None, dimension: Dimension, key: str) -> float:
    """The figure's new value in SI; it must be above zero unless it is a time."""
    factor = _parse_factor(text)
    if factor is not None and before is None:
        example = _EXAMPLE_AMOUNTS[dimension]
        raise InputError(
            "the current value is not known",
            origin="--set",
            key=key,
            value=text,
            expected=f"an amount such as {example}",
        )
    after = _parse_amount(text, dimension, key) if factor is None else (before or 0.0) * factor
    if after == 0.0 and dimension == "s":
        return after
    try:
        return parse_positive_figure(after, dimension, origin="", key="")
    except InputError as error:
        raise InputError(error.problem, origin="--set", key=key, value=text, expected=error.expected) from None


def _parse_amount(text: str, dimension: Dimension, key: str) -> float:
    """Parse an amount with a unit. Raises InputError; its message names factors and percentages too."""
    try:
        return parse_quantity(text, dimension, allow_bare=False)
    except InputError as error:
        expected = f"an amount such as {_EXAMPLE_AMOUNTS[dimension]}, {_RELATIVE_FORMS}"
        raise InputError(error.problem, origin="--set", key=key, value=text, expected=expected) from None
