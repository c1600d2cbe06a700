"""The node type of each host: from the user's options, a description of a node, or `match_hardware`'s tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from planner.cluster.importers.cluster_file import NodeDraft
from planner.cluster.importers.imported_cluster import ParsedHost, ParsedNode, clean_name
from planner.cluster.importers.match_hardware import (
    extract_accelerator_label,
    find_accelerator_by_label,
    fold_label,
    index_node_presets,
    read_foreign_names,
)
from planner.cluster.model import presets
from planner.cluster.model.spec import NodeSpec
from planner.errors import InputError
from planner.hardware import database
from planner.hardware.accelerator import AcceleratorSpec
from planner.hardware.figures import parse_figure


@dataclass(frozen=True, slots=True)
class ImportDefaults:
    """The user's options. Rates in bytes/s: of a link of the network, and of a device inside its node."""

    name: str
    node: str | None = None
    accelerator: str | None = None
    nic_link_bytes_per_s: float | None = None
    node_bytes_per_s: float | None = None
    oversubscription: float = 1.0
    nodes: int | None = None


@dataclass(frozen=True, slots=True)
class NodeType:
    """The figures of a node. `preset` is empty for a node that the cluster file describes."""

    preset: str
    accelerator: str
    devices: int
    link_bytes_per_s: float
    nic_count: int
    nic_bytes_per_s: float | None

    @property
    def is_rack_scale(self) -> bool:
        """Whether the accelerators' links join several such nodes."""
        return self.accelerator in read_foreign_names().rack_scale


@dataclass
class ImportNotes:
    """Notes on assumptions, each once, in order of appearance."""

    texts: dict[str, None] = field(default_factory=dict)

    def add_note(self, note: str) -> None:
        """Add a note, if it is new."""
        self.texts[note] = None


def read_preset_node_type(name: str) -> NodeType:
    """A node of hardware_db. Raises InputError with the nearest name."""
    spec = presets.load_node_spec(name, key="--node")
    link_bytes_per_s = parse_figure(spec.link.bandwidth, "bytes_per_s", key="link.bandwidth")
    nic_count = spec.nic.count if spec.nic else 0
    nic_bytes_per_s = parse_figure(spec.nic.bandwidth, "bytes_per_s", key="nic.bandwidth") if spec.nic else None
    return NodeType(name, spec.accelerator_name, spec.devices, link_bytes_per_s, nic_count, nic_bytes_per_s)


def assign_node_types(
    hosts: Sequence[ParsedHost], defaults: ImportDefaults, notes: ImportNotes
) -> tuple[tuple[ParsedHost, ...], list[NodeType]]:
    """Hosts and the node type of each. Raises InputError for an available host of unknown type."""
    if defaults.node:
        return tuple(hosts), [read_preset_node_type(defaults.node)] * len(hosts)
    labels = [
        clean_name(host.accelerator_label) if host.accelerator_label else extract_accelerator_label(host.name)
        for host in hosts
    ]
    keys = dict.fromkeys((label, host.devices) for label, host in zip(labels, hosts, strict=True))
    type_by_label = {key: _guess_node_type(*key, notes) for key in keys}
    known_types = list(dict.fromkeys(node_type for node_type in type_by_label.values() if node_type))
    assigned: list[tuple[ParsedHost, NodeType]] = []
    for host, label in zip(hosts, labels, strict=True):
        node_type = type_by_label[label, host.devices] or _match_known_node_type(host, label, known_types, notes)
        if node_type is not None:
            assigned.append((host, node_type))
        elif host.unavailable_reason:
            reason = f"which is unavailable ({host.unavailable_reason}) and of unknown node type"
            notes.add_note(f"left out: {host.name}, {reason}")
        else:
            raise _build_unknown_node_error(host, label)
    return tuple(host for host, _ in assigned), [node_type for _, node_type in assigned]


def _guess_node_type(label: str, devices: int | None, notes: ImportNotes) -> NodeType | None:
    """The node of hardware_db for an accelerator and the number of devices."""
    accelerator = find_accelerator_by_label(label) if label else ""
    presets = index_node_presets()
    if accelerator and devices is None:
        matching_names = [name for (known, _), name in presets.items() if known == accelerator]
        name = matching_names[0] if len(matching_names) == 1 else ""
    else:
        name = presets.get((accelerator, devices or 0), "")
    if not name:
        return None
    basis = f"hosts named after {label}" if devices is None else f"{devices} x {label}"
    notes.add_note(f"node {name} for {basis}{_format_ambiguity(label, accelerator)}")
    return read_preset_node_type(name)


def _match_known_node_type(
    host: ParsedHost, label: str, known_types: Sequence[NodeType], notes: ImportNotes
) -> NodeType | None:
    """The node type that the other hosts share, for a host with fewer devices or without a described accelerator."""
    accelerator = find_accelerator_by_label(label) if label else ""
    matching_types = [node_type for node_type in known_types if not label or accelerator == node_type.accelerator]
    if len(matching_types) != 1 or (host.devices or 0) > matching_types[0].devices:
        return None
    affected_hosts = (
        f"hosts with {host.devices} accelerators" if host.devices else "hosts without a known accelerator"
    )
    notes.add_note(f"node {matching_types[0].preset}, as for the other hosts, for {affected_hosts}")
    return matching_types[0]


def _build_unknown_node_error(host: ParsedHost, label: str) -> InputError:
    count_text = "" if host.devices is None else f"{host.devices} x "
    accelerator_text = f"{count_text}{label[:100] or 'unnamed accelerators'}"
    expected = f"--node with one of {', '.join(database.list_database_names('nodes'))}"
    return InputError(f"no node of hardware_db has {accelerator_text}", key=host.name, expected=expected)


def _format_ambiguity(label: str, accelerator: str) -> str:
    alternatives = read_foreign_names().ambiguous.get(fold_label(label))
    return f" (which may have {alternatives}: {accelerator} is assumed)" if alternatives else ""


def build_node_draft(parsed: ParsedNode, defaults: ImportDefaults, notes: ImportNotes) -> NodeDraft:
    """The described node with its gaps filled. Raises InputError that names the option for a gap."""
    preset = presets.load_node_spec(defaults.node, key="--node") if defaults.node else None
    accelerator = _choose_accelerator(parsed, defaults, preset)
    spec = database.load_accelerator_spec(accelerator, key="--accelerator" if defaults.accelerator else "--node")
    topology = parsed.topology or (preset.link.topology if preset else None)
    if topology is None:
        problem = "the description does not state what joins the devices"
        raise InputError(problem, key="--node", expected="a preset of the same node")
    link_bytes_per_s, rate_note = _choose_intra_node_rate(parsed, defaults, spec, preset)
    notes.add_note(rate_note)
    nic_count, nic_bytes_per_s = _choose_nics(parsed, defaults, preset, notes)
    return NodeDraft(accelerator, parsed.devices, topology, link_bytes_per_s, nic_count, nic_bytes_per_s)


def _choose_accelerator(parsed: ParsedNode, defaults: ImportDefaults, preset: NodeSpec | None) -> str:
    if defaults.accelerator:
        return defaults.accelerator
    if preset:
        return preset.accelerator_name
    guessed = find_accelerator_by_label(parsed.accelerator_label)
    if not guessed:
        pci_text = f" (PCI device {parsed.accelerator_label})" if parsed.accelerator_label else ""
        expected = "a name of hardware_db, or --node"
        raise InputError(f"the accelerator is unknown{pci_text}", key="--accelerator", expected=expected)
    return guessed


def _choose_intra_node_rate(
    parsed: ParsedNode, defaults: ImportDefaults, spec: AcceleratorSpec, preset: NodeSpec | None
) -> tuple[float, str]:
    """Bytes/s of a device inside its node, one direction, and the source of the figure."""
    accelerator_rate = parse_figure(spec.link.bandwidth, "bytes_per_s", key="link") if spec.link else None
    has_pcie_link = spec.link is not None and spec.link.name.startswith("PCIe")
    link_bandwidth = read_foreign_names().link_bandwidth.get(spec.architecture)
    if defaults.node_bytes_per_s:
        return defaults.node_bytes_per_s, "bandwidth inside the node is that of --node-bandwidth"
    if parsed.links_per_device and link_bandwidth:
        link_bytes_per_s = parse_figure(link_bandwidth, "bytes_per_s", key=spec.architecture)
        rate = link_bytes_per_s * parsed.links_per_device
        if accelerator_rate and not has_pcie_link:
            rate = min(rate, accelerator_rate)
        return rate, f"{parsed.links_per_device} links per device with {link_bytes_per_s * 1e-9:g} GB/s each"
    if parsed.topology == "pcie" and parsed.pcie_bytes_per_s:
        return parsed.pcie_bytes_per_s, "bandwidth inside the node is that of PCI Express"
    if parsed.topology == "pcie" and accelerator_rate and spec.link and has_pcie_link:
        return accelerator_rate, f"bandwidth inside the node is that of {spec.name} ({spec.link.name})"
    if parsed.topology is None and preset:
        rate = parse_figure(preset.link.bandwidth, "bytes_per_s", key="link.bandwidth")
        return rate, f"links between the devices are those of node {preset.name}"
    expected = "the bandwidth per device and direction, such as 32GB/s"
    raise InputError("the bandwidth inside the node is unknown", key="--node-bandwidth", expected=expected)


def _choose_nics(
    parsed: ParsedNode, defaults: ImportDefaults, preset: NodeSpec | None, notes: ImportNotes
) -> tuple[int, float]:
    """The number of NICs, and bytes/s of each."""
    preset_nic = preset.nic if preset else None
    nic_count = parsed.nic_count or (preset_nic.count if preset_nic else 0)
    if not nic_count:
        return 0, 0.0
    if parsed.nic_count == 0:
        notes.add_note(f"NICs are those of node {preset.name if preset else ''}")
    rate = defaults.nic_link_bytes_per_s or parsed.nic_bytes_per_s
    if rate is None and preset_nic:
        rate = parse_figure(preset_nic.bandwidth, "bytes_per_s", key="nic.bandwidth")
        notes.add_note(f"the NICs' bandwidth is that of node {preset.name if preset else ''}")
    if rate is None:
        expected = "the bandwidth per NIC, such as 400Gb/s, or --node"
        raise InputError("the NICs' bandwidth is unknown", key="--link-bandwidth", expected=expected)
    return nic_count, rate
