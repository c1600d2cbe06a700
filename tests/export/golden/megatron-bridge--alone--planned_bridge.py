# Llama 3 8B on 2 x 8 h100-sxm-80gb (DGX H100 SuperPOD, InfiniBand NDR), for megatron-bridge.
# Plan: dp 4, pp 2, cp 2, vpp 17, micro-batch 1, ZeRO 1, recompute none;
# global batch 64 of 8,192 tokens, bf16.
# Predicted: 3.248 s per step (80 % of runs: 2.85 to 3.77 s), MFU 59.0 % of the bf16 peak.
"""A plan for Megatron-Bridge: torchrun runs it. Data and optimizer are yours to change."""

import os

import torch
import torch.nn.functional as F
from megatron.core.transformer.enums import AttnBackend

from megatron.bridge.models import GPTModelProvider
from megatron.bridge.training.config import (
    CheckpointConfig,
    ConfigContainer,
    DistributedDataParallelConfig,
    DistributedInitConfig,
    LoggerConfig,
    MockGPTDatasetConfig,
    OptimizerConfig,
    RerunStateMachineConfig,
    RNGConfig,
    SchedulerConfig,
    TokenizerConfig,
    TrainingConfig,
)
from megatron.bridge.training.mixed_precision import MixedPrecisionConfig


def config() -> ConfigContainer:
    """The plan."""
    return ConfigContainer(
        model=GPTModelProvider(
            num_layers=32,
            hidden_size=4096,
            ffn_hidden_size=14336,
            num_attention_heads=32,
            num_query_groups=8,
            kv_channels=128,
            normalization="RMSNorm",
            layernorm_epsilon=1e-05,
            gated_linear_unit=True,
            add_bias_linear=False,
            hidden_dropout=0.0,
            attention_dropout=0.0,
            tensor_model_parallel_size=1,
            pipeline_model_parallel_size=2,
            pipeline_model_parallel_layout="E|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|L",
            context_parallel_size=2,
            cp_comm_type="p2p",
            attention_backend=AttnBackend.flash,
            cross_entropy_loss_fusion=False,
            overlap_p2p_comm=True,
            batch_p2p_comm=False,
            activation_func=F.silu,
            bias_activation_fusion=True,
            pipeline_dtype=torch.bfloat16,
            seq_length=8192,
            vocab_size=128256,
            share_embeddings_and_output_weights=False,
            position_embedding_type="rope",
            rotary_base=500000,
            rotary_percent=1.0,
        ),
        train=TrainingConfig(
            train_iters=190735,
            global_batch_size=64,
            micro_batch_size=1,
            exit_duration_in_mins=int(os.environ.get("EXIT_MINUTES", 0)) or None,
        ),
        ddp=DistributedDataParallelConfig(
            grad_reduce_in_fp32=True,
            overlap_grad_reduce=True,
            use_distributed_optimizer=True,
            overlap_param_gather=True,
        ),
        dist=DistributedInitConfig(),
        mixed_precision=MixedPrecisionConfig(
            bf16=True,
            params_dtype=torch.bfloat16,
            pipeline_dtype=torch.bfloat16,
            autocast_enabled=False,
            grad_reduce_in_fp32=True,
        ),
        rng=RNGConfig(),
        rerun_state_machine=RerunStateMachineConfig(),
        # the plan determines only how the optimizer is sharded: choose the rest
        optimizer=OptimizerConfig(
            optimizer="adam",
            lr=0.0003,
            min_lr=3e-05,
            bf16=True,
            use_distributed_optimizer=True,
        ),
        scheduler=SchedulerConfig(lr_decay_style="cosine"),
        dataset=MockGPTDatasetConfig(
            seq_length=8192,
            random_seed=1234,
            reset_position_ids=False,
            reset_attention_mask=False,
            eod_mask_loss=False,
            dataloader_type="single",
        ),
        tokenizer=TokenizerConfig(tokenizer_type="NullTokenizer", vocab_size=128255),
        checkpoint=CheckpointConfig(
            save=os.environ.get("CHECKPOINTS", "checkpoints"),
            load=os.environ.get("CHECKPOINTS", "checkpoints"),
            save_interval=11195,
            ckpt_format="torch_dist",
        ),
        logger=LoggerConfig(log_interval=10),
    )


if __name__ == "__main__":
    from megatron.bridge.training.gpt_step import forward_step
    from megatron.bridge.training.pretrain import pretrain

    pretrain(config(), forward_step)
