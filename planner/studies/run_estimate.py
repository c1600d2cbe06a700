"""A run on a cluster that can be had in several sizes: what its best plan takes in time, money and energy.

The space is coarser than `plan`'s: micro-batches in powers of two and the usual numbers of chunks, so that many
clusters and sizes can be asked in a moment. Within it the search is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from planner.cluster.build.reliability import Told, resolve_reliability
from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model import presets
from planner.cluster.model.cluster import Cluster
from planner.cluster.model.spec import ClusterSpec
from planner.cost.flops import model_flops
from planner.cost.scenario import MemoryLimit, Training, training
from planner.documents.plan import PlanPart
from planner.documents.site import ReliabilityPart
from planner.errors import InputError, NothingFits, PlannerError
from planner.hardware import database
from planner.hardware.accelerator import AcceleratorSpec
from planner.search.search import Wanted, search
from planner.search.space import Space, any_split
from planner.studies.goodput import reliability_part
from planner.studies.plan_parts import plan_parts
from planner.units import DAY_S
from planner.workload.operators import Workload

_CHUNKS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20)
_MICRO_BATCHES = (1, 2, 4, 8, 16, 32)
_MOST_DEVICES = 1_048_576
"""Larger sizes of a cluster are not looked at."""


@dataclass(frozen=True)
class Run:
    """What is to be trained: so many tokens of a model, in steps of so many sequences."""

    workload: Workload
    global_batch: int
    tokens: int
    precision: str | None = None
    memory_limit: MemoryLimit | None = None

    @property
    def tokens_per_step(self) -> int:
        """Of all sequences."""
        return self.global_batch * self.workload.seq_length

    @property
    def steps(self) -> int:
        """The last one maybe not full."""
        return -(-self.tokens // self.tokens_per_step)


@dataclass(frozen=True)
class Offer:
    """A cluster by name, that can be had in any number of nodes up to `most_nodes`.

    Of one that is told host by host, or has faults in its file, so many hosts are those with the widest way out.
    """

    name: str
    spec: ClusterSpec
    origin: str

    @cached_property
    def devices_per_node(self) -> int:
        """Accelerators of one node."""
        return self.cluster(1).devices_per_node

    @cached_property
    def hosts(self) -> Cluster | None:
        """All hosts that work, where the file tells which there are. Raises InputError."""
        return resolve_cluster(self.spec, self.origin) if self.spec.hosts or self.spec.faults else None

    def cluster(self, nodes: int) -> Cluster:
        """So many nodes. Raises InputError where there are not as many, or what they are makes no sense."""
        if self.hosts is not None:
            from planner.cluster.build.wired_cluster import so_many

            return so_many(self.hosts, nodes)
        return resolve_cluster(self.spec, self.origin, nodes=nodes)


@dataclass(frozen=True)
class Outcome:
    """The best plan of a run on so many nodes. `usd`: the rent of all nodes until the end, failures included; None
    where no rent is known, as `energy_j` where no power is.
    """

    cluster: Cluster
    plan: PlanPart
    reliability: ReliabilityPart
    days: float
    usd: float | None
    energy_j: float | None

    @property
    def nodes(self) -> int:
        """Of the plan, without spares."""
        return self.cluster.nodes

    @property
    def devices(self) -> int:
        """Of the plan, without spares."""
        return self.cluster.devices


def space_of(run: Run, devices: int) -> Space:
    """The space that is searched for a size."""
    coarse = {"vpp": _CHUNKS, "micro_batch": _MICRO_BATCHES}
    return Space(devices, run.global_batch, coarse, frozenset(coarse))


def outcome(run: Run, offer: Offer, nodes: int) -> Outcome | None:
    """The best plan on so many nodes, and what the run takes; None where none fits.

    Raises InputError where the cluster cannot have as many nodes, or not this precision.
    """
    cluster = offer.cluster(nodes)
    bound = question(run, cluster)
    space = space_of(run, cluster.devices)
    if not any_split(space, run.workload):
        return None
    found = search(bound, space, Wanted(top=1))
    if not found.tally.feasible:
        return None
    plan = plan_parts(found, cluster, explained=False)[0]
    failures = reliability_part(bound, cluster, plan, resolve_reliability(cluster, Told({})))
    if not failures.goodput_share:
        return None
    busy_s = run.steps * plan.step_time_s
    seconds = busy_s / failures.goodput_share
    rent = cluster.accelerator.usd_per_hour
    energy = plan.energy_j_per_step
    return Outcome(
        cluster=cluster,
        plan=plan,
        reliability=failures,
        days=seconds / DAY_S,
        usd=None if rent is None else rent * cluster.devices * seconds / 3600,
        # while a failure is repaired the devices are on as well: no power is known of it but that of training
        energy_j=None if energy is None else energy * run.steps / failures.goodput_share,
    )


def misfit(run: Run, offer: Offer, nodes: int) -> PlannerError:
    """Why `outcome` is None on so many nodes: the nearest miss and what would make it fit."""
    from planner.search.diagnosis.infeasible import explain_empty

    cluster = offer.cluster(nodes)
    space = space_of(run, cluster.devices)
    found = search(question(run, cluster), space, Wanted(top=1))
    if found.tally.feasible:
        return NothingFits("failures leave nothing of the run\n  what would: parts that fail less often")
    return explain_empty(cluster, space, found)


def question(run: Run, cluster: Cluster) -> Training:
    """The run bound to a cluster. Raises InputError for a precision that the part has no unit for."""
    scenario = training(run.workload, cluster, global_batch=run.global_batch, precision=run.precision)
    return replace(scenario, memory_limit=run.memory_limit)


@dataclass(frozen=True)
class Floor:
    """What no plan is faster than: on n nodes the run takes at least `node_days` / n, and at least `days`."""

    node_days: float
    days: float


def floor(run: Run, offer: Offer) -> Floor:
    """All FLOPs at the best share of the peak that any kernel has; every step's overhead, however many nodes."""
    cluster = offer.cluster(1)
    bound = question(run, cluster)
    fitted = bound.calibration
    best = max(
        fitted.gemm_efficiency,
        fitted.gemm_efficiency_8bit,
        fitted.gemm_efficiency_4bit,
        fitted.attention_forward_efficiency,
        fitted.attention_backward_efficiency,
    )
    # causal attention may be computed by half: no plan does less than that
    flops = model_flops(run.workload, run.global_batch, "causal")
    part = bound.accelerator
    rate = max(part.peak_flops.values()) if run.precision is None else part.peak(run.precision)
    step_s = flops / (cluster.devices * rate * best)
    return Floor(run.steps * step_s / DAY_S, run.steps * fitted.step_overhead_s / DAY_S)


def usable(run: Run, offer: Offer, nodes: Iterable[int]) -> Iterator[int]:
    """Those numbers of nodes whose devices can be split at all."""
    return (n for n in nodes if any_split(space_of(run, n * offer.devices_per_node), run.workload))


def most_nodes(offer: Offer) -> int:
    """How large the cluster can be."""
    if offer.hosts is not None:
        return offer.hosts.nodes
    most = _MOST_DEVICES // offer.devices_per_node
    return most if offer.spec.max_nodes is None else min(offer.spec.max_nodes, most)


def accelerator_of(offer: Offer) -> AcceleratorSpec:
    """The description of an offer's accelerator. Raises InputError for a name that is not known."""
    node = offer.spec.node
    if isinstance(node, str):
        node = presets.node_spec(node, origin=offer.origin)
    if node is None:
        raise InputError("is missing", origin=offer.origin, key="node", expected="which node its hosts are")
    part = node.accelerator
    return database.accelerator_spec(part, origin=offer.origin) if isinstance(part, str) else part
