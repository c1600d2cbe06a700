"""Decoders with recurrences or convolutions in place of attention in some layers, as tables.

Source: transformers 5.24.0, models/FAMILY/modeling_FAMILY.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.errors import InputError
from planner.workload.huggingface.config_file import SpecFields
from planner.workload.huggingface.parts import (
    every,
    read_delta_net,
    read_lightning,
    read_mamba,
    read_mamba_2,
    read_moe,
    read_short_conv,
    read_windows,
)
from planner.workload.huggingface.table import RMS, Family, Keys, build_layers, find_period
from planner.workload.mixers import StateSpaceSpec

_DELTA = {"linear_attention": {"mixer": "delta-net"}}
_QWEN_NEXT = {**RMS, "qk_norm": True, "attention_gate": "width", "mlp_bias": False}
_QWEN_EXPERTS: dict[str, Any] = {
    "experts": "num_experts",
    "shared": "shared_expert_intermediate_size",
    "shared_gate": True,
}
_LETTERS = {"M": "linear_attention", "*": "full_attention", "-": "mlp", "E": "moe"}
_NEMOTRON_KINDS: Mapping[str, Mapping[str, object]] = {
    "linear_attention": {"mixer": "mamba-2", "mlp": "none"},
    "full_attention": {"mixer": "attention", "mlp": "none"},
    "mlp": {"mixer": "none", "mlp": "dense"},
    "moe": {"mixer": "none", "mlp": "moe"},
}


def _read_nemotron_layers(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """A layer is one of Mamba-2, attention, MLP or experts: by letters, or by names."""
    letters = keys.get("hybrid_override_pattern")
    types = keys.list_names("layers_block_type") or keys.list_names("layer_types")
    if types is None and isinstance(letters, str):
        unknown = next((letter for letter in letters if letter not in _LETTERS), None)
        if unknown is not None:
            raise keys.build_unsupported_error("hybrid_override_pattern", unknown, f"one of {', '.join(_LETTERS)}")
        types = [_LETTERS[letter] for letter in letters]
    if types is None:
        types = ["linear_attention", "moe", "full_attention", "mlp"]
    for place, name in enumerate(types):
        if name not in _NEMOTRON_KINDS:
            raise InputError(
                "is not supported", key=f"layers_block_type[{place}]", value=name, expected=", ".join(_NEMOTRON_KINDS)
            )
    names = [name.replace("_attention", "") for name in types]
    kinds = [{"name": name.replace("_attention", ""), **_NEMOTRON_KINDS[name]} for name in dict.fromkeys(types)]
    found: dict[str, object] = {"layers": len(types), "pattern": find_period(names), "kinds": kinds}
    if "moe" in types:
        found["moe"] = {
            "experts": keys.count("n_routed_experts"),
            "topk": keys.count("num_experts_per_tok"),
            "expert_ffn_size": keys.count("moe_intermediate_size"),
            "shared_ffn_size": keys.count("moe_shared_expert_intermediate_size", 0),
            "latent_size": keys.count("moe_latent_size", 0),
            "router_bias": True,
            "router_score": "sigmoid",
            "counts_bias": False,
        }
    return found


def _read_jamba(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Attention each `attn_layer_period` layers, experts each `expert_layer_period`."""
    layers = keys.count("num_hidden_layers")
    period, offset = keys.count("attn_layer_period"), keys.count("attn_layer_offset")
    types = ["full_attention" if index % period == offset else "linear_attention" for index in range(layers)]
    kinds = {"full_attention": {}, "linear_attention": {"mixer": "mamba"}}
    return build_layers(fields, types, kinds)


def _list_jamba_moe(keys: Keys, layers: int) -> list[bool]:
    period, offset = keys.count("expert_layer_period"), keys.count("expert_layer_offset")
    return [keys.count("num_experts") > 1 and index % period == offset for index in range(layers)]


def _read_bamba(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    listed = keys.get("attn_layer_indices") or []
    layers = keys.count("num_hidden_layers")
    types = ["full_attention" if index in listed else "linear_attention" for index in range(layers)]
    return build_layers(fields, types, {"full_attention": {}, "linear_attention": {"mixer": "mamba-2"}})


def _read_granite_hybrid(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Mamba-2 or attention; experts beside a shared MLP, or the shared MLP alone."""
    kinds: Mapping[str, Mapping[str, object]] = {
        "full_attention": {"sliding_window": 0},
        "linear_attention": {"mixer": "mamba-2"},
    }
    layers = keys.count("num_hidden_layers")
    types = keys.list_layer_types(layers, ["linear_attention"] * layers)
    experts = keys.count("num_local_experts", 0)
    rotary = keys.get("position_embedding_type") == "rope"
    found: dict[str, object] = {"rotary": rotary, "ffn_size": keys.count("shared_intermediate_size")}
    if experts:
        found["moe"] = {
            "experts": experts,
            "topk": keys.count("num_experts_per_tok"),
            "expert_ffn_size": keys.count("intermediate_size"),
            "shared_ffn_size": keys.count("shared_intermediate_size"),
        }
    return {**found, **build_layers({**fields, **found}, types, kinds)}


def _read_lfm2(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Convolutions but in the layers that are listed; the MLP's width is adjusted."""
    width = keys.count("intermediate_size")
    if keys.is_true("block_auto_adjust_ff_dim"):
        width = int(2 * width / 3)
        multiplier = keys.get("block_ffn_dim_multiplier")
        if multiplier is not None:
            width = int(multiplier * width)
        multiple = keys.count("block_multiple_of")
        width = multiple * -(-width // multiple)
    layers = keys.count("num_hidden_layers")
    listed = keys.get("full_attn_idxs")
    chosen = range(layers) if listed is None else listed
    default = ["full_attention" if index in chosen else "conv" for index in range(layers)]
    types = keys.list_layer_types(layers, default)
    kinds = {"full_attention": {}, "conv": {"mixer": "short-conv"}}
    return {"ffn_size": width, **read_short_conv(keys, fields), **build_layers(fields, types, kinds)}


def _list_lara(keys: Keys, layers: int) -> list[str]:
    cycle = ("linear_attention", "sliding_attention", "linear_attention", "full_attention", "sliding_attention")
    return [cycle[index % len(cycle)] for index in range(layers)]


def _read_lfm3_flags(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Norms after each branch, and a gate by head, where the file says so."""
    return {
        "norm_placement": "both" if keys.is_true("use_sandwich_norm", True) else "before",
        "attention_gate": "head" if keys.is_true("use_attention_gate", True) else "none",
    }


def _list_lfm3(keys: Keys, layers: int) -> list[str]:
    return [
        "full_attention" if index % 4 == 2 else "sliding_attention" if index % 4 == 0 and index > 0 else "conv"
        for index in range(layers)
    ]


def _read_falcon_h1(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Both mixers in each layer."""
    return {"mixer": "attention+mamba-2"}


def _read_mamba_width(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """No attention and no MLP: fields that a model has all the same."""
    space = fields["state_space"]
    assert isinstance(space, StateSpaceSpec)
    return {"heads": space.heads if not space.dt_rank else 1, "head_dim": 1, "ffn_size": fields["hidden_size"]}


_MAMBA_KEYS = {
    "kv_heads": "",
    "heads": "",
    "head_dim": "",
    "ffn_size": "",
    "norm_epsilon": "layer_norm_epsilon",
    "seq_length": "",
}
_MAMBA_FIXED = {
    **RMS,
    "rotary": False,
    "seq_length": 2048,
    "pattern": ["mamba"],
}

FAMILIES: dict[str, Family] = {
    "qwen3_next": Family(
        fixed=_QWEN_NEXT,
        parts=(
            read_delta_net,
            read_windows(every("full_attention_interval", "full_attention", "linear_attention", default=4), _DELTA),
            read_moe(**_QWEN_EXPERTS, every_key="decoder_sparse_step", mlp_only="mlp_only_layers"),
        ),
        extra=("full_attention_interval",),
    ),
    "qwen3_5_text": Family(
        fixed=_QWEN_NEXT,
        parts=(
            read_delta_net,
            read_windows(every("full_attention_interval", "full_attention", "linear_attention", default=4), _DELTA),
        ),
        extra=("full_attention_interval",),
    ),
    "qwen3_5_moe_text": Family(
        fixed=_QWEN_NEXT,
        parts=(
            read_delta_net,
            read_windows(every("full_attention_interval", "full_attention", "linear_attention", default=4), _DELTA),
            read_moe(**_QWEN_EXPERTS),
        ),
        extra=("full_attention_interval",),
    ),
    "lara_mini": Family(
        fixed={**RMS, "qk_norm": True, "mlp_bias": False},
        parts=(
            read_delta_net,
            read_windows(_list_lara, _DELTA),
            read_moe(experts="num_experts", shared="shared_expert_intermediate_size"),
        ),
    ),
    "nemotron_h": Family(
        {
            "layers": "",
            "activation": "mlp_hidden_act",
            "norm_epsilon": "layer_norm_epsilon",
            "ffn_size": "intermediate_size",
        },
        {"norm": "rmsnorm", "gated_mlp": False, "rotary": False},
        parts=(
            read_mamba_2(
                heads="mamba_num_heads",
                head_dim="mamba_head_dim",
                groups="n_groups",
                state="ssm_state_size",
                conv="conv_kernel",
                chunk="chunk_size",
                conv_bias="use_conv_bias",
                bias="use_bias",
                expand="expand",
            ),
            _read_nemotron_layers,
        ),
        extra=("hybrid_override_pattern", "layers_block_type", "num_hidden_layers"),
    ),
    "jamba": Family(
        fixed={**RMS, "rotary": False, "qkv_bias": False, "attention_out_bias": False, "mlp_bias": False},
        parts=(
            read_mamba(
                state="mamba_d_state",
                conv="mamba_d_conv",
                rank="mamba_dt_rank",
                expand="mamba_expand",
                conv_bias="mamba_conv_bias",
                bias="mamba_proj_bias",
                inner_norms=True,
            ),
            _read_jamba,
            read_moe(experts="num_experts", width="intermediate_size", layer_rule=_list_jamba_moe),
        ),
    ),
    "bamba": Family(fixed={**RMS}, parts=(read_mamba_2(), _read_bamba)),
    "granitemoehybrid": Family(fixed={**RMS, "mlp_bias": False}, parts=(read_mamba_2(), _read_granite_hybrid)),
    "falcon_h1": Family(fixed={**RMS}, parts=(read_mamba_2(), _read_falcon_h1)),
    "mamba2": Family(
        _MAMBA_KEYS,
        {**_MAMBA_FIXED, "kinds": [{"name": "mamba", "mixer": "mamba-2", "mlp": "none"}]},
        parts=(
            read_mamba_2(
                "",
                heads="num_heads",
                head_dim="head_dim",
                state="state_size",
                groups="n_groups",
                conv="conv_kernel",
                chunk="chunk_size",
                conv_bias="use_conv_bias",
                bias="use_bias",
                expand="expand",
            ),
            _read_mamba_width,
        ),
    ),
    "mamba": Family(
        _MAMBA_KEYS,
        {**_MAMBA_FIXED, "kinds": [{"name": "mamba", "mixer": "mamba", "mlp": "none"}]},
        parts=(read_mamba(inner="intermediate_size"), _read_mamba_width),
        extra=("intermediate_size",),
    ),
    "falcon_mamba": Family(
        _MAMBA_KEYS,
        {**_MAMBA_FIXED, "kinds": [{"name": "mamba", "mixer": "mamba", "mlp": "none"}]},
        parts=(read_mamba(inner="intermediate_size"), _read_mamba_width),
        extra=("intermediate_size",),
    ),
    "minimax": Family(
        fixed={**RMS, "qkv_bias": False, "attention_out_bias": False, "mlp_bias": False},
        parts=(
            read_lightning,
            read_windows(
                every(2, "linear_attention", "full_attention"), {"linear_attention": {"mixer": "lightning"}}
            ),
            read_moe(width="intermediate_size"),
        ),
    ),
    "lfm2": Family(
        {"norm_epsilon": "norm_eps", "activation": ""},
        {**RMS, "qk_norm": True, "qkv_bias": False, "attention_out_bias": False, "mlp_bias": False},
        parts=(_read_lfm2,),
        extra=("block_ff_dim",),
    ),
    "lfm2_moe": Family(
        {"norm_epsilon": "norm_eps", "activation": ""},
        {**RMS, "qk_norm": True, "qkv_bias": False, "attention_out_bias": False, "mlp_bias": False},
        parts=(
            _read_lfm2,
            read_moe(
                experts="num_experts",
                first_dense="num_dense_layers",
                router_bias=True,
                router_score="sigmoid",
            ),
        ),
    ),
    "lfm3": Family(
        {"norm_epsilon": "norm_eps", "activation": ""},
        {
            **RMS,
            "qk_norm": True,
            "mlp_bias": False,
        },
        parts=(
            _read_lfm3_flags,
            read_short_conv,
            read_windows(_list_lfm3, {"conv": {"mixer": "short-conv"}}),
        ),
    ),
}
