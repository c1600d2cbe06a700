"""Decoders with experts, as tables. Source: transformers 5.24.0, models/FAMILY/modeling_FAMILY.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.workload.huggingface.config_file import SpecFields
from planner.workload.huggingface.parts import (
    always,
    every,
    list_first_dense,
    read_mla,
    read_moe,
    read_window,
    read_windows,
)
from planner.workload.huggingface.table import RMS, Family, Keys, find_period

_ROUTED_EXPERTS: dict[str, Any] = {"experts": "n_routed_experts", "shared_count": "n_shared_experts"}
_DEEPSEEK_EXPERTS: dict[str, Any] = {**_ROUTED_EXPERTS, "mlp_types": "mlp_layer_types"}
_SIGMOID: dict[str, Any] = {"router_bias": True, "router_score": "sigmoid"}
_DEEPSEEK_EXTRA = ("first_k_dense_replace", "moe_layer_freq", "topk_method", "scoring_func", "n_routed_experts")
_WIDE_NORM = {"qk_norm": True, "qk_norm_scope": "width"}
_ROUND_NORMS = {"norm_placement": "both"}


def _read_shared_indexers(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Layers that take the choice of an earlier layer's indexer (GLM-5.2, `indexer_types`)."""
    types, letters = keys.list_names("indexer_types"), keys.get("index_topk_pattern")
    if types is None and isinstance(letters, str):
        types = ["full" if letter == "F" else "shared" for letter in letters]
    if types is None:
        frequency, offset = max(1, keys.count("index_topk_freq", 1)), keys.count("index_skip_topk_offset", 2)
        layers = keys.count("num_hidden_layers")
        types = ["shared" if max(place - offset + 1, 0) % frequency else "full" for place in range(layers)]
    if set(types) == {"full"}:
        return {}
    names = ["indexer" if name == "full" else "shared-indexer" for name in types]
    kinds = [{"name": "indexer"}, {"name": "shared-indexer", "has_indexer": False}]
    return {"pattern": find_period(names), "kinds": kinds}


def _read_llama4(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Chunks in layers with rotary positions; experts in every `interleave_moe_layer_step`-th."""
    no_rope = keys.get("no_rope_layers") or []
    interval = keys.count("no_rope_layer_interval", 4)
    layers = keys.count("num_hidden_layers")
    flags = no_rope or [int((index + 1) % interval != 0) for index in range(layers)]

    def list_types(keys: Keys, layers: int) -> list[str]:
        return ["chunked_attention" if flag else "full_attention" for flag in flags]

    kinds = {"full_attention": {"rotary": False}}
    return read_windows(list_types, kinds, window="attention_chunk_size")(keys, fields)


def _read_llama4_dense(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """The width of dense layers, and a shared expert as wide as the others."""
    return {"ffn_size": keys.count("intermediate_size_mlp")}


def _list_llama4_moe(keys: Keys, layers: int) -> list[bool]:
    listed = keys.get("moe_layers")
    step = keys.count("interleave_moe_layer_step", 1)
    chosen = listed if listed is not None else range(step - 1, layers, step)
    return [index in chosen for index in range(layers)]


def _list_ernie_moe(keys: Keys, layers: int) -> list[bool]:
    start, end = keys.count("moe_layer_start_index", 0), keys.get("moe_layer_end_index", layers - 1)
    end = layers - 1 if end == -1 else end
    step = keys.count("moe_layer_interval", 1)
    return [start <= index <= end and (index + 1) % step == 0 for index in range(layers)]


def _add_shared_bias(keys: Keys, fields: SpecFields, key: str = "use_bias") -> Mapping[str, object]:
    """Shared experts have biases where the dense MLPs have."""
    moe = fields.get("moe")
    return {"moe": {**moe, "shared_bias": keys.is_true(key)}} if isinstance(moe, dict) else {}


def _read_optional_qk_norm(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    return {"qk_norm": True} if keys.is_true("use_qk_norm") else {}


FAMILIES: dict[str, Family] = {
    "kimi_k2": Family(
        fixed={**RMS, "mlp_bias": False},
        parts=(
            read_mla(),
            read_moe(
                **_ROUTED_EXPERTS,
                first_dense="first_k_dense_replace",
                every_key="moe_layer_freq",
                **_SIGMOID,
            ),
        ),
        extra=_DEEPSEEK_EXTRA,
        like="deepseek_v3",
    ),
    "deepseek_v2": Family(
        fixed={**RMS, "mlp_bias": False},
        parts=(
            read_mla(),
            read_moe(
                **_ROUTED_EXPERTS,
                first_dense="first_k_dense_replace",
                router_score="softmax",
            ),
        ),
    ),
    "deepseek_v32": Family(
        fixed={**RMS, "mlp_bias": False},
        parts=(
            read_mla(has_indexer=True),
            read_moe(**_DEEPSEEK_EXPERTS, first_dense="first_k_dense_replace", **_SIGMOID),
        ),
        extra=_DEEPSEEK_EXTRA,
    ),
    "glm_moe_dsa": Family(
        fixed={**RMS, "mlp_bias": False},
        parts=(
            read_mla(has_indexer=True),
            _read_shared_indexers,
            read_moe(**_DEEPSEEK_EXPERTS, first_dense="first_k_dense_replace", **_SIGMOID),
        ),
        extra=(*_DEEPSEEK_EXTRA, "index_topk_pattern", "index_topk_freq", "index_skip_topk_offset"),
    ),
    "glm4_moe_lite": Family(
        fixed={**RMS, "mlp_bias": False},
        parts=(
            read_mla(),
            read_moe(
                **_ROUTED_EXPERTS,
                layer_rule=list_first_dense(1),
                **_SIGMOID,
            ),
        ),
    ),
    "glm4_moe": Family(
        fixed={**RMS, "attention_out_bias": False, "mlp_bias": False},
        parts=(
            _read_optional_qk_norm,
            read_moe(
                **_ROUTED_EXPERTS,
                first_dense="first_k_dense_replace",
                **_SIGMOID,
            ),
        ),
    ),
    "dots1": Family(
        fixed={**RMS, "qk_norm": True, "mlp_bias": False},
        parts=(
            read_moe(
                **_ROUTED_EXPERTS,
                first_dense="first_k_dense_replace",
                **_SIGMOID,
            ),
        ),
    ),
    "minimax_m2": Family(
        {"ffn_size": "intermediate_size"},
        {**RMS, **_WIDE_NORM, "qkv_bias": False, "attention_out_bias": False, "mlp_bias": False},
        parts=(read_moe(width="intermediate_size", **_SIGMOID),),
    ),
    "granitemoe": Family(fixed={**RMS, "mlp_bias": False}, parts=(read_moe(width="intermediate_size"),)),
    "granitemoe_swa": Family(
        fixed={**RMS, "mlp_bias": False, "attention_sinks": True},
        parts=(
            read_windows(every(4, "full_attention", "sliding_attention", first=True)),
            read_moe(width="intermediate_size"),
        ),
    ),
    "granitemoeshared": Family(
        fixed={**RMS, "mlp_bias": False},
        parts=(read_moe(width="intermediate_size", shared="shared_intermediate_size"),),
    ),
    "olmoe": Family(
        fixed={**RMS, **_WIDE_NORM, "mlp_bias": False},
        parts=(read_moe(experts="num_experts", width="intermediate_size"),),
    ),
    "flex_olmo": Family(
        fixed={**RMS, **_WIDE_NORM, "norm_placement": "after", "mlp_bias": False},
        parts=(read_moe(experts="num_experts", width="intermediate_size"),),
    ),
    "phimoe": Family(
        {"head_bias": "lm_head_bias"},
        {"norm": "layernorm", "gated_mlp": True, "mlp_bias": False},
        parts=(read_window(), read_moe(width="intermediate_size")),
    ),
    "ernie4_5_moe": Family(
        {"qkv_bias": "use_bias", "attention_out_bias": "use_bias", "mlp_bias": "use_bias"},
        RMS,
        parts=(
            lambda keys, fields: {"head_bias": keys.is_true("use_bias")},
            read_moe(
                experts="moe_num_experts",
                topk="moe_k",
                shared_count="moe_num_shared_experts",
                layer_rule=_list_ernie_moe,
                router_bias=True,
                counts_bias=True,
            ),
            _add_shared_bias,
        ),
    ),
    "hunyuan_v1_moe": Family(
        fixed={**RMS, "qk_norm": True, "mlp_bias": False},
        parts=(lambda keys, fields: _read_hunyuan_moe(keys, fields),),
        extra=("num_shared_expert", "moe_intermediate_size"),
    ),
    "llama4_text": Family(
        fixed={**RMS, "mlp_bias": False},
        parts=(
            _read_llama4,
            _read_llama4_dense,
            read_moe(
                width="intermediate_size",
                shared="intermediate_size",
                layer_rule=_list_llama4_moe,
                router_score="sigmoid",
                router_normalized=False,
            ),
        ),
    ),
    "afmoe": Family(
        fixed={
            **RMS,
            **_ROUND_NORMS,
            "qk_norm": True,
            "attention_gate": "width",
            "joint_gate": False,
            "mlp_bias": False,
        },
        parts=(
            read_windows(
                every("global_attn_every_n_layers", "full_attention", "sliding_attention"),
                {"full_attention": {"rotary": False}},
            ),
            read_moe(
                experts="num_experts",
                shared_count="num_shared_experts",
                first_dense="num_dense_layers",
                router_bias=True,
                counts_bias=True,
                router_score="sigmoid",
            ),
        ),
    ),
    "aria_text": Family(
        fixed=RMS,
        parts=(
            read_moe(
                experts="moe_num_experts",
                topk="moe_topk",
                width="intermediate_size",
                shared_count="moe_num_shared_experts",
            ),
        ),
    ),
    "exaone_moe": Family(
        fixed={**RMS, "qk_norm": True, "qkv_bias": False, "attention_out_bias": False, "mlp_bias": False},
        parts=(
            read_windows(
                every("sliding_window_pattern", "full_attention", "sliding_attention"),
                {"full_attention": {"rotary": False}},
            ),
            read_moe(
                experts="num_experts",
                shared_count="num_shared_experts",
                first_dense="first_k_dense_replace",
                mlp_types="mlp_layer_types",
                **_SIGMOID,
            ),
        ),
    ),
    "mellum": Family(
        fixed={**RMS, "qk_norm": True, "mlp_bias": False},
        parts=(
            read_windows(always("full_attention")),
            read_moe(experts="num_experts", mlp_types="mlp_layer_types"),
        ),
    ),
    "kolibri1": Family(
        fixed={**RMS, **_ROUND_NORMS, "qk_norm": True, "mlp_bias": False},
        parts=(
            read_windows(every(5, "full_attention", "sliding_attention")),
            read_moe(experts="num_experts", shared="shared_expert_intermediate_size", **_SIGMOID),
        ),
    ),
    "hy_v3": Family(
        fixed={**RMS, "qk_norm": True},
        parts=(
            read_moe(
                experts="num_experts",
                shared_count="num_shared_experts",
                layer_rule=list_first_dense(1),
                **_SIGMOID,
            ),
            lambda keys, fields: _add_shared_bias(keys, fields, "mlp_bias"),
        ),
    ),
    "sarvam_mla": Family(
        fixed={**RMS, "mlp_bias": False},
        parts=(read_mla(), read_moe(**_DEEPSEEK_EXPERTS, first_dense="first_k_dense_replace", **_SIGMOID)),
        extra=_DEEPSEEK_EXTRA,
    ),
    "sarvam_moe": Family(
        fixed={**RMS, "attention_out_bias": False, "mlp_bias": False},
        parts=(
            _read_optional_qk_norm,
            read_moe(
                **_ROUTED_EXPERTS,
                first_dense="first_k_dense_replace",
                mlp_types="mlp_layer_types",
                **_SIGMOID,
            ),
        ),
    ),
    "solar_open": Family(
        fixed={**RMS, "attention_out_bias": False, "mlp_bias": False},
        parts=(
            _read_optional_qk_norm,
            read_moe(
                **_ROUTED_EXPERTS,
                first_dense="first_k_dense_replace",
                mlp_types="mlp_layer_types",
                **_SIGMOID,
            ),
        ),
    ),
    "cohere2_moe": Family(
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
                every("sliding_window_pattern", "full_attention", "sliding_attention"),
                {"full_attention": {"rotary": False}},
            ),
            read_moe(
                experts="num_experts",
                width="intermediate_size",
                shared_count="num_shared_experts",
                mlp_types="mlp_layer_types",
                first_dense="first_k_dense_replace",
            ),
        ),
        extra=("first_k_dense_replace",),
    ),
}


def _read_hunyuan_moe(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Numbers that are lists for each layer in published files."""

    def read_uniform(key: str, default: int) -> int:
        value = keys.get(key, default)
        if isinstance(value, list):
            if len(set(value)) != 1:
                raise keys.build_unsupported_error(key, value, "one number for all layers")
            value = value[0]
        assert isinstance(value, int)
        return value

    experts = read_uniform("num_experts", 1)
    if experts <= 1:
        return {"moe": None}
    # the class has no other width (modeling_hunyuan_v1_moe.py, HunYuanMoEV1Experts)
    width = keys.count("intermediate_size")
    return {
        "moe": {
            "experts": experts,
            "topk": read_uniform("moe_topk", 1),
            "expert_ffn_size": width,
            "shared_ffn_size": width,
            "counts_bias": False,
        }
    }
