"""From a model's description to its operators: transformers here, lists of operators in `build_network`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.workload.operators import (
    VALUE_BYTES,
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
    from planner.workload.operator_list.spec import NetworkSpec


def build_workload(spec: ModelSpec | NetworkSpec, *, seq_length: int | None = None, note: str = "") -> Workload:
    """The operators of `spec` for one sequence length (the description's own where None, and of an image)."""
    if not isinstance(spec, ModelSpec):
        from planner.workload.operator_list.build import build_network

        return build_network(spec)
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
        embedding=_embedding(spec),
        runs=_runs(spec),
        head=_head(spec, length),
        note=note,
        sample="sequence" if spec.vision is None else "image",
    )


def _runs(spec: ModelSpec) -> tuple[LayerRun, ...]:
    """Layers in order, equal neighbours merged."""
    kinds = [_kind(spec, index) for index in range(spec.layers)]
    kinds += [_kind(spec, index, cross=True) for index in range(spec.decoder_layers)]
    made = {kind: _layer(spec, kind) for kind in dict.fromkeys(kinds)}
    runs: list[LayerRun] = []
    for layer in map(made.__getitem__, kinds):
        if runs and (runs[-1].layer is layer or runs[-1].layer == layer):
            runs[-1] = LayerRun(layer, runs[-1].count + 1)
        else:
            runs.append(LayerRun(layer, 1))
    return tuple(runs)


@dataclass(frozen=True)
class _Kind:
    """What tells one layer of a model from another. `cross`: in a decoder that has an encoder; `table`: holds the
    relative positions of all layers.
    """

    windowed: bool
    table: bool
    moe: bool
    cross: bool


def _kind(spec: ModelSpec, index: int, *, cross: bool = False) -> _Kind:
    """The kind of layer number `index`; `cross`: of the decoder that has an encoder, not of the encoder."""
    windowed = spec.sliding_window > 0 and index % spec.sliding_every == 0
    return _Kind(windowed, spec.relative_positions == "t5" and index == 0, _is_moe(spec, index), cross)


def _layer(spec: ModelSpec, kind: _Kind) -> Layer:
    """Attention, cross-attention in a decoder that has an encoder, then the MLP."""
    window = spec.sliding_window if kind.windowed else 0
    operators = _attention(spec, window=window, causal=_is_causal(spec, kind.cross))
    if kind.table:
        table = spec.relative_buckets * spec.heads
        operators.append(Pointwise("relative_bias", 0.0, 0.0, "tensor", replicated_parameters=table))
    exchanges = 2
    if kind.cross:
        operators += _attention(spec, window=0, causal=False, prefix="cross_")
        exchanges = 3
    moe = spec.moe if kind.moe else None
    operators += _mlp(spec) if moe is None else _experts(spec, moe)
    name = ("cross-decoder" if kind.cross else "moe" if moe else "dense") + ("-window" if kind.windowed else "")
    return Layer(name, tuple(operators), exchanges, moe.topk if moe else 0, moe.experts if moe else 0)


def _is_causal(spec: ModelSpec, cross: bool) -> bool:
    return spec.architecture == "decoder" or cross


def _is_moe(spec: ModelSpec, index: int) -> bool:
    moe = spec.moe
    return moe is not None and index >= moe.first_dense_layers and (index + 1) % moe.every == 0


def _norm(spec: ModelSpec, name: str, width: int | None = None) -> Pointwise:
    width = width or spec.hidden_size
    parameters = width * (2 if spec.norm == "layernorm" and spec.norm_bias else 1)
    return Pointwise(
        name,
        traffic_bytes=2 * width * VALUE_BYTES,
        saved_bytes=width * VALUE_BYTES,
        domain="sequence",
        replicated_parameters=parameters,
        dropped_inputs=width,
        composite=spec.norm == "rmsnorm",
    )


def _residual(spec: ModelSpec, name: str) -> Pointwise:
    """Residual add; with dropout also its one-byte mask."""
    mask = spec.hidden_size if spec.dropout else 0
    return Pointwise(name, 3 * spec.hidden_size * VALUE_BYTES + mask, float(mask), "sequence")


def _attention(spec: ModelSpec, *, window: int, causal: bool, prefix: str = "") -> list[Operator]:
    """Norm, projections, core, output projection, residual."""
    if spec.mla is not None:
        return _latent_attention(spec, spec.mla, causal)
    hidden, head = spec.hidden_size, spec.head_size
    queries, keys = spec.heads * head, spec.kv_head_count * head
    operators: list[Operator] = [_norm(spec, f"{prefix}attention_norm")]
    operators.append(
        Linear(
            f"{prefix}qkv",
            hidden,
            queries + 2 * keys,
            "column",
            bias=spec.qkv_bias,
            kv_outputs=2 * keys,
            kv_heads=spec.kv_head_count,
        )
    )
    operators += _relative_positions(spec, queries)
    if spec.qk_norm:
        operators.append(
            Pointwise(
                f"{prefix}qk_norm",
                2 * (queries + keys) * VALUE_BYTES,
                (queries + keys) * VALUE_BYTES,
                "tensor",
                replicated_parameters=2 * head,
                dropped_bytes=(queries + keys) * VALUE_BYTES,
            )
        )
    sinks = spec.heads if spec.attention_sinks else 0
    rotates = spec.learned_positions == 0 and spec.relative_positions == "none"
    operators.append(
        Pointwise(
            f"{prefix}rotary" if rotates else f"{prefix}split_heads",
            2 * (queries + keys) * VALUE_BYTES if rotates else 0.0,
            (queries + 2 * keys) * VALUE_BYTES,
            "tensor",
            sharded_parameters=sinks,
            composite=True,
        )
    )
    operators.append(
        AttentionCore(f"{prefix}attention", spec.heads, spec.kv_head_count, head, head, causal=causal, window=window)
    )
    operators.append(Linear(f"{prefix}attention_out", queries, hidden, "row", bias=spec.attention_out_bias))
    operators.append(_residual(spec, f"{prefix}attention_residual"))
    return operators


def _relative_positions(spec: ModelSpec, queries: int) -> list[Operator]:
    """Transformer-XL's (arXiv 1901.02860): a projection of the positions, and three bias vectors a head; XLNet adds
    two segment embeddings (arXiv 1906.08237). Empty for other models.
    """
    if spec.relative_positions != "xlnet":
        return []
    return [
        Linear("positions", spec.hidden_size, queries, "column"),
        Pointwise("relative_bias", 0.0, 0.0, "tensor", sharded_parameters=5 * queries),
    ]


def _latent_attention(spec: ModelSpec, mla: MlaSpec, causal: bool) -> list[Operator]:
    """Multi-head latent attention: low-rank queries and keys/values, norms in between (arXiv 2405.04434)."""
    hidden, heads = spec.hidden_size, spec.heads
    qk_dim = mla.qk_nope_head_dim + mla.qk_rope_head_dim
    operators: list[Operator] = [_norm(spec, "attention_norm")]
    if mla.q_lora_rank:
        operators.append(Linear("q_down", hidden, mla.q_lora_rank, "none", bias=spec.qkv_bias))
        operators.append(_norm(spec, "q_norm", mla.q_lora_rank))
        operators.append(Linear("q_up", mla.q_lora_rank, heads * qk_dim, "column", repeated=True))
    else:
        operators.append(Linear("q", hidden, heads * qk_dim, "column"))
    kv_width = mla.kv_lora_rank + mla.qk_rope_head_dim
    # reads the same normalised hidden state as q_down, which is kept once
    kv_down = Linear("kv_down", hidden, kv_width, "none", bias=spec.qkv_bias, saves_input=False)
    operators.append(kv_down)
    operators.append(_norm(spec, "kv_norm", mla.kv_lora_rank))
    expanded = heads * (mla.qk_nope_head_dim + mla.v_head_dim)
    operators.append(Linear("kv_up", mla.kv_lora_rank, expanded, "column", repeated=True))
    kept = heads * (2 * qk_dim + mla.v_head_dim) * VALUE_BYTES
    traffic = 2 * heads * 2 * qk_dim * VALUE_BYTES
    operators.append(Pointwise("rotary", traffic, kept, "tensor", dropped_bytes=kept, composite=True))
    operators.append(AttentionCore("attention", heads, heads, qk_dim, mla.v_head_dim, causal=causal))
    bias = spec.attention_out_bias
    operators.append(Linear("attention_out", heads * mla.v_head_dim, hidden, "row", bias=bias))
    operators.append(_residual(spec, "attention_residual"))
    return operators


def _activation(name: str, width: int, gated: bool, *, topk: int = 0, bias: bool = False) -> Pointwise:
    """The MLP's non-linearity: reads one or two widths, writes one, keeps what it read."""
    read = (2 if gated else 1) * width
    return Pointwise(
        name,
        (read + width) * VALUE_BYTES,
        read * VALUE_BYTES,
        "expert" if topk else "tensor",
        dropped_inputs=width,
        rows=topk or 1,
        unfused=bias,
        composite=gated,
    )


def _mlp(spec: ModelSpec, width: int | None = None) -> list[Operator]:
    width = width or spec.ffn_size
    up = width * (2 if spec.gated_mlp else 1)
    return [
        _norm(spec, "mlp_norm"),
        Linear("mlp_up", spec.hidden_size, up, "column", bias=spec.mlp_bias),
        _activation("mlp_activation", width, spec.gated_mlp),
        Linear("mlp_down", width, spec.hidden_size, "row", bias=spec.mlp_bias),
        _residual(spec, "mlp_residual"),
    ]


def _experts(spec: ModelSpec, moe: MoeSpec) -> list[Operator]:
    """Router, dispatch, grouped expert MLP, combine, and the shared expert beside them."""
    hidden, topk, width = spec.hidden_size, moe.topk, moe.expert_ffn_size
    up = width * (2 if spec.gated_mlp else 1)
    # the router's selection bias of DeepSeek-V3 is counted with the parameters, as its authors do
    router = Linear("router", hidden, moe.experts, "none", moe.router_bias, full_precision=True, saves_input=False)
    count, bias = moe.experts, moe.expert_bias
    operators: list[Operator] = [
        _norm(spec, "mlp_norm"),
        router,
        Pointwise("dispatch", 2 * hidden * VALUE_BYTES, 0.0, "expert", rows=topk),
        ExpertLinear("expert_up", hidden, up, "column", count, topk, bias),
        _activation("expert_activation", width, spec.gated_mlp, topk=topk, bias=bias),
        ExpertLinear("expert_down", width, hidden, "row", count, topk, bias),
        Pointwise("combine", 2 * hidden * VALUE_BYTES, 0.0, "expert", rows=topk),
    ]
    if moe.shared_ffn_size:
        shared_up = moe.shared_ffn_size * (2 if spec.gated_mlp else 1)
        operators += [
            Linear("shared_up", hidden, shared_up, "column"),
            _activation("shared_activation", moe.shared_ffn_size, spec.gated_mlp),
            Linear("shared_down", moe.shared_ffn_size, hidden, "row"),
        ]
        if moe.shared_gate:
            operators.append(Linear("shared_gate", hidden, 1, "none", saves_input=False))
    operators.append(_residual(spec, "mlp_residual"))
    return operators


def _embedding(spec: ModelSpec) -> Layer:
    """Token, position and type tables, and the norm after them where the family has one; or an image's patches."""
    hidden = spec.hidden_size
    if spec.vision is not None:
        # the class token is multiplied as one more patch
        inputs = spec.vision.channels * spec.vision.patch_size**2
        patches = Linear("patches", inputs, hidden, "none", bias=True)
        table = (spec.learned_positions + 1) * hidden
        positions = Pointwise("positions", 2 * hidden * VALUE_BYTES, 0.0, "sequence", replicated_parameters=table)
        return Layer("embedding", (patches, positions), tensor_exchanges=1)
    extra = (spec.learned_positions + spec.token_types) * hidden
    if spec.embedding_norm:
        extra += 2 * hidden
    if spec.relative_positions == "xlnet":
        extra += hidden  # the mask embedding
    lookup = Pointwise(
        "lookup",
        2 * hidden * VALUE_BYTES,
        float(hidden if spec.dropout else 0),
        "sequence",
        sharded_parameters=spec.vocab_size * hidden,
        replicated_parameters=extra,
    )
    return Layer("embedding", (lookup,), tensor_exchanges=1)


def _head(spec: ModelSpec, seq_length: int) -> Layer:
    """Final norm, projection to the vocabulary or of the class token to classes, loss; or an encoder's pooler, which
    multiplies the first token alone.
    """
    hidden, vocab = spec.hidden_size, spec.vocab_size
    operators: list[Operator] = []
    if spec.final_norm:
        norms = 2 if spec.architecture == "encoder-decoder" else 1
        operators += [_norm(spec, f"final_norm_{i}") for i in range(norms)]
    if spec.vision is not None:
        share, classes = 1 / seq_length, spec.vision.classes
        operators.append(Linear("classes", hidden, classes, "none", bias=True, full_precision=True, rows=share))
        operators.append(Loss("loss", classes, rows=share))
        return Layer("head", tuple(operators), tensor_exchanges=1)
    if spec.head == "masked-lm":
        transform = Linear("lm_transform", hidden, hidden, "none", bias=True)
        operators += [transform, _norm(spec, "lm_norm")]
    if spec.head == "pooler":
        operators.append(Linear("pooler", hidden, hidden, "none", bias=True, rows=1 / seq_length))
    if spec.head in ("lm", "masked-lm"):
        tied = spec.tied_embeddings
        operators.append(Linear("logits", hidden, vocab, "column", full_precision=True, tied=tied))
        bias = vocab if spec.head == "masked-lm" else 0
        operators.append(Loss("loss", vocab, sharded_parameters=bias))
    return Layer("head", tuple(operators), tensor_exchanges=1)
