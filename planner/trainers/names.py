"""Names of trainers, launch modes and gradient dtypes: values of options, in the order in which help lists them."""

from typing import Literal

TrainerName = Literal["megatron", "megatron-classic", "megatron-fsdp", "fsdp2", "fsdp", "deepspeed", "ddp", "maxtext"]
LaunchMode = Literal["graph", "fused", "compiled", "eager"]
GradientDtype = Literal["fp32", "bf16"]
