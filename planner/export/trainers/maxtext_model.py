"""The model in MaxText's file: keys of `base.yml`, and what a named configuration of MaxText would set otherwise.

MaxText takes DeepSeek-V3's router only for models that are named so; a name loads a configuration of MaxText's, whose
keys only words of the command line change (MaxText 0.2.5, maxtext/configs/pyconfig.py, `_initialize_pydantic`).
"""

from __future__ import annotations

from collections.abc import Mapping

from planner.export.run import PlannedRun
from planner.trainers.maxtext.models import find_decoder_block, needs_router_of_deepseek
from planner.workload.spec import ModelSpec, MoeSpec

_ACTIVATION_NAMES = {"silu": "silu", "gelu-tanh": "gelu", "relu": "relu", "quick-gelu": "sigmoid"}
"""Functions of jax.nn; its gelu is the tanh form. GPT-OSS's experts multiply their gate by the sigmoid of it."""
_BIAS_UPDATE_RATE = 1e-3
"""Of the bias that balances experts, as in DeepSeek-V3 (arXiv 2412.19437, section 4.2); MaxText's default is 0."""
DEEPSEEK_NAME = "deepseek3-671b"
DEEPSEEK_KEYS: Mapping[str, object] = {
    "base_emb_dim": 7168,
    "base_num_query_heads": 128,
    "base_num_kv_heads": 128,
    "base_mlp_dim": 18432,
    "base_moe_mlp_dim": 2048,
    "base_num_decoder_layers": 61,
    "first_num_dense_layers": 3,
    "mlp_activations": ["silu", "linear"],
    "vocab_size": 129280,
    "enable_dropout": False,
    "logits_via_embedding": False,
    "normalization_layer_epsilon": 1e-6,
    "num_experts": 256,
    "num_experts_per_tok": 8,
    "shared_experts": 1,
    "routed_scaling_factor": 2.5,
    "routed_score_func": "sigmoid",
    "routed_bias": True,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "mscale": 1.0,
    "rope_type": "yarn",
    "rope_max_timescale": 10_000,
    "max_position_embeddings": 163_840,
    "original_max_position_embeddings": 4096,
    "rope_factor": 40,
    "beta_fast": 32,
    "rope_truncate": True,
}
"""Keys that this name sets, but for those that all models with its router have (configs/models/deepseek3-671b.yml).
"""


def build_model_config(run: PlannedRun) -> dict[str, object]:
    """The model as keys of base.yml."""
    model = run.decoder
    name = {"model_name": DEEPSEEK_NAME, "override_model_config": True} if needs_router_of_deepseek(model) else {}
    return {**name, **_build_shape_config(run), **_build_rope_config(run)}


def format_model_overrides(run: PlannedRun) -> str:
    """Words of the command line for keys that the model's name would set otherwise; empty without a name."""
    if not needs_router_of_deepseek(run.decoder):
        return ""
    config = build_model_config(run)
    changed = {key: config[key] for key, value in DEEPSEEK_KEYS.items() if key in config and config[key] != value}
    return "".join(f"{key}={_format_word(value)} \\\n  " for key, value in changed.items())


def _format_word(value: object) -> str:
    """A value as MaxText reads it in a word, in quotes where a shell would split or expand it."""
    if isinstance(value, list):
        return f"'[{','.join(value)}]'"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _build_shape_config(run: PlannedRun) -> dict[str, object]:
    """Layers, attention and MLP."""
    model = run.decoder
    shape: dict[str, object] = {
        "decoder_block": find_decoder_block(model),
        "base_num_decoder_layers": model.layers,
        "base_emb_dim": model.hidden_size,
        "base_num_query_heads": model.heads,
        "base_num_kv_heads": model.kv_head_count,
        "base_mlp_dim": model.ffn_size,
        "mlp_activations": [_ACTIVATION_NAMES[model.mlp_activation], *(["linear"] if model.gated_mlp else [])],
        "normalization_layer_epsilon": model.norm_epsilon,
        "vocab_size": model.vocab_size,
        "logits_via_embedding": model.tied_embeddings,
        # else tied logits are divided by the root of the width
        **({"normalize_embedding_logits": False} if model.tied_embeddings else {}),
        "enable_dropout": model.dropout,
    }
    if model.mla is None:
        shape["head_dim"] = model.head_size
    if model.qk_norm:
        shape["use_qk_norm"] = True
    if model.qkv_bias:
        shape["attention_bias"] = True
    if model.attention_sinks:
        shape["attention_sink"] = True
    if model.learned_positions:
        shape["trainable_position_size"] = model.learned_positions
    if model.activation_limit:
        shape |= {
            "mlp_activations_limit": model.activation_limit,
            # every second layer has a window, be it that of the whole sequence
            "inhomogeneous_layer_cycle_interval": 2,
            "sliding_window_size": model.sliding_window or run.seq_length,
        }
    if model.logit_softcap:
        shape["final_logits_soft_cap"] = model.logit_softcap
    if model.mtp_layers:
        shape["mtp_num_layers"] = model.mtp_layers
    return shape | _build_mla_config(model) | _build_moe_config(model)


def _build_rope_config(run: PlannedRun) -> dict[str, object]:
    """Rotary positions. Llama 3.1's scaling has its numbers in the code (layers/embeddings.py)."""
    scaling, is_latent = run.decoder.rope_scaling, run.decoder.mla is not None
    if not run.decoder.has_rotary_positions:
        return {}
    config: dict[str, object] = {"rope_max_timescale": int(run.decoder.rope_base)}
    if scaling is None:
        # latent attention scales the softmax where the first of these is larger (layers/attention_mla.py)
        lengths = dict.fromkeys(("max_position_embeddings", "original_max_position_embeddings"), run.seq_length)
        return config | {"rope_type": "default", **(lengths if is_latent else {})}
    if scaling.type == "linear":
        return config | {"rope_type": "default", "rope_linear_scaling_factor": scaling.factor}
    if scaling.type == "llama3":
        return config | {"rope_type": "llama3.1", "rope_use_scale": True}
    length = scaling.original_seq_length
    # elsewhere the rotated queries and keys are scaled by the factor, or nothing is
    magnitude = {"mscale": scaling.mscale} if is_latent else {"rope_attention_scaling": scaling.mscale is None}
    return config | {
        "rope_type": "yarn",
        # of the table of positions; beyond the original length the softmax is scaled
        "max_position_embeddings": max(run.seq_length, int(length * scaling.factor)),
        "original_max_position_embeddings": length,
        "rope_factor": int(scaling.factor),
        "beta_fast": int(scaling.beta_fast),
        "beta_slow": int(scaling.beta_slow),
        **magnitude,
        "rope_truncate": scaling.truncate,
    }


def _build_mla_config(model: ModelSpec) -> dict[str, object]:
    mla = model.mla
    if mla is None:
        return {}
    return {
        "attention_type": "mla",
        "q_lora_rank": mla.q_lora_rank,
        "kv_lora_rank": mla.kv_lora_rank,
        "qk_nope_head_dim": mla.qk_nope_head_dim,
        "qk_rope_head_dim": mla.qk_rope_head_dim,
        "v_head_dim": mla.v_head_dim,
    }


def _build_moe_config(model: ModelSpec) -> dict[str, object]:
    moe = model.moe
    if moe is None:
        return {}
    moe_config: dict[str, object] = {
        "num_experts": moe.experts,
        "num_experts_per_tok": moe.topk,
        "base_moe_mlp_dim": moe.expert_ffn_size,
        "load_balance_loss_weight": moe.aux_loss,
    }
    if model.mla is not None:
        return moe_config | _build_deepseek_experts(moe)
    if moe.expert_bias:
        moe_config |= {"routed_bias": True, "mlp_bias": True}
    # a model with experts in every layer has no other MLP
    return moe_config | {"base_mlp_dim": moe.expert_ffn_size, "norm_topk_prob": moe.normalizes_topk}


def _build_deepseek_experts(moe: MoeSpec) -> dict[str, object]:
    config: dict[str, object] = {
        "first_num_dense_layers": moe.first_dense_layers,
        "shared_experts": moe.shared_ffn_size // moe.expert_ffn_size,
        "routed_score_func": moe.score_function,
        "routed_scaling_factor": moe.router_scaling,
        "routed_bias": moe.balances_by_bias,
    }
    if moe.balances_by_bias:
        config["routed_bias_update_rate"] = _BIAS_UPDATE_RATE
    if moe.router_groups > 1:
        config |= {"n_routing_groups": moe.router_groups, "topk_routing_group": moe.router_topk_groups}
    if moe.aux_loss_scope == "sequence" and moe.aux_loss and moe.score_function == "sigmoid":
        config["moe_use_megatron_seq_aux_loss"] = True
    return config
