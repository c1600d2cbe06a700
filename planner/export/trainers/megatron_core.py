"""A plan as megatron-core's configuration, which Megatron-LM, Megatron-Bridge and NeMo share.

The fields are those of TransformerConfig, MLATransformerConfig and ModelParallelConfig (megatron-core 0.16,
transformer/transformer_config.py and model_parallel_config.py). A field that is None is at its default and left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.export.run import PlannedRun
from planner.export.text import PythonSource
from planner.export.trainer import format_torchrun_array
from planner.export.trainers import megatron_settings
from planner.trainers.megatron.modules import list_recompute_modules
from planner.trainers.megatron.programs import MEGATRON_PP_DP_ORDER
from planner.trainers.recompute import parse_recompute_modules
from planner.workload.spec import ModelSpec, MoeSpec

ConfigValue = bool | int | float | str | list[int] | list[str] | tuple[int, int]
ConfigFields = dict[str, ConfigValue]

_CP_COMM_TYPES = {"ring": "p2p", "all-gather": "all_gather", "all-to-all": "a2a", "hierarchical": "a2a+p2p"}
"""As `TransformerConfig.cp_comm_type` and Transformer Engine spell them; the help of Megatron-LM's --cp-comm-type has
an `allgather` that `attn_forward_func_with_cp` refuses."""
PRECISION_FIELDS: dict[str, ConfigFields] = {
    "bf16": {"bf16": True},
    "fp16": {"fp16": True},
    "fp32": {},
    "tf32": {},
    "fp8": {"bf16": True, "fp8": "hybrid"},
    "mxfp8": {"bf16": True, "fp8": "e4m3", "fp8_recipe": "mxfp8"},
    "nvfp4": {"bf16": True, "fp4": "e2m1", "fp4_recipe": "nvfp4"},
}


_TORCH_DTYPES = {"fp16": "torch.float16", "bf16": "torch.bfloat16", "fp8": "torch.uint8"}
"""As `validate_args` of Megatron-LM maps its words."""
_ACTIVATION_FUNCTIONS = {
    "silu": "F.silu",
    "gelu": "F.gelu",
    "gelu-tanh": "fast_gelu",
    "quick-gelu": "quick_gelu",
    "relu": "F.relu",
    "squared-relu": "squared_relu",
}
"""Names of activation functions in the exported scripts."""


def build_megatron_core_notes(run: PlannedRun) -> Iterator[str]:
    """Deviations from the plan that do not change the result of training."""
    model, strategy, settings = run.model, run.strategy, run.settings
    if settings.gradients == "fp32" and settings.communication == "bf16":
        yield "gradients are communicated in fp32, as in memory, where the plan has bf16: steps are longer"
    if run.launch in ("eager", "compiled"):
        yield f"the plan's kernels are launched {run.launch}; Megatron's are fused: steps are shorter than planned"
    if run.launch == "graph" and model is not None and model.moe is not None:
        yield "a step with experts is not captured as a CUDA graph: it is longer than planned"
    if model is not None and compute_padded_vocab_size(run) != model.vocab_size:
        rows = f"{model.vocab_size:,} to {compute_padded_vocab_size(run):,}"
        yield f"the vocabulary is padded from {rows}: tp {strategy.tp} does not divide it"
    if run.precision == "tf32":
        yield "tf32 is a setting of PyTorch: NVIDIA_TF32_OVERRIDE=1"
    yield from megatron_settings.build_setting_notes(run)


def build_transformer_config(run: PlannedRun) -> ConfigFields:
    """The fields of TransformerConfig that the plan determines."""
    model = run.decoder
    return {
        **drop_defaults(_build_shape_fields(model)),
        **drop_defaults(_build_mla_fields(model)),
        **drop_defaults(_build_moe_fields(model)),
        **(megatron_settings.build_expert_fields(run) if model.moe is not None else {}),
        **drop_defaults(_build_parallel_fields(run, model)),
        **megatron_settings.build_loss_fields(run),
        **_build_recompute_fields(run),
        **_build_offload_fields(run),
        **_build_kernel_fields(run, model),
    }


def drop_defaults(fields: Mapping[str, ConfigValue | None]) -> ConfigFields:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def _build_shape_fields(model: ModelSpec) -> dict[str, ConfigValue | None]:
    has_full_layers_between = model.sliding_window and model.sliding_every > 1
    return {
        "num_layers": model.layers,
        "hidden_size": model.hidden_size,
        "ffn_hidden_size": model.ffn_size,
        "num_attention_heads": model.heads,
        "num_query_groups": model.kv_head_count if model.kv_head_count != model.heads and model.mla is None else None,
        "kv_channels": model.head_size if model.mla is None else None,
        "normalization": "RMSNorm" if model.norm == "rmsnorm" else "LayerNorm",
        "layernorm_epsilon": model.norm_epsilon,
        "gated_linear_unit": model.gated_mlp or None,
        "activation_func_clamp_value": model.activation_limit or None,
        "glu_linear_offset": 1.0 if model.activation_limit else None,
        "add_bias_linear": None if model.attention_out_bias else False,
        "add_qkv_bias": (model.qkv_bias and not model.attention_out_bias) or None,
        "qk_layernorm": model.qk_norm or model.mla is not None or None,
        "hidden_dropout": None if model.dropout else 0.0,
        "attention_dropout": None if model.dropout else 0.0,
        "window_size": (model.sliding_window - 1, 0) if model.sliding_window else None,
        "window_attn_skip_freq": (
            [int(i % model.sliding_every == 0) for i in range(model.layers)] if has_full_layers_between else None
        ),
        "softmax_type": "learnable" if model.attention_sinks else None,
        "mtp_num_layers": model.mtp_layers or None,
    }


def _build_mla_fields(model: ModelSpec) -> dict[str, ConfigValue | None]:
    """Multi-head latent attention, whose rotary positions are fields of MLATransformerConfig: without scaling its
    `rope_scaling_factor` counts too, in the scale of the softmax.
    """
    mla, scaling = model.mla, model.rope_scaling
    if mla is None:
        return {}
    rope: dict[str, ConfigValue | None] = {"rope_type": "rope", "rotary_scaling_factor": 1.0}
    if scaling is not None:
        rope = {
            "rope_type": "yarn",
            "rotary_scaling_factor": scaling.factor,
            "original_max_position_embeddings": scaling.original_seq_length,
            "beta_fast": scaling.beta_fast,
            "beta_slow": scaling.beta_slow,
            "mscale": scaling.mscale,
            "mscale_all_dim": scaling.mscale_all_dim,
        }
    return {
        "rotary_base": format_rope_base(model),
        **rope,
        "multi_latent_attention": True,
        "kv_lora_rank": mla.kv_lora_rank,
        "qk_head_dim": mla.qk_nope_head_dim,
        "qk_pos_emb_head_dim": mla.qk_rope_head_dim,
        "v_head_dim": mla.v_head_dim,
        "q_lora_rank": mla.q_lora_rank or None,
    }


def _build_moe_fields(model: ModelSpec) -> dict[str, ConfigValue | None]:
    moe = model.moe
    if moe is None:
        return {}
    moe_layer_flags = [int(i >= moe.first_dense_layers and (i + 1) % moe.every == 0) for i in range(model.layers)]
    return {
        "num_moe_experts": moe.experts,
        "moe_router_topk": moe.topk,
        "moe_ffn_hidden_size": moe.expert_ffn_size,
        "moe_grouped_gemm": True,
        "moe_shared_expert_intermediate_size": moe.shared_ffn_size or None,
        "moe_shared_expert_gate": moe.shared_gate or None,
        "moe_router_enable_expert_bias": moe.balances_by_bias or None,
        "moe_router_score_function": moe.score_function,
        # a softmax over all experts, and not over the chosen ones
        "moe_router_pre_softmax": (moe.score_function == "softmax" and not moe.normalizes_topk) or None,
        "moe_router_num_groups": moe.router_groups or None,
        "moe_router_group_topk": moe.router_topk_groups or None,
        "moe_router_topk_scaling_factor": moe.router_scaling if moe.router_scaling != 1 else None,
        "moe_router_load_balancing_type": _find_balancing_type(moe),
        "moe_aux_loss_coeff": moe.aux_loss or None,
        "moe_layer_freq": None if all(moe_layer_flags) else moe_layer_flags,
    }


def _find_balancing_type(moe: MoeSpec) -> str:
    """The loss that balances the experts."""
    if moe.aux_loss == 0:
        return "none"
    return "seq_aux_loss" if moe.aux_loss_scope == "sequence" else "aux_loss"


def _build_parallel_fields(run: PlannedRun, model: ModelSpec) -> dict[str, ConfigValue | None]:
    strategy = run.strategy
    return {
        "tensor_model_parallel_size": strategy.tp,
        "pipeline_model_parallel_size": strategy.pp,
        "virtual_pipeline_model_parallel_size": strategy.vpp if strategy.vpp > 1 and run.has_even_chunks else None,
        "pipeline_model_parallel_layout": None if run.has_even_chunks else _format_pipeline_layout(run),
        "context_parallel_size": strategy.cp,
        "cp_comm_type": _CP_COMM_TYPES[run.settings.cp_exchange] if strategy.cp > 1 else None,
        "hierarchical_context_parallel_sizes": list(run.cp_group_sizes) or None,
        "expert_model_parallel_size": strategy.ep if model.moe is not None else None,
        "expert_tensor_parallel_size": strategy.etp if model.moe is not None else None,
        "sequence_parallel": (strategy.sequence_parallel and strategy.tp > 1) or None,
        "tp_comm_overlap": run.overlaps_tp or None,
    }


def _format_pipeline_layout(run: PlannedRun) -> str:
    """Layers chunk by chunk: E the embedding, t a layer, m one of multi-token prediction, L the head and the loss."""
    chunk_texts = [f"t*{count}" if count > 1 else "t" * count for count in run.chunk_layers]
    chunk_texts[0] = f"E{chunk_texts[0]}"
    chunk_texts[run.mtp_chunk] += "m" * run.decoder.mtp_layers
    chunk_texts[-1] += "L"
    return "|".join(chunk_texts)


def _build_recompute_fields(run: PlannedRun) -> ConfigFields:
    """What is repeated in the backward pass."""
    recompute_layers = run.settings.recompute_layers
    if run.strategy.recompute == "selective":
        choice = parse_recompute_modules(run.settings.recompute_modules)
        modules = list_recompute_modules(run.model, run.attention, choice)
        return {"recompute_granularity": "selective", "recompute_modules": modules}
    if run.strategy.recompute == "full":
        return {
            "recompute_granularity": "full",
            "recompute_method": "uniform" if recompute_layers is None else "block",
            "recompute_num_layers": 1 if recompute_layers is None else recompute_layers,
        }
    return {}


def _build_offload_fields(run: PlannedRun) -> ConfigFields:
    """Activations on the host, by module."""
    if not offloads_activations(run):
        return {}
    modules = run.settings.offload_modules.split("+")
    return {"fine_grained_activation_offloading": True, "offload_modules": modules}


def offloads_activations(run: PlannedRun) -> bool:
    """Whether activations are kept on the host."""
    return "activations" in run.settings.offload


def _build_kernel_fields(run: PlannedRun, model: ModelSpec) -> ConfigFields:
    needs_auto_backend = model.mla is not None or model.attention_sinks or model.sliding_window > 0
    backend = "unfused" if run.attention == "unfused" else "auto" if needs_auto_backend else "flash"
    if megatron_settings.has_fp8_attention(run):
        backend = "fused"
    fields: ConfigFields = {"attention_backend": backend, **_build_precision_fields(run)}
    if run.launch == "graph" and model.moe is None:
        fields |= {"cuda_graph_impl": "local", "cuda_graph_scope": ["full_iteration"]}
    return fields | megatron_settings.build_graph_fields(run)


def _build_precision_fields(run: PlannedRun) -> ConfigFields:
    """The number formats, and how fp8 is scaled where that is not TransformerConfig's default; blocks are e4m3 both
    ways (Transformer Engine, Float8BlockScaling).
    """
    recipe = run.settings.fp8_recipe
    if run.precision != "fp8" or recipe == "delayed":
        return PRECISION_FIELDS[run.precision]
    format_fields: ConfigFields = {"fp8": "e4m3"} if recipe == "blockwise" else {}
    return PRECISION_FIELDS[run.precision] | format_fields | {"fp8_recipe": recipe}


def build_ddp_config(run: PlannedRun) -> ConfigFields:
    """How gradients, optimizer and weights are sharded over data-parallel ranks: fields of
    DistributedDataParallelConfig.

    ZeRO 1 is the distributed optimizer, ZeRO 2 and 3 are Megatron-FSDP's.
    """
    strategy, settings = run.strategy, run.settings
    group = settings.shard_group
    return drop_defaults(
        {
            "grad_reduce_in_fp32": settings.gradients == "fp32",
            "overlap_grad_reduce": settings.dp_overlap or None,
            "use_distributed_optimizer": strategy.zero_stage > 0 or None,
            "overlap_param_gather": (strategy.zero_stage > 0 and settings.dp_overlap and settings.gather_overlap)
            or None,
            "use_megatron_fsdp": strategy.zero_stage > 1 or None,
            "data_parallel_sharding_strategy": {2: "optim_grads", 3: "optim_grads_params"}.get(strategy.zero_stage),
            "num_distributed_optimizer_instances": None if group is None else strategy.dp * strategy.cp // group,
        }
    )


def uses_pp_dp_order(run: PlannedRun) -> bool:
    """Whether the pipeline is inside data parallelism."""
    return run.numbering_order == MEGATRON_PP_DP_ORDER


def build_precision_config(run: PlannedRun) -> dict[str, object]:
    """The number formats, as arguments of the plugins of Megatron-Bridge and NeMo."""
    config: dict[str, object] = dict(_build_precision_fields(run)) or {"fp32": True}
    dtype = get_pipeline_dtype(run)
    if "fp8" in config or megatron_settings.uses_aware_optimizer(run):
        # Megatron-Bridge's own is tensorwise: no attention in 8 bits on Hopper, master weights not those of FusedAdam
        config.setdefault("fp8_recipe", "delayed")
    config |= megatron_settings.build_weight_fields(run)
    if megatron_settings.has_fp8_attention(run):
        config["fp8_dot_product_attention"] = True
    return config | {
        "params_dtype": dtype,
        "pipeline_dtype": dtype,
        "autocast_enabled": False,
        "grad_reduce_in_fp32": run.settings.gradients == "fp32",
    }


def build_provider_arguments(run: PlannedRun) -> dict[str, object]:
    """The fields as arguments of a call in Python, without the number formats: enums and functions by their names."""
    precision_fields = _build_precision_fields(run)
    fields = {name: value for name, value in build_transformer_config(run).items() if name not in precision_fields}
    overlaps_sends = megatron_settings.overlaps_sends(run)
    return {
        **fields,
        # what Megatron-Bridge's and NeMo's models have by themselves
        **({} if megatron_settings.build_loss_fields(run) else {"cross_entropy_loss_fusion": False}),
        **({"overlap_p2p_comm": True, "batch_p2p_comm": False} if overlaps_sends else {}),
        "attention_backend": PythonSource(f"AttnBackend.{fields['attention_backend']}"),
        **_build_activation_arguments(run.decoder),
    }


def _build_activation_arguments(model: ModelSpec) -> dict[str, object]:
    """The activation function of the MLP, in a kernel of its own where there is one: gelu's has the tanh form."""
    if model.mlp_activation == "gelu-tanh" and model.mlp_bias and not model.gated_mlp:
        return {"activation_func": PythonSource("F.gelu"), "bias_activation_fusion": True}
    function = PythonSource(_ACTIVATION_FUNCTIONS[model.mlp_activation])
    is_fused = model.gated_mlp and model.mlp_activation in ("silu", "quick-gelu")
    return {"activation_func": function, "bias_activation_fusion": is_fused}


def format_activation_imports(model: ModelSpec) -> str:
    """Lines of import for the activation function, beside torch.nn.functional's."""
    name = _ACTIVATION_FUNCTIONS[model.mlp_activation]
    if "." in name or (name == "fast_gelu" and model.mlp_bias and not model.gated_mlp):
        return ""
    module = "megatron.core.fusions.fused_bias_geglu" if name == "quick_gelu" else "megatron.core.activations"
    return f"from {module} import {name}\n"


def build_embedding_config(model: ModelSpec) -> dict[str, object]:
    """The fields of the embedding and its positions, as arguments of GPTModel; those of latent attention are in its
    own configuration.
    """
    config: dict[str, object] = {
        "share_embeddings_and_output_weights": model.tied_embeddings,
        "position_embedding_type": "learned_absolute" if model.learned_positions else "rope",
    }
    if model.has_rotary_positions and model.mla is None:
        config |= {"rotary_base": format_rope_base(model), "rotary_percent": model.rope_fraction}
    return config


def format_rope_base(model: ModelSpec) -> int | float:
    """The base of rotary positions, a whole number where it is one."""
    return int(model.rope_base) if model.rope_base.is_integer() else model.rope_base


def compute_vocab_divisor(run: PlannedRun) -> int:
    """The multiple that the vocabulary of each tensor-parallel rank is padded to: a power of two up to 128 that needs
    no padding, or 128 where the ranks do not divide the vocabulary.
    """
    vocab_size, tp = run.decoder.vocab_size, run.strategy.tp
    return next((size for size in (128, 64, 32, 16, 8, 4, 2, 1) if vocab_size % (size * tp) == 0), 128)


def compute_padded_vocab_size(run: PlannedRun) -> int:
    """Rows of the embedding and of the head after padding."""
    multiple = compute_vocab_divisor(run) * run.strategy.tp
    return -(-run.decoder.vocab_size // multiple) * multiple


def get_pipeline_dtype(run: PlannedRun) -> PythonSource:
    """The number format of activations that are sent between stages."""
    fields = PRECISION_FIELDS[run.precision]
    return PythonSource(
        "torch.bfloat16" if "bf16" in fields else "torch.float16" if "fp16" in fields else "torch.float32"
    )


def build_optimizer_config(run: PlannedRun) -> dict[str, object]:
    """Fields of OptimizerConfig: Adam as a start, sharded, offloaded and in the formats planned."""
    on_host = "optimizer" in run.settings.offload or None
    formats = megatron_settings.build_optimizer_formats(run)
    fields: dict[str, ConfigValue | None] = {
        "optimizer": "adam",
        "lr": 3.0e-4,
        "min_lr": 3.0e-5,
        **{name: True for name in ("bf16", "fp16") if name in PRECISION_FIELDS[run.precision]},
        "use_distributed_optimizer": run.strategy.zero_stage > 0,
        "optimizer_cpu_offload": on_host,
        "optimizer_offload_fraction": on_host and 1.0,
        "use_precision_aware_optimizer": megatron_settings.uses_aware_optimizer(run) or None,
        "store_param_remainders": False if megatron_settings.keeps_whole_master_weights(run) else None,
    }
    return {
        **drop_defaults(fields),
        **{name: PythonSource(_TORCH_DTYPES[word]) for name, word in formats.items()},
    }


_WITHOUT_MULTICAST = ("volta", "turing", "ampere", "ada")
"""NVIDIA's architectures of a compute capability below 9.0."""


def build_megatron_environment(run: PlannedRun) -> dict[str, object]:
    """Environment variables. A single connection keeps collectives in order behind the GEMMs; FSDP needs several, and
    so does the overlap of experts' all-to-all (`validate_args` of Megatron-LM). GPUs before Hopper have no multicast,
    which overlapped tensor parallelism uses otherwise (Transformer Engine, examples/pytorch/comm_gemm_overlap).
    """
    needs_order = (run.strategy.tp > 1 or run.strategy.cp > 1) and run.strategy.zero_stage < 2
    environment: dict[str, object] = {}
    if megatron_settings.overlaps_expert_comm(run):
        environment["CUDA_DEVICE_MAX_CONNECTIONS"] = 32
    elif needs_order:
        environment["CUDA_DEVICE_MAX_CONNECTIONS"] = 1
    if run.overlaps_tp and run.accelerator.architecture in _WITHOUT_MULTICAST:
        environment["UB_SKIPMC"] = 1
    if offloads_activations(run):
        # Megatron-LM asserts it: Transformer Engine offloads weights too otherwise
        environment["NVTE_CPU_OFFLOAD_V1"] = 1
    return environment


def format_script_command(run: PlannedRun, script_file: str) -> str:
    """Bash that runs a script beside `train.sh` on all devices of a node."""
    return f'{format_torchrun_array(run)}exec "${{torchrun[@]}}" "$here/{script_file}" "$@"\n'
