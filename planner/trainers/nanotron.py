"""nanotron: ZeRO 1 with a 32-bit accumulator beside 16-bit gradients, tensor and pipeline parallelism.

github.com/huggingface/nanotron at 2411b022 (April 2026).
"""

from __future__ import annotations

from planner.trainers import model_rules, rules
from planner.trainers.program import Program, ProgramVersion
from planner.trainers.trainer import Trainer

_QUEUED_LAUNCHES = 1024
"""Launches that wait on a GPU of NVIDIA before the host has to."""
_LAYER_LAUNCHES = 30
"""Of a forward pass of `LlamaDecoderLayer` of models/llama.py at e24d2483, with those of collectives."""
_OLD_TORCH = {"host_lead_layers": _QUEUED_LAUNCHES / _LAYER_LAUNCHES, "connects_all_channels": True}

NANOTRON = Trainer(
    name="nanotron",
    programs=("nanotron",),
    sharded_weight_bytes=2.0,
    # `FP32GradientAccumulator` of optim/gradient_accumulator.py: a buffer of all gradients in 32 bit, to which the
    # 16-bit gradients are added after the backward pass; it is reduced
    gradient_bytes=6.0,
    gradient_copy_bytes=2.0,
    # `_accumulate_grad` there; DistributedDataParallel without ZeRO (`make_ddp` of trainer.py)
    frees_gradient_copies=True,
    gradient_bucket_bytes=2.0,
    # `build_model` of models/base.py
    partitions_by_compute=True,
    grad_reduce_bytes=4.0,
    # `_ShardedCrossEntropy` of parallel/tensor_parallel/functional.py: the 32-bit logits (`cast_to_fp32` of
    # models/llama.py, which lets the 16-bit ones go) and their difference to the maximum, in which the softmax is
    # computed
    loss_bytes_per_logit=8.0,
    logit_gap_bytes=2.0,
    # `_all_gather_params` of optim/zero.py
    gathers_copies=True,
    # `_init_process_group_without_moe` of parallel/context.py and `create_pg_for_tied_weights` of
    # parallel/tied_parameters.py: the world twice; without stages `mp_pg` is `tp_pg`, and `local_pg`, which is not
    # counted else, stands in its place
    communicators=("world", "world", "tensor", "data", "pipeline", "model", "embedding"),
    launch_mode="eager",
    # FlashAttention's norm; `GLUActivation` of nn/activations.py is a product of two kernels
    kernels="pytorch",
    cp_comm_type="ring",
    # the package flash-attn (src/nanotron/nn/attention.py)
    uses_flash_attention_2=True,
    # `_ShardedCrossEntropy` there
    loss_launches=20,
    # `ddp_bucket_cap_mb` of src/nanotron/config/config.py, of 16-bit gradients
    message_elements=(25 * 2**20 / 2, 0.0),
)

NANOTRON_PROGRAM = Program(
    "nanotron",
    "2026-04",
    (
        model_rules.accept_decoders("src/nanotron/models"),
        rules.accept_accelerators(
            "NVIDIA gpu", "AMD gpu", source="src/nanotron/parallel/context.py: torch.cuda, NCCL"
        ),
        *rules.accept_degrees(
            *("tp", "pp", "cp"), source="src/nanotron/parallel/context.py: expert ranks are a dimension beside dp"
        ),
        *model_rules.reject_model_parts("mtp_layers", source="src/nanotron/models"),
        rules.REJECT_GRAPH_SCOPES,
        model_rules.reject_tp_beyond_kv_heads("src/nanotron/models/llama.py, CausalSelfAttention"),
        rules.accept_values(
            "precision", "bf16", source="src/nanotron/config/config.py, ModelArgs.dtype; FlashAttention has no fp32"
        ),
        rules.accept_values("zero_stage", 0, 1, source="src/nanotron/config/config.py, OptimizerArgs.zero_stage"),
        model_rules.accept_activations(gated=("silu",), plain=(), source="src/nanotron/models/llama.py, MLP"),
        rules.accept_values("model.norm", "rmsnorm", source="src/nanotron/models/llama.py, LlamaDecoderLayer"),
        rules.Rule(
            "schedule",
            "schedule 1f1b or gpipe",
            lambda plan: (plan.pp > 1) & (plan.schedule not in ("1f1b", "gpipe")),
            source="src/nanotron/config/parallelism_config.py, pp_engine",
        ),
        rules.Rule(
            "cp",
            "a sequence that 2 x cp divides",
            lambda plan: (plan.cp > 1) & (plan.seq_length % (2 * plan.cp) != 0),
            source="src/nanotron/models/qwen.py, Qwen2Model",
        ),
        *rules.restrict_rules(
            [
                rules.accept_values(
                    *("cp_exchange", "ring", "all-gather"),
                    source="src/nanotron/nn/attention.py, ALL_ATTENTION_FUNCTIONS: ring, llama3_ring_attention",
                )
            ],
            lambda plan: plan.cp > 1,
        ),
        rules.Rule(
            "tp_overlap",
            "also --sequence-parallel: tp_mode REDUCE_SCATTER",
            lambda plan: plan.tp_overlap & (plan.tp > 1) & (plan.sequence_parallel == 0),
            source="src/nanotron/parallel/tensor_parallel/functional.py, row_linear",
        ),
        rules.accept_values("attention", "flash", source="src/nanotron/nn/attention.py, ALL_ATTENTION_FUNCTIONS"),
        rules.REJECT_FLASH_BEFORE_AMPERE,
        rules.accept_values("launch", "eager", source="src/nanotron/trainer.py, training_step: no torch.compile"),
        rules.accept_orders("tp-cp-dp-pp", source="src/nanotron/parallel/context.py, parallel_order"),
        rules.Rule(
            "communication",
            "the format of accumulated gradients",
            lambda plan: plan.communication != plan.gradients,
            source="src/nanotron/optim/gradient_accumulator.py, sync_gradients_across_dp",
        ),
        rules.accept_all_layers_recomputed("src/nanotron/config/parallelism_config.py, recompute_layer"),
        rules.accept_whole_layers_recomputed("src/nanotron/config/parallelism_config.py, recompute_layer"),
        rules.accept_offloads(source="src/nanotron/optim/zero.py, ZeroDistributedOptimizer"),
        rules.reject_shard_groups("src/nanotron/optim/zero.py, ZeroDistributedOptimizer: dp_pg"),
        rules.accept_whole_sequences(
            "models of llama.py attend to whole sequences; _use_doc_masking, which qwen.py reads, is not modelled",
            source="src/nanotron/config/models_config.py; models/llama.py; models/qwen.py",
        ),
    ),
    source="github.com/huggingface/nanotron",
    versions=(
        ProgramVersion(
            name="2025-03",
            since="2025-03",
            behaviour="context parallelism; torch of that time uses no block again before its collective has run",
            source="b641237d; torch before 2.8",
            changes=_OLD_TORCH,
        ),
        ProgramVersion(
            name="2024-04",
            since="2024-04",
            behaviour="no context parallelism",
            changes=_OLD_TORCH,
            source="pyproject.toml, src/nanotron/config/parallelism_config.py before b641237d",
            rules=rules.accept_degrees("tp", "pp", source="context parallelism came with b641237d"),
        ),
    ),
    nearest_exports=("megatron-lm",),
    # `log_throughput` of src/nanotron/helpers.py
    logged_rank="first",
    # src/nanotron/config/parallelism_config.py, ParallelismArgs; tp_mode ALL_REDUCE
    defaults={"vpp": "1", "cp": "1", "ep": "1", "recompute": "none", "seq_parallel": "no"},
)
