"""A plan as megatron-core's configuration, which Megatron-LM, Megatron-Bridge and NeMo share.

The fields are those of TransformerConfig, MLATransformerConfig and ModelParallelConfig (megatron-core 0.16,
transformer/transformer_config.py and model_parallel_config.py); the rules are the assertions there and in the
`validate_args` of Megatron-LM.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.export.python_text import PythonSource
from planner.export.run import PlannedRun
from planner.export.trainer import (
    UnsupportedSetting,
    find_unsupported_accelerator,
    find_unsupported_architecture,
    find_unsupported_degrees,
    find_unsupported_model_parts,
    find_unsupported_offload,
    find_unsupported_order,
    find_unsupported_value,
)
from planner.trainers.divisibility import has_balanced_context_chunks
from planner.workload.spec import ModelSpec

ConfigValue = bool | int | float | str | list[int] | list[str] | tuple[int, int]
ConfigFields = dict[str, ConfigValue]

MEGATRON_RANK_ORDERS = ("tp-cp-dp-pp", "tp-cp-pp-dp")
"""Supported orders of ranks; the second is `use_tp_pp_dp_mapping`."""

_CP_COMM_TYPES = {"ring": "p2p", "all-gather": "allgather", "all-to-all": "a2a"}
_UNSUPPORTED_MODEL_PARTS = ("embedding_norm", "relative_positions", "token_types")
PRECISION_FIELDS: dict[str, ConfigFields] = {
    "bf16": {"bf16": True},
    "fp16": {"fp16": True},
    "fp32": {},
    "tf32": {},
    "fp8": {"bf16": True, "fp8": "hybrid"},
    "mxfp8": {"bf16": True, "fp8": "e4m3", "fp8_recipe": "mxfp8"},
    "nvfp4": {"bf16": True, "fp4": "e2m1", "fp4_recipe": "nvfp4"},
}


def find_unsupported_by_megatron_core(run: PlannedRun) -> Iterator[UnsupportedSetting]:
    """Settings that megatron-core does not support."""
    strategy, settings = run.strategy, run.settings
    yield from find_unsupported_architecture(run)
    yield from find_unsupported_accelerator(run, ("NVIDIA gpu", "AMD gpu"))
    yield from find_unsupported_degrees(run, ("tp", "pp", "cp", "ep", "vpp"))
    yield from find_unsupported_value("schedule", settings.schedule, ("1f1b",))
    yield from find_unsupported_value("precision", run.precision, tuple(PRECISION_FIELDS))
    yield from find_unsupported_offload(run, ("optimizer",))
    yield from find_unsupported_order(run, MEGATRON_RANK_ORDERS)
    if run.model is not None:
        yield from _find_unsupported_model(run.model)
    if settings.gradients == "bf16" and settings.communication == "fp32":
        yield UnsupportedSetting("communication", "fp32", "the format of gradients in memory: bf16")
    if run.model is not None and run.model.moe is not None and strategy.tp > 1 and not strategy.sequence_parallel:
        yield UnsupportedSetting("sequence_parallel", "no", "experts under tensor parallelism: --sequence-parallel")
    if settings.tp_overlap and strategy.tp > 1 and not strategy.sequence_parallel:
        yield UnsupportedSetting("tp_overlap", "yes", "also --sequence-parallel")
    if not has_balanced_context_chunks(run.seq_length, strategy.cp):
        yield UnsupportedSetting("cp", strategy.cp, "a sequence that 2 x cp divides")
    if "optimizer" in settings.offload and strategy.zero_stage != 1:
        yield UnsupportedSetting("zero_stage", strategy.zero_stage, "zero_stage 1 where the optimizer is on the host")
    if settings.shard_group is not None and strategy.zero_stage == 0:
        yield UnsupportedSetting("shard_group", settings.shard_group, "shard_group all")
    if strategy.zero_stage > 1 and not settings.dp_overlap:
        yield UnsupportedSetting("dp_overlap", "no", "dp_overlap yes, or ZeRO 0 or 1")


def _find_unsupported_model(model: ModelSpec) -> Iterator[UnsupportedSetting]:
    yield from find_unsupported_model_parts(model, _UNSUPPORTED_MODEL_PARTS)
    if not model.final_norm:
        yield UnsupportedSetting("model.final_norm", "false", "true")
    yield from find_unsupported_value("model.head", model.head, ("lm",))
    if model.norm == "layernorm" and not model.norm_bias:
        yield UnsupportedSetting("model.norm_bias", "false", "true, or rmsnorm")
    biases = (model.qkv_bias, model.attention_out_bias, model.mlp_bias)
    if biases not in ((True,) * 3, (False,) * 3, (True, False, False)):
        yield UnsupportedSetting(
            "model.attention_out_bias", model.attention_out_bias, "biases everywhere, nowhere, or of QKV"
        )
    moe = model.moe
    if moe is not None and moe.expert_bias:
        yield UnsupportedSetting("model.moe.expert_bias", "true", "false")


def build_megatron_core_notes(run: PlannedRun) -> Iterator[str]:
    """Deviations from the plan that do not change the result of training."""
    model, strategy, settings = run.model, run.strategy, run.settings
    if strategy.recompute == "selective" and run.attention == "flash" and (model is None or model.moe is None):
        yield (
            "recompute selective: megatron-core repeats norms, but not the activation function of a dense layer: "
            "it needs more memory than planned"
        )
    if settings.gradients == "fp32" and settings.communication == "bf16":
        yield "gradients are communicated in fp32, as in memory, where the plan has bf16: steps are longer"
    if run.launch in ("eager", "compiled"):
        yield f"the plan's kernels are launched {run.launch}; Megatron's are fused: steps are shorter than planned"
    if run.launch == "graph" and model is not None and model.moe is not None:
        yield "a step with experts is not captured as a CUDA graph: it is longer than planned"
    if run.precision == "tf32":
        yield "tf32 is a setting of PyTorch: NVIDIA_TF32_OVERRIDE=1"


def build_transformer_config(run: PlannedRun) -> ConfigFields:
    """The fields of TransformerConfig that the plan determines, without those at their default."""
    assert run.model is not None
    return {
        **_build_shape_fields(run.model),
        **_build_moe_fields(run.model),
        **_build_parallel_fields(run),
        **_build_recompute_fields(run),
        **_build_kernel_fields(run),
    }


def _build_shape_fields(model: ModelSpec) -> ConfigFields:
    config: ConfigFields = {
        "num_layers": model.layers,
        "hidden_size": model.hidden_size,
        "ffn_hidden_size": model.ffn_size,
        "num_attention_heads": model.heads,
    }
    if model.kv_head_count != model.heads and model.mla is None:
        config["num_query_groups"] = model.kv_head_count
    if model.mla is None:
        config["kv_channels"] = model.head_size
    config["normalization"] = "RMSNorm" if model.norm == "rmsnorm" else "LayerNorm"
    if model.gated_mlp:
        config["gated_linear_unit"] = True
    if not model.mlp_bias:
        config["add_bias_linear"] = False
        if model.qkv_bias:
            config["add_qkv_bias"] = True
    if model.qk_norm or model.mla is not None:
        config["qk_layernorm"] = True
    if not model.dropout:
        config |= {"hidden_dropout": 0.0, "attention_dropout": 0.0}
    if model.sliding_window:
        config["window_size"] = (model.sliding_window - 1, 0)
        if model.sliding_every > 1:
            config["window_attn_skip_freq"] = [int(i % model.sliding_every == 0) for i in range(model.layers)]
    if model.attention_sinks:
        config["softmax_type"] = "learnable"
    return config | _build_mla_fields(model)


def _build_mla_fields(model: ModelSpec) -> ConfigFields:
    """Multi-head latent attention."""
    mla = model.mla
    if mla is None:
        return {}
    config: ConfigFields = {
        "multi_latent_attention": True,
        "kv_lora_rank": mla.kv_lora_rank,
        "qk_head_dim": mla.qk_nope_head_dim,
        "qk_pos_emb_head_dim": mla.qk_rope_head_dim,
        "v_head_dim": mla.v_head_dim,
    }
    return config | ({"q_lora_rank": mla.q_lora_rank} if mla.q_lora_rank else {})


def _build_moe_fields(model: ModelSpec) -> ConfigFields:
    moe = model.moe
    if moe is None:
        return {}
    config: ConfigFields = {
        "num_moe_experts": moe.experts,
        "moe_router_topk": moe.topk,
        "moe_ffn_hidden_size": moe.expert_ffn_size,
        "moe_grouped_gemm": True,
        "moe_token_dispatcher_type": "alltoall",
    }
    if moe.shared_ffn_size:
        config["moe_shared_expert_intermediate_size"] = moe.shared_ffn_size
    if moe.shared_gate:
        config["moe_shared_expert_gate"] = True
    if moe.router_bias:
        # the bias that balances the experts without a loss (DeepSeek-V3, arXiv 2412.19437, section 2.1.2)
        config |= {"moe_router_enable_expert_bias": True, "moe_router_score_function": "sigmoid"}
    moe_layer_flags = [int(i >= moe.first_dense_layers and (i + 1) % moe.every == 0) for i in range(model.layers)]
    if not all(moe_layer_flags):
        config["moe_layer_freq"] = moe_layer_flags
    return config


def _build_parallel_fields(run: PlannedRun) -> ConfigFields:
    strategy = run.strategy
    config: ConfigFields = {"tensor_model_parallel_size": strategy.tp, "pipeline_model_parallel_size": strategy.pp}
    if strategy.vpp > 1 and run.has_even_chunks:
        config["virtual_pipeline_model_parallel_size"] = strategy.vpp
    if not run.has_even_chunks:
        config["pipeline_model_parallel_layout"] = format_pipeline_layout(run)
    config["context_parallel_size"] = strategy.cp
    if strategy.cp > 1:
        config["cp_comm_type"] = _CP_COMM_TYPES[run.settings.cp_exchange]
    if run.model is not None and run.model.moe is not None:
        config |= {"expert_model_parallel_size": strategy.ep, "expert_tensor_parallel_size": strategy.etp}
    if strategy.sequence_parallel and strategy.tp > 1:
        config["sequence_parallel"] = True
    if run.settings.tp_overlap and strategy.tp > 1:
        config["tp_comm_overlap"] = True
    return config


def format_pipeline_layout(run: PlannedRun) -> str:
    """Layers chunk by chunk: E the embedding, t a layer, L the head and the loss."""
    chunk_texts = [f"t*{count}" if count > 1 else "t" * count for count in run.chunk_layers]
    chunk_texts[0], chunk_texts[-1] = f"E{chunk_texts[0]}", f"{chunk_texts[-1]}L"
    return "|".join(chunk_texts)


def list_recompute_modules(run: PlannedRun) -> list[str]:
    """The modules that selective recomputation repeats: norms, experts' activations, latent attention's projections,
    and unfused attention.
    """
    model = run.model
    module_names = ["core_attn"] if run.attention == "unfused" else ["layernorm"]
    if model is not None and model.moe is not None and run.attention != "unfused":
        module_names.append("moe_act")
    if model is not None and model.mla is not None:
        module_names.append("mla_up_proj")
    return module_names


def build_ddp_config(run: PlannedRun) -> ConfigFields:
    """How gradients, optimizer and weights are sharded over data-parallel ranks: fields of
    DistributedDataParallelConfig.

    ZeRO 1 is the distributed optimizer, ZeRO 2 and 3 are Megatron-FSDP's.
    """
    strategy, settings = run.strategy, run.settings
    config: ConfigFields = {"grad_reduce_in_fp32": settings.gradients == "fp32"}
    if settings.dp_overlap:
        config["overlap_grad_reduce"] = True
    if strategy.zero_stage:
        config["use_distributed_optimizer"] = True
        if settings.dp_overlap:
            config["overlap_param_gather"] = True
    if strategy.zero_stage > 1:
        sharding_strategy = {2: "optim_grads", 3: "optim_grads_params"}[strategy.zero_stage]
        config |= {"use_megatron_fsdp": True, "data_parallel_sharding_strategy": sharding_strategy}
    if settings.shard_group is not None:
        config["num_distributed_optimizer_instances"] = strategy.dp * strategy.cp // settings.shard_group
    return config


def build_config_without_precision(run: PlannedRun) -> ConfigFields:
    """The fields without the number formats, for trainers that set those by a plugin."""
    return {
        name: value
        for name, value in build_transformer_config(run).items()
        if name not in PRECISION_FIELDS[run.precision]
    }


def build_precision_config(run: PlannedRun) -> dict[str, object]:
    """The number formats, as arguments of the plugins of Megatron-Bridge and NeMo."""
    config: dict[str, object] = dict(PRECISION_FIELDS[run.precision]) or {"fp32": True}
    dtype_source = PythonSource(get_pipeline_dtype(run))
    return config | {
        "params_dtype": dtype_source,
        "pipeline_dtype": dtype_source,
        "autocast_enabled": False,
        "grad_reduce_in_fp32": run.settings.gradients == "fp32",
    }


def build_provider_arguments(run: PlannedRun) -> dict[str, object]:
    """The fields as arguments of a call in Python, without the number formats: enums and functions by their names."""
    config: dict[str, object] = dict(build_config_without_precision(run))
    config["attention_backend"] = PythonSource(f"AttnBackend.{config['attention_backend']}")
    if run.model is not None and run.model.gated_mlp:
        config["activation_func"] = PythonSource("F.silu")
    return config


def build_embedding_config(model: ModelSpec) -> dict[str, object]:
    """The fields of the embedding and its positions."""
    return {
        "share_embeddings_and_output_weights": model.tied_embeddings,
        "position_embedding_type": "learned_absolute" if model.learned_positions else "rope",
    }


def get_pipeline_dtype(run: PlannedRun) -> str:
    """The number format of activations that are sent between stages."""
    precision_fields = PRECISION_FIELDS[run.precision]
    return (
        "torch.bfloat16"
        if "bf16" in precision_fields
        else "torch.float16"
        if "fp16" in precision_fields
        else "torch.float32"
    )


def build_optimizer_config(run: PlannedRun) -> dict[str, object]:
    """Fields of OptimizerConfig: Adam as a start, sharded and offloaded as planned."""
    config: dict[str, object] = {"optimizer": "adam", "lr": 3.0e-4, "min_lr": 3.0e-5}
    config |= {name: True for name in ("bf16", "fp16") if name in PRECISION_FIELDS[run.precision]}
    config["use_distributed_optimizer"] = run.strategy.zero_stage > 0
    if "optimizer" in run.settings.offload:
        config |= {"optimizer_cpu_offload": True, "optimizer_offload_fraction": 1.0}
        config["use_precision_aware_optimizer"] = True
    return config


def build_megatron_environment(run: PlannedRun) -> dict[str, object]:
    """Environment variables. A single connection keeps collectives in order behind the GEMMs; FSDP needs several."""
    strategy = run.strategy
    return (
        {"CUDA_DEVICE_MAX_CONNECTIONS": 1} if (strategy.tp > 1 or strategy.cp > 1) and strategy.zero_stage < 2 else {}
    )


def _build_recompute_fields(run: PlannedRun) -> ConfigFields:
    mode, recompute_layers = run.strategy.recompute, run.settings.recompute_layers
    if mode == "selective":
        return {"recompute_granularity": "selective", "recompute_modules": list_recompute_modules(run)}
    if mode == "full":
        method = "uniform" if recompute_layers is None else "block"
        return {
            "recompute_granularity": "full",
            "recompute_method": method,
            "recompute_num_layers": 1 if recompute_layers is None else recompute_layers,
        }
    return {}


def _build_kernel_fields(run: PlannedRun) -> ConfigFields:
    model = run.model
    needs_auto_backend = model is not None and (
        model.mla is not None or model.attention_sinks or model.sliding_window > 0
    )
    backend = "unfused" if run.attention == "unfused" else "auto" if needs_auto_backend else "flash"
    config: ConfigFields = {"attention_backend": backend, **PRECISION_FIELDS[run.precision]}
    if run.launch == "graph" and (model is None or model.moe is None):
        config |= {"cuda_graph_impl": "local", "cuda_graph_scope": ["full_iteration"]}
    return config
