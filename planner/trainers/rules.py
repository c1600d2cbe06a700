"""Rules of a program: which values it supports, as predicates over one plan or many.

The rules of a program stand in the order in which a refusal names the first that is broken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, reduce
from itertools import combinations
from operator import and_, attrgetter

import numpy as np
from numpy.typing import NDArray

from planner.trainers.names import TrainerName
from planner.trainers.recompute import (
    DEFAULT_MODULES,
    EVERY_SECOND_MATMUL,
    RecomputeChoice,
    parse_recompute_modules,
)
from planner.workload.spec import ModelSpec

Counts = int | NDArray[np.int64]
"""A number, or an array of shape [plans]."""
Flags = bool | np.bool_ | NDArray[np.bool_]
"""A flag, or an array of shape [plans]."""


@dataclass(frozen=True, kw_only=True)
class PlanValues:
    """What rules read of one plan, or of many plans of a scenario, by the keys of the plan document.

    The degrees and `zero_stage`, `recompute`, `sequence_parallel` may be arrays of shape [plans]; all others are
    values of the scenario.
    """

    tp: Counts
    pp: Counts
    dp: Counts
    cp: Counts
    ep: Counts
    etp: Counts
    vpp: Counts
    micro_batch: Counts
    zero_stage: Counts
    recompute: str | NDArray[np.str_]
    sequence_parallel: Flags
    schedule: str
    layout: str
    tp_overlap: bool
    dp_overlap: bool
    cp_exchange: str
    gradients: str
    communication: str
    offload: list[str]
    order: str
    shard_group: int | None
    recompute_layers: int | None
    precision: str
    attention: str
    launch: str
    seq_length: int
    global_batch: int
    framework: str
    model: ModelSpec | None
    """None for a list of operators."""
    model_title: str
    accelerator: str
    vendor: str
    """Empty, as `device_type` is, for an accelerator that is not in hardware_db."""
    device_type: str
    architecture: str
    """Of the accelerator, as in hardware_db; empty where it is not known."""
    version: str = ""
    """The version of the program whose plans these are, as NAME@VERSION; empty: the newest."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """All settings of the run; those above are fields too, for the rules that read them."""
    own_values: Mapping[str, object] = field(default_factory=dict)
    """By setting the trainer's own value, where a program has to be able to write any other."""

    @classmethod
    def build(cls, settings: Mapping[str, object], **values: object) -> PlanValues:
        """The values with all settings of a run."""
        fields = {name: value for name, value in settings.items() if name in cls.__dataclass_fields__}
        return cls(settings=settings, **fields, **values)  # type: ignore[arg-type]

    @property
    def recompute_choice(self) -> RecomputeChoice:
        """What selective recomputation repeats."""
        return parse_recompute_modules(str(self.settings.get("recompute_modules", DEFAULT_MODULES)))

    @property
    def micro_batches(self) -> Counts:
        """Micro-batches of a step on a data-parallel rank."""
        return self.global_batch // (self.dp * self.micro_batch)

    @property
    def own_texts(self) -> Mapping[str, str]:
        """The trainer's own values as messages print them."""
        return {
            name: ("yes" if value else "no") if isinstance(value, bool) else str(value)
            for name, value in self.own_values.items()
        }

    @property
    def has_experts(self) -> bool:
        """Whether the model is a mixture of experts."""
        return self.model is not None and self.model.moe is not None


NOT_WRITTEN = "not written by planner export"
"""The source of a rule that is a limit of the exported files, not of the program that reads them."""


@dataclass(frozen=True)
class Rule:
    """What a program supports of one setting."""

    setting: str
    """The key of the setting, `model.` before those of the model: the rule's name."""
    supported: str
    """The supported values, for messages; `{plan.tp}` is the plan's own."""
    is_broken: Callable[[PlanValues], Flags]
    """Whether plans break the rule: a flag, or an array of shape [plans]."""
    value: str | Callable[[PlanValues], object] | None = None
    """What a message prints as the plan's value; None: the value of the setting."""
    source: str = field(kw_only=True)
    """The file of the trainer that states it, at the program's version where it names no other, with the function or
    the option; `NOT_WRITTEN` for what the program may run, but the exported files do not have."""

    @property
    def supported_text(self) -> str:
        """The supported values without a plan: a degree of the plan by its name, no value of a trainer or a model."""
        supported = re.sub(r", \{plan\.own_texts\[\w+\]\}|\{plan\.model\.\w+\} ", "", self.supported)
        return re.sub(r"\{plan\.(?:\w+\.)*(\w+)\}", r"\1", supported)

    def read_value(self, plan: PlanValues) -> object:
        """The plan's value of the setting, for messages."""
        if self.value is not None:
            return self.value if isinstance(self.value, str) else self.value(plan)
        value = plan.settings.get(self.setting)
        value = attrgetter(self.setting)(plan) if value is None else value
        if self.setting.startswith("model."):
            return value if isinstance(value, (int, float, str)) else "present"
        return ("yes" if value else "no") if isinstance(value, bool) else value


def accept_values(setting: str, *values: str | int, source: str) -> Rule:
    """These values of the setting. A setting `model.` concerns transformers only."""
    read_setting = attrgetter(setting)

    def is_broken(plan: PlanValues) -> Flags:
        is_missing = setting.startswith("model.") and plan.model is None
        return not is_missing and np.isin(read_setting(plan), values, invert=True)

    return Rule(setting, f"{setting} {' or '.join(map(str, values))}", is_broken, source=source)


def reject_precisions(*names: str, source: str) -> Rule:
    """Precisions that a version does not have yet."""
    return Rule("precision", f"no {' or '.join(names)}", lambda plan: np.isin(plan.precision, names), source=source)


def accept_setting(setting: str, *values: str | bool, supported: str = "", source: str) -> Rule:
    """These values of a setting that is no field of the plan."""
    return Rule(
        setting,
        supported or f"{setting} {' or '.join(map(str, values))}",
        lambda plan: plan.settings.get(setting, values[0]) not in values,
        source=source,
    )


def separates_documents(plan: PlanValues) -> bool:
    """Whether documents of a stated length attend to themselves alone, and the pairs of others are left out."""
    return str(plan.settings.get("packing", "no")).isdecimal()


def accept_whole_sequences(reason: str, *, source: str) -> Rule:
    """No documents that attend to themselves alone, for a reason."""
    return Rule("packing", f"packing no, yes or unpadded: {reason}", separates_documents, source=source)


def has_narrow_parameters(plan: PlanValues) -> bool:
    """Whether the parameters that are sharded and trained have 16 bits, without master weights of 32."""
    return plan.settings.get("master") in ("bf16", "none")


def accept_narrow_parameters(
    *moments: str, precisions: tuple[str, ...] = ("bf16", "fp8", "mxfp8", "nvfp4"), source: str
) -> tuple[Rule, ...]:
    """Parameters of 32 bits with gradients of 32 and moments of these formats, or, in these precisions, parameters of
    16 bits: gradients and moments are then of 16 too, since both have the format of the parameters.
    """
    is_narrow = has_narrow_parameters
    return (
        Rule(
            "master",
            f"master fp32; or parameters of 16 bits: also precision {' or '.join(precisions)}, gradients bf16, "
            "moments bf16",
            lambda plan: (
                is_narrow(plan)
                and (
                    plan.precision not in precisions
                    or plan.gradients != "bf16"
                    or plan.settings.get("moments") != "bf16"
                )
            ),
            source=source,
        ),
        Rule(
            "gradients",
            "gradients fp32: those of the sharded parameters; or bf16 with master none",
            lambda plan: plan.gradients == "bf16" and not is_narrow(plan),
            source=source,
        ),
        Rule(
            "moments",
            f"moments {' or '.join(moments)}; bf16 with master none",
            lambda plan: not is_narrow(plan) and plan.settings.get("moments", moments[0]) not in moments,
            source=source,
        ),
    )


_OLDER_THAN_AMPERE = ("kepler", "maxwell", "pascal", "volta", "turing")
"""NVIDIA's architectures of a compute capability below 8.0."""
REJECT_FLASH_BEFORE_AMPERE = Rule(
    "attention",
    "attention unfused on GPUs before Ampere: FlashAttention needs a compute capability of 8.0",
    lambda plan: plan.attention == "flash" and is_older_than_ampere(plan.architecture),
    source="flash-attn 2.8, README.md, NVIDIA CUDA Support",
)
"""FlashAttention 2 runs on NVIDIA's GPUs from Ampere on."""


def runs_on_hopper(plan: PlanValues) -> bool:
    """Whether the accelerator is a GPU of NVIDIA with a compute capability of 9.0 or more."""
    is_older = plan.architecture.lower() in (*_OLDER_THAN_AMPERE, "ampere", "ada")
    return plan.vendor == "NVIDIA" and plan.device_type == "gpu" and not is_older


def is_older_than_ampere(architecture: str) -> bool:
    """Whether this is an NVIDIA architecture without the instructions that FlashAttention 2 needs."""
    return architecture.lower() in _OLDER_THAN_AMPERE


def accept_trainer_stages(trainers: tuple[TrainerName, ...], supported: str, *stages: int, source: str) -> Rule:
    """These ZeRO stages in plans for these trainers; a single data-parallel rank shards nothing."""
    return Rule(
        "zero_stage",
        supported,
        lambda plan: (
            plan.framework in trainers
            and (np.isin(plan.zero_stage, stages, invert=True) & ((plan.zero_stage > 0) | (plan.dp * plan.cp > 1)))
        ),
        source=source,
    )


def accept_accelerators(*device_types: str, source: str) -> Rule:
    """Accelerators of these vendors, types of devices, or both; those that are not in hardware_db are accepted."""

    def is_broken(plan: PlanValues) -> bool:
        names = {plan.vendor, plan.device_type, f"{plan.vendor} {plan.device_type}"}
        return plan.device_type != "" and not names & set(device_types)

    return Rule("accelerator", f"one of {', '.join(device_types)}", is_broken, source=source)


@cache
def accept_own_value(setting: str, source: str = NOT_WRITTEN) -> Rule:
    """The value that the plan's trainer has by itself."""

    def is_broken(plan: PlanValues) -> bool:
        value = plan.settings.get(setting)
        return plan.own_values.get(setting, value) != value

    return Rule(setting, f"the trainer's own {setting}, {{plan.own_texts[{setting}]}}", is_broken, source=source)


def accept_recompute_modules(supported: str, accepts: Callable[[RecomputeChoice], bool], *, source: str) -> Rule:
    """Choices of what selective recomputation repeats."""
    return Rule(
        "recompute_modules",
        f"recompute_modules {DEFAULT_MODULES}{supported and f', {supported}'}",
        lambda plan: plan.recompute_choice.name != DEFAULT_MODULES and not accepts(plan.recompute_choice),
        source=source,
    )


ACCEPT_EVERY_SECOND_MATMUL = accept_recompute_modules(
    EVERY_SECOND_MATMUL,
    lambda choice: choice.name == EVERY_SECOND_MATMUL,
    source="torchtitan 0.3, torchtitan/distributed/activation_checkpoint.py, SelectiveAC",
)
"""The policy of torchtitan, which FSDP's scripts have too."""


def accept_degrees(*degrees: str, source: str) -> tuple[Rule, ...]:
    """Any degree of these dimensions, beside data parallelism, and 1 of all others."""
    return tuple(
        Rule(name, f"{name} 1", lambda plan, name=name: getattr(plan, name) > 1, source=source)  # type: ignore[misc]
        for name in ("tp", "pp", "cp", "ep", "vpp")
        if name not in degrees
    )


def state_source(source: str, *rules: Rule) -> tuple[Rule, ...]:
    """Rules of several programs, with the source of this one."""
    return tuple(replace(rule, source=source) for rule in rules)


def accept_orders(*orders: str, source: str) -> Rule:
    """These orders of ranks, and others that differ in the place of dimensions of degree 1 only."""

    def differs(plan: PlanValues, order: str) -> Flags:
        plan_order, is_swapped = plan.order.split("-"), False
        for inner, outer in combinations(order.split("-"), 2):
            if plan_order.index(inner) > plan_order.index(outer):
                is_swapped = is_swapped | (getattr(plan, inner) > 1) & (getattr(plan, outer) > 1)
        return is_swapped

    def is_broken(plan: PlanValues) -> Flags:
        return reduce(and_, (differs(plan, order) for order in orders))

    return Rule("order", f"order {' or '.join(orders)}", is_broken, source=source)


def accept_offloads(*states: str, source: str) -> Rule:
    """These states on the host, each alone or with others."""
    return Rule(
        "offload",
        f"offload {' or '.join(['none', *states])}",
        lambda plan: not set(plan.offload) <= set(states),
        lambda plan: next(state for state in plan.offload if state not in states),
        source=source,
    )


REJECT_GRAPH_SCOPES = Rule(
    "launch",
    "a launch without graphs of parts of a layer: those are Megatron's",
    lambda plan: plan.launch.startswith("graph:"),
    source="megatron-core 0.16.1, megatron/core/transformer/transformer_config.py, cuda_graph_scope",
)


def reject_sequence_parallel(source: str) -> Rule:
    """Tensor parallelism without sequence parallelism."""
    return Rule(
        "sequence_parallel",
        "sequence_parallel no",
        lambda plan: (plan.tp > 1) & (plan.sequence_parallel != 0),
        source=source,
    )


def reject_tp_overlap(source: str) -> Rule:
    """Tensor parallelism without overlap."""
    return Rule("tp_overlap", "tp_overlap no", lambda plan: plan.tp_overlap & (plan.tp > 1), source=source)


def reject_shard_groups(source: str) -> Rule:
    """Sharding over all data-parallel ranks."""
    return Rule("shard_group", "shard_group all", lambda plan: plan.shard_group is not None, source=source)


def accept_all_layers_recomputed(source: str) -> Rule:
    """Recomputation of all layers or none."""
    return Rule(
        "recompute_layers", "recompute_layers all", lambda plan: plan.recompute_layers is not None, source=source
    )


def accept_whole_layers_recomputed(source: str) -> Rule:
    """Recomputation of whole layers or nothing."""
    return Rule("recompute", "recompute none or full", lambda plan: plan.recompute == "selective", source=source)


def restrict_rules(rules: Iterable[Rule], condition: Callable[[PlanValues], Flags]) -> tuple[Rule, ...]:
    """The rules, for plans alone for which the condition holds."""
    return tuple(
        replace(rule, is_broken=lambda plan, rule=rule: condition(plan) & rule.is_broken(plan))  # type: ignore[misc]
        for rule in rules
    )


def breaks_expert_shard_groups(plan: PlanValues) -> Flags:
    """Whether hybrid sharding has other replicas of the dense parameters than the ranks with the same experts allow
    (the assertion on `num_distributed_optimizer_instances` in megatron-core's `initialize_model_parallel`, the axis
    efsdp of torchtitan's `ParallelDims`).
    """
    if plan.shard_group is None or not plan.has_experts:
        return False
    # a replica for each shard_group ranks of dp x cp; etp x ep x the ranks with the same experts is tp x cp x dp
    return plan.tp * plan.shard_group % (plan.etp * plan.ep) != 0


def breaks_shard_groups(plan: PlanValues) -> Flags:
    """Whether hybrid sharding is not a mesh: groups are whole context-parallel groups, and replicas whole groups
    (torchtitan's `ParallelDims`, Accelerate's `ParallelismConfig`, MaxText's mesh axes).
    """
    group = plan.shard_group
    return group is not None and ((group % plan.cp != 0) | (plan.dp * plan.cp % group != 0))
