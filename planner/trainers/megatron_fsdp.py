"""Megatron-FSDP: Megatron's kernels under fully sharded data parallelism."""

from __future__ import annotations

from planner.trainers.trainer import Trainer

# 32-bit sharded parameters are the master weights, as in FSDP2
MEGATRON_FSDP = Trainer(
    name="megatron-fsdp",
    programs=("megatron-lm", "megatron-bridge", "nemo"),
    weight_bytes=2.0,
    sharded_weight_bytes=0.0,
    gradient_bytes=4.0,
    optimizer_bytes=12.0,
    grad_reduce_bytes=2.0,
    loss_bytes_per_logit=8.0,
    launch_mode="fused",
    keeps_embedding_gathered=True,
    fragmentation_share=0.08,
)
