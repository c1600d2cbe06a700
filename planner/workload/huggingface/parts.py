"""What several keys of a config.json say together: windows, experts, latent attention, state spaces.

Each function returns a part of a `Family`: a function from the keys to fields of a `ModelSpec`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from planner.errors import InputError
from planner.workload.huggingface.config_file import SpecFields
from planner.workload.huggingface.table import Keys, Part, build_layers, find_period
from planner.workload.mixers import DeltaNetSpec, IndexerSpec, LightningSpec, ShortConvSpec, StateSpaceSpec
from planner.workload.spec import MlaSpec

Rule = Callable[[Keys, int], Sequence[str]]
"""The types of the layers where the file lists none, for a number of layers."""


def every(key: str | int, special: str, other: str, *, first: bool = False, default: int = 0) -> Rule:
    """Of each `key` layers (a number, or a key with it) the last one is special, or the first one; `default` where
    the key is missing.
    """

    def list_types(keys: Keys, layers: int) -> Sequence[str]:
        period = key if isinstance(key, int) else keys.count(key, default)
        if not period:
            return [special] * layers
        place = 0 if first else period - 1
        return [special if index % period == place else other for index in range(layers)]

    return list_types


def always(name: str) -> Rule:
    """All layers of one type."""
    return lambda keys, layers: [name] * layers


def read_windows(
    rule: Rule,
    kinds: Mapping[str, Mapping[str, object]] | None = None,
    *,
    window: str = "sliding_window",
    key: str = "layer_types",
    last_full: bool = False,
) -> Part:
    """Layers of full attention and with a window, by list or by the family's rule; `kinds`: more of each type."""
    more = kinds or {}

    def read(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
        layers = _get_int(fields, "layers")
        types = keys.list_layer_types(layers, rule(keys, layers), key)
        if last_full:
            types[-1] = "full_attention"
        width = _read_window(keys, window)
        chunk = keys.count("attention_chunk_size", 0) if "chunked_attention" in types else 0
        known = {
            "full_attention": {"sliding_window": 0},
            "sliding_attention": {"sliding_window": width},
            "chunked_attention": {"sliding_window": chunk},
        }
        merged = {name: {**known.get(name, {}), **more.get(name, {})} for name in {**known, **more}}
        return build_layers(fields, types, merged)

    return read


def read_window(window: str = "sliding_window", *, only_if: str | None = None) -> Part:
    """A window of all layers; `only_if`: a flag without which there is none."""

    def read(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
        if only_if is not None and not keys.is_true(only_if):
            return {"sliding_window": 0}
        return {"sliding_window": _read_window(keys, window)}

    return read


def _read_window(keys: Keys, window: str) -> int:
    width = keys.get(window, 0)
    if isinstance(width, bool) or not isinstance(width, int) or width < 0:
        raise keys.build_type_error(window, "a whole number, or null")
    return width


def _get_int(fields: SpecFields, name: str) -> int:
    value = fields[name]
    assert isinstance(value, int)
    return value


def read_moe(
    *,
    experts: str = "num_local_experts",
    topk: str = "num_experts_per_tok",
    width: str = "moe_intermediate_size",
    shared: str = "",
    shared_count: str = "",
    shared_default: int = 0,
    first_dense: str = "",
    every_key: str = "",
    mlp_types: str = "",
    mlp_only: str = "",
    dense_names: Sequence[str] = ("dense", "mlp"),
    layer_rule: Callable[[Keys, int], Sequence[bool]] | None = None,
    optional: bool = False,
    **fixed: object,
) -> Part:
    """Experts: keys of their number, of how many a token visits, and of their width; of shared ones (`shared`: their
    width, `shared_count`: a number of them as wide as an expert); and which layers have them.
    """

    def read(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
        expert_count = keys.count(experts, 0)
        if optional and expert_count <= 1:
            return {"moe": None}
        expert_width = keys.count(width) if isinstance(keys.get(width, 0), int) else 0
        if not expert_width:
            raise keys.build_unsupported_error(width, keys.get(width), "one width for all experts")
        shared_width = keys.count(shared, 0) if shared else 0
        if shared_count:
            shared_width = expert_width * keys.count(shared_count, shared_default)
        layers = _get_int(fields, "layers")
        has_experts = _list_moe_layers(keys, layers, first_dense, every_key, mlp_types, mlp_only, dense_names)
        if layer_rule is not None:
            has_experts = list(layer_rule(keys, layers))
        moe: dict[str, object] = {
            "experts": expert_count,
            "topk": min(keys.count(topk), expert_count),
            "expert_ffn_size": expert_width,
            "shared_ffn_size": shared_width,
            "counts_bias": False,
            **fixed,
        }
        if moe.get("shared_gate"):
            moe["shared_gate"] = shared_width > 0
        return place_experts(fields, moe, has_experts)

    return read


def _list_moe_layers(
    keys: Keys,
    layers: int,
    first_dense: str,
    every_key: str,
    mlp_types: str,
    mlp_only: str,
    dense_names: Sequence[str],
) -> list[bool]:
    """Which layers have experts."""
    listed = keys.list_names(mlp_types) if mlp_types else None
    if listed is not None:
        if len(listed) < layers:
            raise InputError("has too few layers", key=mlp_types, value=len(listed), expected=f"{layers}")
        return [name not in dense_names for name in listed[:layers]]
    dense_count = keys.count(first_dense, 0) if first_dense else 0
    frequency = keys.get(every_key, 1) if every_key else 1
    if isinstance(frequency, list):
        return [bool(item) for item in frequency[:layers]]
    only = keys.get(mlp_only, []) if mlp_only else []
    return [
        index >= dense_count and (index + 1) % max(1, frequency) == 0 and index not in only for index in range(layers)
    ]


def list_first_dense(count: int) -> Callable[[Keys, int], list[bool]]:
    """Experts by the list of MLPs, or from layer `count` on where the file has none."""

    def list_flags(keys: Keys, layers: int) -> list[bool]:
        names = keys.list_names("mlp_layer_types")
        return [name != "dense" for name in names][:layers] if names else [index >= count for index in range(layers)]

    return list_flags


def place_experts(fields: SpecFields, moe: dict[str, object], has_experts: Sequence[bool]) -> Mapping[str, object]:
    """The fields of experts in these layers: by their first dense layers or their distance where that says it all,
    else in kinds of layers of their own.
    """
    if not any(has_experts):
        return {"moe": None}
    layers = len(has_experts)
    first = has_experts.index(True)
    pattern = fields.get("pattern")
    kinds = [dict(kind) for kind in fields.get("kinds") or []]  # type: ignore[attr-defined]
    if all(has_experts[first:]) and not any("mlp" in kind for kind in kinds):
        return {"moe": {**moe, "first_dense_layers": first}}
    for period in (2, 3, 4):
        if not kinds and all(flag == ((index + 1) % period == 0) for index, flag in enumerate(has_experts)):
            return {"moe": {**moe, "every": period}}
    names = [pattern[index % len(pattern)] if pattern else "layer" for index in range(layers)]  # type: ignore[index,arg-type]
    types = [f"{name}-{'moe' if flag else 'dense'}" for name, flag in zip(names, has_experts, strict=True)]
    by_name = {kind["name"]: kind for kind in kinds} or {"layer": {"name": "layer"}}
    used = dict.fromkeys(types)
    new_kinds = []
    for name in used:
        base, _, mlp = name.rpartition("-")
        new_kinds.append({**by_name[base], "name": name, "mlp": mlp})
    return {"moe": moe, "pattern": find_period(types), "kinds": new_kinds}


def read_mla(*, gate: str = "none", has_indexer: bool = False) -> Part:
    """Latent attention under DeepSeek's keys, and its indexer."""

    def read(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
        mla = MlaSpec(
            q_lora_rank=keys.count("q_lora_rank", 0),
            kv_lora_rank=keys.count("kv_lora_rank"),
            qk_nope_head_dim=keys.count("qk_nope_head_dim"),
            qk_rope_head_dim=keys.count("qk_rope_head_dim"),
            v_head_dim=keys.count("v_head_dim", _get_int(fields, "hidden_size") // _get_int(fields, "heads")),
            gate=gate,  # type: ignore[arg-type]
        )
        found: dict[str, object] = {"mla": mla, "head_dim": None, "kv_heads": None}
        if has_indexer:
            found["indexer"] = IndexerSpec(
                heads=keys.count("index_n_heads"),
                head_dim=keys.count("index_head_dim"),
                topk=keys.count("index_topk"),
            )
        return found

    return read


def read_delta_net(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """The gated delta net under Qwen3-Next's keys."""
    return {
        "delta_net": DeltaNetSpec(
            key_heads=keys.count("linear_num_key_heads"),
            value_heads=keys.count("linear_num_value_heads"),
            key_dim=keys.count("linear_key_head_dim"),
            value_dim=keys.count("linear_value_head_dim"),
            conv_kernel=keys.count("linear_conv_kernel_dim"),
        )
    }


def read_mamba_2(prefix: str = "mamba_", **names: str) -> Part:
    """Mamba-2 under the keys of Bamba and those after it; `names`: other keys, by field."""

    def read(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
        def name(field: str, default: str) -> str:
            return names.get(field, f"{prefix}{default}")

        heads = keys.count(name("heads", "n_heads"))
        head_dim = keys.get(name("head_dim", "d_head"))
        hidden = _get_int(fields, "hidden_size")
        inner = int(keys.get(name("expand", "expand"), 2) * hidden)
        if isinstance(keys.get("mamba_d_ssm"), int):
            inner = keys.count("mamba_d_ssm")
        if isinstance(head_dim, int) and "fixed_inner" not in names:
            inner = heads * head_dim
        return {
            "state_space": StateSpaceSpec(
                inner_size=inner,
                state_size=keys.count(name("state", "d_state")),
                heads=heads,
                groups=keys.count(name("groups", "n_groups")),
                conv_kernel=keys.count(name("conv", "d_conv")),
                chunk=keys.count(name("chunk", "chunk_size"), 256),
                conv_bias=keys.is_true(name("conv_bias", "conv_bias"), True),
                bias=keys.is_true(name("bias", "proj_bias")),
                gated_norm=keys.is_true("mamba_rms_norm", True) if "mamba_rms_norm" in keys.raw else True,
            )
        }

    return read


def read_mamba(
    *,
    state: str = "state_size",
    conv: str = "conv_kernel",
    rank: str = "time_step_rank",
    expand: str = "expand",
    inner: str = "",
    conv_bias: str = "use_conv_bias",
    bias: str = "use_bias",
    inner_norms: bool = False,
) -> Part:
    """Mamba-1."""

    def read(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
        hidden = _get_int(fields, "hidden_size")
        dt_rank, expanded = keys.get(rank, "auto"), int(keys.get(expand, 2) * hidden)
        return {
            "state_space": StateSpaceSpec(
                inner_size=keys.count(inner, expanded) if inner else expanded,
                state_size=keys.count(state),
                conv_kernel=keys.count(conv),
                dt_rank=-(-hidden // 16) if dt_rank == "auto" else dt_rank,
                conv_bias=keys.is_true(conv_bias, True),
                bias=keys.is_true(bias),
                inner_norms=inner_norms,
            )
        }

    return read


def read_short_conv(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """LFM2's convolution."""
    return {"short_conv": ShortConvSpec(kernel=keys.count("conv_L_cache"), bias=keys.is_true("conv_bias"))}


def read_lightning(keys: Keys, fields: SpecFields) -> Mapping[str, object]:
    """MiniMax's linear attention."""
    return {"lightning": LightningSpec(chunk=keys.count("block_size", 256))}
