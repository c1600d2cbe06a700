"""PyTorch's FSDP2 (`fully_shard`), as torchtitan runs it."""

from __future__ import annotations

from planner.trainers.trainer import Trainer

# 32-bit sharded parameters are the master weights; 16-bit weights live while gathered; gradients are reduced in bf16
FSDP2 = Trainer(
    name="fsdp2",
    programs=("torchtitan", "fsdp2", "accelerate"),
    weight_bytes=2.0,
    sharded_weight_bytes=0.0,
    gradient_bytes=4.0,
    optimizer_bytes=12.0,
    grad_reduce_bytes=2.0,
    loss_bytes_per_logit=14.0,
    launch_mode="eager",
    selective_recompute="multiplies",
    keeps_gathered_sequence=True,
    keeps_embedding_gathered=True,
    saves_quantized_inputs=False,
    fragmentation_share=0.08,
)
