"""Names of trainers, programs, launch modes, dtypes and losses: values of options, in the order of their help."""

from typing import Literal

TrainerName = Literal[
    "megatron",
    "megatron-classic",
    "megatron-fsdp",
    "fsdp2",
    "fsdp",
    "deepspeed",
    "ddp",
    "maxtext",
    "torchtune",
    "nanotron",
    "neuronx",
    "mindspeed",
    "megatron-deepspeed",
    "hf-trainer",
    "composer",
]
ExportName = Literal[
    "megatron-lm", "megatron-bridge", "deepspeed", "torchtitan", "fsdp2", "maxtext", "nemo", "accelerate"
]
"""The programs that `planner export --to` writes files for."""
WRITTEN_OPTIMIZER = "adamw"
"""The optimizer of all these files."""
PlannedProgramName = Literal[
    "torchtune", "nanotron", "neuronx", "mindspeed", "megatron-deepspeed", "hf-trainer", "composer"
]
"""The programs that plans are made for, and no files are written."""
ProgramName = Literal[ExportName, PlannedProgramName]
TrainerChoiceName = Literal[ProgramName, TrainerName]
"""A value of `--trainer`: a name of both is the program's."""
LaunchMode = Literal["graph", "fused", "compiled", "eager"]
GraphScope = Literal["attn", "mlp", "moe", "moe_router", "moe_preprocess"]
"""Parts of a layer that are a CUDA graph (`graph:attn+mlp`), by their names in `CudaGraphScope` of megatron-core."""
KernelStyle = Literal["fused", "pytorch", "transformers", "autocast"]
AttentionKernel = Literal["flash", "unfused"]
CpCommType = Literal["ring", "all-gather", "all-to-all", "hierarchical"]
ExpertExchange = Literal["deepep", "nccl", "hybridep"]
CommunicatorName = Literal[
    "world",
    "tensor",
    "context",
    "data",
    "pipeline",
    "model",
    "embedding",
    "expert",
    "expert tensor",
    "expert data",
]
"""Groups of ranks by what they share; model: tensor and pipeline parallelism together, for norms of gradients;
embedding: the ends of a pipeline whose embedding and head are tied."""
GradientDtype = Literal["fp32", "bf16"]
WeightDtype = Literal["bf16", "fp32", "fp8"]
Fp8Recipe = Literal["none", "delayed", "tensorwise", "rowwise", "blockwise", "mxfp8", "nvfp4"]
MomentDtype = Literal["fp32", "bf16", "fp8"]
MasterDtype = Literal["fp32", "bf16", "none"]
LossKernel = Literal["plain", "compiled", "fused", "chunked"]
