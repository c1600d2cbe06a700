"""A plan in the words of megatron-core's configuration, which Megatron-LM, Megatron-Bridge and NeMo share.

The fields are those of TransformerConfig, MLATransformerConfig and ModelParallelConfig (megatron-core 0.16,
transformer/transformer_config.py and model_parallel_config.py); the rules are the assertions there and in the
`validate_args` of Megatron-LM.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.export.python_text import Source
from planner.export.run import Run
from planner.export.trainer import (
    Misfit,
    above_one,
    among,
    decoder,
    odd_layers,
    offloaded,
    on,
    ordered,
)
from planner.workload.spec import ModelSpec

Value = bool | int | float | str | list[int] | list[str] | tuple[int, int]
Fields = dict[str, Value]

FRAMEWORKS = ("megatron-classic", "megatron", "megatron-fsdp")
ORDERS = ("tp-cp-dp-pp", "tp-cp-pp-dp")
"""Of ranks; the second is `use_tp_pp_dp_mapping`."""

_CP = {"ring": "p2p", "all-gather": "allgather", "all-to-all": "a2a"}
_ABSENT = ("embedding_norm", "relative_positions", "token_types")
PRECISIONS: dict[str, Fields] = {
    "bf16": {"bf16": True},
    "fp16": {"fp16": True},
    "fp32": {},
    "tf32": {},
    "fp8": {"bf16": True, "fp8": "hybrid"},
    "mxfp8": {"bf16": True, "fp8": "e4m3", "fp8_recipe": "mxfp8"},
    "nvfp4": {"bf16": True, "fp4": "e2m1", "fp4_recipe": "nvfp4"},
}


def misfits(run: Run) -> Iterator[Misfit]:
    """What megatron-core has no words for."""
    one, settings = run.strategy, run.settings
    yield from decoder(run)
    yield from on(run, ("NVIDIA gpu", "AMD gpu"))
    yield from above_one(run, ("tp", "pp", "cp", "ep", "vpp"))
    yield from among("schedule", settings.schedule, ("1f1b",))
    yield from among("precision", run.precision, tuple(PRECISIONS))
    yield from offloaded(run, ("optimizer",))
    yield from ordered(run, ORDERS)
    if run.model is not None:
        yield from _model_misfits(run.model)
    if settings.gradients == "bf16" and settings.communication == "fp32":
        yield Misfit("communication", "fp32", "as gradients are held: bf16")
    if run.model is not None and run.model.moe is not None and one.tp > 1 and not one.sequence_parallel:
        yield Misfit("sequence_parallel", "no", "experts under tensor parallelism: --sequence-parallel")
    if settings.tp_overlap and one.tp > 1 and not one.sequence_parallel:
        yield Misfit("tp_overlap", "yes", "--sequence-parallel beside it")
    if one.cp > 1 and run.seq_length % (2 * one.cp):
        yield Misfit("cp", one.cp, "a sequence that 2 x cp divides")
    if "optimizer" in settings.offload and one.zero_stage != 1:
        yield Misfit("zero_stage", one.zero_stage, "zero_stage 1 where the optimizer is on the host")
    if settings.shard_group is not None and one.zero_stage == 0:
        yield Misfit("shard_group", settings.shard_group, "shard_group all")
    if one.zero_stage > 1 and not settings.dp_overlap:
        yield Misfit("dp_overlap", "no", "dp_overlap yes, or ZeRO 0 or 1")


def _model_misfits(model: ModelSpec) -> Iterator[Misfit]:
    yield from odd_layers(model, _ABSENT)
    if not model.final_norm:
        yield Misfit("model.final_norm", "false", "true")
    yield from among("model.head", model.head, ("lm",))
    if model.norm == "layernorm" and not model.norm_bias:
        yield Misfit("model.norm_bias", "false", "true, or rmsnorm")
    biases = (model.qkv_bias, model.attention_out_bias, model.mlp_bias)
    if biases not in ((True,) * 3, (False,) * 3, (True, False, False)):
        yield Misfit("model.attention_out_bias", model.attention_out_bias, "biases everywhere, nowhere, or of QKV")
    moe = model.moe
    if moe is not None and moe.expert_bias:
        yield Misfit("model.moe.expert_bias", "true", "false")


def notes(run: Run) -> Iterator[str]:
    """What is run otherwise than planned, without harm to the result."""
    model, one, settings = run.model, run.strategy, run.settings
    if one.recompute == "selective" and run.attention == "flash" and (model is None or model.moe is None):
        yield (
            "recompute selective: megatron-core repeats norms, but not the activation function of a dense layer: "
            "more memory is needed than planned"
        )
    if settings.gradients == "fp32" and settings.communication == "bf16":
        yield "gradients are sent as they are held, in fp32, where the plan has bf16: it takes longer than planned"
    if run.launch in ("eager", "compiled"):
        yield f"the plan's kernels are launched {run.launch}; Megatron's are fused: steps are shorter than planned"
    if run.launch == "graph" and model is not None and model.moe is not None:
        yield "a step with experts is not captured as a graph: it is longer than planned"
    if run.precision == "tf32":
        yield "tf32 is PyTorch's to turn on: NVIDIA_TF32_OVERRIDE=1"


def fields(run: Run) -> Fields:
    """All of the plan that TransformerConfig holds, without what is as its default."""
    assert run.model is not None
    return {**_shape(run.model), **_experts(run.model), **_parallel(run), **_recompute(run), **_kernels(run)}


def _shape(model: ModelSpec) -> Fields:
    found: Fields = {
        "num_layers": model.layers,
        "hidden_size": model.hidden_size,
        "ffn_hidden_size": model.ffn_size,
        "num_attention_heads": model.heads,
    }
    if model.kv_head_count != model.heads and model.mla is None:
        found["num_query_groups"] = model.kv_head_count
    if model.mla is None:
        found["kv_channels"] = model.head_size
    found["normalization"] = "RMSNorm" if model.norm == "rmsnorm" else "LayerNorm"
    if model.gated_mlp:
        found["gated_linear_unit"] = True
    if not model.mlp_bias:
        found["add_bias_linear"] = False
        if model.qkv_bias:
            found["add_qkv_bias"] = True
    if model.qk_norm or model.mla is not None:
        found["qk_layernorm"] = True
    if not model.dropout:
        found |= {"hidden_dropout": 0.0, "attention_dropout": 0.0}
    if model.sliding_window:
        found["window_size"] = (model.sliding_window - 1, 0)
        if model.sliding_every > 1:
            found["window_attn_skip_freq"] = [int(i % model.sliding_every == 0) for i in range(model.layers)]
    if model.attention_sinks:
        found["softmax_type"] = "learnable"
    return found | _latent(model)


def _latent(model: ModelSpec) -> Fields:
    """Multi-head latent attention."""
    mla = model.mla
    if mla is None:
        return {}
    found: Fields = {
        "multi_latent_attention": True,
        "kv_lora_rank": mla.kv_lora_rank,
        "qk_head_dim": mla.qk_nope_head_dim,
        "qk_pos_emb_head_dim": mla.qk_rope_head_dim,
        "v_head_dim": mla.v_head_dim,
    }
    return found | ({"q_lora_rank": mla.q_lora_rank} if mla.q_lora_rank else {})


def _experts(model: ModelSpec) -> Fields:
    moe = model.moe
    if moe is None:
        return {}
    found: Fields = {
        "num_moe_experts": moe.experts,
        "moe_router_topk": moe.topk,
        "moe_ffn_hidden_size": moe.expert_ffn_size,
        "moe_grouped_gemm": True,
        "moe_token_dispatcher_type": "alltoall",
    }
    if moe.shared_ffn_size:
        found["moe_shared_expert_intermediate_size"] = moe.shared_ffn_size
    if moe.shared_gate:
        found["moe_shared_expert_gate"] = True
    if moe.router_bias:
        # the bias that balances the experts without a loss (DeepSeek-V3, arXiv 2412.19437, section 2.1.2)
        found |= {"moe_router_enable_expert_bias": True, "moe_router_score_function": "sigmoid"}
    layers = [int(i >= moe.first_dense_layers and (i + 1) % moe.every == 0) for i in range(model.layers)]
    if not all(layers):
        found["moe_layer_freq"] = layers
    return found


def _parallel(run: Run) -> Fields:
    one = run.strategy
    found: Fields = {"tensor_model_parallel_size": one.tp, "pipeline_model_parallel_size": one.pp}
    if one.vpp > 1 and run.even:
        found["virtual_pipeline_model_parallel_size"] = one.vpp
    if not run.even:
        found["pipeline_model_parallel_layout"] = layout(run)
    found["context_parallel_size"] = one.cp
    if one.cp > 1:
        found["cp_comm_type"] = _CP[run.settings.cp_exchange]
    if run.model is not None and run.model.moe is not None:
        found |= {"expert_model_parallel_size": one.ep, "expert_tensor_parallel_size": one.etp}
    if one.sequence_parallel and one.tp > 1:
        found["sequence_parallel"] = True
    if run.settings.tp_overlap and one.tp > 1:
        found["tp_comm_overlap"] = True
    return found


def layout(run: Run) -> str:
    """Layers chunk by chunk: E the embedding, t a layer, L the head and the loss."""
    parts = [f"t*{count}" if count > 1 else "t" * count for count in run.chunks]
    parts[0], parts[-1] = f"E{parts[0]}", f"{parts[-1]}L"
    return "|".join(parts)


def modules(run: Run) -> list[str]:
    """What selective recomputation repeats: norms, experts' activations, latent attention's projections, and
    unfused attention.
    """
    model = run.model
    found = ["core_attn"] if run.attention == "unfused" else ["layernorm"]
    if model is not None and model.moe is not None and run.attention != "unfused":
        found.append("moe_act")
    if model is not None and model.mla is not None:
        found.append("mla_up_proj")
    return found


def ddp(run: Run) -> Fields:
    """How gradients, optimizer and weights are shared by data-parallel ranks: of DistributedDataParallelConfig.

    ZeRO 1 is the distributed optimizer, ZeRO 2 and 3 are Megatron-FSDP's.
    """
    one, settings = run.strategy, run.settings
    found: Fields = {"grad_reduce_in_fp32": settings.gradients == "fp32"}
    if settings.dp_overlap:
        found["overlap_grad_reduce"] = True
    if one.zero_stage:
        found["use_distributed_optimizer"] = True
        if settings.dp_overlap:
            found["overlap_param_gather"] = True
    if one.zero_stage > 1:
        strategy = {2: "optim_grads", 3: "optim_grads_params"}[one.zero_stage]
        found |= {"use_megatron_fsdp": True, "data_parallel_sharding_strategy": strategy}
    if settings.shard_group is not None:
        found["num_distributed_optimizer_instances"] = one.dp * one.cp // settings.shard_group
    return found


def unmixed(run: Run) -> Fields:
    """The fields without the number formats, for trainers that tell them to a plugin of their own."""
    return {name: value for name, value in fields(run).items() if name not in PRECISIONS[run.precision]}


def mixed_precision(run: Run) -> dict[str, object]:
    """The number formats, as the plugins of Megatron-Bridge and NeMo are told them."""
    found: dict[str, object] = dict(PRECISIONS[run.precision]) or {"fp32": True}
    kind = Source(dtype(run))
    return found | {
        "params_dtype": kind,
        "pipeline_dtype": kind,
        "autocast_enabled": False,
        "grad_reduce_in_fp32": run.settings.gradients == "fp32",
    }


def arguments(run: Run) -> dict[str, object]:
    """The fields as arguments of a call in Python, without the number formats: enums and functions by their names."""
    found: dict[str, object] = dict(unmixed(run))
    found["attention_backend"] = Source(f"AttnBackend.{found['attention_backend']}")
    if run.model is not None and run.model.gated_mlp:
        found["activation_func"] = Source("F.silu")
    return found


def embeddings(model: ModelSpec) -> dict[str, object]:
    """How tokens and their positions become vectors."""
    return {
        "share_embeddings_and_output_weights": model.tied_embeddings,
        "position_embedding_type": "learned_absolute" if model.learned_positions else "rope",
    }


def dtype(run: Run) -> str:
    """In which activations are sent between stages."""
    narrow = PRECISIONS[run.precision]
    return "torch.bfloat16" if "bf16" in narrow else "torch.float16" if "fp16" in narrow else "torch.float32"


def optimizer(run: Run) -> dict[str, object]:
    """Adam as a start, shared and on the host as planned: of OptimizerConfig."""
    found: dict[str, object] = {"optimizer": "adam", "lr": 3.0e-4, "min_lr": 3.0e-5}
    found |= {name: True for name in ("bf16", "fp16") if name in PRECISIONS[run.precision]}
    found["use_distributed_optimizer"] = run.strategy.zero_stage > 0
    if "optimizer" in run.settings.offload:
        found |= {"optimizer_cpu_offload": True, "optimizer_offload_fraction": 1.0}
        found["use_precision_aware_optimizer"] = True
    return found


def variables(run: Run) -> dict[str, object]:
    """Of the environment. One connection keeps collectives in order behind the multiplies; FSDP needs several."""
    one = run.strategy
    return {"CUDA_DEVICE_MAX_CONNECTIONS": 1} if (one.tp > 1 or one.cp > 1) and one.zero_stage < 2 else {}


def _recompute(run: Run) -> Fields:
    mode, layers = run.strategy.recompute, run.settings.recompute_layers
    if mode == "selective":
        return {"recompute_granularity": "selective", "recompute_modules": modules(run)}
    if mode == "full":
        method = "uniform" if layers is None else "block"
        return {
            "recompute_granularity": "full",
            "recompute_method": method,
            "recompute_num_layers": 1 if layers is None else layers,
        }
    return {}


def _kernels(run: Run) -> Fields:
    model = run.model
    special = model is not None and (model.mla is not None or model.attention_sinks or model.sliding_window > 0)
    backend = "unfused" if run.attention == "unfused" else "auto" if special else "flash"
    found: Fields = {"attention_backend": backend, **PRECISIONS[run.precision]}
    if run.launch == "graph" and (model is None or model.moe is None):
        found |= {"cuda_graph_impl": "local", "cuda_graph_scope": ["full_iteration"]}
    return found
