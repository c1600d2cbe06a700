"""What is common to all plans of one question: batch, sequence, precision, attention kernel, accelerator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from planner.cluster.build.power import Power, resolve_power
from planner.cluster.model.cluster import Cluster, Host
from planner.cluster.network.build import build_network
from planner.cluster.network.network import Network
from planner.cost.calibration import Calibration, calibration
from planner.cost.offload import NO_OFFLOAD, Offload
from planner.cost.rank_groups import ORDERS
from planner.errors import InputError
from planner.hardware.accelerator import Accelerator
from planner.units import format_bytes
from planner.workload.operators import Workload
from planner.workload.techniques import PLAIN, Techniques

AttentionKernel = Literal["flash", "unfused"]
FlopsConvention = Literal["full", "causal"]
FrameworkName = Literal[
    "megatron", "megatron-classic", "megatron-fsdp", "fsdp2", "fsdp", "deepspeed", "ddp", "maxtext"
]
Launch = Literal["graph", "fused", "compiled", "eager"]
Gradients = Literal["fp32", "bf16"]
Schedule = Literal["1f1b", "zero-bubble"]
CpExchange = Literal["ring", "all-gather", "all-to-all"]


@dataclass(frozen=True)
class Framework:
    """What a trainer holds and sends, in bytes per parameter.

    `weight`: the 16-bit copy that the kernels read; `sharded_weight`: of it what stays once ZeRO 3 shards;
    `gradient`; `optimizer`: 32-bit master copy and two moments; `reduced`: the gradient as it is sent.
    `loss`: bytes that the loss holds for each logit at its peak: 16-bit logits and gradient where one kernel does
    it in place, a 32-bit copy beside them in Megatron-LM, 16-bit logits and three 32-bit passes in plain PyTorch.
    `selective`: what selective recomputation repeats beside norms and activations: nothing, or every second
    multiply (torchtitan's "selective op"). `keeps_gathered`: the sequence that tensor parallelism gathers is kept
    for the backward pass (PyTorch's DTensor), not gathered again (arXiv 2205.05198, section 4.2.2).
    `keeps_ends`: embedding and head stay gathered under ZeRO 3 (the root of an FSDP module). `fragmentation`:
    share of the activations that an eager run's allocator holds beyond them. `saves_quantised`: narrow multiplies
    keep the narrow copy of their input (Transformer Engine), not the 16-bit one (torchao). `hides_experts`: the
    all-to-all of one micro-batch runs beside the compute of another. `fuses_experts`: one kernel does the experts'
    multiplies, biases and activation. `scores`: bytes that unfused attention moves for one query-key pair of one
    head in 16 bit, forward and backward: written, read and written by one kernel for scale, mask and softmax and by
    dropout, read by the product with V, about twice that backward; or by a kernel each. `fuses_neighbours`: norms,
    activations and sums are computed as a convolution beside them is read or written (XLA on TPUs).
    """

    name: FrameworkName
    weight: float
    sharded_weight: float
    gradient: float
    optimizer: float
    reduced: float
    loss: float
    launch: Launch
    selective: Literal["cheap", "multiplies"] = "cheap"
    keeps_gathered: bool = False
    keeps_ends: bool = False
    fragmentation: float = 0.0
    saves_quantised: bool = True
    hides_experts: bool = False
    fuses_experts: bool = False
    scores: tuple[float, float] = (10.0, 16.0)
    fuses_neighbours: bool = False


_MEGATRON = Framework("megatron", 2.0, 2.0, 4.0, 12.0, 4.0, 8.0, "graph", hides_experts=True, fuses_experts=True)
_DEEPSPEED = Framework("deepspeed", 2.0, 2.0, 2.0, 12.0, 2.0, 12.0, "eager")
_FSDP = Framework("fsdp2", 2.0, 0.0, 4.0, 12.0, 2.0, 14.0, "eager", "multiplies", True, True, 0.08, False)

FRAMEWORKS = {
    # 32-bit gradient buffers, reduced in 32 bit (Megatron-LM with the distributed optimizer)
    "megatron": _MEGATRON,
    # the same before whole steps were captured as one graph and experts' exchange was hidden (up to NeMo 26.04)
    "megatron-classic": replace(
        _MEGATRON, name="megatron-classic", launch="fused", hides_experts=False, fuses_experts=False
    ),
    # Megatron's kernels under fully sharded data parallelism
    "megatron-fsdp": replace(
        _FSDP,
        name="megatron-fsdp",
        loss=8.0,
        launch="fused",
        selective="cheap",
        keeps_gathered=False,
        saves_quantised=True,
    ),
    # 32-bit sharded parameters are the master copy; 16-bit weights live while gathered, gradients are sent in 16 bit
    "fsdp2": _FSDP,
    # the first generation of PyTorch FSDP, with the attention kernels of its time and a fused cross-entropy
    "fsdp": replace(_FSDP, name="fsdp", loss=4.0, fragmentation=0.0, saves_quantised=True),
    # compiled whole by XLA: 32-bit parameters, 16-bit copies while gathered, one program a step
    "maxtext": replace(
        _FSDP,
        name="maxtext",
        loss=8.0,
        launch="graph",
        selective="cheap",
        keeps_gathered=False,
        keeps_ends=False,
        fragmentation=0.0,
        saves_quantised=True,
        hides_experts=False,
        fuses_neighbours=True,
    ),
    # 16-bit weights and gradients beside a 32-bit optimizer (arXiv 1910.02054, section 3.1)
    "deepspeed": _DEEPSPEED,
    # plain replicas: PyTorch's DistributedDataParallel, Horovod. Of attention scale, mask, softmax and dropout are a
    # kernel each: 2 + 4 + 4 + 4 + 5 + 2 bytes forward, 2 + 2 + 5 + 6 + 4 + 4 backward
    "ddp": replace(_DEEPSPEED, name="ddp", scores=(21.0, 23.0)),
}


_WIDE_BYTES = {"fp32": 4.0, "tf32": 4.0, "fp64": 8.0}
_GRADIENT_BYTES: dict[Gradients, float] = {"fp32": 4.0, "bf16": 2.0}
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
class Training:
    """One question to the cost model."""

    workload: Workload
    accelerator: Accelerator
    devices: int
    network: Network
    calibration: Calibration
    global_batch: int
    precision: str = "bf16"
    attention: AttentionKernel = "flash"
    flops_convention: FlopsConvention = "full"
    framework: Framework = FRAMEWORKS["megatron"]
    launch: Launch = "fused"
    schedule: Schedule = "1f1b"
    """Interleaved where vpp is above one."""
    tp_overlap: bool = False
    dp_overlap: bool = True
    cp_exchange: CpExchange = "ring"
    order: str = ORDERS[0]
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
    reserve_bytes: float = 2.0 * 2**30
    """Driver, communication library and fragmentation."""
    power: Power | None = None
    """What devices, nodes, network and cooling draw."""
    techniques: Techniques = PLAIN
    """Ways to train for less."""
    memory_limit: MemoryLimit | None = None
    """What plans may use of a GPU's memory; None: all of it."""

    @property
    def usable_memory_bytes(self) -> float:
        """What plans may use of a GPU's memory."""
        memory_bytes = self.accelerator.memory_bytes
        return memory_bytes if self.memory_limit is None else self.memory_limit.apply(memory_bytes)

    @property
    def gradients(self) -> Gradients:
        """The precision in which gradients are held."""
        return "bf16" if self.framework.gradient == 2.0 else "fp32"

    @property
    def communication(self) -> Gradients:
        """The precision in which gradients are sent."""
        return "bf16" if self.framework.reduced == 2.0 else "fp32"

    @property
    def value_bytes(self) -> float:
        """Bytes of an activation as it is kept and sent."""
        return _WIDE_BYTES.get(self.precision, 2.0)


def training(
    workload: Workload,
    cluster: Cluster,
    *,
    global_batch: int,
    precision: str | None = None,
    attention: AttentionKernel = "flash",
    flops_convention: FlopsConvention = "full",
    framework: FrameworkName | None = None,
    launch: Launch | None = None,
    gradients: Gradients | None = None,
    tp_overlap: bool = False,
) -> Training:
    """Bind a model to a cluster.

    Without a precision: bf16 where the part has it, else fp16. Without a framework: the one that the part is used
    with. Without a launch mode, or a precision in which gradients are held and sent: the framework's own.
    """
    accelerator = cluster.accelerator
    chosen = precision or ("bf16" if "bf16" in accelerator.peak_flops else "fp16")
    accelerator.peak(chosen)
    name = framework or usual_framework(accelerator, workload)
    fitted = calibration(accelerator.architecture, name)
    network = build_network(cluster, link_efficiency=fitted.link_efficiency, nic_efficiency=fitted.nic_efficiency)
    own = in_precision(FRAMEWORKS[name], chosen)
    bound = Training(
        workload=workload,
        accelerator=accelerator,
        devices=cluster.devices,
        network=network,
        calibration=fitted,
        global_batch=global_batch,
        precision=chosen,
        attention=attention,
        flops_convention=flops_convention,
        framework=own,
        launch=launch or own.launch,
        tp_overlap=tp_overlap,
        host=cluster.host,
        devices_per_host=cluster.devices_per_node,
        usd_per_device_hour=accelerator.usd_per_hour or 0.0,
        reserve_bytes=reserved_bytes(accelerator.memory_bytes),
        power=resolve_power(cluster),
    )
    return bound if gradients is None else with_gradients(bound, gradients)


def reserved_bytes(memory_bytes: float) -> float:
    """What driver, communication library and fragmentation take of a device's memory."""
    return _RESERVE_BYTES + _RESERVE_SHARE * memory_bytes


def memory_that_holds(used_bytes: float) -> float:
    """The memory of a device in which `used_bytes` are left beside what is reserved."""
    return (used_bytes + _RESERVE_BYTES) / (1.0 - _RESERVE_SHARE)


def with_gradients(training: Training, gradients: Gradients) -> Training:
    """The same with gradients held and sent in another precision."""
    width = _GRADIENT_BYTES[gradients]
    return replace(training, framework=replace(training.framework, gradient=width, reduced=width))


def with_communication(training: Training, precision: Gradients) -> Training:
    """The same with gradients sent in another precision than they are held in."""
    return replace(training, framework=replace(training.framework, reduced=_GRADIENT_BYTES[precision]))


def with_offload(training: Training, offload: Offload) -> Training:
    """The same with something on the host. Raises InputError where the node's file tells nothing of its host."""
    if training.host is None and offload.any:
        raise InputError(
            "nothing is known of this cluster's hosts",
            key="--offload",
            expected="a cluster whose node says host.memory, host.bandwidth and host.link",
        )
    return replace(training, offload=offload)


def usual_framework(accelerator: Accelerator, workload: Workload) -> FrameworkName:
    """What large models are trained with on a part: MaxText on TPUs, Megatron elsewhere, with whole steps as one
    graph where NVIDIA's recipes do it (Megatron-Bridge, scripts/performance/configs); plain replicas for images.
    """
    if accelerator.architecture.startswith("tpu"):
        return "maxtext"
    if not workload.has_tokens:
        return "ddp"
    return "megatron" if accelerator.architecture.startswith("blackwell") else "megatron-classic"


def in_precision(framework: Framework, precision: str) -> Framework:
    """What the framework holds where parameters are not in 16 bit: no copy of their own beside the master's."""
    wide = _WIDE_BYTES.get(precision)
    if wide is None:
        return framework
    moments = 2 * wide
    return replace(
        framework,
        weight=wide,
        sharded_weight=wide if framework.sharded_weight else 0.0,
        gradient=wide,
        optimizer=moments if framework.sharded_weight else wide + moments,
        reduced=wide,
    )
