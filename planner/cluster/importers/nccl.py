"""The topology that NCCL and RCCL write (`NCCL_TOPO_DUMP_FILE`) or read (`NCCL_TOPO_FILE`): the inside of a node."""

from __future__ import annotations

import re

from planner.cluster.importers.imported_cluster import HostPatterns, ParsedCluster, ParsedNode, clean_name
from planner.cluster.importers.link_speeds import parse_pcie_bytes_per_s
from planner.cluster.importers.nvidia_smi import infer_node_topology
from planner.cluster.importers.xmltree import XmlElement, parse_xml
from planner.cluster.model.spec import NodeTopology
from planner.errors import InputError

_GPU_CLASSES = ("0x0302", "0x1200", "0x0380")
_NIC_CLASSES = ("0x0207", "0x0200")
_NVSWITCH_CLASS = "0x0680"
_MAX_DEVICES = 1024


def read_nccl_topology(text: str, host_patterns: HostPatterns) -> ParsedCluster:
    """The node of a topology. Raises InputError without GPUs, or for hosts that differ."""
    system = parse_xml(text)
    if system.name != "system":
        content = f"<{clean_name(system.name)[:40]}> at the top"
        if system.name == "graphs":
            content = "a graph of NCCL's channels"
        raise InputError(f"contains {content}", expected="a topology: <system> (NCCL_TOPO_DUMP_FILE)")
    by_host: dict[str, list[XmlElement]] = {}
    for cpu in system.find_all("cpu") or [system]:
        by_host.setdefault(cpu.attributes.get("host_hash", ""), []).append(cpu)
    nodes = [_build_node(cpus) for cpus in by_host.values()]
    if len({(node.devices, node.topology, node.links_per_device) for node, _ in nodes}) > 1:
        raise InputError("the hosts differ", expected="a single host, or equal hosts")
    node, notes = nodes[0]
    if len(nodes) > 1:
        notes = (*notes, f"the topology has {len(nodes)} equal hosts: the first was read")
    return ParsedCluster(node=node, notes=notes)


def _build_node(cpus: list[XmlElement]) -> tuple[ParsedNode, tuple[str, ...]]:
    """The node with these processors, and notes on approximations."""
    devices: dict[str, XmlElement] = {}
    for pci in (pci for cpu in cpus for pci in cpu.find_all("pci")):
        is_gpu = pci.attributes.get("class", "")[:6].casefold() in _GPU_CLASSES
        if is_gpu or any(child.name == "gpu" for child in pci.children):
            devices[pci.attributes.get("busid", str(len(devices))).casefold()] = pci
    if not devices or len(devices) > _MAX_DEVICES:
        raise InputError("no GPU is described" if not devices else "too many GPUs", expected="<pci> with <gpu>")
    topology, links_per_device, note = _infer_links(devices)
    nic_count, nic_rate, nic_note = _count_nics(cpus)
    first = next(iter(devices.values())).attributes
    pci_id = f"{first.get('vendor', '')}:{first.get('device', '')}"
    node = ParsedNode(
        devices=len(devices),
        topology=topology,
        links_per_device=links_per_device,
        pcie_bytes_per_s=parse_pcie_bytes_per_s(first.get("link_speed", ""), first.get("link_width", "")),
        nic_count=nic_count,
        nic_bytes_per_s=nic_rate,
        accelerator_label=pci_id if re.fullmatch(r"0x[0-9a-fA-F]{4}:0x[0-9a-fA-F]{4}", pci_id) else "",
    )
    return node, tuple(text for text in (note, nic_note) if text)


def _infer_links(devices: dict[str, XmlElement]) -> tuple[NodeTopology | None, int, str]:
    """The topology of the devices, the links of a device, and notes; None where a file lists PCI devices only."""
    if not any(child.name == "gpu" for pci in devices.values() for child in pci.children):
        return None, 0, ""
    switch_links, pairs, self_links = [], [], 0
    for bus, pci in devices.items():
        counts: dict[str, int] = {}
        for link in [*pci.find_all("nvlink"), *pci.find_all("xgmi")]:
            target = link.attributes.get("target", "").casefold()
            # in a virtual machine the target is not a listed device, but the class still identifies a switch
            if link.attributes.get("tclass", "")[:6].casefold() == _NVSWITCH_CLASS:
                target = "switch"
            counts[target] = counts.get(target, 0) + _parse_link_count(link)
        self_links += counts.pop(bus, 0)
        switch_links.append(counts.get("switch", 0))
        pairs.append([counts.get(other, 0) for other in devices if other != bus])
    if any(switch_links):
        return "nvswitch", min(switch_links), ""
    topology, links_per_device, note = infer_node_topology(pairs)
    return topology, links_per_device, note or ("NVLinks from a device to itself are left out" if self_links else "")


def _parse_link_count(link: XmlElement) -> int:
    text = link.attributes.get("count", "")
    return int(text) if re.fullmatch(r"[0-9]{1,3}", text) else 0


def _count_nics(cpus: list[XmlElement]) -> tuple[int, float | None, str]:
    """The number of NICs, bytes/s of each (None: not stated), and notes on what was left out."""
    nets = [net for cpu in cpus for net in cpu.find_all("net")]
    if not nets:
        pcis = [pci for cpu in cpus for pci in cpu.find_all("pci")]
        return sum(pci.attributes.get("class", "")[:6].casefold() in _NIC_CLASSES for pci in pcis), None, ""
    speeds = [net.attributes.get("speed", "") for net in nets]
    speeds_mbit_per_s = [int(speed) for speed in speeds if re.fullmatch(r"[0-9]{1,9}", speed) and int(speed)]
    if not speeds_mbit_per_s:
        return len(nets), None, ""
    fastest = max(speeds_mbit_per_s)
    count = speeds_mbit_per_s.count(fastest)
    slower_count = len(nets) - count
    note = f"{slower_count} slower NICs of {len(nets)} are not counted" if slower_count else ""
    return count, fastest * 1e6 / 8, note
