"""Dense decoders of Llama's form, and those with other norms, biases and windows, as tables.

Source of all: transformers 5.24.0, models/FAMILY/modeling_FAMILY.py, and its configuration classes for defaults.
"""

from __future__ import annotations

from collections.abc import Mapping

from planner.workload.huggingface.config_file import SpecFields
from planner.workload.huggingface.parts import always, every, read_mla, read_window, read_windows
from planner.workload.huggingface.table import LAYER_NORM, RMS, Family, Keys

_NO_BIAS = {"qkv_bias": False, "attention_out_bias": False, "mlp_bias": False}
_BIASES = {"qkv_bias": True, "attention_out_bias": True, "mlp_bias": True}
_WIDE_NORM = {"qk_norm": True, "qk_norm_scope": "width"}
_ROUND_NORMS = {"norm_placement": "both"}


def _read_exaone4(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Windows only with a pattern; layers of full attention have no rotary positions then."""
    if keys.get("sliding_window") is None:
        return {}
    kinds = {"full_attention": {"rotary": False}}
    pattern = keys.get("sliding_window_pattern")
    if isinstance(pattern, str):

        def list_letters(keys: Keys, layers: int) -> list[str]:
            return [
                "full_attention" if pattern[index % len(pattern)] == "G" else "sliding_attention"
                for index in range(layers)
            ]

        return read_windows(list_letters, kinds)(keys, fields)
    return read_windows(every("sliding_window_pattern", "full_attention", "sliding_attention"), kinds)(keys, fields)


def _read_stablelm(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Parallel blocks have one norm; queries and keys a norm for each head."""
    is_parallel = keys.is_true("use_parallel_residual")
    has_norm = keys.is_true("qk_layernorm")
    return {
        "parallel_residual": is_parallel,
        "shared_norm": is_parallel,
        "qkv_bias": keys.is_true("use_qkv_bias"),
        **({"qk_norm": True, "qk_norm_scope": "width", "qk_norm_bias": False} if has_norm else {}),
    }


def _read_cohere_norms(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Norms of each head of queries and keys, where there are any."""
    return {"qk_norm": True, "qk_norm_scope": "width"} if keys.is_true("use_qk_norm") else {}


def _read_smollm3(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Each fourth layer has no rotary positions; windows where they are used."""
    if not keys.is_true("use_sliding_window"):
        return {}
    return read_windows(always("sliding_attention"))(keys, fields)


def _read_apertus(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """xIELU has two coefficients in each layer (arXiv 2411.13010)."""
    return {"extra_parameters": 2} if keys.get("hidden_act") == "xielu" else {}


def _read_nanochat(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Norms without weights."""
    return {"norm_weight": False, "qk_norm": True}


_GEMMA_KEYS = {
    "activation": "hidden_activation",
    "qkv_bias": "attention_bias",
    "attention_out_bias": "attention_bias",
}


def _check_square_output(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """The output's matrix is hidden x hidden, whatever heads and their dimension are."""
    hidden, heads = keys.count("hidden_size"), keys.count("num_attention_heads")
    if heads * keys.count("head_dim", hidden // heads) != hidden:
        raise keys.build_unsupported_error("head_dim", keys.get("head_dim"), f"{hidden // heads}")
    return {}


FAMILIES: dict[str, Family] = {
    "exaone": Family(fixed=RMS, extra=("num_layers", "activation_function", "layer_norm_epsilon")),
    "internlm3": Family({"qkv_bias": "qkv_bias", "attention_out_bias": "bias", "mlp_bias": "bias"}, RMS),
    "iquestcoder": Family(fixed=RMS),
    "helium": Family(fixed={**RMS, "attention_out_bias": False}, parts=(_check_square_output,)),
    "ministral3": Family(fixed={**RMS, **_NO_BIAS}, parts=(read_window(),)),
    "ministral": Family(fixed={**RMS, **_NO_BIAS}, parts=(read_windows(always("sliding_attention")),)),
    "smollm3": Family(fixed=RMS, parts=(_read_smollm3,)),
    "ernie4_5": Family({"qkv_bias": "use_bias", "attention_out_bias": "use_bias", "mlp_bias": "use_bias"}, RMS),
    "cwm": Family(
        fixed={**RMS, "qkv_bias": False, "attention_out_bias": False},
        parts=(read_windows(every(4, "full_attention", "sliding_attention", first=True)),),
    ),
    "granite": Family(fixed=RMS),
    "granite_swa": Family(
        fixed={**RMS, "attention_sinks": True},
        parts=(read_windows(every(4, "full_attention", "sliding_attention", first=True)),),
    ),
    "hyperclovax": Family(fixed=RMS, parts=(lambda keys, fields: _read_post_norms(keys),)),
    "arcee": Family(fixed={"norm": "rmsnorm", "gated_mlp": False}),
    "apertus": Family(
        {"mlp_bias": ""}, {"norm": "rmsnorm", "gated_mlp": False, "qk_norm": True}, parts=(_read_apertus,)
    ),
    "apertus1p5_text": Family(
        {"mlp_bias": ""}, {"norm": "rmsnorm", "gated_mlp": False, "qk_norm": True}, parts=(_read_apertus,)
    ),
    "seed_oss": Family({"attention_out_bias": "attention_out_bias"}, RMS),
    "glm": Family(fixed={**RMS, "attention_out_bias": False, "mlp_bias": False}),
    "glm4": Family(fixed={**RMS, **_ROUND_NORMS, "attention_out_bias": False, "mlp_bias": False}),
    "hunyuan_v1_dense": Family(fixed={**RMS, "qk_norm": True}),
    "exaone4": Family(fixed={**RMS, **_NO_BIAS, "qk_norm": True, "norm_placement": "after"}, parts=(_read_exaone4,)),
    "olmo": Family({"norm_epsilon": ""}, {"norm": "layernorm", "gated_mlp": True, "norm_weight": False}),
    "olmo2": Family(fixed={**RMS, **_WIDE_NORM, "norm_placement": "after", "mlp_bias": False}),
    "olmo3": Family(
        fixed={**RMS, **_WIDE_NORM, "norm_placement": "after", "mlp_bias": False},
        parts=(read_windows(every(4, "full_attention", "sliding_attention")),),
    ),
    "gemma": Family(
        {"qkv_bias": "attention_bias", "attention_out_bias": "attention_bias"}, {**RMS, "mlp_bias": False}
    ),
    "gemma2": Family(
        {**_GEMMA_KEYS, "attention_softcap": "attn_logit_softcapping", "logit_softcap": "final_logit_softcapping"},
        {**RMS, **_ROUND_NORMS, "mlp_bias": False},
        parts=(read_windows(every(2, "full_attention", "sliding_attention")),),
    ),
    "vaultgemma": Family(
        {**_GEMMA_KEYS, "attention_softcap": "attn_logit_softcapping", "logit_softcap": "final_logit_softcapping"},
        {**RMS, "mlp_bias": False},
        parts=(read_windows(every(2, "full_attention", "sliding_attention")),),
    ),
    "gemma3_text": Family(
        {**_GEMMA_KEYS, "attention_softcap": "attn_logit_softcapping", "logit_softcap": "final_logit_softcapping"},
        {**RMS, **_ROUND_NORMS, "qk_norm": True, "mlp_bias": False},
        parts=(read_windows(every("sliding_window_pattern", "full_attention", "sliding_attention", default=6)),),
        extra=("sliding_window_pattern",),
    ),
    "cohere": Family(
        {"norm_epsilon": "layer_norm_eps"},
        {
            "norm": "layernorm",
            "norm_bias": False,
            "gated_mlp": True,
            "parallel_residual": True,
            "shared_norm": True,
            "mlp_bias": False,
        },
        parts=(_read_cohere_norms,),
    ),
    "cohere2": Family(
        {"norm_epsilon": "layer_norm_eps"},
        {
            "norm": "layernorm",
            "norm_bias": False,
            "gated_mlp": True,
            "parallel_residual": True,
            "shared_norm": True,
            "mlp_bias": False,
        },
        parts=(
            read_windows(
                every("sliding_window_pattern", "full_attention", "sliding_attention", default=4),
                {"full_attention": {"rotary": False}},
            ),
        ),
        extra=("sliding_window_pattern",),
    ),
    "starcoder2": Family(
        {
            "norm_epsilon": "norm_epsilon",
            "qkv_bias": "use_bias",
            "attention_out_bias": "use_bias",
            "mlp_bias": "use_bias",
        },
        LAYER_NORM,
        parts=(read_window(),),
    ),
    "stablelm": Family(
        {"norm_epsilon": "layer_norm_eps"},
        {"norm": "layernorm", "gated_mlp": True, "attention_out_bias": False, "mlp_bias": False},
        parts=(_read_stablelm,),
    ),
    "phi": Family(
        {"norm_epsilon": "layer_norm_eps"},
        {**LAYER_NORM, **_BIASES, "parallel_residual": True, "shared_norm": True, "head_bias": True},
        parts=(lambda keys, fields: {"qk_norm": True} if keys.is_true("qk_layernorm") else {},),
    ),
    "nemotron": Family({"norm_epsilon": "norm_eps"}, LAYER_NORM),
    "persimmon": Family(
        {"norm_epsilon": "layer_norm_eps"},
        {**LAYER_NORM, **_BIASES},
        parts=(lambda keys, fields: {"qk_norm": keys.is_true("qk_layernorm", True)},),
    ),
    "jais2": Family({"norm_epsilon": "layer_norm_eps"}, LAYER_NORM),
    "bitnet": Family(fixed={**RMS, "inner_norms": True, "mlp_bias": False}),
    "nanochat": Family(fixed={"norm": "rmsnorm", "gated_mlp": False, "mlp_bias": False}, parts=(_read_nanochat,)),
    "minicpm3": Family(fixed=RMS, parts=(read_mla(),)),
    "youtu": Family(fixed={**RMS}, parts=(read_mla(),)),
}


def _read_post_norms(keys: Keys) -> Mapping[str, object]:
    return {"norm_placement": "both"} if keys.is_true("use_post_norm") else {}
