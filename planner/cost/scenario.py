"""What all candidates share: model, cluster, trainer, batch, precision, kernels; and how a scenario is built."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import get_args

from planner.cluster.build.power import PowerModel, resolve_power
from planner.cluster.model.cluster import Cluster, Host
from planner.cluster.network.build import build_network
from planner.cluster.network.network import Network
from planner.cost.calibration import Calibration, build_calibration
from planner.cost.input_pipeline import NOTHING_KNOWN, InputSupply, read_input_supply
from planner.cost.rank_groups import RankLayout
from planner.cost.settings import (
    RANK_ORDERS,
    ROUTERS,
    AttentionKernel,
    AttentionPrecision,
    CpCommType,
    ExpertExchange,
    FlopsConvention,
    OffloadState,
    PipelineSchedule,
    ReshardPolicy,
    SendOverlap,
)
from planner.errors import InputError
from planner.hardware.accelerator import Accelerator
from planner.trainers.names import (
    Fp8Recipe,
    GradientDtype,
    LossKernel,
    MasterDtype,
    MomentDtype,
    ProgramName,
    TrainerName,
    WeightDtype,
)
from planner.trainers.pipeline_layout import AUTO_LAYOUT
from planner.trainers.recompute import (
    ALL_ACTIVATIONS,
    DEFAULT_MODULES,
    EVERY_SECOND_MATMUL,
    GRAPH_POLICY,
    RecomputeChoice,
    SelectiveRecompute,
    list_default_modules,
    parse_recompute_modules,
)
from planner.trainers.registry import (
    TRAINERS_BY_NAME,
    adapt_to_accelerator,
    find_default_attention,
    find_default_trainer,
    find_trainer,
    find_version_month,
)
from planner.trainers.trainer import (
    WIDE_VALUE_BYTES,
    Trainer,
    apply_techniques_to_state,
    find_calibration_name,
    find_fp8_recipe,
    find_gather_format,
    replace_gradient_bytes,
    widen_trainer_state,
)
from planner.units import format_bytes
from planner.workload.operators import Workload
from planner.workload.techniques import DEFAULT_TECHNIQUES, Techniques

_CONTEXT_BYTES = 2.0**30
"""Of a CUDA context, a choice of ours: 0.3 GB with kernels that are loaded when they are needed, more than 1 GB with
all of PyTorch's (github.com/pytorch/pytorch/issues/107667)."""
_WORKSPACE_BYTES = 2 * 32 * 2.0**20
"""Of cuBLAS and cuBLASLt, as of Hopper (github.com/pytorch/pytorch/pull/120925)."""
_UNLISTED_SHARE = 0.01
"""Of a GPU's memory what CUDA does not list, rounded: 0.54 of 79.65 GiB of an H100, 0.86 of 80 GiB of an A100
(github.com/vllm-project/vllm/issues/27508, github.com/lianqi1008/Control-GIC/issues/6)."""


@dataclass(frozen=True)
class MemoryLimit:
    """How much of a GPU's memory plans may use: one of a share, bytes, or all but a number of bytes."""

    share: float | None = None
    limit_bytes: float | None = None
    headroom_bytes: float | None = None

    def __str__(self) -> str:
        """The limit in words: `90%`, `70.00 GiB`, `all but 8.00 GiB`."""
        if self.share is not None:
            return f"{100 * self.share:.4g}%"
        if self.headroom_bytes is not None:
            return f"all but {format_bytes(self.headroom_bytes)}"
        return format_bytes(self.limit_bytes or 0.0)

    def apply(self, memory_bytes: float) -> float:
        """Bytes of a memory that plans may use."""
        if self.share is not None:
            return self.share * memory_bytes
        if self.headroom_bytes is not None:
            return memory_bytes - self.headroom_bytes
        return min(self.limit_bytes or 0.0, memory_bytes)


DEFAULT_MEMORY_LIMIT = MemoryLimit(share=0.9)
"""Of every plan that is searched, unless another is given: fragmentation and what no model knows take the rest."""


@dataclass(frozen=True)
class Offload:
    """Which state is kept in the host's memory instead of the device's."""

    optimizer: bool = False
    activations: bool = False
    weights: bool = False

    @property
    def is_active(self) -> bool:
        """Whether anything is."""
        return self.optimizer or self.activations or self.weights


NO_OFFLOAD = Offload()


@dataclass(frozen=True)
class Scenario:
    """What all candidates of a search share."""

    workload: Workload
    accelerator: Accelerator
    devices: int
    network: Network
    calibration: Calibration
    global_batch: int
    precision: str = "bf16"
    attention_kernel: AttentionKernel = "flash"
    attention_precision: AttentionPrecision = "bf16"
    keeps_narrow_activation_inputs: bool = False
    """Whether gated activations keep their input in 8 bit (megatron-core 0.16.1, `activation_func_fp8_input_store` of
    transformer/transformer_config.py)."""
    """The format of fused attention's products; bf16: 16 bits."""
    flops_convention: FlopsConvention = "full"
    trainer: Trainer = TRAINERS_BY_NAME["megatron"]
    launch_mode: str = "fused"
    """How kernels are launched: a name, or `graph:` and the parts of a layer that are graphs, joined by +."""
    pipeline_schedule: PipelineSchedule = "1f1b"
    """Interleaved where vpp is above one."""
    layout: str = AUTO_LAYOUT
    """Which layers are in each chunk of the pipeline, as a text of `planner/trainers/pipeline_layout.py`."""
    tp_overlap: bool = False
    dp_overlap: bool = True
    gather_overlap: bool = True
    """Whether weights are gathered beside compute, as gradients are by `dp_overlap`."""
    pp_overlap: SendOverlap = "interleaved"
    """Whether sends between stages run beside compute."""
    ep_exchange: ExpertExchange = "deepep"
    cp_comm_type: CpCommType = "ring"
    rank_order: str = RANK_ORDERS[0]
    """The order in which dimensions are placed on ranks, from the inside out."""
    shard_group: int | None = None
    """Ranks that ZeRO shards over, where fewer than all that could: hybrid sharding."""
    reshard: ReshardPolicy = "default"
    """When ZeRO 3 frees the weights that it gathered for the forward pass."""
    recompute_layers: int | None = None
    """Layers of a virtual stage that full recomputation repeats; None: all."""
    recompute_modules: str = DEFAULT_MODULES
    """What selective recomputation repeats (`planner/trainers/recompute.py`)."""
    offload_modules: str = ALL_ACTIVATIONS
    """Of which modules the activations are on the host, where any are; joined by +."""
    router: str = "balanced"
    """How even the tokens of expert-parallel ranks are: a name of `ROUTERS`, or a number."""
    packing: str = "no"
    """The documents of a sequence: no, yes, unpadded, or the tokens of one that attends to itself alone."""
    usd_per_device_hour: float = 0.0
    """0: no price is known."""
    offload: Offload = NO_OFFLOAD
    host: Host | None = None
    devices_per_host: int = 1
    input_supply: InputSupply = NOTHING_KNOWN
    """What the cluster has to read and prepare samples with."""
    runtime_reserve_bytes: float = 2.0 * 2**30
    """Driver and libraries, on each GPU."""
    power: PowerModel | None = None
    """Power of GPUs, nodes, network and cooling; None: unknown."""
    software_month: str = ""
    """The month of the kernels, as 2025-04; empty: the newest."""
    techniques: Techniques = DEFAULT_TECHNIQUES
    """Techniques that make training cheaper."""
    memory_limit: MemoryLimit | None = None
    """How much of a GPU's memory plans may use; None: all of it."""
    programs: tuple[ProgramName, ...] = ()
    """The programs of which at least one has to run a plan; none: no rules of programs hold."""

    @property
    def rank_layout(self) -> RankLayout:
        """How the trainer's ranks are laid on devices."""
        return RankLayout(self.rank_order, self.trainer.has_expert_axis, self.pipeline_schedule == "dualpipe")

    @property
    def usable_memory_bytes(self) -> float:
        """Bytes of a GPU's memory that plans may use."""
        memory_bytes = self.accelerator.memory_bytes
        return memory_bytes if self.memory_limit is None else self.memory_limit.apply(memory_bytes)

    @property
    def gradient_dtype(self) -> GradientDtype:
        """The dtype in which gradients are accumulated."""
        return "bf16" if self.trainer.gradient_bytes == 2.0 else "fp32"

    @property
    def grad_reduce_dtype(self) -> GradientDtype:
        """The dtype in which gradients are reduced."""
        return "bf16" if self.trainer.grad_reduce_bytes == 2.0 else "fp32"

    @property
    def weights(self) -> WeightDtype:
        """The dtype of the weights as held."""
        return self.trainer.weights

    @property
    def fp8_recipe(self) -> Fp8Recipe:
        """The scaling of narrow multiplies."""
        return find_fp8_recipe(self.trainer, self.precision)

    @property
    def gather_dtype(self) -> WeightDtype:
        """The dtype in which weights are gathered."""
        return find_gather_format(self.trainer)

    @property
    def moments(self) -> MomentDtype:
        """The dtype of the optimizer's moments."""
        return self.trainer.moments

    @property
    def master(self) -> MasterDtype:
        """The dtype of the master weights."""
        return self.trainer.master

    @property
    def loss(self) -> LossKernel:
        """The implementation of the loss."""
        return self.trainer.loss

    @property
    def ep_overlap(self) -> bool:
        """Whether the all-to-all of experts runs beside compute."""
        return self.trainer.overlaps_expert_comm

    @property
    def expert_imbalance(self) -> float:
        """Tokens of the expert-parallel rank that has most, over the mean."""
        return ROUTERS[self.router] if self.router in ROUTERS else float(self.router)

    @property
    def recompute_choice(self) -> RecomputeChoice | None:
        """What selective recomputation repeats, where it is modules or a policy; None: `selective_recompute`."""
        if self.recompute_modules == DEFAULT_MODULES:
            return self._default_choice
        if self.recompute_modules == EVERY_SECOND_MATMUL or self._has_every_second_in_graph:
            return None
        return parse_recompute_modules(self.recompute_modules)

    @property
    def _default_choice(self) -> RecomputeChoice | None:
        """Megatron's modules where none are chosen; of unfused attention its operator says the same."""
        if self.attention_kernel == "unfused" or self.trainer.selective_recompute not in ("modules", "attention"):
            return None
        if self.trainer.selective_recompute == "attention":
            return parse_recompute_modules("core_attn")
        spec = self.workload.spec
        modules = list_default_modules(
            attention=self.attention_kernel,
            has_experts=self.workload.experts > 0,
            has_latent_attention=spec is not None and spec.mla is not None,
        )
        return parse_recompute_modules("+".join(modules))

    @property
    def _has_every_second_in_graph(self) -> bool:
        return self.recompute_modules == GRAPH_POLICY and self.trainer.graph_keeps_every_second

    @property
    def partitions_layers(self) -> bool:
        """Whether layers are graphs of which PyTorch keeps what the backward pass reads, compiled or not."""
        return self.launch_mode != "eager" or self.recompute_modules == GRAPH_POLICY

    @property
    def selective_recompute(self) -> SelectiveRecompute:
        """What selective recomputation repeats, where no modules are chosen."""
        is_chosen = self.recompute_modules == EVERY_SECOND_MATMUL or self._has_every_second_in_graph
        return "multiplies" if is_chosen else self.trainer.selective_recompute

    @property
    def offloads_by_module(self) -> bool:
        """Whether of the activations those of some modules alone are on the host."""
        choice = self.recompute_choice
        return self.offload_modules != ALL_ACTIVATIONS or (choice is not None and bool(choice.offloaded))

    @property
    def offload_states(self) -> list[str]:
        """The states that are kept on the host."""
        return [name for name in get_args(OffloadState) if getattr(self.offload, name)]

    @property
    def trained_share(self) -> float:
        """Trained parameters for each parameter of the model (0..1)."""
        lora = self.techniques.lora
        return 1.0 if lora is None else lora.adapter_share

    @property
    def trainer_state(self) -> Trainer:
        """The trainer with its bytes for each parameter of the model, trained or not."""
        return apply_techniques_to_state(self.trainer, self.techniques)

    @property
    def value_bytes(self) -> float:
        """Bytes of one value of an activation, saved or communicated."""
        return WIDE_VALUE_BYTES.get(self.precision, 2.0)


def choose_precision(precision: str | None, accelerator: Accelerator) -> str:
    """The given precision; else bf16 where the accelerator has it, else fp16."""
    return precision or ("bf16" if "bf16" in accelerator.peak_flops else "fp16")


def build_scenario(
    workload: Workload,
    cluster: Cluster,
    *,
    global_batch: int,
    precision: str | None = None,
    attention: AttentionKernel | None = None,
    flops_convention: FlopsConvention = "full",
    framework: TrainerName | None = None,
    trainer_version: str = "",
    launch: str | None = None,
    gradients: GradientDtype | None = None,
    tp_overlap: bool = False,
    software_month: str = "",
) -> Scenario:
    """The scenario of a model on a cluster.

    Without a precision: bf16 where the accelerator has it, else fp16. Without an attention kernel: FlashAttention
    where the accelerator has it. Without a trainer (`framework`): the default of the accelerator; `trainer_version`:
    of a program that runs its plans, as NAME@VERSION, empty for the newest; `software_month`: of the kernels, as
    2025-04, empty for that of the version. Without a launch mode, or a dtype of
    gradients: the trainer's own.
    """
    accelerator = cluster.accelerator
    used_precision = choose_precision(precision, accelerator)
    accelerator.get_peak_flops(used_precision)
    trainer_name = framework or find_default_trainer(accelerator, workload)
    record = find_trainer(trainer_name, trainer_version, launch)
    fitted = build_calibration(accelerator.architecture, find_calibration_name(record))
    network = build_network(cluster, link_efficiency=fitted.link_efficiency, nic_efficiency=fitted.nic_efficiency)
    trainer = widen_trainer_state(
        adapt_to_accelerator(record, accelerator.name, accelerator.architecture), used_precision
    )
    scenario = Scenario(
        workload=workload,
        accelerator=accelerator,
        devices=cluster.devices,
        network=network,
        calibration=fitted,
        global_batch=global_batch,
        precision=used_precision,
        attention_kernel=attention or find_default_attention(accelerator),
        flops_convention=flops_convention,
        trainer=trainer,
        launch_mode=launch or trainer.launch_mode,
        tp_overlap=tp_overlap,
        cp_comm_type=trainer.cp_comm_type,
        ep_exchange=trainer.ep_exchange,
        host=cluster.host,
        devices_per_host=cluster.devices_per_node,
        input_supply=read_input_supply(cluster),
        usd_per_device_hour=accelerator.usd_per_hour or 0.0,
        runtime_reserve_bytes=compute_runtime_reserve_bytes(accelerator),
        power=resolve_power(cluster),
        software_month=software_month or find_version_month(trainer_version),
    )
    if gradients is None:
        return scenario
    return replace(scenario, trainer=replace_gradient_bytes(trainer, accumulated=gradients, reduced=gradients))


def check_scenario(scenario: Scenario) -> None:
    """Raise InputError for a memory limit above the memory of the accelerator, or that leaves none of it."""
    limit, memory_bytes = scenario.memory_limit, scenario.accelerator.memory_bytes
    if limit is None or (limit.apply(memory_bytes) > 0.0 and (limit.limit_bytes or 0.0) <= memory_bytes):
        return
    key = "--memory-limit" if limit.headroom_bytes is None else "--headroom"
    value = format_bytes(limit.limit_bytes or limit.headroom_bytes or 0.0)
    expected = f"at most the {format_bytes(memory_bytes)} of the accelerator"
    raise InputError("more memory than there is", key=key, value=value, expected=expected)


def compute_runtime_reserve_bytes(accelerator: Accelerator) -> float:
    """Bytes that driver and libraries take of a device's memory: what its file states, else our choice."""
    reserve_bytes, reserve_share = _find_reserve(accelerator)
    return reserve_bytes + reserve_share * accelerator.memory_bytes


def _find_reserve(accelerator: Accelerator) -> tuple[float, float]:
    """The reserve in bytes, and what is added to it as a share of the memory."""
    if accelerator.reserved_memory_bytes is not None:
        return accelerator.reserved_memory_bytes, 0.0
    return _CONTEXT_BYTES + _WORKSPACE_BYTES, _UNLISTED_SHARE


def compute_required_memory_bytes(
    used_bytes: float, accelerator: Accelerator, limit: MemoryLimit | None = None
) -> float:
    """The memory of a device, in bytes, that leaves `used_bytes` beside the runtime reserve, within the limit.

    Infinite where no memory does: a limit in bytes does not grow with the memory.
    """
    usable_share, headroom_bytes = 1.0, 0.0
    if limit is not None:
        usable_share, headroom_bytes = limit.share or 1.0, limit.headroom_bytes or 0.0
    reserve_bytes, reserve_share = _find_reserve(accelerator)
    if usable_share <= reserve_share or (limit is not None and limit.limit_bytes is not None):
        return math.inf
    return (used_bytes + reserve_bytes + headroom_bytes) / (usable_share - reserve_share)
