"""Of which node each host is: as the user says, as a description of a node says, or by the explicit tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from planner.cluster.importers.draft import NodeDraft
from planner.cluster.importers.imported_cluster import FoundHost, FoundNode, clean_name
from planner.cluster.importers.match_hardware import (
    AMBIGUOUS,
    LINK_BYTES_PER_S,
    RACK_SCALE,
    accelerator_of,
    fold,
    node_presets,
    part_in_name,
)
from planner.cluster.model import presets
from planner.cluster.model.spec import NodeSpec
from planner.errors import InputError
from planner.hardware import database
from planner.hardware.accelerator import AcceleratorSpec
from planner.hardware.figures import number


@dataclass(frozen=True, slots=True)
class Given:
    """What the user adds by options. Rates in bytes/s: of one network cable, of one device inside its node."""

    name: str
    node: str | None = None
    accelerator: str | None = None
    link_bytes_per_s: float | None = None
    node_bytes_per_s: float | None = None
    oversubscription: float = 1.0
    nodes: int | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """What is needed of a node. `preset` is empty for one that is written into the cluster file."""

    preset: str
    accelerator: str
    devices: int
    link_bytes_per_s: float
    nics: int
    nic_bytes_per_s: float | None

    @property
    def rack_scale(self) -> bool:
        """Whether its accelerators' own links join several such nodes."""
        return self.accelerator in RACK_SCALE


@dataclass
class Notes:
    """What was assumed, each once, in the order in which it was."""

    told: dict[str, None] = field(default_factory=dict)

    def add(self, note: str) -> None:
        """Keep a note."""
        self.told[note] = None


def preset_kind(name: str, origin: str = "", key: str = "--node") -> Kind:
    """A node of hardware_db. Raises InputError with the nearest name."""
    spec = presets.node_spec(name, key=key)
    origin = origin or f"hardware_db/nodes/{name}.toml"
    accelerator = spec.accelerator if isinstance(spec.accelerator, str) else spec.accelerator.name
    rate = number(spec.link.bandwidth, "bytes_per_s", origin=origin, key="link.bandwidth")
    nics = spec.nic.count if spec.nic else 0
    nic = number(spec.nic.bandwidth, "bytes_per_s", origin=origin, key="nic.bandwidth") if spec.nic else None
    return Kind(name, accelerator, spec.devices, rate, nics, nic)


def kinds_of(hosts: Sequence[FoundHost], given: Given, notes: Notes) -> tuple[tuple[FoundHost, ...], list[Kind]]:
    """Hosts and the node of each. Raises InputError for a host of which nothing tells it, unless it is gone."""
    if given.node:
        return tuple(hosts), [preset_kind(given.node)] * len(hosts)
    parts = [clean_name(host.part) if host.part else part_in_name(host.name) for host in hosts]
    by_told = {
        told: _guessed(*told, notes) for told in dict.fromkeys(zip(parts, (h.devices for h in hosts), strict=True))
    }
    full = list(dict.fromkeys(kind for kind in by_told.values() if kind))
    known: list[tuple[FoundHost, Kind]] = []
    for host, part in zip(hosts, parts, strict=True):
        kind = by_told[part, host.devices] or _like_others(host, part, full, notes)
        if kind is not None:
            known.append((host, kind))
        elif host.gone:
            notes.add(f"left out: {host.name}, which is gone ({host.gone}) and of no node that is known")
        else:
            raise _unknown(host, part)
    return tuple(host for host, _ in known), [kind for _, kind in known]


def _guessed(part: str, devices: int | None, notes: Notes) -> Kind | None:
    """The node that an accelerator and how many there are of it are known by."""
    accelerator = accelerator_of(part) if part else ""
    presets = node_presets()
    if accelerator and devices is None:
        alike = [name for (known, _), name in presets.items() if known == accelerator]
        name = alike[0] if len(alike) == 1 else ""
    else:
        name = presets.get((accelerator, devices or 0), "")
    if not name:
        return None
    told = f"hosts named after {part}" if devices is None else f"{devices} x {part}"
    notes.add(f"node {name} for {told}{_ambiguity(part, accelerator)}")
    return preset_kind(name)


def _like_others(host: FoundHost, part: str, full: Sequence[Kind], notes: Notes) -> Kind | None:
    """The one node that others of the description are, for a host that has less of it or of which nothing is told."""
    accelerator = accelerator_of(part) if part else ""
    alike = [kind for kind in full if not part or accelerator == kind.accelerator]
    if len(alike) != 1 or (host.devices or 0) > alike[0].devices:
        return None
    what = f"hosts with {host.devices} accelerators" if host.devices else "hosts of which no accelerator is told"
    notes.add(f"node {alike[0].preset}, as the others are, for {what}")
    return alike[0]


def _unknown(host: FoundHost, part: str) -> InputError:
    count = "" if host.devices is None else f"{host.devices} x "
    what = f"{count}{part[:100] or 'accelerators of no name'}"
    expected = f"--node with one of {', '.join(database.names('nodes'))}"
    return InputError(f"no node of hardware_db is known for {what}", key=host.name, expected=expected)


def _ambiguity(part: str, accelerator: str) -> str:
    other = AMBIGUOUS.get(fold(part))
    return f" (which has {other}: {accelerator} is taken)" if other else ""


def node_draft(found: FoundNode, given: Given, notes: Notes) -> NodeDraft:
    """The node that a description shows, its gaps filled. Raises InputError naming the option that would fill one."""
    preset = presets.node_spec(given.node, key="--node") if given.node else None
    accelerator = _accelerator(found, given, preset)
    spec = database.accelerator_spec(accelerator, key="--accelerator" if given.accelerator else "--node")
    topology = found.topology or (preset.link.topology if preset else None)
    if topology is None:
        raise InputError(
            "does not tell how the devices are joined", key="--node", expected="--node with a preset of the same node"
        )
    rate, how = _inside(found, given, spec, preset)
    notes.add(how)
    nics, nic = _cards(found, given, preset, notes)
    return NodeDraft(accelerator, found.devices, topology, rate, nics, nic)


def _accelerator(found: FoundNode, given: Given, preset: NodeSpec | None) -> str:
    if given.accelerator:
        return given.accelerator
    if preset:
        return preset.accelerator if isinstance(preset.accelerator, str) else preset.accelerator.name
    guessed = accelerator_of(found.part)
    if not guessed:
        told = f" (PCI device {found.part})" if found.part else ""
        expected = "--accelerator with a name of hardware_db, or --node"
        raise InputError(f"does not tell which accelerator it is{told}", key="--accelerator", expected=expected)
    return guessed


def _inside(found: FoundNode, given: Given, spec: AcceleratorSpec, preset: NodeSpec | None) -> tuple[float, str]:
    """Bytes/s of one device inside its node, one direction, and how that is known."""
    own = number(spec.link.bandwidth, "bytes_per_s", origin=spec.name, key="link") if spec.link else None
    if given.node_bytes_per_s:
        return given.node_bytes_per_s, "bandwidth inside the node as --node-bandwidth says"
    if found.links and spec.architecture in LINK_BYTES_PER_S:
        each = LINK_BYTES_PER_S[spec.architecture]
        rate = each * found.links
        cut = own is not None and own < rate and not (spec.link and spec.link.name.startswith("PCIe"))
        return (own if cut and own else rate), f"{found.links} links of a device with {each * 1e-9:g} GB/s each"
    if found.topology == "pcie" and found.pcie_bytes_per_s:
        return found.pcie_bytes_per_s, "bandwidth inside the node is that of PCI Express"
    if found.topology == "pcie" and own and spec.link and spec.link.name.startswith("PCIe"):
        return own, f"bandwidth inside the node is that of {spec.name} ({spec.link.name})"
    if found.topology is None and preset:
        rate = number(preset.link.bandwidth, "bytes_per_s", origin=preset.name, key="link.bandwidth")
        return rate, f"what joins the devices is as in node {preset.name}"
    expected = "--node-bandwidth with one device's, in one direction, such as 32GB/s"
    raise InputError("does not tell the bandwidth inside the node", key="--node-bandwidth", expected=expected)


def _cards(found: FoundNode, given: Given, preset: NodeSpec | None, notes: Notes) -> tuple[int, float]:
    """How many network cards, and one's bytes/s."""
    of_preset = preset.nic if preset else None
    nics = found.nics or (of_preset.count if of_preset else 0)
    if not nics:
        return 0, 0.0
    if found.nics == 0:
        notes.add(f"network cards as in node {preset.name if preset else ''}")
    rate = given.link_bytes_per_s or found.nic_bytes_per_s
    if rate is None and of_preset:
        rate = number(of_preset.bandwidth, "bytes_per_s", origin="", key="nic.bandwidth")
        notes.add(f"network cards with the bandwidth of node {preset.name if preset else ''}")
    if rate is None:
        expected = "--link-bandwidth with one card's, such as 400Gb/s, or --node"
        raise InputError("does not tell the network cards' bandwidth", key="--link-bandwidth", expected=expected)
    return nics, rate
