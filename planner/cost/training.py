"""What is common to all plans of one question: batch, sequence, precision, attention kernel, accelerator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from planner.cluster.accelerator import Accelerator
from planner.cluster.cluster import Cluster
from planner.cluster.network import Network, build_network
from planner.cost.calibration import Calibration, calibration
from planner.workload.operators import Workload

AttentionKernel = Literal["flash", "unfused"]
FlopsConvention = Literal["full", "causal"]


@dataclass(frozen=True)
class Training:
    """One question to the cost model. Bytes are per parameter.

    16-bit weights, 32-bit gradients and 12 bytes of Adam state (32-bit master copy and two moments) are
    mixed-precision training as Megatron-LM does it (Rajbhandari et al. 2019, arXiv 1910.02054, section 3.1).
    """

    workload: Workload
    accelerator: Accelerator
    devices: int
    network: Network
    calibration: Calibration
    global_batch: int
    precision: str = "bf16"
    attention: AttentionKernel = "flash"
    flops_convention: FlopsConvention = "full"
    weight_bytes: float = 2.0
    gradient_bytes: float = 4.0
    optimizer_bytes: float = 12.0
    reserve_bytes: float = 2.0 * 2**30
    """CUDA context, NCCL and fragmentation."""


def training(
    workload: Workload,
    cluster: Cluster,
    *,
    global_batch: int,
    precision: str | None = None,
    attention: AttentionKernel = "flash",
    flops_convention: FlopsConvention = "full",
) -> Training:
    """Bind a model to a cluster. Without a precision: bf16 where the part has it, else fp16."""
    accelerator = cluster.accelerator
    chosen = precision or ("bf16" if "bf16" in accelerator.peak_flops else "fp16")
    accelerator.peak(chosen)
    fitted = calibration(accelerator.architecture)
    network = build_network(cluster, link_efficiency=fitted.link_efficiency, nic_efficiency=fitted.nic_efficiency)
    return Training(
        workload=workload,
        accelerator=accelerator,
        devices=cluster.devices,
        network=network,
        calibration=fitted,
        global_batch=global_batch,
        precision=chosen,
        attention=attention,
        flops_convention=flops_convention,
    )
