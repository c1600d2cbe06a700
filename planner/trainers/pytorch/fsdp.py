"""PyTorch's FSDP: FSDP2 (`fully_shard`) as torchtitan runs it, the first FSDP, FSDP2 in a script of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.trainers import model_rules, rules
from planner.trainers.program import NO_MODEL_PARALLELISM, Program, ProgramVersion
from planner.trainers.trainer import LOSS_CHUNKS, Trainer

# 32-bit sharded parameters are the master weights; 16-bit weights live while gathered; gradients are reduced in bf16
FSDP2 = Trainer(
    name="fsdp2",
    programs=("torchtitan", "fsdp2", "accelerate"),
    sharded_weight_bytes=0.0,
    gradient_bytes=4.0,
    grad_reduce_bytes=2.0,
    # the 16-bit logits are deleted before the backward pass (torchtitan 0.3.0, trainer.py): the logarithm of the
    # softmax, its gradient and that of the 32-bit logits
    loss_bytes_per_logit=12.0,
    logit_gap_bytes=2.0,
    launch_mode="eager",
    usual_zero_stage=3,
    # torchtitan's default; PyTorch's `_ContextParallelOptions` rotates keys and values with an all-gather
    cp_comm_type="all-gather",
    selective_recompute="multiplies",
    keeps_gathered_sequence=True,
    frees_gradients=True,
    has_stream_pools=True,
    uses_torch_pipelining=True,
    keeps_rotary_tables=True,
    accumulates_unsharded="pipeline",
    keeps_weights_gathered_in_pipeline=True,
    # `CPUOffloadPolicy` of torch/distributed/fsdp/_fully_shard/_fsdp_api.py
    offloads_gradients=True,
    saves_quantized_inputs=False,
    # torchao has no delayed scaling (torchao/float8/config.py)
    fp8_recipe="tensorwise",
    kernels="pytorch",
    adapts_parts=True,
    # `F.scaled_dot_product_attention` (torchtitan before 2fc04c6f, torchtitan/models/attention.py)
    uses_flash_attention_2=True,
    copies_gathered_sequence=True,
    shares_world_communicator=True,
)

# the first (`FullyShardedDataParallel`), with the attention kernels of its time: memory as in FSDP2, but for a fused
# cross-entropy
FSDP1 = replace(
    FSDP2,
    name="fsdp",
    programs=("fsdp2", "accelerate"),
    loss="fused",
    keeps_embedding_gathered=True,
    saves_quantized_inputs=True,
    fp8_recipe="delayed",
)

ACCEPT_PYTORCH_ACCELERATORS = rules.accept_accelerators(
    *("NVIDIA gpu", "AMD gpu", "Intel gpu", "Intel npu", "Huawei npu", "cpu"),
    source="torch 2.13, torch/accelerator; torch_npu and Intel's habana_frameworks beside it",
)
"""Accelerators that PyTorch supports, and programs that only add sharding to it."""
ACCEPT_DP_OVERLAP = rules.Rule(
    "dp_overlap",
    "dp_overlap yes",
    lambda plan: not plan.dp_overlap,
    source="torch 2.13, torch/distributed/fsdp/_fully_shard/_fsdp_collectives.py, foreach_reduce; "
    "torch/nn/parallel/distributed.py",
)
"""FSDP and DistributedDataParallel always overlap the communication of gradients."""
_OFFLOAD_SOURCE = "torch 2.13, torch/distributed/fsdp/_fully_shard/_fsdp_api.py, CPUOffloadPolicy"
ACCEPT_FSDP_OFFLOADS = (
    rules.accept_offloads("optimizer", "weights", source=_OFFLOAD_SOURCE),
    rules.Rule(
        "offload",
        "offload optimizer+weights: FSDP keeps both on the host",
        lambda plan: len(plan.offload) == 1,
        lambda plan: plan.offload[0],
        source=_OFFLOAD_SOURCE,
    ),
)


REJECT_NARROW_MOMENTS_ON_HOST = rules.Rule(
    "moments",
    "moments fp32 on the host: of 16 bits beside parameters of 32 they are in a kernel for GPUs",
    lambda plan: (
        bool(plan.offload) and plan.settings.get("moments") == "bf16" and not rules.has_narrow_parameters(plan)
    ),
    source="torch 2.13, aten/src/ATen/native/cuda/FusedAdamKernel.cu",
)

LIBRARY_MODULES: Mapping[str, object] = {"kernels": "transformers", "keeps_rotary_tables": False}
"""Of programs that shard models of Hugging Face's transformers: no autocast, as parameters are cast when they are
gathered (accelerate 1.15, `_prepare_fsdp2` of accelerator.py); all layers share the sines and cosines of a forward
pass (transformers 4.57, `LlamaModel.forward`)."""

ACCEPT_WHOLE_SEQUENCES = rules.accept_whole_sequences(
    "the attention of transformers' models (sdpa) computes the pairs of other documents, and masks them",
    source="transformers 4.57, masking_utils.py, packed_sequence_mask_function; integrations/sdpa_attention.py",
)
"""Of models of Hugging Face's transformers."""

FSDP2_PROGRAM = Program(
    "fsdp2",
    "2.13",
    (
        ACCEPT_PYTORCH_ACCELERATORS,
        *rules.accept_degrees(source=f"{rules.NOT_WRITTEN}: its script shards parameters alone"),
        rules.Rule(
            "zero_stage",
            "zero_stage 2 or 3",
            lambda plan: (plan.zero_stage < 2) & (plan.dp * plan.cp > 1),
            source="torch/distributed/fsdp/_fully_shard/_fully_shard.py, reshard_after_forward",
        ),
        rules.REJECT_FLASH_BEFORE_AMPERE,
        rules.accept_values(
            *("precision", "bf16", "fp16", "fp32", "tf32"),
            source="torch/distributed/fsdp/_fully_shard/_fsdp_api.py, MixedPrecisionPolicy",
        ),
        model_rules.REJECT_PREDICTION_LAYERS,
        rules.REJECT_GRAPH_SCOPES,
        *rules.accept_narrow_parameters("fp32", "bf16", source="torch 2.13, torch/optim/adam.py, _init_group"),
        REJECT_NARROW_MOMENTS_ON_HOST,
        rules.Rule(
            "loss",
            f"loss plain, compiled or fused; chunked where {LOSS_CHUNKS} x cp divides the sequence",
            lambda plan: (plan.settings.get("loss") == "chunked") & (plan.seq_length % (LOSS_CHUNKS * plan.cp) != 0),
            source="torchtitan 0.3, torchtitan/components/loss.py, ChunkedLossWrapper, which its script repeats",
        ),
        ACCEPT_DP_OVERLAP,
        rules.accept_all_layers_recomputed(rules.NOT_WRITTEN),
        rules.ACCEPT_EVERY_SECOND_MATMUL,
        *ACCEPT_FSDP_OFFLOADS,
        rules.Rule(
            "shard_group",
            "shard_group all, or a divisor of dp",
            lambda plan: plan.shard_group is not None and plan.dp % plan.shard_group != 0,
            source="torch/distributed/fsdp/_fully_shard/_fsdp_common.py, HSDPMeshInfo",
        ),
        ACCEPT_WHOLE_SEQUENCES,
    ),
    written_settings=("loss", "moments", "master", "reshard", "recompute_modules"),
    source="github.com/pytorch/pytorch, torch/distributed/fsdp",
    versions=(
        ProgramVersion(
            name="2.13",
            since="2025-01",
            behaviour="gradients are whole until the last micro-batch, embedding and head are the root's",
            source="torch/distributed/fsdp/_fully_shard/_fully_shard.py, set_requires_gradient_sync and "
            "reshard_after_forward",
            changes={**LIBRARY_MODULES, "accumulates_unsharded": "always", "keeps_embedding_gathered": True},
        ),
    ),
    defaults=NO_MODEL_PARALLELISM,
)
