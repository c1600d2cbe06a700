# Llama 3 8B on 2 x 8 h100-sxm-80gb (DGX H100 SuperPOD, InfiniBand NDR), for nemo.
# Plan: dp 4, pp 2, cp 2, vpp 17, micro-batch 1, ZeRO 1, recompute none;
# global batch 64 of 8,192 tokens, bf16.
# Predicted: 3.248 s per step (80 % of runs: 2.85 to 3.77 s), MFU 59.0 % of the bf16 peak.
"""A plan for NeMo 2: torchrun runs this file. Data and optimizer are for you to change."""

import os

import torch
import torch.nn.functional as F
from megatron.core.distributed import DistributedDataParallelConfig
from megatron.core.optimizer import OptimizerConfig
from megatron.core.transformer.enums import AttnBackend
from nemo import lightning as nl
from nemo.collections import llm
from nemo.collections.nlp.modules.common.tokenizer_utils import get_nmt_tokenizer


def model(tokenizer) -> llm.GPTModel:
    """The model and its kernels."""
    config = llm.GPTConfig(
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
        cp_comm_type="p2p",
        attention_backend=AttnBackend.flash,
        cross_entropy_loss_fusion=False,
        overlap_p2p_comm=True,
        batch_p2p_comm=False,
        activation_func=F.silu,
        bias_activation_fusion=True,
        seq_length=8192,
        make_vocab_size_divisible_by=128,
        share_embeddings_and_output_weights=False,
        position_embedding_type="rope",
        rotary_base=500000,
        rotary_percent=1.0,
    )
    return llm.GPTModel(config, tokenizer=tokenizer)


def trainer() -> nl.Trainer:
    """The plan: parallelism, batch and recomputation."""
    strategy = nl.MegatronStrategy(
        tensor_model_parallel_size=1,
        pipeline_model_parallel_size=2,
        pipeline_model_parallel_layout="E|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|t|L",
        context_parallel_size=2,
        pipeline_dtype=torch.bfloat16,
        ddp=DistributedDataParallelConfig(
            grad_reduce_in_fp32=True,
            overlap_grad_reduce=True,
            use_distributed_optimizer=True,
            overlap_param_gather=True,
        ),
    )
    return nl.Trainer(
        accelerator="gpu",
        devices=8,
        num_nodes=2,
        max_steps=190735,
        max_time={"minutes": int(os.environ["EXIT_MINUTES"])} if "EXIT_MINUTES" in os.environ else None,
        limit_val_batches=0,
        use_distributed_sampler=False,
        strategy=strategy,
        plugins=nl.MegatronMixedPrecision(
            precision="bf16-mixed",
            params_dtype=torch.bfloat16,
            pipeline_dtype=torch.bfloat16,
            autocast_enabled=False,
            grad_reduce_in_fp32=True,
        ),
    )


def main() -> None:
    """Train on synthetic data."""
    # the plan determines only how the optimizer is sharded: choose the rest
    tokenizer = get_nmt_tokenizer(library="null", model_name="NullTokenizer", vocab_size=128255)
    data = llm.MockDataModule(
        seq_length=8192, global_batch_size=64, micro_batch_size=1, tokenizer=tokenizer
    )
    optim = nl.MegatronOptimizerModule(config=OptimizerConfig(
        optimizer="adam",
        lr=0.0003,
        min_lr=3e-05,
        bf16=True,
        use_distributed_optimizer=True,
    ))
    # saved every 11195 steps; a run goes on from the last checkpoint
    saved = nl.ModelCheckpoint(
        every_n_train_steps=11195, save_last=True, save_top_k=1, monitor="reduced_train_loss"
    )
    log = nl.NeMoLogger(log_dir=os.environ.get("CHECKPOINTS", "checkpoints"), name="plan", version="run", ckpt=saved)
    resume = nl.AutoResume(resume_if_exists=True, resume_ignore_no_checkpoint=True)
    llm.pretrain(model=model(tokenizer), data=data, trainer=trainer(), optim=optim, log=log, resume=resume)


if __name__ == "__main__":
    main()
