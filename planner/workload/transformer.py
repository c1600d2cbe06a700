"""Builds the operators of a transformer from its description; lists of operators go to `build_from_operators`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from planner.workload.operators import (
    AttentionCore,
    ExpertLinear,
    Layer,
    LayerRun,
    Linear,
    Loss,
    Operator,
    Pointwise,
    Workload,
)
from planner.workload.spec import MlaSpec, ModelSpec, MoeSpec

if TYPE_CHECKING:
    from planner.workload.operator_list.spec import OperatorListSpec


def build_workload(spec: ModelSpec | OperatorListSpec, *, seq_length: int | None = None, note: str = "") -> Workload:
    """The workload of `spec` for a sequence length; None: the description's, as always for an image."""
    if not isinstance(spec, ModelSpec):
        from planner.workload.operator_list.build import build_from_operators

        return build_from_operators(spec)
    length = seq_length or spec.seq_length
    return Workload(
        name=spec.name,
        title=spec.title or spec.name,
        hidden_size=spec.hidden_size,
        seq_length=length,
        heads=spec.heads,
        kv_heads=spec.kv_head_count,
        ffn_size=spec.ffn_size,
        vocab_size=spec.vocab_size,
        experts=spec.moe.experts if spec.moe else 0,
        embedding=_build_embedding(spec),
        layer_runs=_build_layer_runs(spec),
        head=_build_head(spec, length),
        prediction=_build_prediction(spec),
        note=note,
        sample_name="sequence" if spec.vision is None else "image",
        spec=spec,
    )


def _build_layer_runs(spec: ModelSpec) -> tuple[LayerRun, ...]:
    """The layers in order; runs of equal layers are merged."""
    layer_types = [_get_layer_type(spec, index) for index in range(spec.layers)]
    layer_types += [_get_layer_type(spec, index, has_cross_attention=True) for index in range(spec.decoder_layers)]
    layers = {layer_type: _build_layer(spec, layer_type) for layer_type in dict.fromkeys(layer_types)}
    return tuple(LayerRun(layer, len(list(run))) for layer, run in groupby(map(layers.__getitem__, layer_types)))


@dataclass(frozen=True)
class _LayerType:
    """The properties in which layers of a model differ. `has_cross_attention`: in a decoder with an encoder;
    `has_position_table`: it has the relative positions of all layers.
    """

    is_windowed: bool
    has_position_table: bool
    is_moe: bool
    has_cross_attention: bool


def _get_layer_type(spec: ModelSpec, index: int, *, has_cross_attention: bool = False) -> _LayerType:
    """The type of layer `index`; `has_cross_attention`: of a decoder with an encoder, not of the encoder."""
    is_windowed = spec.sliding_window > 0 and index % spec.sliding_every == 0
    return _LayerType(
        is_windowed, spec.relative_positions == "t5" and index == 0, _is_moe(spec, index), has_cross_attention
    )


def _build_layer(spec: ModelSpec, layer_type: _LayerType) -> Layer:
    """The layer's operators: attention, cross-attention in a decoder with an encoder, then the MLP."""
    window = spec.sliding_window if layer_type.is_windowed else 0
    operators = _build_attention(spec, window=window, is_causal=_is_causal(spec, layer_type.has_cross_attention))
    if layer_type.has_position_table:
        bias_parameters = spec.relative_buckets * spec.heads
        operators.append(Pointwise("relative_bias", "parameters", 0, "tensor", replicated_parameters=bias_parameters))
    all_reduces = 2
    if layer_type.has_cross_attention:
        operators += _build_attention(spec, window=0, is_causal=False, prefix="cross_")
        all_reduces = 3
    moe = spec.moe if layer_type.is_moe else None
    operators += _build_mlp(spec) if moe is None else _build_moe_mlp(spec, moe)
    name = ("cross-decoder" if layer_type.has_cross_attention else "moe" if moe else "dense") + (
        "-window" if layer_type.is_windowed else ""
    )
    return Layer(name, tuple(operators), all_reduces, moe.topk if moe else 0, moe.experts if moe else 0)


def _is_causal(spec: ModelSpec, has_cross_attention: bool) -> bool:
    return spec.architecture == "decoder" or has_cross_attention


def _is_moe(spec: ModelSpec, index: int) -> bool:
    moe = spec.moe
    return moe is not None and index >= moe.first_dense_layers and (index + 1) % moe.every == 0


def _build_norm(spec: ModelSpec, name: str, width: int | None = None, *, shares_input: bool = False) -> Pointwise:
    width = width or spec.hidden_size
    parameters = width * (2 if spec.norm == "layernorm" and spec.norm_bias else 1)
    return Pointwise(
        name,
        "norm",
        width,
        "sequence",
        replicated_parameters=parameters,
        composite=spec.norm == "rmsnorm",
        function=spec.norm,
        shares_input=shares_input,
    )


def _build_residual(spec: ModelSpec, name: str) -> Pointwise:
    return Pointwise(name, "residual", spec.hidden_size, "sequence", dropout=spec.dropout)


def _build_attention(spec: ModelSpec, *, window: int, is_causal: bool, prefix: str = "") -> list[Operator]:
    """Norm, projections, core, output projection, residual."""
    if spec.mla is not None:
        return _build_latent_attention(spec, spec.mla, is_causal)
    head_dim, kv_heads = spec.head_size, spec.kv_head_count
    query_width, key_width = spec.heads * head_dim, kv_heads * head_dim
    qk_width, qkv_width = query_width + key_width, query_width + 2 * key_width
    # GPT-2, GPT-NeoX (transformers 4.57, models/gpt2/modeling_gpt2.py, c_attn; gpt_neox, query_key_value)
    is_joined = spec.norm == "layernorm" and spec.architecture == "decoder"
    qkv = Linear(
        f"{prefix}qkv",
        spec.hidden_size,
        qkv_width,
        "column",
        bias=spec.qkv_bias,
        kv_outputs=2 * key_width,
        kv_heads=kv_heads,
        parts=1 if is_joined else 3,
    )
    operators: list[Operator] = [_build_norm(spec, f"{prefix}attention_norm"), qkv]
    operators += _build_relative_positions(spec, query_width)
    if spec.qk_norm:
        parameters = 2 * head_dim
        norm = Pointwise(f"{prefix}qk_norm", "head_norm", qk_width, "tensor", 0, parameters, function=spec.norm)
        operators.append(norm)
    has_rotary = spec.learned_positions == 0 and spec.relative_positions in ("none", "alibi")
    name, rotated_width = ("rotary", qk_width) if has_rotary else ("split_heads", 0)
    sinks = spec.heads if spec.attention_sinks else 0
    core_name, out_bias = f"{prefix}attention", spec.attention_out_bias
    core = AttentionCore(
        core_name,
        spec.heads,
        kv_heads,
        head_dim,
        head_dim,
        causal=is_causal,
        window=window,
        dropout=spec.dropout,
        wide_softmax=has_rotary,
    )
    return [
        *operators,
        Pointwise(
            *(f"{prefix}{name}", "heads", rotated_width, "tensor", sinks),
            kept_width=qkv_width,
            joined=is_joined,
            composite=True,
        ),
        core,
        Linear(f"{prefix}attention_out", query_width, spec.hidden_size, "row", bias=out_bias),
        _build_residual(spec, f"{prefix}attention_residual"),
    ]


def _build_relative_positions(spec: ModelSpec, query_width: int) -> list[Operator]:
    """Relative positions of Transformer-XL (arXiv 1901.02860): a projection of the positions, and three bias
    vectors a head; XLNet (arXiv 1906.08237) adds two segment embeddings. Empty for other models.
    """
    if spec.relative_positions != "xlnet":
        return []
    return [
        Linear("positions", spec.hidden_size, query_width, "column"),
        Pointwise("relative_bias", "parameters", 0, "tensor", sharded_parameters=5 * query_width),
    ]


def _build_latent_attention(spec: ModelSpec, mla: MlaSpec, is_causal: bool) -> list[Operator]:
    """Multi-head latent attention: low-rank queries and keys/values, norms in between (arXiv 2405.04434)."""
    hidden, heads, bias = spec.hidden_size, spec.heads, spec.qkv_bias
    qk_dim = mla.qk_nope_head_dim + mla.qk_rope_head_dim
    kv_up_width = heads * (mla.qk_nope_head_dim + mla.v_head_dim)
    qk_width, qkv_width = heads * 2 * qk_dim, heads * (2 * qk_dim + mla.v_head_dim)
    queries: list[Operator] = [Linear("q", hidden, heads * qk_dim, "column")]
    if mla.q_lora_rank:
        queries = [
            Linear("q_down", hidden, mla.q_lora_rank, "none", bias=bias),
            _build_norm(spec, "q_norm", mla.q_lora_rank),
            Linear("q_up", mla.q_lora_rank, heads * qk_dim, "column", recomputed=True),
        ]
    kv_width = mla.kv_lora_rank + mla.qk_rope_head_dim
    return [
        _build_norm(spec, "attention_norm"),
        *queries,
        # reads the same normalised hidden state as q_down, which is saved once
        Linear("kv_down", hidden, kv_width, "none", bias=bias, saves_input=False),
        _build_norm(spec, "kv_norm", mla.kv_lora_rank),
        Linear("kv_up", mla.kv_lora_rank, kv_up_width, "column", recomputed=True),
        Pointwise("rotary", "heads", qk_width, "tensor", kept_width=qkv_width, recomputed=True, composite=True),
        AttentionCore(
            *("attention", heads, heads, qk_dim, mla.v_head_dim),
            causal=is_causal,
            dropout=spec.dropout,
            wide_softmax=True,
        ),
        Linear("attention_out", heads * mla.v_head_dim, hidden, "row", bias=spec.attention_out_bias),
        _build_residual(spec, "attention_residual"),
    ]


def _build_activation(spec: ModelSpec, name: str, width: int, *, topk: int = 0, has_bias: bool = False) -> Pointwise:
    """The MLP's non-linearity, of one width, or gated of two."""
    return Pointwise(
        name,
        "activation",
        width,
        "expert" if topk else "tensor",
        gated=spec.gated_mlp,
        function=spec.mlp_activation,
        rows=topk or 1,
        unfused=has_bias,
        composite=spec.gated_mlp,
    )


def _build_mlp(spec: ModelSpec, width: int | None = None) -> list[Operator]:
    width = width or spec.ffn_size
    up_width = width * (2 if spec.gated_mlp else 1)
    return [
        _build_norm(spec, "mlp_norm", shares_input=spec.parallel_residual),
        Linear("mlp_up", spec.hidden_size, up_width, "column", bias=spec.mlp_bias, parts=up_width // width),
        _build_activation(spec, "mlp_activation", width),
        Linear("mlp_down", width, spec.hidden_size, "row", bias=spec.mlp_bias),
        _build_residual(spec, "mlp_residual"),
    ]


def _build_moe_mlp(spec: ModelSpec, moe: MoeSpec) -> list[Operator]:
    """Router, dispatch, grouped expert MLP, combine, and the shared expert in parallel."""
    hidden, topk, width = spec.hidden_size, moe.topk, moe.expert_ffn_size
    experts, has_bias = moe.experts, moe.expert_bias
    up_factor = 2 if spec.gated_mlp else 1
    operators: list[Operator] = [
        _build_norm(spec, "mlp_norm", shares_input=spec.parallel_residual),
        # DeepSeek-V3's authors count the router's selection bias with the parameters; its input is saved once with
        # that of shared experts, beside the copies that are routed
        Linear(
            *("router", hidden, experts, "none", moe.router_bias),
            full_precision=True,
            saves_input=not moe.shared_ffn_size,
        ),
        Pointwise("dispatch", "routing", hidden, "expert", rows=topk),
        ExpertLinear("expert_up", hidden, up_factor * width, "column", experts, topk, has_bias, up_factor),
        _build_activation(spec, "expert_activation", width, topk=topk, has_bias=has_bias),
        ExpertLinear("expert_down", width, hidden, "row", experts, topk, has_bias),
        Pointwise("combine", "routing", hidden, "expert", rows=topk),
    ]
    if moe.shared_ffn_size:
        operators += [
            Linear("shared_up", hidden, up_factor * moe.shared_ffn_size, "column", parts=up_factor),
            _build_activation(spec, "shared_activation", moe.shared_ffn_size),
            Linear("shared_down", moe.shared_ffn_size, hidden, "row"),
        ]
        if moe.shared_gate:
            operators.append(Linear("shared_gate", hidden, 1, "none", saves_input=False))
    operators.append(_build_residual(spec, "mlp_residual"))
    return operators


def _build_embedding(spec: ModelSpec) -> Layer:
    """Token, position and type tables, and the norm after them in families with one; or an image's patches."""
    hidden = spec.hidden_size
    if spec.vision is not None:
        # the class token is multiplied as an additional patch
        patch_values = spec.vision.channels * spec.vision.patch_size**2
        patches = Linear("patches", patch_values, hidden, "none", bias=True)
        parameters = (spec.learned_positions + 1) * hidden
        positions = Pointwise("positions", "lookup", hidden, "sequence", 0, parameters)
        return Layer("embedding", (patches, positions), tp_all_reduces=1)
    replicated_parameters = (spec.learned_positions + spec.token_types) * hidden
    if spec.embedding_norm:
        replicated_parameters += 2 * hidden
    if spec.relative_positions == "xlnet":
        replicated_parameters += hidden  # the mask embedding
    lookup = Pointwise(
        "lookup",
        "lookup",
        hidden,
        "sequence",
        dropout=spec.dropout,
        sharded_parameters=spec.vocab_size * hidden,
        replicated_parameters=replicated_parameters,
    )
    return Layer("embedding", (lookup,), tp_all_reduces=1)


def _build_prediction(spec: ModelSpec) -> LayerRun | None:
    """Layers of multi-token prediction (DeepSeek-V3, arXiv 2412.19437, section 2.2): the embedding of the token ahead
    and the hidden state before, each through a norm, joined and projected to the hidden size, then a layer of the
    model's last kind (megatron-core 0.16.1, `MultiTokenPredictionLayer`). Its final norm is in the head.

    Tensor parallelism adds the embedding's all-reduce, and around the projection an all-gather of its input and of
    its output.
    """
    if not spec.mtp_layers:
        return None
    hidden, layer = spec.hidden_size, _build_layer(spec, _get_layer_type(spec, spec.layers - 1))
    operators = (
        Pointwise("mtp_lookup", "lookup", hidden, "sequence"),
        _build_norm(spec, "mtp_embedding_norm"),
        _build_norm(spec, "mtp_hidden_norm"),
        # two norms side by side in one tensor: a copy
        Pointwise("mtp_join", "lookup", 2 * hidden, "sequence"),
        Linear("mtp_projection", 2 * hidden, hidden, "column"),
    )
    layer = replace(
        layer,
        name=f"mtp-{layer.name}",
        operators=operators + layer.operators,
        tp_all_reduces=layer.tp_all_reduces + 2,
        added_all_reduces=2,
    )
    return LayerRun(layer, spec.mtp_layers)


def _build_head(spec: ModelSpec, seq_length: int) -> Layer:
    """Final norm, projection to the vocabulary or of the class token to classes, loss; or an encoder's pooler, which
    multiplies the first token alone.
    """
    hidden, vocab = spec.hidden_size, spec.vocab_size
    operators: list[Operator] = []
    if spec.final_norm:
        norm_count = 2 if spec.architecture == "encoder-decoder" else 1
        operators += [_build_norm(spec, f"final_norm_{i}") for i in range(norm_count)]
    if spec.vision is not None:
        token_share, classes = 1 / seq_length, spec.vision.classes
        operators.append(Linear("classes", hidden, classes, "none", bias=True, full_precision=True, rows=token_share))
        operators.append(Loss("loss", classes, rows=token_share))
        return Layer("head", tuple(operators), tp_all_reduces=1)
    if spec.head == "masked-lm":
        transform = Linear("lm_transform", hidden, hidden, "none", bias=True)
        operators += [transform, _build_norm(spec, "lm_norm")]
    if spec.head == "pooler":
        operators.append(Linear("pooler", hidden, hidden, "none", bias=True, rows=1 / seq_length))
    if spec.head in ("lm", "masked-lm"):
        is_tied = spec.tied_embeddings
        operators.append(Linear("logits", hidden, vocab, "column", full_precision=True, tied=is_tied))
        bias_parameters = vocab if spec.head == "masked-lm" else 0
        operators.append(Loss("loss", vocab, sharded_parameters=bias_parameters))
    for _ in range(spec.mtp_layers):
        # each layer of multi-token prediction has a norm of its own, and shares the matrix
        norms = [_build_norm(spec, "mtp_final_norm")] if spec.final_norm else []
        logits = Linear("mtp_logits", hidden, vocab, "column", full_precision=True, shared=True)
        operators += [*norms, logits, Loss("mtp_loss", vocab)]
    return Layer("head", tuple(operators), tp_all_reduces=1 + spec.mtp_layers)
