"""DeepSpeed's ZeRO."""

from __future__ import annotations

from planner.trainers.trainer import Trainer

# 16-bit weights and gradients beside a 32-bit optimizer (arXiv 1910.02054, section 3.1)
DEEPSPEED = Trainer(
    name="deepspeed",
    programs=("deepspeed", "accelerate"),
    weight_bytes=2.0,
    sharded_weight_bytes=2.0,
    gradient_bytes=2.0,
    optimizer_bytes=12.0,
    grad_reduce_bytes=2.0,
    loss_bytes_per_logit=12.0,
    launch_mode="eager",
)
