"""MaxText: a step compiled whole by XLA."""

from __future__ import annotations

from planner.trainers.trainer import Trainer

# 32-bit parameters, 16-bit copies while gathered, one program a step
MAXTEXT = Trainer(
    name="maxtext",
    programs=("maxtext",),
    weight_bytes=2.0,
    sharded_weight_bytes=0.0,
    gradient_bytes=4.0,
    optimizer_bytes=12.0,
    grad_reduce_bytes=2.0,
    loss_bytes_per_logit=8.0,
    launch_mode="graph",
    fuses_convolution_neighbors=True,
)
