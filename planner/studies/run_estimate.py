"""Estimate a training run on a cluster of a given size: time, cost and energy of its best plan.

The space is coarser than that of `plan` (micro-batches in powers of two, common numbers of virtual stages), so that
many clusters and sizes can be searched quickly. Within this space the search is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from planner.cluster.build.reliability import ReliabilityOverrides, resolve_reliability
from planner.cluster.build.resolve import resolve_cluster, resolve_listed_cluster
from planner.cluster.model import presets
from planner.cluster.model.cluster import Cluster, WiredCluster
from planner.cluster.model.spec import ClusterSpec
from planner.cost.scenario import MemoryLimit, Scenario, build_scenario, check_scenario
from planner.documents.plan import PlanPart
from planner.documents.site import ReliabilityPart
from planner.errors import InputError, NothingFits, PlannerError
from planner.hardware import database
from planner.hardware.accelerator import AcceleratorSpec
from planner.search.program_rules import drop_unfit_programs, list_possible_programs
from planner.search.search import SearchResult, SearchTarget, search_plans
from planner.search.space import Space
from planner.studies.batch_choice import BatchChoice
from planner.studies.goodput import TimedPlan, build_reliability_part
from planner.studies.plan_parts import build_plan_parts, build_strategy_part
from planner.trainers.names import TrainerName
from planner.units import DAY_S
from planner.workload.operators import Workload

VPP_VALUES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20)
MICRO_BATCH_VALUES = (1, 2, 4, 8, 16, 32)
_MAX_OFFER_DEVICES = 262_144
"""Larger clusters are not considered: none has been built."""


@dataclass(frozen=True)
class TrainingRun:
    """A training run: a model, the number of tokens, and how the batch of each size is chosen."""

    workload: Workload
    batch: BatchChoice
    tokens: int
    precision: str | None = None
    scenario_fields: Mapping[str, object] = field(default_factory=dict)
    """Values of fields of the scenario."""

    @property
    def memory_limit(self) -> MemoryLimit | None:
        """How much of a device's memory plans may use; None: all of it."""
        limit = self.scenario_fields.get("memory_limit")
        return limit if isinstance(limit, MemoryLimit) else None

    def count_steps(self, global_batch: int) -> int:
        """Number of steps of so many sequences; the last step may be partly empty."""
        return -(-self.tokens // (global_batch * self.workload.seq_length))


@dataclass(frozen=True)
class ClusterOffer:
    """A named cluster that is available in any number of nodes up to `get_max_nodes`.

    Of a cluster that lists its hosts, or has failed parts, the hosts with the highest uplink bandwidth are taken.
    """

    name: str
    spec: ClusterSpec
    origin: str

    @cached_property
    def devices_per_node(self) -> int:
        """Accelerators of one node."""
        return self.build_cluster(1).devices_per_node

    @cached_property
    def listed_cluster(self) -> WiredCluster | None:
        """All hosts that work, of a wired or degraded cluster; else None. Raises InputError."""
        return resolve_listed_cluster(self.spec, self.origin) if self.spec.hosts or self.spec.failed_parts else None

    def build_cluster(self, nodes: int) -> Cluster:
        """The cluster with this number of nodes. Raises InputError for too many nodes or an invalid description."""
        if self.listed_cluster is not None:
            from planner.cluster.build.wired_cluster import select_nodes

            return select_nodes(self.listed_cluster, nodes)
        return resolve_cluster(self.spec, self.origin, nodes=nodes)


@dataclass(frozen=True)
class RunPlan:
    """The best plan of a run on a number of nodes with one batch, whatever the number of its tokens."""

    cluster: Cluster
    result: SearchResult
    reliability: ReliabilityPart

    @property
    def scenario(self) -> Scenario:
        """The scenario of the plan."""
        return self.result.scenarios[0]

    @property
    def step_time_s(self) -> float:
        """Seconds of a step."""
        return float(self.result.figures[0, 0])

    @cached_property
    def part(self) -> PlanPart:
        """The plan as documents have it."""
        return build_plan_parts(self.result, self.cluster, with_bottlenecks=False)[0]


@dataclass(frozen=True)
class RunEstimate:
    """A run on a number of nodes with its best batch and plan. `cost_usd`: rental cost of all nodes, with failures;
    None where no rental price is known.
    """

    run_plan: RunPlan
    steps: int
    days: float
    cost_usd: float | None

    @property
    def cluster(self) -> Cluster:
        """The nodes, without spare nodes."""
        return self.run_plan.cluster

    @property
    def nodes(self) -> int:
        """Number in the plan, without spare nodes."""
        return self.cluster.nodes

    @property
    def devices(self) -> int:
        """Number in the plan, without spare nodes."""
        return self.cluster.devices

    @property
    def global_batch(self) -> int:
        """Sequences of a step."""
        return self.run_plan.scenario.global_batch

    @property
    def trainer(self) -> TrainerName:
        """The trainer of the plan."""
        return self.run_plan.scenario.trainer.name

    @property
    def reliability(self) -> ReliabilityPart:
        """Failures of the plan."""
        return self.run_plan.reliability

    @property
    def plan(self) -> PlanPart:
        """The plan as documents have it."""
        return self.run_plan.part

    @property
    def energy_j(self) -> float | None:
        """Energy of the whole site; None where no power is known."""
        step_energy_j = self.plan.energy_j_per_step
        # devices are on during repairs too; the power of training is taken, as no other is known
        return None if step_energy_j is None else step_energy_j * self.steps / self.reliability.goodput_share


def build_coarse_space(
    devices: int, global_batch: int, narrowed: Mapping[str, tuple[int, ...]] | None = None
) -> Space:
    """The coarse space that is searched for one size; `narrowed`: the only values of dimensions that matter."""
    values = {"vpp": VPP_VALUES, "micro_batch": MICRO_BATCH_VALUES, **(narrowed or {})}
    return Space(devices, global_batch, values, frozenset(values))


def search_run_plan(
    run: TrainingRun,
    offer: ClusterOffer,
    nodes: int,
    global_batch: int,
    narrowed: Mapping[str, tuple[int, ...]] | None = None,
) -> RunPlan | None:
    """The best plan on this number of nodes; None where none fits, or failures leave no goodput. `narrowed` as of
    `build_coarse_space`.

    Raises InputError where the cluster cannot have as many nodes, and where it or every program of the trainer lacks
    the precision.
    """
    cluster = offer.build_cluster(nodes)
    scenario = build_run_scenario(run, cluster, global_batch)
    space = build_coarse_space(cluster.devices, global_batch, narrowed)
    result = search_plans(scenario, space, SearchTarget(top=1))
    if not result.stats.feasible:
        if scenario.programs and not list_possible_programs(scenario):
            # whatever the size
            from planner.search.diagnosis.unsupported import build_unsupported_error

            raise build_unsupported_error(scenario, space)
        return None
    step_time_s = float(result.figures[0, 0])
    timed_plan = TimedPlan(
        build_strategy_part(result.best, 0), step_time_s, global_batch * run.workload.seq_length / step_time_s
    )
    reliability = build_reliability_part(
        scenario, cluster, timed_plan, resolve_reliability(cluster, ReliabilityOverrides({}))
    )
    return RunPlan(cluster, result, reliability) if reliability.goodput_share else None


def estimate_totals(run: TrainingRun, run_plan: RunPlan) -> RunEstimate:
    """The totals of the run with this plan."""
    steps = run.count_steps(run_plan.scenario.global_batch)
    duration_s = steps * run_plan.step_time_s / run_plan.reliability.goodput_share
    rent_usd_per_hour = run_plan.cluster.accelerator.usd_per_hour
    return RunEstimate(
        run_plan=run_plan,
        steps=steps,
        days=duration_s / DAY_S,
        cost_usd=None
        if rent_usd_per_hour is None
        else rent_usd_per_hour * run_plan.cluster.devices * duration_s / 3600,
    )


def explain_infeasible_size(run: TrainingRun, offer: ClusterOffer, nodes: int) -> PlannerError:
    """The error where no plan fits on a number of nodes: the nearest miss and what would make a plan fit."""
    from planner.search.diagnosis.infeasible import explain_empty_search

    cluster = offer.build_cluster(nodes)
    batches = run.batch.list_batches(cluster.devices)
    scenarios = [build_run_scenario(run, cluster, batch) for batch in batches]
    space = build_coarse_space(cluster.devices, batches[0])
    result = search_plans(scenarios, space, SearchTarget(top=1))
    if result.stats.feasible:
        return NothingFits("failures leave no goodput\n  what would make it fit: a higher MTBF of nodes and devices")
    return explain_empty_search(cluster, space, result)


def build_run_scenario(run: TrainingRun, cluster: Cluster, global_batch: int) -> Scenario:
    """The scenario of the run on a cluster.

    Raises InputError for a precision that the accelerator lacks, and a memory limit above its memory.
    """
    scenario = build_scenario(run.workload, cluster, global_batch=global_batch, precision=run.precision)
    scenario = replace(scenario, **run.scenario_fields, programs=scenario.trainer.programs)  # type: ignore[arg-type]
    check_scenario(scenario)
    return drop_unfit_programs(scenario)


def get_max_nodes(offer: ClusterOffer) -> int:
    """The largest number of nodes of the cluster."""
    if offer.listed_cluster is not None:
        return offer.listed_cluster.nodes
    max_count = _MAX_OFFER_DEVICES // offer.devices_per_node
    return max_count if offer.spec.max_nodes is None else min(offer.spec.max_nodes, max_count)


def read_offer_accelerator(offer: ClusterOffer) -> AcceleratorSpec:
    """The description of an offer's accelerator. Raises InputError for an unknown name."""
    node = offer.spec.node
    if isinstance(node, str):
        node = presets.load_node_spec(node, origin=offer.origin)
    if node is None:
        raise InputError("is missing", origin=offer.origin, key="node", expected="the node type of its hosts")
    accelerator = node.accelerator
    return (
        database.load_accelerator_spec(accelerator, origin=offer.origin)
        if isinstance(accelerator, str)
        else accelerator
    )
