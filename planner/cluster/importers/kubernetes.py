"""The nodes of a Kubernetes cluster, `kubectl get nodes -o json`: their labels state accelerators and places."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, replace

from planner.cluster.importers.imported_cluster import (
    HostPatterns,
    ParsedCluster,
    ParsedHost,
    ParsedLevel,
    ParsedLink,
    ParsedSwitch,
    assign_distinct_names,
    check_import_size,
    format_left_out,
)
from planner.decode import parse_mapping
from planner.errors import InputError

SCALE_UP_LABELS = (
    "network.topology.nvidia.com/accelerator",
    "accelerator.topograph.run/domain",
    "nvidia.com/gpu.clique",
)
"""Labels of the NVLink domain (NVIDIA topograph, docs/reference/node-labels.md, docs/engines/k8s.md)."""

SWITCH_LABEL_FAMILIES = (
    ("network.topology.nvidia.com/leaf", "network.topology.nvidia.com/spine", "network.topology.nvidia.com/core"),
    (
        "network.topology.nvidia.com/block",
        "network.topology.nvidia.com/spine",
        "network.topology.nvidia.com/datacenter",
    ),
    ("fabric.topograph.run/tier-0", "fabric.topograph.run/tier-1", "fabric.topograph.run/tier-2"),
    ("cloud.provider.com/topology-rack", "cloud.provider.com/topology-block"),
    ("cloud.google.com/gce-topology-subblock", "cloud.google.com/gce-topology-block"),
    (
        "topology.k8s.aws/network-node-layer-3",
        "topology.k8s.aws/network-node-layer-2",
        "topology.k8s.aws/network-node-layer-1",
    ),
    ("topology.kubernetes.io/zone",),
)
"""Families of labels of the switches above a node, the nearest switch first; the first family in use counts: those of
topograph (as above), Kueue (its page on topology-aware scheduling), the clouds, then zones."""

_PRODUCT_LABELS = ("nvidia.com/gpu.product", "amd.com/gpu.product-name", "cloud.google.com/gke-tpu-accelerator")
_COUNT_LABELS = ("nvidia.com/gpu.count", "cloud.google.com/gke-accelerator-count")
_RESOURCE_NAMES = ("nvidia.com/gpu", "amd.com/gpu", "google.com/tpu", "habana.ai/gaudi", "intel.com/gaudi")
_TPU_TOPOLOGY_LABEL = "cloud.google.com/gke-tpu-topology"
_MIG_PATTERN = re.compile(r"-MIG-.*$")


@dataclass(frozen=True, slots=True)
class _KubernetesNode:
    """The labels of a node: the host, its NVLink domain, the switches above it, the shape of its TPU slice."""

    host: ParsedHost
    scale_up_domain: str
    switch_labels: tuple[str, ...]
    slice_shape: str


def looks_like_kubernetes(text: str) -> bool:
    """Whether a JSON document has the form of Kubernetes objects."""
    return '"metadata"' in text or '"apiVersion"' in text[:10_000]


def read_kubernetes(text: str, host_patterns: HostPatterns) -> ParsedCluster:
    """Hosts with accelerators, and the switches that their labels name. Raises InputError."""
    document = parse_mapping(text, "json", "")
    items = document.get("items", [document])
    if not isinstance(items, list):
        raise InputError("contains no list of nodes", expected="the output of `kubectl get nodes -o json`")
    check_import_size(len(items) // 2, 0)  # half of them may have no accelerators
    tables = [_convert_table(item) for item in items]
    labels = [_convert_table(_convert_table(item.get("metadata")).get("labels")) for item in tables]
    family = next(
        (keys for keys in SWITCH_LABEL_FAMILIES if any(keys[0] in node_labels for node_labels in labels)), ()
    )
    nodes = [_read_node(item, item_labels, family) for item, item_labels in zip(tables, labels, strict=True)]
    kept_nodes = [node for node in nodes if node.host.devices != 0 and host_patterns.keep_host(node.host.name)]
    check_import_size(len(kept_nodes), 0)
    if not kept_nodes or not all(node.host.name for node in kept_nodes):
        problem = "a node has no name" if kept_nodes else "no node has accelerators"
        raise InputError(problem, expected="nodes with a name and labels such as nvidia.com/gpu.count")
    notes = format_left_out(len(nodes) - len(kept_nodes), "node", "without accelerators or of other names")
    names = assign_distinct_names(node.host.name for node in kept_nodes)
    if len(names) < len(kept_nodes):
        raise InputError("a node is named twice", expected="each node once")
    hosts = tuple(replace(node.host, name=names[node.host.name]) for node in kept_nodes)
    shapes = {node.slice_shape for node in kept_nodes}
    if shapes != {""}:
        return ParsedCluster(hosts, levels=_build_torus_levels(kept_nodes, shapes), notes=notes)
    links = _build_links(kept_nodes, names)
    switches = dict.fromkeys(vertex for link in links for vertex in (link.lower, link.upper))
    for host in hosts:
        switches.pop(host.name, None)
    if family:
        notes += (f"the network's levels are those of {', '.join(family)}",)
    return ParsedCluster(hosts, tuple(map(ParsedSwitch, switches)), tuple(links), notes=notes)


def _read_node(item: dict[str, object], labels: dict[str, object], family: tuple[str, ...]) -> _KubernetesNode:
    status, spec = _convert_table(item.get("status")), _convert_table(item.get("spec"))
    name = _convert_text(labels.get("kubernetes.io/hostname")) or _convert_text(
        _convert_table(item.get("metadata")).get("name")
    )
    product = next((_convert_text(labels[key]) for key in _PRODUCT_LABELS if key in labels), "")
    counts = [labels.get(key) for key in _COUNT_LABELS]
    for resources in (_convert_table(status.get("capacity")), _convert_table(status.get("allocatable"))):
        counts += [resources.get(key) for key in _RESOURCE_NAMES]
    device_counts = [int(count) for count in map(_convert_text, counts) if re.fullmatch(r"[0-9]{1,4}", count)]
    devices = device_counts[0] if device_counts else (None if product else 0)
    switch_labels = tuple(_convert_text(labels.get(key)) for key in family)
    scale_up = next((_convert_text(labels[key]) for key in SCALE_UP_LABELS if labels.get(key)), "")
    host = ParsedHost(name, devices, _MIG_PATTERN.sub("", product), _find_unavailable_reason(status, spec))
    slice_shape = _convert_text(labels.get(_TPU_TOPOLOGY_LABEL)) if devices else ""
    return _KubernetesNode(host, scale_up, switch_labels, slice_shape)


def _find_unavailable_reason(status: dict[str, object], spec: dict[str, object]) -> str:
    """Why a node is unavailable, or an empty text."""
    if spec.get("unschedulable") is True:
        return "unschedulable"
    conditions = status.get("conditions")
    for condition in conditions if isinstance(conditions, list) else []:
        condition_fields = _convert_table(condition)
        if condition_fields.get("type") == "Ready" and condition_fields.get("status") != "True":
            return "not ready"
    return ""


def _build_links(nodes: list[_KubernetesNode], names: dict[str, str]) -> list[ParsedLink]:
    """A link from each host to its NVLink domain and to the nearest switch, and from each switch to the next."""
    # labels repeat below different switches (two blocks may each have a rack1): the path identifies a switch
    paths_by_host = {node.host.name: _build_switch_path(node.switch_labels) for node in nodes}
    domains = {("nvlink", node.scale_up_domain) for node in nodes if node.scale_up_domain}
    all_paths = dict.fromkeys(
        [*domains, *(switch_path for host_path in paths_by_host.values() for switch_path in host_path)]
    )
    label_counts = Counter(switch_path[-1] for switch_path in all_paths)
    label_by_path = {
        switch_path: switch_path[-1] if label_counts[switch_path[-1]] == 1 else "-".join(switch_path)
        for switch_path in sorted(all_paths)
    }
    clean_names = assign_distinct_names(label_by_path.values(), taken_names=names.values())
    name_by_path = {switch_path: clean_names[label] for switch_path, label in label_by_path.items()}
    links: list[ParsedLink] = []
    for node in nodes:
        lower = names[node.host.name]
        if node.scale_up_domain:
            domain = name_by_path["nvlink", node.scale_up_domain]
            links.append(ParsedLink(lower, domain, link_count=None, scale_up=True))
        for switch_path in paths_by_host[node.host.name]:
            links.append(ParsedLink(lower, name_by_path[switch_path], link_count=None))
            lower = name_by_path[switch_path]
    return list(dict.fromkeys(links))


def _build_switch_path(switch_labels: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The switches above a node, the nearest first, each as the path of labels from the topmost down to it."""
    present_labels = [label for label in switch_labels if label]
    return [tuple(reversed(present_labels[index:])) for index in range(len(present_labels))]


def _build_torus_levels(nodes: list[_KubernetesNode], shapes: set[str]) -> tuple[ParsedLevel, ...]:
    """The levels of equal TPU slices: a torus, and the data-centre network where there are several slices."""
    shape = next(iter(shapes))
    if len(shapes) > 1 or not re.fullmatch(r"[0-9]{1,4}(x[0-9]{1,4}){1,3}", shape):
        expected = "the same gke-tpu-topology everywhere"
        raise InputError("slices have different shapes", value=", ".join(sorted(shapes)), expected=expected)
    sides = [int(side) for side in shape.split("x")]
    devices = {node.host.devices for node in nodes}
    devices_per_host = devices.pop() if len(devices) == 1 else None
    if (
        not devices_per_host
        or math.prod(sides) % devices_per_host
        or len(nodes) % (math.prod(sides) // devices_per_host or 1)
    ):
        raise InputError("the hosts do not make whole slices", value=shape, expected="every host of each slice")
    hosts_per_slice = math.prod(sides) // devices_per_host
    is_single_slice = len(nodes) == hosts_per_slice
    ici = ParsedLevel("ici", "torus", None if is_single_slice else hosts_per_slice, shape=tuple(sides))
    return (ici,) if is_single_slice else (ici, ParsedLevel("dcn", "fat-tree"))


def _convert_table(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _convert_text(value: object) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
