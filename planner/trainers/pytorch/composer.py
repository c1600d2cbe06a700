"""Composer, as llm-foundry uses it: PyTorch's first FSDP; which plans it runs.

github.com/mosaicml/composer at 64051888 (April 2026), distributed/mosaic_parallelism.py and utils/parallelism.py;
github.com/mosaicml/llm-foundry at 8c8dd48f (July 2025).
"""

from __future__ import annotations

from dataclasses import replace

from planner.trainers import model_rules, rules
from planner.trainers.program import NO_MODEL_PARALLELISM, Program, ProgramVersion
from planner.trainers.pytorch import fsdp

# `mixed_precision: DEFAULT`: 16-bit gathered parameters, gradients reduced in 32 bit (get_mixed_precision); PURE
# reduces them in 16 bit. Each micro-batch's are reduced: `no_sync` is DistributedDataParallel's alone
# (`ddp_sync_context` of composer/distributed/dist_strategy.py). `loss_fn: fused_crossentropy` of
# llmfoundry/models/mpt/modeling_mpt.py
COMPOSER = replace(
    fsdp.FSDP1,
    name="composer",
    programs=("composer",),
    calibration="fsdp",
    grad_reduce_bytes=4.0,
)

COMPOSER_PROGRAM = Program(
    "composer",
    "0.33",
    (
        rules.accept_accelerators("NVIDIA gpu", "AMD gpu", source="composer/devices/device_gpu.py"),
        *rules.accept_degrees(source="not modelled: TPConfig of composer/utils/parallelism.py"),
        *model_rules.reject_model_parts("mtp_layers", source="llm-foundry, llmfoundry/models/mpt/modeling_mpt.py"),
        rules.REJECT_GRAPH_SCOPES,
        rules.Rule(
            "zero_stage",
            "zero_stage 0, 2 or 3",
            lambda plan: plan.zero_stage == 1,
            source="composer/distributed/mosaic_parallelism.py, SHARDING_MAP",
        ),
        rules.accept_values(
            *("precision", "bf16", "fp16", "fp32", "tf32", "fp8"), source="composer/core/precision.py, Precision"
        ),
        rules.REJECT_FLASH_BEFORE_AMPERE,
        rules.accept_values(
            *("launch", "eager", "compiled"), source="composer/trainer/trainer.py, Trainer: compile_config"
        ),
        fsdp.ACCEPT_DP_OVERLAP,
        rules.accept_values(
            "gradients", "fp32", source="composer/distributed/mosaic_parallelism.py, get_mixed_precision"
        ),
        rules.accept_all_layers_recomputed("composer/utils/parallelism.py, FSDPConfig: activation_checkpointing"),
        rules.accept_whole_layers_recomputed("composer/utils/parallelism.py, FSDPConfig: activation_checkpointing"),
        rules.accept_offloads(
            "activations",
            source="composer/utils/parallelism.py, FSDPConfig: activation_cpu_offload; distributed/"
            "mosaic_parallelism.py, get_cpu_offload",
        ),
        rules.Rule(
            "shard_group",
            "shard_group all, or a divisor of dp: data_parallel_shard_degree",
            lambda plan: plan.shard_group is not None and plan.dp % plan.shard_group != 0,
            source="composer/core/state.py, data_parallel_shard_degree",
        ),
        rules.accept_setting(
            "loss", "plain", "fused", source="llm-foundry, llmfoundry/models/mpt/modeling_mpt.py, loss_fn"
        ),
    ),
    # `packing`: attn_uses_sequence_id, with FlashAttention 2.1.2 or later (llm-foundry, llmfoundry/models/mpt/
    # configuration_mpt.py)
    written_settings=("loss",),
    source="github.com/mosaicml/composer",
    versions=(
        ProgramVersion(
            name="0.16.4",
            since="2023-10",
            behaviour="`mixed_precision: DEFAULT` reduces gradients in 32 bit",
            source="d745fcb1, composer/trainer/mosaic_fsdp_utils.py",
        ),
        ProgramVersion(
            name="0.14",
            since="2023-05",
            behaviour="`mixed_precision: DEFAULT` reduces gradients in 16 bit, against its documentation; "
            "no hybrid sharding",
            source="v0.14.0, composer/trainer/mosaic_fsdp.py",
            changes={"grad_reduce_bytes": 2.0},
            rules=(
                rules.reject_shard_groups("v0.14.0, composer/trainer/mosaic_fsdp.py, sharding_map"),
                rules.accept_whole_sequences(
                    "attn_uses_sequence_id is for unfused attention; FlashAttention 2.1.2 came later",
                    source="llm-foundry, llmfoundry/models/mpt/configuration_mpt.py",
                ),
            ),
        ),
    ),
    nearest_exports=("fsdp2",),
    defaults=NO_MODEL_PARALLELISM,
)
