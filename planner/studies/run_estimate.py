"""Estimate a training run on a cluster of a given size: time, cost and energy of its best plan.

The space is coarser than that of `plan` (micro-batches in powers of two, common numbers of virtual stages), so that
many clusters and sizes can be searched quickly. Within this space the search is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from planner.cluster.build.reliability import ReliabilityOverrides, resolve_reliability
from planner.cluster.build.resolve import resolve_cluster, resolve_listed_cluster
from planner.cluster.model import presets
from planner.cluster.model.cluster import Cluster, WiredCluster
from planner.cluster.model.spec import ClusterSpec
from planner.cost.flops import compute_model_flops
from planner.cost.scenario import MemoryLimit, Scenario, build_scenario, check_scenario
from planner.documents.plan import PlanPart
from planner.documents.site import ReliabilityPart
from planner.errors import InputError, NothingFits, PlannerError
from planner.hardware import database
from planner.hardware.accelerator import AcceleratorSpec
from planner.search.program_rules import drop_unfit_programs, list_possible_programs
from planner.search.search import SearchTarget, search_plans
from planner.search.space import Space, has_valid_split
from planner.studies.goodput import build_reliability_part
from planner.studies.plan_parts import build_plan_parts
from planner.trainers.names import TrainerName
from planner.units import DAY_S
from planner.workload.operators import Workload

_VPP_VALUES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20)
_MICRO_BATCH_VALUES = (1, 2, 4, 8, 16, 32)
_MAX_OFFER_DEVICES = 1_048_576
"""Larger clusters are not considered."""


@dataclass(frozen=True)
class TrainingRun:
    """A training run: a model, the number of tokens, and the global batch in sequences."""

    workload: Workload
    global_batch: int
    tokens: int
    precision: str | None = None
    scenario_fields: Mapping[str, object] = field(default_factory=dict)
    """Values of fields of the scenario."""

    @property
    def memory_limit(self) -> MemoryLimit | None:
        """How much of a device's memory plans may use; None: all of it."""
        limit = self.scenario_fields.get("memory_limit")
        return limit if isinstance(limit, MemoryLimit) else None

    @property
    def tokens_per_step(self) -> int:
        """Tokens of all sequences of a step."""
        return self.global_batch * self.workload.seq_length

    @property
    def steps(self) -> int:
        """Number of steps; the last step may be partly empty."""
        return -(-self.tokens // self.tokens_per_step)


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

    @cached_property
    def run_plans(self) -> dict[int, list[tuple[TrainingRun, RunPlan | None]]]:
        """By number of nodes, the runs that were planned on them, each of a single token, with their best plans."""
        return {}

    def build_cluster(self, nodes: int) -> Cluster:
        """The cluster with this number of nodes. Raises InputError for too many nodes or an invalid description."""
        if self.listed_cluster is not None:
            from planner.cluster.build.wired_cluster import select_nodes

            return select_nodes(self.listed_cluster, nodes)
        return resolve_cluster(self.spec, self.origin, nodes=nodes)


@dataclass(frozen=True)
class RunPlan:
    """The best plan of a run on a number of nodes, whatever the number of its tokens."""

    cluster: Cluster
    plan: PlanPart
    reliability: ReliabilityPart
    trainer: TrainerName


@dataclass(frozen=True)
class RunEstimate:
    """The best plan of a run on a number of nodes. `cost_usd`: rental cost of all nodes, with failures; None where
    no rental price is known; `energy_j`: None where no power is known.
    """

    cluster: Cluster
    plan: PlanPart
    reliability: ReliabilityPart
    trainer: TrainerName
    days: float
    cost_usd: float | None
    energy_j: float | None

    @property
    def nodes(self) -> int:
        """Number in the plan, without spare nodes."""
        return self.cluster.nodes

    @property
    def devices(self) -> int:
        """Number in the plan, without spare nodes."""
        return self.cluster.devices


def build_coarse_space(run: TrainingRun, devices: int) -> Space:
    """The coarse space that is searched for one size."""
    coarse_values = {"vpp": _VPP_VALUES, "micro_batch": _MICRO_BATCH_VALUES}
    return Space(devices, run.global_batch, coarse_values, frozenset(coarse_values))


def estimate_run(run: TrainingRun, offer: ClusterOffer, nodes: int) -> RunEstimate | None:
    """The best plan on this number of nodes, and the totals of the run; None where no plan fits.

    Raises InputError where the cluster cannot have as many nodes, and where it or every program of the trainer lacks
    the precision.
    """
    single_token_run, planned = replace(run, tokens=1), offer.run_plans.setdefault(nodes, [])
    if all(planned_run != single_token_run for planned_run, _ in planned):
        planned.append((single_token_run, _plan_run(run, offer, nodes)))
    run_plan = next(run_plan for planned_run, run_plan in planned if planned_run == single_token_run)
    if run_plan is None:
        return None
    cluster, plan, goodput_share = run_plan.cluster, run_plan.plan, run_plan.reliability.goodput_share
    duration_s = run.steps * plan.step_time_s / goodput_share
    rent_usd_per_hour = cluster.accelerator.usd_per_hour
    energy_j_per_step = plan.energy_j_per_step
    return RunEstimate(
        cluster=cluster,
        plan=plan,
        reliability=run_plan.reliability,
        trainer=run_plan.trainer,
        days=duration_s / DAY_S,
        cost_usd=None if rent_usd_per_hour is None else rent_usd_per_hour * cluster.devices * duration_s / 3600,
        # devices are on during repairs too; the power of training is taken, as no other is known
        energy_j=None if energy_j_per_step is None else energy_j_per_step * run.steps / goodput_share,
    )


def _plan_run(run: TrainingRun, offer: ClusterOffer, nodes: int) -> RunPlan | None:
    """The best plan on this number of nodes; None where none fits, or failures leave no goodput."""
    cluster = offer.build_cluster(nodes)
    scenario = build_run_scenario(run, cluster)
    space = build_coarse_space(run, cluster.devices)
    if not has_valid_split(space, run.workload):
        return None
    result = search_plans(scenario, space, SearchTarget(top=1))
    if not result.stats.feasible:
        if scenario.programs and not list_possible_programs(scenario):
            # whatever the size
            from planner.search.diagnosis.unsupported import build_unsupported_error

            raise build_unsupported_error(scenario, space)
        return None
    plan = build_plan_parts(result, cluster, with_bottlenecks=False)[0]
    reliability = build_reliability_part(
        scenario, cluster, plan, resolve_reliability(cluster, ReliabilityOverrides({}))
    )
    return RunPlan(cluster, plan, reliability, scenario.trainer.name) if reliability.goodput_share else None


def explain_infeasible_size(run: TrainingRun, offer: ClusterOffer, nodes: int) -> PlannerError:
    """The error where `estimate_run` is None: the nearest miss and what would make a plan fit."""
    from planner.search.diagnosis.infeasible import explain_empty_search

    cluster = offer.build_cluster(nodes)
    space = build_coarse_space(run, cluster.devices)
    result = search_plans(build_run_scenario(run, cluster), space, SearchTarget(top=1))
    if result.stats.feasible:
        return NothingFits("failures leave no goodput\n  what would make it fit: a higher MTBF of nodes and devices")
    return explain_empty_search(cluster, space, result)


def build_run_scenario(run: TrainingRun, cluster: Cluster) -> Scenario:
    """The scenario of the run on a cluster.

    Raises InputError for a precision that the accelerator lacks, and a memory limit above its memory.
    """
    scenario = build_scenario(run.workload, cluster, global_batch=run.global_batch, precision=run.precision)
    scenario = replace(scenario, **run.scenario_fields, programs=scenario.trainer.programs)  # type: ignore[arg-type]
    check_scenario(scenario)
    return drop_unfit_programs(scenario)


@dataclass(frozen=True)
class RunLowerBound:
    """Lower bounds of the run's duration: `node_days` / n on n nodes, and `days` on any number of nodes."""

    node_days: float
    days: float


def compute_run_lower_bound(run: TrainingRun, offer: ClusterOffer) -> RunLowerBound:
    """The bounds: all FLOPs at the highest efficiency of any kernel; the fixed overhead of all steps."""
    cluster = offer.build_cluster(1)
    scenario = build_run_scenario(run, cluster)
    calibration = scenario.calibration
    best_efficiency = max(
        calibration.gemm_efficiency,
        calibration.gemm_efficiency_8bit,
        calibration.gemm_efficiency_4bit,
        calibration.attention_forward_efficiency,
        calibration.attention_backward_efficiency,
    )
    # causal attention halves the FLOPs of attention: no plan computes less
    flops = compute_model_flops(run.workload, run.global_batch, "causal")
    accelerator = scenario.accelerator
    peak_flops = (
        max(accelerator.peak_flops.values()) if run.precision is None else accelerator.get_peak_flops(run.precision)
    )
    step_s = flops / (cluster.devices * peak_flops * best_efficiency)
    return RunLowerBound(run.steps * step_s / DAY_S, run.steps * calibration.step_overhead_s / DAY_S)


def iterate_splittable_sizes(run: TrainingRun, offer: ClusterOffer, nodes: Iterable[int]) -> Iterator[int]:
    """The numbers of nodes whose devices have valid degrees."""
    return (n for n in nodes if has_valid_split(build_coarse_space(run, n * offer.devices_per_node), run.workload))


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
