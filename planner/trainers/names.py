"""Names of trainers, programs, launch modes, gradient dtypes and losses: values of options, in the order of their help."""

from typing import Literal

TrainerName = Literal["megatron", "megatron-classic", "megatron-fsdp", "fsdp2", "fsdp", "deepspeed", "ddp", "maxtext"]
ProgramName = Literal[
    "megatron-lm", "megatron-bridge", "deepspeed", "torchtitan", "fsdp2", "maxtext", "nemo", "accelerate"
]
LaunchMode = Literal["graph", "fused", "compiled", "eager"]
GradientDtype = Literal["fp32", "bf16"]
LossKernel = Literal["plain", "compiled", "fused", "chunked"]
