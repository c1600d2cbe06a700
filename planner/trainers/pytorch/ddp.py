"""Plain replicas: PyTorch's DistributedDataParallel, Horovod."""

from __future__ import annotations

from planner.trainers.trainer import Trainer

DDP = Trainer(
    name="ddp",
    programs=("accelerate",),
    sharded_weight_bytes=2.0,
    gradient_bytes=2.0,
    grad_reduce_bytes=2.0,
    gradient_bucket_bytes=2.0,
    # `bucket_cap_mb` of torch/nn/parallel/distributed.py, of 32-bit gradients
    message_elements=(25 * 2**20 / 4, 0.0),
    loss_bytes_per_logit=12.0,
    launch_mode="eager",
    shares_world_communicator=True,
    kernels="autocast",
    adapts_parts=True,
    uses_flash_attention_2=True,
    # scale, mask, softmax and dropout are a kernel each: 2 + 4 + 4 + 4 + 5 + 2 bytes forward, 2 + 2 + 5 + 6 + 4 + 4
    # backward
    attention_score_bytes=(21.0, 23.0),
)
