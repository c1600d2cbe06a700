"""Names of trainers, programs, launch modes, dtypes and losses: values of options, in the order of their help."""

from typing import Literal

TrainerName = Literal["megatron", "megatron-classic", "megatron-fsdp", "fsdp2", "fsdp", "deepspeed", "ddp", "maxtext"]
ProgramName = Literal[
    "megatron-lm", "megatron-bridge", "deepspeed", "torchtitan", "fsdp2", "maxtext", "nemo", "accelerate"
]
LaunchMode = Literal["graph", "fused", "compiled", "eager"]
GradientDtype = Literal["fp32", "bf16"]
WeightDtype = Literal["bf16", "fp32", "fp8"]
MomentDtype = Literal["fp32", "bf16", "fp8"]
MasterDtype = Literal["fp32", "bf16", "none"]
LossKernel = Literal["plain", "compiled", "fused", "chunked"]
