"""PyTorch's first FSDP (`FullyShardedDataParallel`), with the attention kernels of its time."""

from __future__ import annotations

from planner.trainers.trainer import Trainer

# memory as in FSDP2, but for a fused cross-entropy and without fragmentation
FSDP1 = Trainer(
    name="fsdp",
    programs=("fsdp2", "accelerate"),
    weight_bytes=2.0,
    sharded_weight_bytes=0.0,
    gradient_bytes=4.0,
    optimizer_bytes=12.0,
    grad_reduce_bytes=2.0,
    loss_bytes_per_logit=4.0,
    launch_mode="eager",
    selective_recompute="multiplies",
    keeps_gathered_sequence=True,
    keeps_embedding_gathered=True,
)
