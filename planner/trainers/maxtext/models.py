"""Which models MaxText has: the block of layers of each, and its parts (MaxText 0.2.5, maxtext/models and layers).

A configuration of one's own names a block by `decoder_block`. Its parts are keys of `base.yml`; what a block has in
its code alone is a rule here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from planner.trainers import model_rules, rules
from planner.workload.spec import ModelSpec, RopeScaling

DecoderBlock = Literal["llama2", "qwen2", "qwen3", "mixtral", "qwen3_moe", "deepseek", "gpt_oss", "gpt3"]

_GPT3_SOURCE = "maxtext/models/gpt3.py, Gpt3DecoderLayer"
_GPT_OSS_SOURCE = "maxtext/models/gpt_oss.py, GptOssDecoderLayer"


def find_decoder_block(model: ModelSpec) -> DecoderBlock:
    """The family whose layers MaxText builds."""
    if model.mla is not None:
        return "deepseek"
    if model.learned_positions:
        return "gpt3"
    if model.moe is not None:
        return "gpt_oss" if model.activation_limit else "qwen3_moe" if model.qk_norm else "mixtral"
    if model.qkv_bias:
        return "qwen2"
    return "qwen3" if model.qk_norm else "llama2"


def needs_router_of_deepseek(model: ModelSpec) -> bool:
    """Whether a bias of the choice or groups are in the router: models named as DeepSeek-V3 alone obey them
    (maxtext/layers/moe.py, `get_topk`).
    """
    return model.moe is not None and (model.moe.balances_by_bias or model.moe.router_groups > 1)


def _has_foreign_biases(model: ModelSpec, block: DecoderBlock) -> bool:
    """Whether the biases of attention and MLP are others than those of the block."""
    biases = (model.qkv_bias, model.attention_out_bias, model.mlp_bias)
    match block:
        case "gpt3":
            return not all(biases)
        case "gpt_oss":
            return model.qkv_bias != model.attention_out_bias or model.mlp_bias
        case "qwen2":
            return biases != (True, False, False) or model.qk_norm
        case _:
            return any(biases)


def _has_foreign_experts(model: ModelSpec, block: DecoderBlock) -> bool:
    """Whether there are shared experts or dense layers beside the experts, in another form than DeepSeek's."""
    moe = model.moe
    if block == "deepseek":
        return moe is None or moe.shared_ffn_size % moe.expert_ffn_size != 0
    return moe is not None and (moe.shared_ffn_size > 0 or moe.first_dense_layers > 0 or block == "gpt3")


def _has_foreign_router(model: ModelSpec, block: DecoderBlock) -> bool:
    """Whether the weights of a token's experts are others than a softmax over them, or in DeepSeek's form a sum of 1
    with sigmoid and none with softmax.
    """
    moe = model.moe
    if moe is None:
        return False
    if block == "deepseek":
        return moe.normalizes_topk != (moe.score_function == "sigmoid")
    return moe.score_function != "softmax" or not moe.normalizes_topk or moe.router_scaling != 1


def _has_foreign_choice(model: ModelSpec, block: DecoderBlock) -> bool:
    """Whether a bias of the choice or groups of experts are chosen otherwise than in DeepSeek-V3."""
    moe = model.moe
    if moe is None or not needs_router_of_deepseek(model):
        return False
    return block != "deepseek" or (moe.router_groups > 1 and moe.router_group_experts != 2)


def _has_foreign_activation(model: ModelSpec, block: DecoderBlock) -> bool:
    if block == "gpt_oss":
        return model.mlp_activation != "quick-gelu"
    return model.mlp_activation not in ("silu", "gelu-tanh", "relu")


def _can_scale(model: ModelSpec, scaling: RopeScaling) -> bool:
    """Whether it has keys for it: yarn in latent attention scales the softmax by `mscale`, elsewhere by the factor
    or not at all.
    """
    is_latent = model.mla is not None
    if not is_latent and (scaling.type == "linear" or model_rules.is_llama3_scaling(scaling)):
        return True
    numbers = (scaling.factor, scaling.beta_fast, scaling.beta_slow)
    has_one_magnitude = scaling.mscale == scaling.mscale_all_dim and not (is_latent and scaling.mscale is None)
    return scaling.type == "yarn" and has_one_magnitude and all(number.is_integer() for number in numbers)


def has_window(plan: rules.PlanValues) -> bool:
    """Whether some layers attend to a window that is shorter than the sequence."""
    return plan.model is not None and 0 < plan.model.sliding_window < plan.seq_length


def _has_foreign_window(plan: rules.PlanValues) -> bool:
    model = plan.model
    if model is None or not has_window(plan):
        return False
    return find_decoder_block(model) != "gpt_oss" or model.sliding_every != 2


def _reject_in_block(
    part: str,
    supported: str,
    is_broken: Callable[[ModelSpec, DecoderBlock], bool],
    value: Callable[[rules.PlanValues], object] | None = None,
    *,
    source: str,
) -> rules.Rule:
    """Models for which and for whose block `is_broken` holds."""
    return model_rules.reject_model(
        f"model.{part}", supported, lambda model: is_broken(model, find_decoder_block(model)), value, source=source
    )


MODEL_RULES = (
    model_rules.accept_decoders("maxtext/models: decoders; vision is not written by planner export"),
    *model_rules.reject_model_parts(
        *("embedding_norm", "relative_positions", "token_types", "parallel_residual"),
        source="maxtext/common/common_types.py, DecoderBlockType: no block has it",
    ),
    *model_rules.reject_model_parts(
        "attention_softcap", source=f"{rules.NOT_WRITTEN}: attn_logits_soft_cap (maxtext/configs/base.yml)"
    ),
    _reject_in_block(
        "qkv_bias",
        "biases of queries, keys and values in a dense model without qk_norm, of the whole attention in GPT-OSS's, "
        "of all matrices with learned positions, else none",
        _has_foreign_biases,
        lambda plan: str(plan.model is not None and plan.model.qkv_bias).lower(),
        source=f"maxtext/models/qwen2.py; {_GPT_OSS_SOURCE}; {_GPT3_SOURCE}",
    ),
    _reject_in_block(
        "attention_sinks",
        "false with learned positions or latent attention",
        lambda model, block: model.attention_sinks and block in ("gpt3", "deepseek"),
        source=f"maxtext/layers/attentions.py, Attention; attention_mla.py; {_GPT3_SOURCE}",
    ),
    _reject_in_block(
        "qk_norm",
        "false with learned positions, in GPT-OSS's experts and latent attention",
        lambda model, block: model.qk_norm and block in ("gpt3", "gpt_oss", "deepseek"),
        source=f"{_GPT_OSS_SOURCE}; {_GPT3_SOURCE}",
    ),
    _reject_in_block(
        "kv_heads",
        "as many as heads with learned positions",
        lambda model, block: block == "gpt3" and model.kv_head_count != model.heads,
        source=_GPT3_SOURCE,
    ),
    _reject_in_block(
        "norm",
        "layernorm with a bias and learned positions, else rmsnorm",
        lambda model, block: (
            (model.norm, model.norm_bias) != ("layernorm", True) if block == "gpt3" else model.norm != "rmsnorm"
        ),
        source=f"maxtext/layers/nnx_decoders.py, get_norm_layer; {_GPT3_SOURCE}",
    ),
    _reject_in_block(
        "activation",
        "silu, gelu-tanh or relu; quick-gelu in GPT-OSS's experts",
        _has_foreign_activation,
        lambda plan: plan.model.mlp_activation if plan.model is not None else None,
        source="maxtext/layers/linears.py, _convert_to_activation_function: jax.nn's, whose gelu is gelu-tanh; "
        "maxtext/layers/moe.py, apply_ffn_activation",
    ),
    _reject_in_block(
        "activation_limit",
        "0, or experts without latent attention",
        lambda model, block: model.activation_limit > 0 and block != "gpt_oss",
        source="maxtext/layers/moe.py, apply_ffn_activation",
    ),
    _reject_in_block(
        "gated_mlp",
        "true with experts",
        lambda model, block: model.moe is not None and not model.gated_mlp,
        source="maxtext/layers/moe.py, RoutedMoE",
    ),
    _reject_in_block(
        "layers",
        "an even number in GPT-OSS's block: layers with and without a window are one block",
        lambda model, block: block == "gpt_oss" and model.layers % 2 != 0,
        source="maxtext/models/gpt_oss.py, GptOssScannableBlock",
    ),
    rules.Rule(
        "model.sliding_window",
        "0, a window of the whole sequence, or in every second layer of GPT-OSS's experts",
        _has_foreign_window,
        source="maxtext/models/gpt_oss.py, GPT_OSS_ATTENTION_PATTERN; windows of Gemma's and Olmo's blocks are not "
        "written by planner export",
    ),
    model_rules.reject_model(
        "model.rope_fraction",
        "1",
        lambda model: model.rope_fraction < 1,
        source="maxtext/configs/types.py, MaxTextConfig: partial_rotary_factor is Qwen3-Next's",
    ),
    model_rules.reject_model(
        "model.rope_base",
        "a whole number",
        lambda model: not model.rope_base.is_integer(),
        source="maxtext/configs/types.py, Rope.rope_max_timescale",
    ),
    model_rules.accept_rope_scalings(
        "linear, Llama 3.1's with factor 8, or yarn of whole numbers, its magnitudes equal or left out, in latent "
        "attention equal",
        _can_scale,
        source="maxtext/layers/attentions.py, init_rotary_embedding; attention_mla.py",
    ),
    model_rules.reject_model(
        "model.final_norm",
        "true",
        lambda model: not model.final_norm,
        "false",
        source="maxtext/layers/nnx_decoders.py, decoder_norm",
    ),
    rules.accept_values("model.head", "lm", source="maxtext/layers/nnx_decoders.py, apply_output_head"),
    _reject_in_block(
        "moe.router_normalized",
        "a softmax over a token's experts; with DeepSeek's a sum of 1 with sigmoid, or softmax without it",
        _has_foreign_router,
        lambda plan: str(bool(plan.model and plan.model.moe and plan.model.moe.normalizes_topk)).lower(),
        source="maxtext/layers/moe.py, get_topk",
    ),
    _reject_in_block(
        "moe.router_bias",
        "a bias of the choice and groups with latent attention alone, where the best 2 experts of a group add up to "
        "its score",
        _has_foreign_choice,
        lambda plan: "a bias or groups",
        source="maxtext/layers/moe.py, get_topk: names of models that begin with deepseek3; expert_group_mask",
    ),
    model_rules.reject_model(
        "model.moe.every",
        "1",
        lambda model: model.moe is not None and model.moe.every > 1,
        source=f"{rules.NOT_WRITTEN}: interleave_moe_layer_step of Llama 4's block (maxtext/models/llama4.py)",
    ),
    _reject_in_block(
        "moe.shared_ffn_size",
        "experts as Mixtral's, Qwen3's or GPT-OSS's, without shared ones and dense layers; or DeepSeek's",
        _has_foreign_experts,
        lambda plan: plan.model.moe.shared_ffn_size if plan.model and plan.model.moe else "no experts",
        source="maxtext/models/mixtral.py, qwen3.py, gpt_oss.py, deepseek.py",
    ),
    model_rules.reject_model(
        "model.moe.shared_gate",
        "false",
        lambda model: model.moe is not None and model.moe.shared_gate,
        source="maxtext/models/qwen3.py, Qwen3NextSparseMoeBlock: beside linear attention alone",
    ),
    _reject_in_block(
        "moe.expert_bias",
        "false, or GPT-OSS's experts, whose router has a bias too",
        lambda model, block: (
            model.moe is not None and model.moe.expert_bias and not (block == "gpt_oss" and model.moe.router_bias)
        ),
        source="maxtext/layers/moe.py, RoutedMoE: mlp_bias",
    ),
)
