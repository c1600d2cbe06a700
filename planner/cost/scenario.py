"""What is common to all plans of one question: batch, sequence, precision, attention kernel, accelerator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from planner.cluster.build.power import PowerModel, resolve_power
from planner.cluster.model.cluster import Cluster, Host
from planner.cluster.network.build import build_network
from planner.cluster.network.network import Network
from planner.cost.calibration import Calibration, build_calibration
from planner.cost.offload import NO_OFFLOAD, Offload
from planner.cost.rank_groups import RANK_ORDERS
from planner.errors import InputError
from planner.hardware.accelerator import Accelerator
from planner.units import format_bytes
from planner.workload.operators import Workload
from planner.workload.techniques import DEFAULT_TECHNIQUES, Techniques

AttentionKernel = Literal["flash", "unfused"]
FlopsConvention = Literal["full", "causal"]
TrainerName = Literal["megatron", "megatron-classic", "megatron-fsdp", "fsdp2", "fsdp", "deepspeed", "ddp", "maxtext"]
LaunchMode = Literal["graph", "fused", "compiled", "eager"]
GradientDtype = Literal["fp32", "bf16"]
PipelineSchedule = Literal["1f1b", "zero-bubble"]
CpCommType = Literal["ring", "all-gather", "all-to-all"]


@dataclass(frozen=True)
class Trainer:
    """What a trainer holds and sends, in bytes per parameter.

    `weight_bytes`: the 16-bit copy that the kernels read; `sharded_weight_bytes`: of it what stays once ZeRO 3
    shards; `gradient_bytes`; `optimizer_bytes`: 32-bit master copy and two moments; `grad_reduce_bytes`: the gradient
    as it is sent. `loss_bytes_per_logit`: bytes that the loss holds for each logit at its peak: 16-bit logits and
    gradient where one kernel does it in place, a 32-bit copy beside them in Megatron-LM, 16-bit logits and three
    32-bit passes in plain PyTorch. `selective_recompute`: what selective recomputation repeats beside norms and
    activations: nothing, or every second multiply (torchtitan's "selective op"). `keeps_gathered_sequence`: the
    sequence that tensor parallelism gathers is kept for the backward pass (PyTorch's DTensor), not gathered again
    (arXiv 2205.05198, section 4.2.2). `keeps_embedding_gathered`: embedding and head stay gathered under ZeRO 3 (the
    root of an FSDP module). `fragmentation_share`: share of the activations that an eager run's allocator holds
    beyond them. `saves_quantized_inputs`: narrow multiplies keep the narrow copy of their input (Transformer Engine),
    not the 16-bit one (torchao). `overlaps_expert_comm`: the all-to-all of one micro-batch runs beside the compute of
    another. `fuses_expert_kernels`: one kernel does the experts' multiplies, biases and activation.
    `attention_score_bytes`: bytes that unfused attention moves for one query-key pair of one head in 16 bit, forward
    and backward: written, read and written by one kernel for scale, mask and softmax and by dropout, read by the
    product with V, about twice that backward; or by a kernel each. `fuses_convolution_neighbors`: norms, activations
    and sums are computed as a convolution beside them is read or written (XLA on TPUs).
    """

    name: TrainerName
    weight_bytes: float
    sharded_weight_bytes: float
    gradient_bytes: float
    optimizer_bytes: float
    grad_reduce_bytes: float
    loss_bytes_per_logit: float
    launch_mode: LaunchMode
    selective_recompute: Literal["cheap", "multiplies"] = "cheap"
    keeps_gathered_sequence: bool = False
    keeps_embedding_gathered: bool = False
    fragmentation_share: float = 0.0
    saves_quantized_inputs: bool = True
    overlaps_expert_comm: bool = False
    fuses_expert_kernels: bool = False
    attention_score_bytes: tuple[float, float] = (10.0, 16.0)
    fuses_convolution_neighbors: bool = False


_MEGATRON = Trainer(
    "megatron", 2.0, 2.0, 4.0, 12.0, 4.0, 8.0, "graph", overlaps_expert_comm=True, fuses_expert_kernels=True
)
_DEEPSPEED = Trainer("deepspeed", 2.0, 2.0, 2.0, 12.0, 2.0, 12.0, "eager")
_FSDP = Trainer("fsdp2", 2.0, 0.0, 4.0, 12.0, 2.0, 14.0, "eager", "multiplies", True, True, 0.08, False)

TRAINERS_BY_NAME = {
    # 32-bit gradient buffers, reduced in 32 bit (Megatron-LM with the distributed optimizer)
    "megatron": _MEGATRON,
    # the same before whole steps were captured as one graph and experts' exchange was hidden (up to NeMo 26.04)
    "megatron-classic": replace(
        _MEGATRON,
        name="megatron-classic",
        launch_mode="fused",
        overlaps_expert_comm=False,
        fuses_expert_kernels=False,
    ),
    # Megatron's kernels under fully sharded data parallelism
    "megatron-fsdp": replace(
        _FSDP,
        name="megatron-fsdp",
        loss_bytes_per_logit=8.0,
        launch_mode="fused",
        selective_recompute="cheap",
        keeps_gathered_sequence=False,
        saves_quantized_inputs=True,
    ),
    # 32-bit sharded parameters are the master copy; 16-bit weights live while gathered, gradients are sent in 16 bit
    "fsdp2": _FSDP,
    # the first generation of PyTorch FSDP, with the attention kernels of its time and a fused cross-entropy
    "fsdp": replace(
        _FSDP, name="fsdp", loss_bytes_per_logit=4.0, fragmentation_share=0.0, saves_quantized_inputs=True
    ),
    # compiled whole by XLA: 32-bit parameters, 16-bit copies while gathered, one program a step
    "maxtext": replace(
        _FSDP,
        name="maxtext",
        loss_bytes_per_logit=8.0,
        launch_mode="graph",
        selective_recompute="cheap",
        keeps_gathered_sequence=False,
        keeps_embedding_gathered=False,
        fragmentation_share=0.0,
        saves_quantized_inputs=True,
        overlaps_expert_comm=False,
        fuses_convolution_neighbors=True,
    ),
    # 16-bit weights and gradients beside a 32-bit optimizer (arXiv 1910.02054, section 3.1)
    "deepspeed": _DEEPSPEED,
    # plain replicas: PyTorch's DistributedDataParallel, Horovod. Of attention scale, mask, softmax and dropout are a
    # kernel each: 2 + 4 + 4 + 4 + 5 + 2 bytes forward, 2 + 2 + 5 + 6 + 4 + 4 backward
    "ddp": replace(_DEEPSPEED, name="ddp", attention_score_bytes=(21.0, 23.0)),
}


_WIDE_VALUE_BYTES = {"fp32": 4.0, "tf32": 4.0, "fp64": 8.0}
_GRADIENT_BYTES: dict[GradientDtype, float] = {"fp32": 4.0, "bf16": 2.0}
_RESERVE_BYTES = 1.5 * 2**30
_RESERVE_SHARE = 0.03
"""Of a device's memory, beside those bytes."""


@dataclass(frozen=True)
class MemoryLimit:
    """What plans may use of a GPU's memory: a share of it, so many bytes, or all but so many. One of the three."""

    share: float | None = None
    limit_bytes: float | None = None
    headroom_bytes: float | None = None

    def apply(self, memory_bytes: float) -> float:
        """The bytes that plans may use of a memory."""
        if self.share is not None:
            return self.share * memory_bytes
        if self.headroom_bytes is not None:
            return memory_bytes - self.headroom_bytes
        return min(self.limit_bytes or 0.0, memory_bytes)

    def check(self, memory_bytes: float) -> None:
        """Raises InputError for a limit above the memory, or that leaves none of it."""
        if not self.apply(memory_bytes) > 0.0 or (self.limit_bytes or 0.0) > memory_bytes:
            key = "--memory-limit" if self.headroom_bytes is None else "--headroom"
            value = format_bytes(self.limit_bytes or self.headroom_bytes or 0.0)
            expected = f"at most the {format_bytes(memory_bytes)} of the accelerator"
            raise InputError("more memory than there is", key=key, value=value, expected=expected)


@dataclass(frozen=True)
class Scenario:
    """One question to the cost model."""

    workload: Workload
    accelerator: Accelerator
    devices: int
    network: Network
    calibration: Calibration
    global_batch: int
    precision: str = "bf16"
    attention_kernel: AttentionKernel = "flash"
    flops_convention: FlopsConvention = "full"
    trainer: Trainer = TRAINERS_BY_NAME["megatron"]
    launch_mode: LaunchMode = "fused"
    pipeline_schedule: PipelineSchedule = "1f1b"
    """Interleaved where vpp is above one."""
    tp_overlap: bool = False
    dp_overlap: bool = True
    cp_comm_type: CpCommType = "ring"
    rank_order: str = RANK_ORDERS[0]
    """In which dimensions are laid on ranks, from the inside out."""
    shard_group: int | None = None
    """Ranks that ZeRO shards over, where fewer than all that could: hybrid sharding."""
    recompute_layers: int | None = None
    """Layers of a chunk that full recomputation repeats; None: all."""
    usd_per_device_hour: float = 0.0
    """0: no price is known."""
    offload: Offload = NO_OFFLOAD
    host: Host | None = None
    devices_per_host: int = 1
    runtime_reserve_bytes: float = 2.0 * 2**30
    """Driver, communication library and fragmentation."""
    power: PowerModel | None = None
    """What devices, nodes, network and cooling draw."""
    techniques: Techniques = DEFAULT_TECHNIQUES
    """Ways to train for less."""
    memory_limit: MemoryLimit | None = None
    """What plans may use of a GPU's memory; None: all of it."""

    @property
    def usable_memory_bytes(self) -> float:
        """What plans may use of a GPU's memory."""
        memory_bytes = self.accelerator.memory_bytes
        return memory_bytes if self.memory_limit is None else self.memory_limit.apply(memory_bytes)

    @property
    def gradient_dtype(self) -> GradientDtype:
        """The precision in which gradients are held."""
        return "bf16" if self.trainer.gradient_bytes == 2.0 else "fp32"

    @property
    def grad_reduce_dtype(self) -> GradientDtype:
        """The precision in which gradients are sent."""
        return "bf16" if self.trainer.grad_reduce_bytes == 2.0 else "fp32"

    @property
    def value_bytes(self) -> float:
        """Bytes of an activation as it is kept and sent."""
        return _WIDE_VALUE_BYTES.get(self.precision, 2.0)


def build_scenario(
    workload: Workload,
    cluster: Cluster,
    *,
    global_batch: int,
    precision: str | None = None,
    attention: AttentionKernel = "flash",
    flops_convention: FlopsConvention = "full",
    framework: TrainerName | None = None,
    launch: LaunchMode | None = None,
    gradients: GradientDtype | None = None,
    tp_overlap: bool = False,
) -> Scenario:
    """Bind a model to a cluster.

    Without a precision: bf16 where the part has it, else fp16. Without a framework: the one that the part is used
    with. Without a launch mode, or a precision in which gradients are held and sent: the framework's own.
    """
    accelerator = cluster.accelerator
    used_precision = precision or ("bf16" if "bf16" in accelerator.peak_flops else "fp16")
    accelerator.get_peak_flops(used_precision)
    trainer_name = framework or find_default_trainer(accelerator, workload)
    fitted = build_calibration(accelerator.architecture, trainer_name)
    network = build_network(cluster, link_efficiency=fitted.link_efficiency, nic_efficiency=fitted.nic_efficiency)
    trainer = widen_trainer_state(TRAINERS_BY_NAME[trainer_name], used_precision)
    scenario = Scenario(
        workload=workload,
        accelerator=accelerator,
        devices=cluster.devices,
        network=network,
        calibration=fitted,
        global_batch=global_batch,
        precision=used_precision,
        attention_kernel=attention,
        flops_convention=flops_convention,
        trainer=trainer,
        launch_mode=launch or trainer.launch_mode,
        tp_overlap=tp_overlap,
        host=cluster.host,
        devices_per_host=cluster.devices_per_node,
        usd_per_device_hour=accelerator.usd_per_hour or 0.0,
        runtime_reserve_bytes=compute_runtime_reserve_bytes(accelerator.memory_bytes),
        power=resolve_power(cluster),
    )
    return scenario if gradients is None else replace_gradient_dtype(scenario, gradients)


def compute_runtime_reserve_bytes(memory_bytes: float) -> float:
    """What driver, communication library and fragmentation take of a device's memory."""
    return _RESERVE_BYTES + _RESERVE_SHARE * memory_bytes


def compute_required_memory_bytes(used_bytes: float) -> float:
    """The memory of a device in which `used_bytes` are left beside what is reserved."""
    return (used_bytes + _RESERVE_BYTES) / (1.0 - _RESERVE_SHARE)


def replace_gradient_dtype(scenario: Scenario, gradient_dtype: GradientDtype) -> Scenario:
    """The same with gradients held and sent in another precision."""
    value_bytes = _GRADIENT_BYTES[gradient_dtype]
    return replace(
        scenario, trainer=replace(scenario.trainer, gradient_bytes=value_bytes, grad_reduce_bytes=value_bytes)
    )


def replace_grad_reduce_dtype(scenario: Scenario, grad_reduce_dtype: GradientDtype) -> Scenario:
    """The same with gradients sent in another precision than they are held in."""
    return replace(scenario, trainer=replace(scenario.trainer, grad_reduce_bytes=_GRADIENT_BYTES[grad_reduce_dtype]))


def replace_offload(scenario: Scenario, offload: Offload) -> Scenario:
    """The same with something on the host. Raises InputError where the node's file tells nothing of its host."""
    if scenario.host is None and offload.is_active:
        raise InputError(
            "nothing is known of this cluster's hosts",
            key="--offload",
            expected="a cluster whose node says host.memory, host.bandwidth and host.link",
        )
    return replace(scenario, offload=offload)


def find_default_trainer(accelerator: Accelerator, workload: Workload) -> TrainerName:
    """What large models are trained with on a part: MaxText on TPUs, Megatron elsewhere, with whole steps as one
    graph where NVIDIA's recipes do it (Megatron-Bridge, scripts/performance/configs); plain replicas for images.
    """
    if accelerator.architecture.startswith("tpu"):
        return "maxtext"
    if not workload.has_tokens:
        return "ddp"
    return "megatron" if accelerator.architecture.startswith("blackwell") else "megatron-classic"


def widen_trainer_state(trainer: Trainer, precision: str) -> Trainer:
    """What the framework holds where parameters are not in 16 bit: no copy of their own beside the master's."""
    value_bytes = _WIDE_VALUE_BYTES.get(precision)
    if value_bytes is None:
        return trainer
    moment_bytes = 2 * value_bytes
    return replace(
        trainer,
        weight_bytes=value_bytes,
        sharded_weight_bytes=value_bytes if trainer.sharded_weight_bytes else 0.0,
        gradient_bytes=value_bytes,
        optimizer_bytes=moment_bytes if trainer.sharded_weight_bytes else value_bytes + moment_bytes,
        grad_reduce_bytes=value_bytes,
    )
