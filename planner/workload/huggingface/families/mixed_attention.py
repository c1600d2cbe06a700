"""Decoders with attention of several shapes, or with delta attention, as tables.

Source: transformers 5.24.0, models/FAMILY/modeling_FAMILY.py and configuration_FAMILY.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.errors import InputError
from planner.workload.huggingface.config_file import SpecFields
from planner.workload.huggingface.parts import always, every, list_first_dense, read_mla, read_moe, read_windows
from planner.workload.huggingface.table import RMS, Family, Keys, build_layers
from planner.workload.mixers import DeltaNetSpec

_SIGMOID: dict[str, Any] = {"router_bias": True, "router_score": "sigmoid"}
_PLAIN = {"qkv_bias": False, "attention_out_bias": False, "mlp_bias": False}


def _read_mimo(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """With a window other heads of keys and values, and sinks: by the list of layers, or by a list of flags."""
    layers = keys.count("num_hidden_layers")
    flags = keys.get("hybrid_layer_pattern")
    default = [
        "full_attention" if index == 0 or (index + 1) % 6 == 0 else "sliding_attention" for index in range(layers)
    ]
    if isinstance(flags, list):
        default = ["sliding_attention" if flag else "full_attention" for flag in flags]
    types = keys.list_layer_types(layers, default)
    width = keys.count("sliding_window_size", 0) or keys.count("sliding_window")
    # the library has twice as many heads of keys and values with a window where the file says nothing
    kv_heads = keys.count("swa_num_key_value_heads", 2 * keys.count("num_key_value_heads"))
    kinds: Mapping[str, Mapping[str, object]] = {
        "full_attention": {"sliding_window": 0},
        "sliding_attention": {
            "sliding_window": width,
            "heads": keys.count("swa_num_attention_heads", 0) or None,
            "kv_heads": kv_heads,
            "head_dim": keys.count("swa_head_dim", 0) or None,
            "v_head_dim": keys.count("swa_v_head_dim", 0) or None,
            "attention_sinks": True,
        },
    }
    return {"v_head_dim": keys.count("v_head_dim"), **build_layers(fields, types, kinds)}


def _list_mimo_moe(keys: Keys, layers: int) -> list[bool]:
    flags, names = keys.get("moe_layer_freq"), keys.list_names("mlp_layer_types")
    if names is not None:
        return [name != "dense" for name in names][:layers]
    listed = [bool(flag) for flag in flags] if isinstance(flags, list) else [index > 0 for index in range(layers)]
    return listed[:layers]


def _read_gemma4(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Layers of full attention have wider heads, fewer of keys and values, and values that are the keys."""
    for key in ("num_kv_shared_layers", "use_double_wide_mlp"):
        if keys.get(key):
            raise keys.build_unsupported_error(key, keys.get(key), "0")
    overrides = keys.get("per_layer_config")
    wide, kv_heads = keys.count("global_head_dim", 512), keys.get("num_global_key_value_heads")
    shares_values = keys.is_true("attention_k_eq_v")
    if isinstance(overrides, dict) and overrides:
        first = next(iter(overrides.values()))
        wide, kv_heads = first.get("head_dim", wide), first.get("num_key_value_heads", kv_heads)
    full: dict[str, object] = {"sliding_window": 0, "head_dim": wide, "values_are_keys": shares_values}
    if kv_heads and shares_values:
        full["kv_heads"] = kv_heads
    layers_part = read_windows(
        every(6, "full_attention", "sliding_attention"), {"full_attention": full}, last_full=True
    )
    found = dict(layers_part(keys, fields))
    if keys.get("hidden_size_per_layer_input"):
        found["layer_embedding_size"] = keys.count("hidden_size_per_layer_input")
        found["layer_embedding_vocab"] = keys.count("vocab_size_per_layer_input")
    if keys.is_true("enable_moe_block"):
        hidden, experts = keys.count("hidden_size"), keys.count("num_experts")
        found["moe"] = {
            "experts": experts,
            "topk": keys.count("top_k_experts"),
            "expert_ffn_size": keys.count("moe_intermediate_size"),
            "dense_beside": True,
        }
        # scales of the router, and of each expert
        found["extra_parameters"] = hidden + experts
    return found


def _read_kimi_linear(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Kimi delta attention, and latent attention without rotary positions in each fourth layer."""
    table = keys.get("linear_attn_config") or {}
    heads = table.get("num_heads", keys.count("linear_num_heads"))
    size = table.get("head_dim", keys.count("linear_head_dim"))
    layers = keys.count("num_hidden_layers")
    default = ["full_attention" if index and index % 4 == 0 else "linear_attention" for index in range(layers)]
    if "full_attn_layers" in table:
        # counted from 1
        default = [
            "full_attention" if index + 1 in table["full_attn_layers"] else "linear_attention"
            for index in range(layers)
        ]
    types = keys.list_layer_types(layers, default)
    net = DeltaNetSpec(
        key_heads=heads,
        value_heads=heads,
        key_dim=size,
        value_dim=size,
        conv_kernel=table.get("short_conv_kernel_size", keys.count("linear_conv_kernel_dim")),
        decay="channel",
        decay_rank=size,
        gate_rank=size,
    )
    kinds = {"full_attention": {}, "linear_attention": {"mixer": "delta-net"}}
    return {"delta_net": net, **build_layers(fields, types, kinds)}


def _read_bailing(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """The same with whole projections of decay and gate; latent attention has a gate by head."""
    layers, heads = keys.count("num_hidden_layers"), keys.count("num_attention_heads")
    # the class writes the size of rotated heads as `head_dim`, and that of delta attention beside it
    size = keys.count("linear_head_dim", keys.count("head_dim"))
    period = keys.count("layer_group_size")
    default = ["full_attention" if (index + 1) % period == 0 else "linear_attention" for index in range(layers)]
    net = DeltaNetSpec(
        key_heads=heads,
        value_heads=heads,
        key_dim=size,
        value_dim=size,
        conv_kernel=keys.count("linear_conv_kernel_dim", keys.count("short_conv_kernel_size")),
        decay="channel",
    )
    kinds = {"full_attention": {}, "linear_attention": {"mixer": "delta-net"}}
    return {"delta_net": net, **build_layers(fields, keys.list_layer_types(layers, default), kinds)}


def _read_olmo_hybrid(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """A delta net with norms before, or attention with norms after."""
    layers, heads, hidden = (keys.count(key) for key in ("num_hidden_layers", "num_attention_heads", "hidden_size"))
    key_heads = keys.count("linear_num_key_heads", heads)
    key_dim = keys.count("linear_key_head_dim", int(0.75 * hidden / key_heads))
    net = DeltaNetSpec(
        key_heads=key_heads,
        value_heads=keys.count("linear_num_value_heads", heads),
        key_dim=key_dim,
        value_dim=keys.count("linear_value_head_dim", 2 * key_dim),
        conv_kernel=keys.count("linear_conv_kernel_dim"),
    )
    default = ["full_attention" if index % 4 == 3 else "linear_attention" for index in range(layers)]
    if "full_attention" not in default:
        default[-1] = "full_attention"
    kinds: Mapping[str, Mapping[str, object]] = {
        "full_attention": {"norm_placement": "after", "qk_norm": True, "qk_norm_scope": "width"},
        "linear_attention": {"mixer": "delta-net"},
    }
    return {"delta_net": net, **build_layers(fields, keys.list_layer_types(layers, default), kinds)}


def _read_dbrx(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """Heads of keys and values, and experts, in tables of their own."""
    attention, mlp = keys.get("attn_config") or {}, keys.get("ffn_config") or {}
    if "ffn_hidden_size" not in mlp or "moe_num_experts" not in mlp:
        raise InputError("missing key", key="ffn_config.ffn_hidden_size", expected="a whole number")
    return {
        "kv_heads": attention.get("kv_n_heads", 1),
        "rope_base": float(attention.get("rope_theta", 10_000.0)),
        "ffn_size": mlp["ffn_hidden_size"],
        "moe": {
            "experts": mlp["moe_num_experts"],
            "topk": mlp.get("moe_top_k", 1),
            "expert_ffn_size": mlp["ffn_hidden_size"],
        },
    }


def _list_flint(keys: Keys, layers: int) -> list[str]:
    return [
        "full_attention" if index < 2 or index % 4 == 1 or index == layers - 1 else "sliding_attention"
        for index in range(layers)
    ]


def _list_flint_moe(keys: Keys, layers: int) -> list[bool]:
    only = keys.get("mlp_only_layers", [0, 1])
    step = keys.count("decoder_sparse_step", 1)
    return [index not in only and (index + 1) % step == 0 for index in range(layers)]


def _list_kimi_moe(keys: Keys, layers: int) -> list[bool]:
    return list_first_dense(keys.count("first_k_dense_replace", 1))(keys, layers)


def _list_beam(keys: Keys, layers: int) -> list[str]:
    types = ["sliding_attention" if (index + 1) % 6 else "full_attention" for index in range(layers)]
    types[-1] = "full_attention"
    return types


def _read_laguna(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """A gate by head; heads of its own in each layer are not described."""
    listed = keys.get("num_attention_heads_per_layer")
    if isinstance(listed, list) and set(listed) != {keys.count("num_attention_heads")}:
        types = keys.list_names("layer_types") or []
        by_type: dict[str, set[int]] = {}
        for name, heads in zip(types, listed, strict=False):
            by_type.setdefault(name, set()).add(heads)
        if not by_type or any(len(heads) > 1 for heads in by_type.values()):
            raise keys.build_unsupported_error("num_attention_heads_per_layer", listed, "one number for each type")
        kinds: dict[str, Mapping[str, object]] = {
            name: {"heads": next(iter(heads))} for name, heads in by_type.items()
        }
    else:
        kinds = {}
    if keys.get("gating") is not True:
        raise keys.build_unsupported_error("gating", keys.get("gating"), "true")
    gate = {"attention_gate": "head"}
    return {**gate, **read_windows(always("full_attention"), kinds)(keys, fields)}


FAMILIES: dict[str, Family] = {
    "mimo_v2_flash": Family(
        {"norm_epsilon": "rms_norm_eps"},
        {**RMS, "attention_out_bias": False, "mlp_bias": False},
        parts=(_read_mimo, read_moe(experts="n_routed_experts", layer_rule=_list_mimo_moe, **_SIGMOID)),
        extra=(
            *("hybrid_layer_pattern", "moe_layer_freq", "sliding_window_size", "swa_num_key_value_heads"),
            *("swa_num_attention_heads", "swa_head_dim", "swa_v_head_dim"),
        ),
    ),
    "gemma4_text": Family(
        {"activation": "hidden_activation", "logit_softcap": "final_logit_softcapping"},
        {**RMS, "norm_placement": "both", "qk_norm": True, "mlp_bias": False},
        parts=(_read_gemma4,),
        extra=("global_head_dim", "num_global_key_value_heads", "per_layer_config"),
    ),
    "gemma4_unified_text": Family(
        {"activation": "hidden_activation", "logit_softcap": "final_logit_softcapping"},
        {**RMS, "norm_placement": "both", "qk_norm": True, "mlp_bias": False},
        parts=(_read_gemma4,),
        extra=("global_head_dim", "num_global_key_value_heads", "per_layer_config"),
    ),
    "kimi_linear": Family(
        fixed={**RMS, "rotary": False, "mlp_bias": False},
        parts=(
            read_mla(),
            _read_kimi_linear,
            read_moe(
                shared_count="n_shared_experts",
                layer_rule=_list_kimi_moe,
                **_SIGMOID,
            ),
        ),
        extra=("linear_attn_config", "first_k_dense_replace"),
    ),
    "bailing_hybrid": Family(
        fixed={**RMS, "mlp_bias": False, "tied_embeddings": False},
        parts=(
            read_mla(gate="head"),
            _read_bailing,
            read_moe(
                shared_count="n_shared_experts",
                mlp_types="mlp_layer_types",
                first_dense="first_k_dense_replace",
                **_SIGMOID,
            ),
        ),
        extra=("linear_head_dim", "linear_conv_kernel_dim"),
    ),
    "olmo_hybrid": Family(fixed={**RMS, "mlp_bias": False}, parts=(_read_olmo_hybrid,)),
    "dbrx": Family(
        {"hidden_size": "d_model", "heads": "n_heads", "layers": "n_layers", "seq_length": "max_seq_len"},
        {**RMS, **_PLAIN, "norm": "layernorm", "norm_bias": False, "activation": "silu"},
        parts=(_read_dbrx,),
    ),
    "flint": Family(
        fixed={**RMS, "qk_norm": True, "attention_sinks": True, "mlp_bias": False},
        parts=(
            read_windows(_list_flint),
            read_moe(experts="num_experts", shared="shared_expert_intermediate_size", layer_rule=_list_flint_moe),
        ),
    ),
    "beam": Family(
        fixed={
            **RMS,
            "qk_norm": True,
            "attention_gate": "width",
            "joint_gate": False,
            "norm_placement": "both",
            "mlp_bias": False,
        },
        parts=(
            read_windows(_list_beam, {"full_attention": {"rotary": False}}),
            # a bias of the gate for each head
            lambda keys, fields: {"extra_parameters": keys.count("num_attention_heads")},
            read_moe(experts="num_experts", layer_rule=list_first_dense(3), **_SIGMOID),
        ),
    ),
    "laguna": Family(
        fixed={**RMS, "qk_norm": True, "mlp_bias": False},
        parts=(
            _read_laguna,
            read_moe(
                experts="num_experts",
                shared="shared_expert_intermediate_size",
                layer_rule=list_first_dense(1),
                router_bias=True,
                router_score="sigmoid",
                counts_bias=True,
            ),
        ),
    ),
    "step3p5": Family(
        fixed={**RMS, "qk_norm": True, "attention_gate": "head", "mlp_bias": False},
        parts=(
            read_windows(always("full_attention")),
            read_moe(
                experts="n_routed_experts",
                shared="share_expert_dim",
                layer_rule=list_first_dense(3),
                **_SIGMOID,
            ),
        ),
        extra=("num_experts",),
    ),
}
