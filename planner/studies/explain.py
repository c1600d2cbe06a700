"""Rebuild the scenario of a plan from its document, and explain where the time of its step goes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from planner.cluster.model.cluster import Cluster
from planner.cluster.network.routed_network import RoutedNetwork
from planner.cost.breakdown import OperatorRoofline, compute_rooflines, compute_waterfall_s
from planner.cost.collectives import CollectiveChoice, record_choices
from planner.cost.memory.activations import count_micro_batches_in_flight
from planner.cost.memory.moments import MEMORY_MOMENTS
from planner.cost.memory.peak import PeakMemory, StageMemory, compute_stage_memory
from planner.cost.pipeline.stages import build_all_stage_plan_tables, build_plan_tables
from planner.cost.rank_groups import build_data_group, build_expert_data_group
from planner.cost.scenario import Scenario
from planner.cost.setting_values import apply_setting, read_settings
from planner.cost.settings import RANK_ORDERS, SETTINGS
from planner.cost.step import OVERLAPPABLE_TERMS, StepCosts, compute_step_costs
from planner.cost.strategies import RECOMPUTE_MODES, Strategies, build_strategy
from planner.cost.timeline import (
    compute_simulated_step_s,
    compute_stage_times,
    count_simulated_micro_batches,
    simulate_pipeline,
)
from planner.documents.explain import (
    SCHEMA_VERSION,
    CollectivePart,
    ExplainDocument,
    OperatorPart,
    RooflinePart,
    SchedulePart,
    StagePart,
    WaterfallPart,
)
from planner.documents.plan import MemoryBreakdownPart, PlanDocument, PlanPart, SettingsPart
from planner.errors import InputError
from planner.studies.bottleneck import explain_bottlenecks
from planner.studies.plan_parts import build_memory_part, build_model_part, build_scenario_part
from planner.trainers.pipeline_layout import check_layout

WATERFALL_TITLES = {
    "ideal": "model's FLOPs at the peak",
    "attention": "causal-mask credit",
    "other_arithmetic": "arithmetic beyond the model's",
    "recompute": "recomputation",
    "efficiency": "GEMM inefficiency",
    "memory": "memory-bound kernels",
    "launches": "launch gaps",
    "host": "waiting for the host",
    "imbalance": "stage imbalance",
    "tensor_parallel": "tensor-parallel collectives",
    "context_parallel": "context-parallel communication",
    "expert_parallel": "expert-parallel all-to-all",
    "pipeline_send": "pipeline sends",
    "pipeline_bubble": "pipeline bubble",
    "data_parallel": "data-parallel collectives",
    "optimizer": "optimizer",
    "offload": "transfers to the host",
    "overhead": "fixed overhead",
    "input": "waiting for samples",
}
"""Titles of the waterfall's parts."""

MAX_SIMULATED_MICRO_BATCHES = 256
"""Most micro-batches of a simulated schedule; the middle of longer steps only repeats."""
_REL_TOL = 1e-6


def build_plan_strategies(plan: PlanPart) -> Strategies:
    """The degrees of a plan as the cost model's strategies, of length one."""
    values = msgspec.structs.asdict(plan.strategy)
    values |= {"recompute": RECOMPUTE_MODES.index(values["recompute"])}
    return build_strategy(**{name: int(value) for name, value in values.items()})


def apply_plan_settings(scenario: Scenario, settings: SettingsPart) -> Scenario:
    """The scenario with a plan's settings. Raises InputError where the cluster's hosts do not support them."""
    # in the order of the table, since gradients set the data type of their communication too; where neither differs,
    # both stay those of the trainer
    for name, setting in SETTINGS.items():
        value = getattr(settings, name)
        if value != read_settings(scenario)[name]:
            scenario = apply_setting(scenario, setting, value)
    return scenario


def build_plan_scenario(scenario: Scenario, cluster: Cluster, document: PlanDocument, plan: PlanPart) -> Scenario:
    """The scenario of the plan: its batch, its settings, and the placement of its ranks where the document has one.

    Raises InputError for a plan that does not match the model and the cluster.
    """
    check_plan_split(plan, scenario.devices, scenario.workload.layer_count)
    plan_scenario = replace(apply_plan_settings(scenario, plan.settings), global_batch=plan.global_batch)
    if document.placement is not None and not cluster.listed_hosts:
        expected = "the --fault options that the plan was made with, or its cluster file"
        raise InputError(
            "the plan places ranks on hosts, but this cluster lists no hosts", key="placement", expected=expected
        )
    if document.placement is None or not cluster.listed_hosts or not isinstance(plan_scenario.network, RoutedNetwork):
        return plan_scenario
    host_index = {host: i for i, host in enumerate(cluster.listed_hosts)}
    host_order = [host_index.get(host, -1) for host in document.placement.hosts]
    if sorted(host_order) != list(range(len(host_index))):
        expected = "the hosts of the cluster, each once"
        raise InputError("not the cluster's hosts", key="placement.hosts", expected=expected)
    return replace(plan_scenario, network=plan_scenario.network.place_ranks(np.array(host_order)))


def check_plan_split(plan: PlanPart, devices: int, layers: int) -> None:
    """Raise InputError where the degrees do not match the devices, or a value is out of range."""
    split = plan.strategy
    product = split.tp * split.pp * split.cp * split.dp
    if product != devices:
        expected = f"degrees whose product is the {devices:,} devices"
        value = f"tp {split.tp} x pp {split.pp} x cp {split.cp} x dp {split.dp}"
        raise InputError("does not match the number of devices", key="strategy", value=value, expected=expected)
    if plan.settings.order not in RANK_ORDERS:
        order = plan.settings.order
        raise InputError(
            "unknown rank order", key="settings.order", value=order, expected=f"one of {', '.join(RANK_ORDERS)}"
        )
    for name, setting in SETTINGS.items():
        if setting.normalize is not None:
            value = getattr(plan.settings, name)
            try:
                setting.normalize(value)
            except ValueError as error:
                key = f"settings.{name}"
                raise InputError("unknown value", key=key, value=value, expected=str(error)) from None
    layout = check_layout(plan.settings.layout, layers, key="settings.layout")
    if not layout.is_auto and layout.list_chunk_layers(layers, split.pp, split.vpp) is None:
        expected = f"a layout of the {layers} layers in pp {split.pp} x vpp {split.vpp} chunks"
        raise InputError(
            "does not match the plan", key="settings.layout", value=plan.settings.layout, expected=expected
        )
    max_values = {
        "ep": devices,
        "etp": split.tp,
        "vpp": layers + 2,
        "micro_batch": plan.global_batch,
    }
    for name, largest in max_values.items():
        value = getattr(split, name)
        if value > largest:
            raise InputError("out of range", key=f"strategy.{name}", value=value, expected=f"at most {largest:,}")
    if plan.global_batch % (split.dp * split.micro_batch):
        expected = f"a divisor of {plan.global_batch:,} / dp {split.dp}"
        raise InputError("does not divide", key="strategy.micro_batch", value=split.micro_batch, expected=expected)


@dataclass(frozen=True)
class ScoredPlan:
    """The costs of a plan's step, and the algorithms of its collectives."""

    costs: StepCosts
    choices: tuple[CollectiveChoice, ...]


def score_unchanged_plan(scenario: Scenario, document: PlanDocument, plan_number: int, origin: str) -> ScoredPlan:
    """The plan, scored. Raises InputError where the step time differs from the document by more than 1e-6."""
    plan = document.plans[plan_number - 1]
    with record_choices() as choices:
        step_costs = compute_step_costs(scenario, build_plan_strategies(plan))
    step_time_s = float(step_costs.step_time_s[0])
    if abs(step_time_s - plan.step_time_s) > _REL_TOL * plan.step_time_s:
        technique_names = [technique.name for technique in document.techniques]
        hint = (
            f"; the plan was made with {', '.join(technique_names)}: give the same options" if technique_names else ""
        )
        raise InputError(
            "the step time differs: another version of the planner, other inputs, or options missing in the file",
            origin=origin,
            key=f"plans[{plan_number - 1}].step_time_s",
            value=plan.step_time_s,
            expected=f"{step_time_s!r}, as it is computed now{hint}",
        )
    return ScoredPlan(step_costs, tuple(choices))


def explain_plan(
    scenario: Scenario, cluster: Cluster, document: PlanDocument, plan_number: int, scored: ScoredPlan
) -> ExplainDocument:
    """Where the time of the plan's step goes; `scenario` and `scored`: those of the plan."""
    plan, step_costs = document.plans[plan_number - 1], scored.costs
    s = build_plan_strategies(plan)
    step_time_s = float(step_costs.step_time_s[0])
    waterfall_s = {name: float(seconds[0]) for name, seconds in compute_waterfall_s(scenario, s, step_costs).items()}
    return ExplainDocument(
        schema_version=SCHEMA_VERSION,
        model=build_model_part(scenario.workload),
        cluster=document.cluster,
        scenario=build_scenario_part(scenario),
        plan=plan_number,
        strategy=plan.strategy,
        settings=plan.settings,
        step_time_s=step_time_s,
        step_time_p10_s=plan.step_time_p10_s,
        step_time_p90_s=plan.step_time_p90_s,
        mfu=float(step_costs.mfu[0]),
        mfu_bf16=float(step_costs.mfu_bf16[0]),
        waterfall=[
            WaterfallPart(name=name, title=WATERFALL_TITLES[name], seconds=seconds, share=seconds / step_time_s)
            for name, seconds in waterfall_s.items()
        ],
        overlapped={name: float(step_costs.overlapped[name][0]) for name in OVERLAPPABLE_TERMS},
        stages=_build_stage_parts(scenario, s),
        roofline=_build_roofline_part(scenario, s),
        collectives=_build_collective_parts(scenario, s, scored.choices),
        schedule=_build_schedule_part(scenario, s, step_costs),
        bottleneck=explain_bottlenecks(scenario, cluster, s, step_costs, build_plan_tables(scenario, s))[0],
    )


def _build_stage_parts(scenario: Scenario, s: Strategies) -> list[StagePart]:
    """The parts of all pipeline stages, in order."""
    plan_tables = build_all_stage_plan_tables(scenario, s)
    memory = compute_stage_memory(scenario, s, plan_tables)
    peak = memory.peak
    stage_memory = PeakMemory({name: sizes[0] for name, sizes in peak.category_bytes.items()}, peak.moment[0])
    in_flight = count_micro_batches_in_flight(scenario, s, plan_tables)[0]
    layers = plan_tables.stages.layer_counts[0, :, :-2].sum(axis=1)
    stage_costs_s = compute_stage_times(scenario, s)
    forward = (stage_costs_s.forward_s + stage_costs_s.forward_comm_s).sum(axis=0)
    backward = (stage_costs_s.backward_s + stage_costs_s.backward_comm_s).sum(axis=0)
    return [
        StagePart(
            stage=stage,
            layers=int(layers[stage]),
            forward_s=float(forward[stage]),
            backward_s=float(backward[stage]),
            micro_batches_in_flight=float(in_flight[stage]),
            memory=build_memory_part(scenario, stage_memory, stage),
            moments=_build_moment_parts(scenario, memory, stage),
        )
        for stage in range(len(layers))
    ]


def _build_moment_parts(scenario: Scenario, memory: StageMemory, stage: int) -> list[MemoryBreakdownPart]:
    """The memory of a device of one stage at each moment."""
    category_bytes = {name: sizes[0, :, stage] for name, sizes in memory.moment_bytes.items()}
    moments = PeakMemory(category_bytes, np.arange(len(MEMORY_MOMENTS)))
    return [build_memory_part(scenario, moments, index) for index in range(len(MEMORY_MOMENTS))]


def _build_roofline_part(scenario: Scenario, s: Strategies) -> RooflinePart:
    accelerator = scenario.accelerator
    peak_flops_per_s, bandwidth_bytes_per_s = (
        accelerator.get_peak_flops(scenario.precision),
        accelerator.memory_bandwidth_bytes_per_s,
    )
    return RooflinePart(
        peak_flops_per_s=peak_flops_per_s,
        memory_bandwidth_bytes_per_s=bandwidth_bytes_per_s,
        ridge_flops_per_byte=peak_flops_per_s / bandwidth_bytes_per_s,
        operators=[_build_operator_part(operator) for operator in compute_rooflines(scenario, s)],
    )


def _build_operator_part(operator: OperatorRoofline) -> OperatorPart:
    flops, traffic_bytes, seconds = (
        float(operator.flops[0]),
        float(operator.traffic_bytes[0]),
        float(operator.time_s[0]),
    )
    return OperatorPart(
        layer=operator.layer_name,
        name=operator.operator_name,
        layers=operator.layer_count,
        flops=flops,
        traffic_bytes=traffic_bytes,
        flops_per_byte=flops / traffic_bytes if traffic_bytes else None,
        seconds=seconds,
        flops_per_s=flops / seconds,
        peak_flops_per_s=operator.peak_flops_per_s,
        peak_share=flops / seconds / operator.peak_flops_per_s,
        bound=operator.bound[0],  # type: ignore[arg-type]
        is_traffic_overlapped=operator.is_fused_attention,
    )


def _build_collective_parts(
    scenario: Scenario, s: Strategies, choices: Iterable[CollectiveChoice]
) -> list[CollectivePart]:
    """The collectives of a step, each once: of data parallelism those of the plan's ZeRO stage."""
    is_sharded = bool(s.zero_stage[0] > 0)
    whole_groups = build_data_group(scenario.rank_layout, s), build_expert_data_group(scenario.rank_layout, s)
    whole_group_sizes = {group.axis: int(group.size[0]) for group in whole_groups}

    def is_used(choice: CollectiveChoice) -> bool:
        """Both ways of reducing gradients are computed: all-reduces of the whole group, or of replicas of shards."""
        if choice.axis not in whole_group_sizes:
            return True
        is_whole = choice.ranks == whole_group_sizes[choice.axis]
        return is_whole != is_sharded if choice.collective == "all-reduce" else is_sharded

    return [
        CollectivePart(
            axis=choice.axis or "data",
            collective=choice.collective,
            ranks=choice.ranks,
            message_bytes=choice.size_bytes,
            algorithm=choice.algorithm,
            protocol=choice.protocol,
            seconds=choice.seconds,
        )
        for choice in dict.fromkeys(choices)
        if is_used(choice)
    ]


def _build_schedule_part(scenario: Scenario, s: Strategies, step_costs: StepCosts) -> SchedulePart:
    """Simulate the schedule and compare it with the equations; for long steps, with fewer micro-batches in both."""
    micro_batches = count_simulated_micro_batches(scenario, s, MAX_SIMULATED_MICRO_BATCHES)
    short_scenario = replace(scenario, global_batch=micro_batches * int((s.dp * s.micro_batch)[0]))
    simulated_costs = (
        step_costs
        if micro_batches * int((s.dp * s.micro_batch)[0]) == scenario.global_batch
        else compute_step_costs(short_scenario, s)
    )
    step_time_s = compute_simulated_step_s(simulated_costs, simulate_pipeline(short_scenario, s))
    equation_time_s = float(simulated_costs.step_time_s[0])
    return SchedulePart(
        micro_batches=micro_batches, step_time_s=step_time_s, difference=step_time_s / equation_time_s - 1.0
    )
