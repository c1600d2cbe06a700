"""A model as a `config.json` of Hugging Face's library, for trainers that train the model of a script.

The keys are those that `planner/workload/huggingface/` reads, and their classes in the library (transformers 5,
models/*/configuration_*.py): `AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(FOLDER))` builds the model.
"""

from __future__ import annotations

from collections.abc import Callable

from planner.export.text import format_json
from planner.workload.huggingface.read_config import parse_huggingface_config
from planner.workload.spec import ModelSpec, MoeSpec

HUGGINGFACE_FILE = "config.json"

ConfigKeys = dict[str, object]

_ACTIVATION_NAMES = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu-tanh": "gelu_new",
    "quick-gelu": "quick_gelu",
    "relu": "relu",
    "squared-relu": "relu2",
}
_CLASSES = {
    "deepseek_v3": "DeepseekV3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "gpt_neox": "GPTNeoXForCausalLM",
    "gpt_oss": "GptOssForCausalLM",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen2_moe": "Qwen2MoeForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
}


def build_huggingface_config(model: ModelSpec, seq_length: int) -> ConfigKeys | None:
    """The keys of the model's config.json; None for a model that no family of the library has, or that the planner
    would read as another.
    """
    for model_type, build_keys in _FAMILIES.items():
        keys = build_keys(model)
        if keys is None:
            continue
        config = {
            "architectures": [_CLASSES[model_type]],
            "model_type": model_type,
            **keys,
            "vocab_size": model.vocab_size,
            "tie_word_embeddings": model.tied_embeddings,
        }
        positions = "n_positions" if model_type == "gpt2" else "max_position_embeddings"
        config.setdefault(positions, model.learned_positions or max(seq_length, model.seq_length))
        read = parse_huggingface_config(format_json(config), HUGGINGFACE_FILE, model.name)
        if _normalize(read) == _normalize(model):
            return config
    return None


def _normalize(model: ModelSpec) -> ConfigKeys:
    """All that determines the model, with defaults filled in."""
    left_out = ("name", "title", "seq_length", "published", "kv_heads", "head_dim", "activation", "dropout", "moe")
    fields: ConfigKeys = {name: getattr(model, name) for name in model.__struct_fields__ if name not in left_out}
    fields |= {"kv_heads": model.kv_head_count, "activation": model.mlp_activation}
    if model.mla is None:
        fields["head_dim"] = model.head_size
    else:
        fields["kv_heads"] = None
    moe, unused = model.moe, ("router_score", "router_normalized", "aux_loss_scope")
    if moe is not None:
        experts = {name: getattr(moe, name) for name in moe.__struct_fields__ if name not in unused}
        scope = moe.aux_loss_scope if moe.aux_loss else None
        fields["moe"] = {**experts, "score": moe.score_function, "normalized": moe.normalizes_topk, "scope": scope}
        if moe.first_dense_layers == 0 and moe.every == 1:
            # the width of dense layers, of which there are none
            fields["ffn_size"] = None
    return fields


def _build_llama_keys(model: ModelSpec) -> ConfigKeys:
    """Keys of all families of Llama's form."""
    keys: ConfigKeys = {
        "hidden_size": model.hidden_size,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_head_count,
        "intermediate_size": model.ffn_size,
        "hidden_act": _ACTIVATION_NAMES[model.mlp_activation],
        "rms_norm_eps": model.norm_epsilon,
        "rope_theta": model.rope_base,
    }
    if model.mla is None:
        keys["head_dim"] = model.head_size
    scaling = model.rope_scaling
    if scaling is not None:
        names = {"llama3": ("low_freq_factor", "high_freq_factor"), "yarn": ("beta_fast", "beta_slow")}
        numbers = {name: getattr(scaling, name) for name in names.get(scaling.type, ())}
        if scaling.type == "yarn":
            magnitudes = {name: getattr(scaling, name) for name in ("mscale", "mscale_all_dim")}
            numbers |= {name: value for name, value in magnitudes.items() if value is not None}
            numbers["truncate"] = scaling.truncate
        if scaling.original_seq_length:
            numbers["original_max_position_embeddings"] = scaling.original_seq_length
        keys["rope_scaling"] = {"rope_type": scaling.type, "factor": scaling.factor, **numbers}
        if scaling.type == "yarn" and scaling.original_seq_length:
            # the library takes the ratio of these where both are there
            keys["max_position_embeddings"] = int(scaling.original_seq_length * scaling.factor)
    return keys


def _has_llama_form(model: ModelSpec) -> bool:
    return model.norm == "rmsnorm" and model.gated_mlp and model.has_rotary_positions


def _build_llama(model: ModelSpec) -> ConfigKeys | None:
    if not _has_llama_form(model):
        return None
    return {**_build_llama_keys(model), "attention_bias": model.qkv_bias, "mlp_bias": model.mlp_bias}


def _build_windowed(model: ModelSpec) -> ConfigKeys | None:
    return (
        {**_build_llama_keys(model), "sliding_window": model.sliding_window or None}
        if _has_llama_form(model)
        else None
    )


def _build_phi3(model: ModelSpec) -> ConfigKeys | None:
    keys = _build_windowed(model)
    return None if keys is None else {**keys, "partial_rotary_factor": model.rope_fraction}


def _build_moe_keys(moe: MoeSpec) -> ConfigKeys:
    """Keys of all families with experts."""
    return {
        "num_experts_per_tok": moe.topk,
        "router_aux_loss_coef": moe.aux_loss,
        "output_router_logits": moe.aux_loss > 0,
    }


def _build_mixtral(model: ModelSpec) -> ConfigKeys | None:
    keys, moe = _build_windowed(model), model.moe
    if keys is None or moe is None:
        return None
    experts = {"num_local_experts": moe.experts, "intermediate_size": moe.expert_ffn_size}
    return {**keys, **_build_moe_keys(moe), **experts}


def _build_qwen(model: ModelSpec) -> ConfigKeys | None:
    if not _has_llama_form(model):
        return None
    return {**_build_llama_keys(model), "use_sliding_window": False, "max_window_layers": model.layers}


def _build_qwen_moe(model: ModelSpec) -> ConfigKeys | None:
    keys, moe = _build_qwen(model), model.moe
    if keys is None or moe is None:
        return None
    return {
        **keys,
        **_build_moe_keys(moe),
        "num_experts": moe.experts,
        "moe_intermediate_size": moe.expert_ffn_size,
        "shared_expert_intermediate_size": moe.shared_ffn_size,
        "decoder_sparse_step": moe.every,
        "norm_topk_prob": moe.normalizes_topk,
        "mlp_only_layers": [],
    }


def _build_gpt_oss(model: ModelSpec) -> ConfigKeys | None:
    moe = model.moe
    if moe is None or not model.attention_sinks or not _has_llama_form(model):
        return None
    kinds = ["full_attention" if i % model.sliding_every else "sliding_attention" for i in range(model.layers)]
    return {
        **_build_llama_keys(model),
        **_build_moe_keys(moe),
        "hidden_act": "silu",
        "swiglu_limit": model.activation_limit,
        "num_local_experts": moe.experts,
        "intermediate_size": moe.expert_ffn_size,
        "attention_bias": model.qkv_bias,
        "sliding_window": model.sliding_window,
        "layer_types": kinds,
    }


def _build_deepseek(model: ModelSpec) -> ConfigKeys | None:
    """DeepSeek-V3's class, whose router has sigmoid alone."""
    moe, mla = model.moe, model.mla
    if moe is None or mla is None or moe.score_function != "sigmoid" or not _has_llama_form(model):
        return None
    return {
        **_build_llama_keys(model),
        "num_experts_per_tok": moe.topk,
        "n_routed_experts": moe.experts,
        "moe_intermediate_size": moe.expert_ffn_size,
        "n_shared_experts": moe.shared_ffn_size // moe.expert_ffn_size,
        "first_k_dense_replace": moe.first_dense_layers,
        "topk_method": "noaux_tc" if moe.router_bias else "greedy",
        "scoring_func": moe.score_function,
        "norm_topk_prob": moe.normalizes_topk,
        "n_group": moe.router_groups or 1,
        "topk_group": moe.router_topk_groups or 1,
        "routed_scaling_factor": moe.router_scaling,
        "aux_loss_alpha": moe.aux_loss,
        "seq_aux": moe.aux_loss_scope == "sequence",
        "q_lora_rank": mla.q_lora_rank or None,
        "kv_lora_rank": mla.kv_lora_rank,
        "qk_nope_head_dim": mla.qk_nope_head_dim,
        "qk_rope_head_dim": mla.qk_rope_head_dim,
        "v_head_dim": mla.v_head_dim,
        "num_nextn_predict_layers": model.mtp_layers,
    }


def _build_gpt2(model: ModelSpec) -> ConfigKeys | None:
    if not model.learned_positions:
        return None
    return {
        "n_embd": model.hidden_size,
        "n_layer": model.layers,
        "n_head": model.heads,
        "n_inner": model.ffn_size,
        "activation_function": _ACTIVATION_NAMES[model.mlp_activation],
        "layer_norm_epsilon": model.norm_epsilon,
    }


def _build_gpt_neox(model: ModelSpec) -> ConfigKeys | None:
    if model.norm != "layernorm" or not model.has_rotary_positions:
        return None
    return {
        "hidden_size": model.hidden_size,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "intermediate_size": model.ffn_size,
        "hidden_act": _ACTIVATION_NAMES[model.mlp_activation],
        "layer_norm_eps": model.norm_epsilon,
        "rotary_emb_base": model.rope_base,
        "rotary_pct": model.rope_fraction,
        "use_parallel_residual": model.parallel_residual,
        "attention_bias": model.qkv_bias,
    }


_FAMILIES: dict[str, Callable[[ModelSpec], ConfigKeys | None]] = {
    "llama": _build_llama,
    "mistral": _build_windowed,
    "mixtral": _build_mixtral,
    "qwen2": _build_qwen,
    "qwen2_moe": _build_qwen_moe,
    "qwen3": _build_qwen,
    "qwen3_moe": _build_qwen_moe,
    "phi3": _build_phi3,
    "gpt_oss": _build_gpt_oss,
    "deepseek_v3": _build_deepseek,
    "gpt2": _build_gpt2,
    "gpt_neox": _build_gpt_neox,
}
"""A function from a model to the keys of each family, None where it is of another; the first that reads back as the
model is taken."""
