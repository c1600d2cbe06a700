"""Megatron-LM, Megatron-Bridge and NeMo with the distributed optimizer: today's, and that of up to NeMo 26.04."""

from __future__ import annotations

from dataclasses import replace

from planner.trainers.trainer import Trainer

# 32-bit gradient buffers, reduced in 32 bit (Megatron-LM, docs: dist_optimizer.md)
MEGATRON = Trainer(
    name="megatron",
    programs=("megatron-lm", "megatron-bridge", "nemo"),
    weight_bytes=2.0,
    sharded_weight_bytes=2.0,
    gradient_bytes=4.0,
    optimizer_bytes=12.0,
    grad_reduce_bytes=4.0,
    loss_bytes_per_logit=8.0,
    launch_mode="graph",
    overlaps_expert_comm=True,
    fuses_expert_kernels=True,
)

# before whole steps were captured as one graph and the all-to-all of experts was overlapped
MEGATRON_CLASSIC = replace(
    MEGATRON,
    name="megatron-classic",
    launch_mode="fused",
    overlaps_expert_comm=False,
    fuses_expert_kernels=False,
)
