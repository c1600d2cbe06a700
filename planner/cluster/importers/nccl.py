"""The topology that NCCL and RCCL write (`NCCL_TOPO_DUMP_FILE`) or get (`NCCL_TOPO_FILE`): one node's inside."""

from __future__ import annotations

import re

from planner.cluster.importers.imported_cluster import Found, FoundNode, HostPatterns, broken, clean_name
from planner.cluster.importers.link_speeds import pcie_rate
from planner.cluster.importers.nvidia_smi import joined
from planner.cluster.importers.xmltree import Element, parse_xml
from planner.cluster.model.spec import NodeTopology

_GPU_CLASSES = ("0x0302", "0x1200", "0x0380")
_NIC_CLASSES = ("0x0207", "0x0200")
_NVSWITCH_CLASS = "0x0680"
_MOST_DEVICES = 1024


def read_nccl(text: str, origin: str, hosts: HostPatterns) -> Found:
    """The node of one topology. Raises InputError where it has no GPU, or several hosts that are not alike."""
    system = parse_xml(text, origin)
    if system.name != "system":
        what = (
            "a graph of NCCL's channels"
            if system.name == "graphs"
            else f"<{clean_name(system.name)[:40]}> at the top"
        )
        raise broken(f"holds {what}", origin, expected="a topology: <system> (NCCL_TOPO_DUMP_FILE)")
    by_host: dict[str, list[Element]] = {}
    for cpu in system.all("cpu") or [system]:
        by_host.setdefault(cpu.attributes.get("host_hash", ""), []).append(cpu)
    nodes = [_node(cpus, origin) for cpus in by_host.values()]
    if len({(node.devices, node.topology, node.links) for node, _ in nodes}) > 1:
        raise broken("tells several hosts that are not alike", origin, expected="one host, or equal ones")
    node, notes = nodes[0]
    if len(nodes) > 1:
        notes = (*notes, f"the topology tells {len(nodes)} equal hosts, of which the first was read")
    return Found(node=node, notes=notes)


def _node(cpus: list[Element], origin: str) -> tuple[FoundNode, tuple[str, ...]]:
    """The node whose processors these are, and what was taken for what."""
    devices: dict[str, Element] = {}
    for pci in (pci for cpu in cpus for pci in cpu.all("pci")):
        is_gpu = pci.attributes.get("class", "")[:6].casefold() in _GPU_CLASSES
        if is_gpu or any(child.name == "gpu" for child in pci.children):
            devices[pci.attributes.get("busid", str(len(devices))).casefold()] = pci
    if not devices or len(devices) > _MOST_DEVICES:
        raise broken("tells no GPU" if not devices else "tells too many GPUs", origin, expected="<pci> with <gpu>")
    topology, links, note = _links(devices)
    nics, nic_rate, nic_note = _cards(cpus)
    first = next(iter(devices.values())).attributes
    part = f"{first.get('vendor', '')}:{first.get('device', '')}"
    node = FoundNode(
        devices=len(devices),
        topology=topology,
        links=links,
        pcie_bytes_per_s=pcie_rate(first.get("link_speed", ""), first.get("link_width", "")),
        nics=nics,
        nic_bytes_per_s=nic_rate,
        part=part if re.fullmatch(r"0x[0-9a-fA-F]{4}:0x[0-9a-fA-F]{4}", part) else "",
    )
    return node, tuple(one for one in (note, nic_note) if one)


def _links(devices: dict[str, Element]) -> tuple[NodeTopology | None, int, str]:
    """What joins the devices, the links of one, and what was left out; None where a file lists PCI devices only."""
    if not any(child.name == "gpu" for pci in devices.values() for child in pci.children):
        return None, 0, ""
    to_switch, pairs, to_itself = [], [], 0
    for bus, pci in devices.items():
        counts: dict[str, int] = {}
        for link in [*pci.all("nvlink"), *pci.all("xgmi")]:
            target = link.attributes.get("target", "").casefold()
            # in a virtual machine the target is no device that is there, but the class is still a switch's
            if link.attributes.get("tclass", "")[:6].casefold() == _NVSWITCH_CLASS:
                target = "switch"
            counts[target] = counts.get(target, 0) + _count(link)
        to_itself += counts.pop(bus, 0)
        to_switch.append(counts.get("switch", 0))
        pairs.append([counts.get(other, 0) for other in devices if other != bus])
    if any(to_switch):
        return "nvswitch", min(to_switch), ""
    topology, links, note = joined(pairs)
    return topology, links, note or ("NVLinks from a device to itself are left out" if to_itself else "")


def _count(link: Element) -> int:
    text = link.attributes.get("count", "")
    return int(text) if re.fullmatch(r"[0-9]{1,3}", text) else 0


def _cards(cpus: list[Element]) -> tuple[int, float | None, str]:
    """How many network cards there are, one's bytes/s where it is told, and what was left out."""
    nets = [net for cpu in cpus for net in cpu.all("net")]
    if not nets:
        pcis = [pci for cpu in cpus for pci in cpu.all("pci")]
        return sum(pci.attributes.get("class", "")[:6].casefold() in _NIC_CLASSES for pci in pcis), None, ""
    speeds = [net.attributes.get("speed", "") for net in nets]
    told = [int(speed) for speed in speeds if re.fullmatch(r"[0-9]{1,9}", speed) and int(speed)]
    if not told:
        return len(nets), None, ""
    fastest = max(told)
    count = told.count(fastest)
    slower = len(nets) - count
    note = f"{slower} slower network cards of {len(nets)} are not counted" if slower else ""
    return count, fastest * 1e6 / 8, note
