"""A plan in the form for launchers and trainers: the model's shape, the parallelism, and the hardware."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import msgspec

from planner.cost.pipeline.partition import find_partition_costs, list_chunk_layers
from planner.cost.settings import list_own_values
from planner.documents.plan import PlanDocument, PlanPart, SettingsPart, StrategyPart
from planner.errors import InputError
from planner.hardware import database
from planner.studies.explain import check_plan_split
from planner.trainers.names import WRITTEN_OPTIMIZER, TrainerName
from planner.trainers.pipeline_layout import find_mtp_chunk
from planner.trainers.registry import TRAINERS_BY_NAME, adapt_to_accelerator
from planner.trainers.rules import PlanValues
from planner.trainers.trainer import find_numbering_order, widen_trainer_state
from planner.workload.operator_list.spec import OperatorListSpec
from planner.workload.operators import Workload
from planner.workload.spec import ModelSpec

SHORT_RUN_STEPS = 100
"""Steps of a run without tokens: enough to measure it."""
CHECKPOINT_INTERVAL_S = 3600.0
"""Seconds between checkpoints of a plan without failures."""


@dataclass(frozen=True)
class RunAccelerator:
    """The accelerator. Vendor and type are empty for an accelerator that is not in hardware_db."""

    name: str
    vendor: str
    device_type: str
    architecture: str = ""


@dataclass(frozen=True)
class PlannedRun:
    """A plan of a plan document.

    `name`: of jobs, of letters, digits and dashes. `model`: None for a list of operators. `chunk_layers`: layers of
    each chunk of the pipeline in the model's order, vpp x pp of them; chunk i is on stage i modulo pp, or as the
    schedule folds them. `hosts`: in the order of the ranks, empty for a regular cluster. `checkpoint_steps`: between
    two checkpoints.
    """

    name: str
    title: str
    model: ModelSpec | None
    layers: int
    parameters: int
    seq_length: int
    strategy: StrategyPart
    settings: SettingsPart
    global_batch: int
    precision: str
    attention: str
    framework: TrainerName
    launch: str
    chunk_layers: tuple[int, ...]
    cluster: str
    accelerator: RunAccelerator
    nodes: int
    devices_per_node: int
    hosts: tuple[str, ...]
    step_time_s: float
    step_time_p10_s: float
    step_time_p90_s: float
    mfu: float
    tokens: int | None
    checkpoint_steps: int
    cp_group_sizes: tuple[int, ...] = ()
    """Of hierarchical context parallelism, ranks of an all-to-all and of a ring; empty without it."""
    trainer_version: str = ""
    """The version of a program that was planned for, as NAME@VERSION; empty: the newest."""

    @property
    def devices(self) -> int:
        """All accelerators."""
        return self.nodes * self.devices_per_node

    @property
    def node(self) -> tuple[str, int]:
        """The accelerator's name and how many a node has."""
        return self.accelerator.name, self.devices_per_node

    @property
    def micro_batches(self) -> int:
        """Micro-batches of a step on a data-parallel rank, over which gradients are accumulated."""
        return self.global_batch // (self.strategy.dp * self.strategy.micro_batch)

    @property
    def steps(self) -> int:
        """Steps of the whole run; a few where the plan has no tokens."""
        return SHORT_RUN_STEPS if self.tokens is None else -(-self.tokens // (self.global_batch * self.seq_length))

    @property
    def training_time_s(self) -> float:
        """Seconds of all steps, without failures, start and checkpoints."""
        return self.steps * self.step_time_s

    @property
    def numbering_order(self) -> str:
        """The order of the dimensions in which the trainer numbers the ranks."""
        trainer = TRAINERS_BY_NAME[self.framework]
        degrees = list_degrees(self.strategy)
        return find_numbering_order(trainer, self.settings.order, degrees, has_experts=self.values.has_experts)

    @property
    def is_nvidia_gpu(self) -> bool:
        """Whether the plan is for NVIDIA's GPUs."""
        return self.accelerator.vendor == "NVIDIA" and self.accelerator.device_type == "gpu"

    @property
    def decoder(self) -> ModelSpec:
        """The model, for trainers that support decoders only."""
        assert self.model is not None
        return self.model

    @property
    def overlaps_tp(self) -> bool:
        """Whether there is tensor-parallel communication that is overlapped."""
        return self.settings.tp_overlap and self.strategy.tp > 1

    @property
    def mtp_chunk(self) -> int:
        """The chunk with the layers of multi-token prediction."""
        return int(find_mtp_chunk(self.settings.layout, len(self.chunk_layers)))

    @property
    def has_even_chunks(self) -> bool:
        """Whether all chunks of the pipeline have as many layers, with multi-token prediction in the last."""
        return len(set(self.chunk_layers)) == 1 and self.mtp_chunk == len(self.chunk_layers) - 1

    @property
    def values(self) -> PlanValues:
        """The plan as the rules of programs read it."""
        return PlanValues.build(
            msgspec.structs.asdict(self.settings),
            **msgspec.structs.asdict(self.strategy),
            precision=self.precision,
            attention=self.attention,
            launch=self.launch,
            seq_length=self.seq_length,
            global_batch=self.global_batch,
            framework=self.framework,
            model=self.model,
            model_title=self.title,
            accelerator=self.accelerator.name,
            vendor=self.accelerator.vendor,
            device_type=self.accelerator.device_type,
            own_values=list_own_values(
                widen_trainer_state(
                    adapt_to_accelerator(
                        TRAINERS_BY_NAME[self.framework], self.accelerator.name, self.accelerator.architecture
                    ),
                    self.precision,
                ),
                self.precision,
            ),
            architecture=self.accelerator.architecture,
        )


def list_degrees(strategy: StrategyPart) -> dict[str, int]:
    """The degrees that say where ranks lie."""
    return {name: getattr(strategy, name) for name in ("tp", "cp", "dp", "pp", "ep", "etp")}


def build_planned_run(
    document: PlanDocument, plan_number: int, spec: ModelSpec | OperatorListSpec, workload: Workload
) -> PlannedRun:
    """Plan `plan_number` of the document, counted from 1.

    Raises InputError for techniques, which are not exported, and for degrees that do not fit the cluster.
    """
    # what every trainer's files say anyway
    exported = (f"quantised training in {document.scenario.precision}", f"optimizer {WRITTEN_OPTIMIZER}")
    names = ", ".join(technique.name for technique in document.techniques if technique.name not in exported)
    if names:
        expected = "a plan without techniques; the training script has to apply them"
        raise InputError("export does not support techniques", key="techniques", value=names, expected=expected)
    plan, cluster, scenario = document.plans[plan_number - 1], document.cluster, document.scenario
    strategy = plan.strategy
    try:
        check_plan_split(plan, cluster.devices, workload.layer_count)
    except InputError as error:
        raise error.relocate("", f"plans[{plan_number - 1}].{error.key}") from None
    costs = find_partition_costs(workload, TRAINERS_BY_NAME[scenario.framework])
    return PlannedRun(
        name=_format_job_name(document.model.name),
        title=strip_control_characters(document.model.title),
        model=spec if isinstance(spec, ModelSpec) else None,
        layers=workload.layer_count,
        parameters=workload.parameters,
        seq_length=workload.seq_length,
        strategy=strategy,
        settings=plan.settings,
        global_batch=plan.global_batch,
        precision=scenario.precision,
        attention=scenario.attention,
        framework=scenario.framework,
        launch=scenario.launch,
        chunk_layers=tuple(list_chunk_layers(workload, strategy.pp, strategy.vpp, plan.settings.layout, costs)),
        cluster=strip_control_characters(cluster.title),
        accelerator=_build_accelerator(cluster.accelerator),
        nodes=cluster.nodes,
        devices_per_node=cluster.devices_per_node,
        hosts=_list_hosts(document),
        step_time_s=plan.step_time_s,
        step_time_p10_s=plan.step_time_p10_s,
        step_time_p90_s=plan.step_time_p90_s,
        mfu=plan.mfu,
        tokens=document.run.tokens if document.run else None,
        checkpoint_steps=_compute_checkpoint_steps(document, plan.step_time_s),
        cp_group_sizes=_read_context_group_sizes(plan, f"plans[{plan_number - 1}]"),
        trainer_version=scenario.trainer or "",
    )


def _read_context_group_sizes(plan: PlanPart, key: str) -> tuple[int, ...]:
    """Raise InputError where a plan has not the sizes of its hierarchical context parallelism."""
    if plan.settings.cp_exchange != "hierarchical" or plan.strategy.cp == 1:
        return ()
    sizes = () if isinstance(plan.cp_group_sizes, msgspec.UnsetType) else tuple(plan.cp_group_sizes)
    if len(sizes) != 2 or math.prod(sizes) != plan.strategy.cp:
        expected = f"ranks of an all-to-all and of a ring, whose product is cp {plan.strategy.cp}"
        raise InputError(
            "no sizes of hierarchical context parallelism",
            key=f"{key}.cp_group_sizes",
            value=list(sizes) or None,
            expected=expected,
        )
    return sizes


def _compute_checkpoint_steps(document: PlanDocument, step_time_s: float) -> int:
    """Steps between two checkpoints: Daly's interval of the document's first plan, or an hour without failures."""
    reliability = document.reliability
    interval_s = CHECKPOINT_INTERVAL_S if reliability is None else reliability.checkpoint.interval_s
    return max(1, round(interval_s / step_time_s))


def strip_control_characters(text: str) -> str:
    """The text on one line, without control characters, for comments."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def _format_job_name(name: str) -> str:
    """A name that every scheduler accepts: at most 40 of a-z, 0-9 and dashes, a letter first (RFC 1035)."""
    text = re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")[:40].strip("-")
    return text if re.match("[a-z]", text) else f"model-{text}".rstrip("-")


def _build_accelerator(name: str) -> RunAccelerator:
    if name not in database.list_database_names("accelerators"):
        return RunAccelerator(strip_control_characters(name), "", "")
    spec = database.load_accelerator_spec(name)
    return RunAccelerator(name, spec.vendor, spec.kind, spec.architecture)


def _list_hosts(document: PlanDocument) -> tuple[str, ...]:
    """Raise InputError for a host's name that is not valid."""
    hosts = tuple(document.placement.hosts) if document.placement else ()
    for host in hosts:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", host):
            expected = "letters, digits, dots and dashes"
            raise InputError("not a host's name", key="placement.hosts", value=host, expected=expected)
    return hosts
