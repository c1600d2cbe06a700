"""Builds the operators of a transformer from its description; lists of operators go to `build_from_operators`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from planner.workload.attention_layers import (
    build_attention,
    build_closing,
    build_inner_norm,
    build_norm,
    build_opening_norm,
    build_residual,
)
from planner.workload.mixer_layers import build_mixer_branch
from planner.workload.operators import (
    ExpertLinear,
    Layer,
    LayerRun,
    Linear,
    Loss,
    Operator,
    Pointwise,
    Workload,
)
from planner.workload.spec import LayerKind, ModelSpec, MoeSpec

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
    `has_position_table`: it has the relative positions of all layers; `kind`: that of the model's pattern.
    """

    is_windowed: bool
    has_position_table: bool
    is_moe: bool
    has_cross_attention: bool
    kind: LayerKind | None = None


def _get_layer_type(spec: ModelSpec, index: int, *, has_cross_attention: bool = False) -> _LayerType:
    """The type of layer `index`; `has_cross_attention`: of a decoder with an encoder, not of the encoder."""
    is_moe, kind = _is_moe(spec, index), None
    if spec.pattern:
        name = spec.pattern[index % len(spec.pattern)]
        kind = next(kind for kind in spec.kinds if kind.name == name)
        is_moe = is_moe if kind.mlp is None else kind.mlp == "moe"
    is_windowed = spec.sliding_window > 0 and index % spec.sliding_every == 0
    has_table = spec.relative_positions == "t5" and (index == 0 or spec.relative_every_layer)
    return _LayerType(is_windowed, has_table, is_moe, has_cross_attention, kind)


def _build_layer(spec: ModelSpec, layer_type: _LayerType) -> Layer:
    """The layer's operators: attention, cross-attention in a decoder with an encoder, then the MLP."""
    kind = layer_type.kind
    if kind is not None:
        spec = spec.build_kind(kind)
    elif not layer_type.is_windowed:
        spec = msgspec.structs.replace(spec, sliding_window=0)
    operators, all_reduces = _build_mixer(spec, _is_causal(spec, layer_type.has_cross_attention)), 1
    if spec.mixer == "none":
        all_reduces = 0
    elif spec.mixer == "attention+mamba-2":
        all_reduces = 2
    if layer_type.has_position_table:
        bias_parameters = spec.relative_buckets * spec.heads
        operators.append(Pointwise("relative_bias", "parameters", 0, "tensor", replicated_parameters=bias_parameters))
    if layer_type.has_cross_attention:
        cross_spec = msgspec.structs.replace(spec, sliding_window=0)
        operators += build_attention(cross_spec, is_causal=False, prefix="cross_")
        all_reduces += 1
    moe = spec.moe if layer_type.is_moe else None
    if moe is not None:
        operators += _build_moe_mlp(spec, moe)
        all_reduces += 1
    elif kind is None or kind.mlp != "none":
        operators += _build_mlp(spec)
        all_reduces += 1
    if spec.layer_embedding_size:
        operators += _build_layer_embedding(spec)
    if spec.extra_parameters:
        operators.append(Pointwise("scales", "parameters", 0, "tensor", replicated_parameters=spec.extra_parameters))
    name = _name_layer(spec, layer_type, moe)
    return Layer(name, tuple(operators), all_reduces, moe.topk if moe else 0, moe.experts if moe else 0)


def _build_layer_embedding(spec: ModelSpec) -> list[Operator]:
    """The layer's own embedding: a gate of the hidden state, times the embedding, projected back and normed."""
    hidden, width = spec.hidden_size, spec.layer_embedding_size
    return [
        Linear("layer_embedding_gate", hidden, width, "none"),
        Pointwise("layer_embedding_activation", "activation", width, "sequence", gated=True, function="gelu-tanh"),
        Linear("layer_embedding_out", width, hidden, "none"),
        build_norm(spec, "layer_embedding_norm"),
        build_residual(spec, "layer_embedding_residual"),
    ]


def _name_layer(spec: ModelSpec, layer_type: _LayerType, moe: MoeSpec | None) -> str:
    """What the layer is called: its kind, or what its MLP is."""
    mlp = "cross-decoder" if layer_type.has_cross_attention else "moe" if moe else "dense"
    if layer_type.kind is not None:
        name = layer_type.kind.name
        return f"{name}-moe" if moe is not None and layer_type.kind.mlp is None else name
    return f"{mlp}-window" if layer_type.is_windowed else mlp


def _build_mixer(spec: ModelSpec, is_causal: bool) -> list[Operator]:
    """Attention, or what a layer has in its place, with its norm and residual."""
    if spec.mixer == "none":
        return []
    if spec.mixer == "attention":
        return build_attention(spec, is_causal=is_causal)
    norm = build_opening_norm(spec, "attention_norm")
    return [*norm, *build_mixer_branch(spec), *build_closing(spec, "attention")]


def _is_causal(spec: ModelSpec, has_cross_attention: bool) -> bool:
    return spec.architecture == "decoder" or has_cross_attention


def _is_moe(spec: ModelSpec, index: int) -> bool:
    moe = spec.moe
    return moe is not None and index >= moe.first_dense_layers and (index + 1) % moe.every == 0


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


def _build_mlp_norm(spec: ModelSpec) -> list[Operator]:
    """The norm before the MLP, where it has one of its own."""
    if spec.norm_placement not in ("before", "both") or (spec.parallel_residual and spec.shared_norm):
        return []
    return [build_norm(spec, "mlp_norm", shares_input=spec.parallel_residual)]


def _build_mlp(spec: ModelSpec) -> list[Operator]:
    return [*_build_mlp_norm(spec), *_build_mlp_branch(spec), *build_closing(spec, "mlp")]


def _build_mlp_branch(spec: ModelSpec) -> list[Operator]:
    """Matrices and non-linearity of a dense MLP."""
    width, up_factor = spec.ffn_size, 2 if spec.gated_mlp else 1
    # beside attention with the same norm, its input is saved once
    saves_input = not (spec.parallel_residual and spec.shared_norm)
    return [
        Linear(
            *("mlp_up", spec.hidden_size, width * up_factor, "column"),
            bias=spec.mlp_bias,
            parts=up_factor,
            saves_input=saves_input,
        ),
        _build_activation(spec, "mlp_activation", width),
        *build_inner_norm(spec, "mlp_inner_norm", width),
        Linear("mlp_down", width, spec.hidden_size, "row", bias=spec.mlp_bias),
    ]


def _build_moe_mlp(spec: ModelSpec, moe: MoeSpec) -> list[Operator]:
    """Router, dispatch, grouped expert MLP, combine, and the shared expert in parallel."""
    hidden, topk, width = spec.hidden_size, moe.topk, moe.expert_ffn_size
    experts, has_bias, routed_width = moe.experts, moe.expert_bias, moe.latent_size or hidden
    up_factor = 2 if spec.gated_mlp else 1
    operators: list[Operator] = _build_mlp_norm(spec)
    if moe.dense_beside:
        # the dense MLP has a norm of its own after it, the experts one before them and one after them
        norms = [build_norm(spec, "mlp_beside_post_norm"), build_norm(spec, "moe_norm")]
        operators += [*_build_mlp_branch(spec), *norms]
    operators += [
        # its input is saved once with that of shared experts, beside the copies that are routed
        Linear(
            *("router", hidden, experts, "none", moe.router_bias and (moe.expert_bias or moe.counts_bias)),
            full_precision=True,
            saves_input=not moe.shared_ffn_size,
        ),
    ]
    if moe.latent_size:
        operators.append(Linear("latent_down", hidden, moe.latent_size, "none", saves_input=False))
    operators += [
        Pointwise("dispatch", "routing", routed_width, "expert", rows=topk),
        ExpertLinear("expert_up", routed_width, up_factor * width, "column", experts, topk, has_bias, up_factor),
        _build_activation(spec, "expert_activation", width, topk=topk, has_bias=has_bias),
        ExpertLinear("expert_down", width, routed_width, "row", experts, topk, has_bias),
        Pointwise("combine", "routing", routed_width, "expert", rows=topk),
    ]
    if moe.latent_size:
        operators.append(Linear("latent_up", moe.latent_size, hidden, "none"))
    if moe.dense_beside:
        operators.append(build_norm(spec, "moe_post_norm"))
    if moe.shared_ffn_size:
        shared, has_bias = moe.shared_ffn_size, moe.shared_bias
        operators += [
            Linear("shared_up", hidden, up_factor * shared, "column", has_bias, parts=up_factor),
            _build_activation(spec, "shared_activation", shared),
            Linear("shared_down", shared, hidden, "row", has_bias),
        ]
        if moe.shared_gate:
            operators.append(Linear("shared_gate", hidden, 1, "none", saves_input=False))
    return [*operators, *build_closing(spec, "mlp")]


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
    width = spec.embedding_size or hidden
    # an encoder and a decoder have tables of positions, and norms, of their own
    sides = 2 if spec.architecture == "encoder-decoder" else 1
    replicated_parameters = (sides * spec.learned_positions + spec.token_types) * width + spec.outer_parameters
    if spec.embedding_norm:
        replicated_parameters += sides * (2 if spec.norm == "layernorm" and spec.norm_bias else 1) * width
    if spec.relative_positions == "xlnet":
        replicated_parameters += hidden  # the mask embedding
    lookup = Pointwise(
        "lookup",
        "lookup",
        width,
        "sequence",
        dropout=spec.dropout,
        sharded_parameters=spec.vocab_size * width,
        replicated_parameters=replicated_parameters,
    )
    projection = [Linear("embedding_projection", width, hidden, "none", bias=spec.embedding_bias)]
    operators = (lookup, *(projection if spec.embedding_size else []), *_build_layer_tables(spec))
    return Layer("embedding", operators, tp_all_reduces=1)


def _build_layer_tables(spec: ModelSpec) -> list[Operator]:
    """The table of all layers' own embeddings, and what is projected of the token's embedding beside it."""
    if not spec.layer_embedding_size:
        return []
    width = spec.layers * spec.layer_embedding_size
    rows = spec.layer_embedding_vocab or spec.vocab_size
    norm = build_norm(spec, "layer_embedding_norm", spec.layer_embedding_size)
    return [
        Pointwise("layer_lookup", "lookup", width, "sequence", sharded_parameters=rows * width),
        Linear("layer_projection", spec.hidden_size, width, "none"),
        replace(norm, width=width),
    ]


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
        build_norm(spec, "mtp_embedding_norm"),
        build_norm(spec, "mtp_hidden_norm"),
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
        operators += [build_norm(spec, f"final_norm_{i}") for i in range(norm_count)]
    if spec.vision is not None:
        token_share, classes = 1 / seq_length, spec.vision.classes
        operators.append(Linear("classes", hidden, classes, "none", bias=True, full_precision=True, rows=token_share))
        operators.append(Loss("loss", classes, rows=token_share))
        return Layer("head", tuple(operators), tp_all_reduces=1)
    if spec.head == "masked-lm":
        transform = Linear(
            "lm_transform", hidden, spec.embedding_size or hidden, "none", bias=spec.head_transform_bias
        )
        operators += [transform, build_norm(spec, "lm_norm", spec.embedding_size or None)]
    if spec.head == "pooler" or (spec.head == "classes" and spec.architecture == "encoder"):
        operators.append(Linear("pooler", hidden, hidden, "none", bias=True, rows=1 / seq_length))
    if spec.head in ("lm", "masked-lm"):
        is_tied, width = spec.tied_embeddings, spec.embedding_size or hidden
        if spec.embedding_size and spec.head == "lm":
            operators.append(Linear("head_projection", hidden, width, "none", bias=spec.embedding_bias))
        operators.append(Linear("logits", width, vocab, "column", full_precision=True, tied=is_tied))
        bias_parameters = vocab if spec.head == "masked-lm" or spec.head_bias else 0
        operators.append(Loss("loss", vocab, sharded_parameters=bias_parameters))
    if spec.head in ("classes", "token-classes"):
        rows = 1.0 if spec.head == "token-classes" else 1 / seq_length
        operators.append(
            Linear("classes", hidden, spec.classes, "none", spec.classes_bias, full_precision=True, rows=rows)
        )
        operators.append(Loss("loss", spec.classes, rows=rows))
    for _ in range(spec.mtp_layers):
        # each layer of multi-token prediction has a norm of its own, and shares the matrix
        norms = [build_norm(spec, "mtp_final_norm")] if spec.final_norm else []
        logits = Linear("mtp_logits", hidden, vocab, "column", full_precision=True, shared=True)
        operators += [*norms, logits, Loss("mtp_loss", vocab)]
    return Layer("head", tuple(operators), tp_all_reduces=1 + spec.mtp_layers)
