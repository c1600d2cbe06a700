"""Names of trainers, programs, launch modes, dtypes and losses: values of options, in the order of their help."""

from typing import Literal

TrainerName = Literal["megatron", "megatron-classic", "megatron-fsdp", "fsdp2", "fsdp", "deepspeed", "ddp", "maxtext"]
ProgramName = Literal[
    "megatron-lm", "megatron-bridge", "deepspeed", "torchtitan", "fsdp2", "maxtext", "nemo", "accelerate"
]
TrainerChoiceName = ProgramName | TrainerName
"""A value of `--trainer`: a name of both is the program's."""
LaunchMode = Literal["graph", "fused", "compiled", "eager"]
AttentionKernel = Literal["flash", "unfused"]
CpCommType = Literal["ring", "all-gather", "all-to-all"]
GradientDtype = Literal["fp32", "bf16"]
WeightDtype = Literal["bf16", "fp32", "fp8"]
MomentDtype = Literal["fp32", "bf16", "fp8"]
MasterDtype = Literal["fp32", "bf16", "none"]
LossKernel = Literal["plain", "compiled", "fused", "chunked"]
