"""The nodes of a Kubernetes cluster, `kubectl get nodes -o json`: their labels tell accelerators and places."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from planner.cluster.importers.imported_cluster import (
    Found,
    FoundHost,
    FoundLevel,
    FoundLink,
    FoundSwitch,
    HostPatterns,
    broken,
    check_size,
    distinct,
)
from planner.decode import parse_mapping
from planner.units import format_counted_noun

SCALE_UP = (
    "network.topology.nvidia.com/accelerator",
    "accelerator.topograph.run/domain",
    "nvidia.com/gpu.clique",
)
"""Labels of the NVLink domain (NVIDIA topograph, docs/reference/node-labels.md, docs/engines/k8s.md)."""

PLACES = (
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
"""Labels of the switches above a node, the nearest first; the first family that a cluster has is taken. Topograph's
(as above), Kueue's (its page on topology-aware scheduling), the clouds' own, then zones."""

_PRODUCTS = ("nvidia.com/gpu.product", "amd.com/gpu.product-name", "cloud.google.com/gke-tpu-accelerator")
_COUNTS = ("nvidia.com/gpu.count", "cloud.google.com/gke-accelerator-count")
_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu", "google.com/tpu", "habana.ai/gaudi", "intel.com/gaudi")
_TPU_TOPOLOGY = "cloud.google.com/gke-tpu-topology"
_MIG = re.compile(r"-MIG-.*$")


@dataclass(frozen=True, slots=True)
class _Node:
    """What one node's labels tell: the host, its NVLink domain, the switches above it, the shape of its TPU slice."""

    host: FoundHost
    scale_up: str
    places: tuple[str, ...]
    slice_shape: str


def looks_like_kubernetes(text: str) -> bool:
    """Whether a JSON document is of Kubernetes."""
    return '"metadata"' in text or '"apiVersion"' in text[:10_000]


def read_kubernetes(text: str, origin: str, hosts: HostPatterns) -> Found:
    """Hosts with accelerators, and the switches that their labels name. Raises InputError."""
    document = parse_mapping(text, "json", origin)
    items = document.get("items", [document])
    if not isinstance(items, list):
        raise broken("has no list of nodes", origin, expected="the output of `kubectl get nodes -o json`")
    check_size(len(items) // 2, 0, origin)  # half of them may have no accelerators
    tables = [_table(item) for item in items]
    labels = [_table(_table(item.get("metadata")).get("labels")) for item in tables]
    family = next((keys for keys in PLACES if any(keys[0] in one for one in labels)), ())
    nodes = [_node(item, told, family) for item, told in zip(tables, labels, strict=True)]
    kept = [node for node in nodes if node.host.devices != 0 and (not hosts or hosts.match(node.host.name))]
    check_size(len(kept), 0, origin)
    if not kept or not all(node.host.name for node in kept):
        problem = "has a node without a name" if kept else "has no node with accelerators"
        raise broken(problem, origin, expected="nodes with a name and labels such as nvidia.com/gpu.count")
    others = len(nodes) - len(kept)
    notes = (
        [f"left out: {format_counted_noun(others, 'node')} without accelerators or of other names"] if others else []
    )
    names = distinct(node.host.name for node in kept)
    if len(names) < len(kept):
        raise broken("names a node twice", origin, expected="each node once")
    found = [FoundHost(names[n.host.name], n.host.devices, n.host.part, n.host.gone) for n in kept]
    shapes = {node.slice_shape for node in kept}
    if shapes != {""}:
        return Found(tuple(found), levels=_torus(kept, shapes, origin), notes=tuple(notes))
    links = _links(kept, names)
    switches = dict.fromkeys(end for link in links for end in (link.lower, link.upper) if end not in names.values())
    if family:
        notes.append(f"the network's levels are those of {', '.join(family)}")
    return Found(tuple(found), tuple(FoundSwitch(name) for name in switches), tuple(links), notes=tuple(notes))


def _node(item: dict[str, object], labels: dict[str, object], family: tuple[str, ...]) -> _Node:
    status, spec = _table(item.get("status")), _table(item.get("spec"))
    name = _text(labels.get("kubernetes.io/hostname")) or _text(_table(item.get("metadata")).get("name"))
    product = next((_text(labels[key]) for key in _PRODUCTS if key in labels), "")
    counts = [labels.get(key) for key in _COUNTS]
    for resources in (_table(status.get("capacity")), _table(status.get("allocatable"))):
        counts += [resources.get(key) for key in _RESOURCES]
    told = [int(count) for count in map(_text, counts) if re.fullmatch(r"[0-9]{1,4}", count)]
    devices = told[0] if told else (None if product else 0)
    places = tuple(_text(labels.get(key)) for key in family)
    scale_up = next((_text(labels[key]) for key in SCALE_UP if labels.get(key)), "")
    host = FoundHost(name, devices, _MIG.sub("", product), _gone(status, spec))
    return _Node(host, scale_up, places, _text(labels.get(_TPU_TOPOLOGY)) if devices else "")


def _gone(status: dict[str, object], spec: dict[str, object]) -> str:
    """Why nothing runs on a node, or an empty text."""
    if spec.get("unschedulable") is True:
        return "unschedulable"
    conditions = status.get("conditions")
    for condition in conditions if isinstance(conditions, list) else []:
        one = _table(condition)
        if one.get("type") == "Ready" and one.get("status") != "True":
            return "not ready"
    return ""


def _links(nodes: list[_Node], names: dict[str, str]) -> list[FoundLink]:
    """A link from each host to its NVLink domain and to the nearest switch, and from each switch to the next."""
    # a value tells a place only together with those above it: two blocks may each have a rack1
    paths = {node.host.name: _path(node.places) for node in nodes}
    domains = {("nvlink", node.scale_up) for node in nodes if node.scale_up}
    places = dict.fromkeys([*domains, *(place for path in paths.values() for place in path)])
    count: dict[str, int] = {}
    for place in places:
        count[place[-1]] = count.get(place[-1], 0) + 1
    told = {place: place[-1] if count[place[-1]] == 1 else "-".join(place) for place in sorted(places)}
    clean = distinct(told.values(), taken=names.values())
    links: dict[FoundLink, None] = {}
    for node in nodes:
        host = names[node.host.name]
        if node.scale_up:
            links[FoundLink(host, clean[told["nvlink", node.scale_up]], cables=None, scale_up=True)] = None
        below = host
        for place in paths[node.host.name]:
            links[FoundLink(below, clean[told[place]], cables=None)] = None
            below = clean[told[place]]
    return list(links)


def _path(places: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The switches above a node, the nearest first, each as the values from the outermost place down to it."""
    told = [place for place in places if place]
    return [tuple(reversed(told[index:])) for index in range(len(told))]


def _torus(nodes: list[_Node], shapes: set[str], origin: str) -> tuple[FoundLevel, ...]:
    """The levels of equal TPU slices: a torus each, and the data centre's network where there are several."""
    shape = next(iter(shapes))
    if len(shapes) > 1 or not re.fullmatch(r"[0-9]{1,4}(x[0-9]{1,4}){1,3}", shape):
        told = ", ".join(sorted(shapes))
        raise broken(
            "has slices of several shapes", origin, value=told, expected="one gke-tpu-topology, such as 4x4x4"
        )
    sides = [int(side) for side in shape.split("x")]
    devices = {node.host.devices for node in nodes}
    per_host = devices.pop() if len(devices) == 1 else None
    if not per_host or math.prod(sides) % per_host or len(nodes) % (math.prod(sides) // per_host or 1):
        raise broken("has hosts that make no whole slices", origin, value=shape, expected="every host of each slice")
    slice_hosts = math.prod(sides) // per_host
    whole = len(nodes) == slice_hosts
    ici = FoundLevel("ici", "torus", None if whole else slice_hosts, shape=tuple(sides))
    return (ici,) if whole else (ici, FoundLevel("dcn", "fat-tree"))


def _table(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
