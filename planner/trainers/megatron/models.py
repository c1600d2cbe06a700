"""Which models megatron-core has, and which of them its programs: their rules."""

from __future__ import annotations

from planner.trainers import model_rules, rules
from planner.trainers.model_rules import is_llama3_scaling
from planner.workload.spec import ModelSpec, RopeScaling

ARGUMENTS_FILE = "megatron/training/arguments.py"
CONFIG_FILE = "megatron/core/transformer/transformer_config.py"


def _has_uniform_biases(model: ModelSpec) -> bool:
    """Whether all matrices have a bias (`add_bias_linear`), none, or those of queries, keys and values alone
    (`add_qkv_bias`); those of experts apart.
    """
    out_bias = model.attention_out_bias
    mlp_bias = model.mlp_bias if has_dense_layers(model) else out_bias
    return (model.qkv_bias, out_bias, mlp_bias) in ((True,) * 3, (False,) * 3, (True, False, False))


def _has_uniform_expert_biases(model: ModelSpec) -> bool:
    """Whether experts and router have biases where the other matrices have."""
    moe = model.moe
    if moe is None:
        return True
    has_router_bias = moe.router_bias and not moe.balances_by_bias
    return moe.expert_bias == model.attention_out_bias == has_router_bias


def _can_scale_latent_positions(scaling: RopeScaling) -> bool:
    """Yarn with both magnitudes given: MLATransformerConfig has no others."""
    return scaling.type == "yarn" and scaling.truncate and None not in (scaling.mscale, scaling.mscale_all_dim)


def _can_lm_scale(model: ModelSpec, scaling: RopeScaling) -> bool:
    """Whether Megatron-LM has arguments for it. `--rope-scaling-factor` and `--rotary-seq-len-interpolation-factor`
    are parsed, but neither is handed to the model; the numbers of yarn that have no
    argument are those of MLATransformerConfig.
    """
    if model.mla is None:
        return is_llama3_scaling(scaling)
    numbers = (scaling.original_seq_length, scaling.beta_fast, scaling.beta_slow)
    return _can_scale_latent_positions(scaling) and numbers == (4096, 32.0, 1.0)


def _can_bridge_scale(model: ModelSpec, scaling: RopeScaling) -> bool:
    """Whether Megatron-Bridge's providers have fields for it."""
    if model.mla is not None:
        return _can_scale_latent_positions(scaling)
    return scaling.type in ("linear", "yarn") or is_llama3_scaling(scaling, any_factor=True)


def _can_nemo_scale(model: ModelSpec, scaling: RopeScaling) -> bool:
    """Llama31Config has all numbers of Llama 3.1's; GPTConfig those of linear scaling; no latent attention."""
    return model.mla is not None or scaling.type in ("llama3", "linear")


MLP_RULES = (
    model_rules.accept_activations(
        gated=("silu", "gelu", "gelu-tanh", "quick-gelu", "relu"),
        plain=("gelu", "gelu-tanh", "relu", "squared-relu"),
        source=f"{CONFIG_FILE}, activation_func; megatron/core/activations.py",
    ),
)
LM_MLP_RULES = (
    model_rules.accept_activations(
        gated=("silu", "quick-gelu"),
        plain=("gelu", "gelu-tanh", "squared-relu"),
        source=f"{ARGUMENTS_FILE}: --swiglu, --quick-geglu, --squared-relu",
    ),
)
GELU_TANH_RULE = model_rules.reject_model(
    "model.activation",
    "gelu without biases; gelu-tanh is a kernel with a bias",
    lambda model: model.mlp_activation == "gelu-tanh" and not model.gated_mlp and not model.mlp_bias,
    "gelu-tanh",
    source=f"{CONFIG_FILE}, bias_activation_fusion",
)
WHOLE_ROPE_BASE_RULE = model_rules.reject_model(
    "model.rope_base",
    "a whole number",
    lambda model: not model.rope_base.is_integer(),
    source=f"{ARGUMENTS_FILE}, --rotary-base",
)
_ROUTING_SOURCE = "megatron/core/transformer/moe/moe_utils.py, topk_routing_with_score_function"
_ROUTER_RULES = (
    model_rules.reject_model(
        "model.moe.router_normalized",
        "true with sigmoid; false for one expert a token; either with softmax",
        lambda model: (
            model.moe is not None
            and (
                (model.moe.topk > 1 and model.moe.score_function == "sigmoid" and not model.moe.normalizes_topk)
                or (model.moe.topk == 1 and model.moe.normalizes_topk)
            )
        ),
        lambda plan: str(bool(plan.model and plan.model.moe and plan.model.moe.normalizes_topk)).lower(),
        source=_ROUTING_SOURCE,
    ),
    model_rules.reject_model(
        "model.moe.router_score",
        "sigmoid, where a bias balances the experts",
        lambda model: model.moe is not None and model.moe.balances_by_bias and model.moe.score_function == "softmax",
        "softmax",
        source=f"{CONFIG_FILE}, moe_router_enable_expert_bias",
    ),
    model_rules.reject_model(
        "model.moe.router_groups",
        "none for a softmax over the chosen experts (router_normalized)",
        lambda model: (
            model.moe is not None
            and model.moe.router_groups > 0
            and model.moe.score_function == "softmax"
            and model.moe.normalizes_topk
        ),
        source=_ROUTING_SOURCE,
    ),
    model_rules.reject_model(
        "model.moe.router_group_experts",
        "topk / router_topk_groups, rounded down: the best experts of a group that add up to its score",
        lambda model: (
            model.moe is not None
            and model.moe.router_groups > 0
            and model.moe.router_group_experts != model.moe.topk // model.moe.router_topk_groups
        ),
        source="megatron/core/transformer/moe/moe_utils.py, group_limited_topk",
    ),
)


def has_dense_layers(model: ModelSpec) -> bool:
    """Whether some layers have no experts."""
    return model.moe is None or model.moe.first_dense_layers > 0 or model.moe.every > 1


MODEL_RULES = (
    model_rules.reject_model(
        "model.final_norm",
        "true",
        lambda model: not model.final_norm,
        "false",
        source="megatron/core/transformer/transformer_block.py, has_final_layernorm_in_this_stage",
    ),
    rules.accept_values("model.head", "lm", source="megatron/core/models/gpt/gpt_model.py, output_layer"),
    model_rules.reject_model(
        "model.norm_bias",
        "true, or rmsnorm",
        lambda model: model.norm == "layernorm" and not model.norm_bias,
        "false",
        source="megatron/core/fusions/fused_layer_norm.py, FusedLayerNorm",
    ),
    model_rules.reject_model(
        "model.attention_out_bias",
        "biases everywhere, nowhere, or of QKV",
        lambda model: not _has_uniform_biases(model),
        source=f"{CONFIG_FILE}, add_bias_linear and add_qkv_bias",
    ),
    model_rules.reject_model(
        "model.moe.expert_bias",
        "biases of experts and router where all other matrices have one, and nowhere else",
        lambda model: not _has_uniform_expert_biases(model),
        lambda plan: str(bool(plan.model and plan.model.moe and plan.model.moe.expert_bias)).lower(),
        source="megatron/core/transformer/moe/router.py, Router",
    ),
    model_rules.reject_model(
        "model.activation_limit",
        "0, or quick-gelu in a gated MLP",
        lambda model: model.activation_limit > 0 and not (model.gated_mlp and model.mlp_activation == "quick-gelu"),
        source=f"{CONFIG_FILE}, activation_func_clamp_value",
    ),
    model_rules.reject_model(
        "model.rope_fraction",
        "1 in latent attention",
        lambda model: model.mla is not None and model.rope_fraction < 1,
        source="megatron/core/transformer/multi_latent_attention.py: YarnRotaryEmbedding has no rotary_percent",
    ),
    *_ROUTER_RULES,
    model_rules.reject_model(
        "model.mtp_layers",
        "0, or rotary positions",
        lambda model: model.mtp_layers > 0 and not model.has_rotary_positions,
        source=f"{ARGUMENTS_FILE}, validate_args: mtp_num_layers",
    ),
)
"""Of all three programs."""
LM_ROPE_RULE = model_rules.accept_rope_scalings(
    "Llama 3.1's with factor 8; in latent attention yarn with mscale, beta_fast 32, beta_slow 1 and "
    "original_seq_length 4096",
    _can_lm_scale,
    source="gpt_builders.py, gpt_builder: rope_scaling",
)
BRIDGE_ROPE_RULE = model_rules.accept_rope_scalings(
    "linear, yarn, or Llama 3.1's; in latent attention yarn with mscale",
    _can_bridge_scale,
    source="megatron/bridge/models/gpt_provider.py; mla_provider.py; gpt_oss/gpt_oss_provider.py",
)
NEMO_ROPE_RULE = model_rules.accept_rope_scalings(
    "linear, or llama3", _can_nemo_scale, source="nemo/collections/llm/gpt/model/llama.py; base.py"
)
