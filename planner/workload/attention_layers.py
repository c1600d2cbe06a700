"""Operators of attention: norms, projections, core, output projection, residual; and latent attention."""

from __future__ import annotations

from planner.workload.mixers import IndexerSpec
from planner.workload.operators import AttentionCore, Linear, Operator, Pointwise, SparseIndexer
from planner.workload.spec import MlaSpec, ModelSpec


def build_norm(spec: ModelSpec, name: str, width: int | None = None, *, shares_input: bool = False) -> Pointwise:
    """A norm of the hidden state, or of `width` values."""
    width = width or spec.hidden_size
    parameters = width * (2 if spec.norm == "layernorm" and spec.norm_bias else 1) if spec.norm_weight else 0
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


def build_residual(spec: ModelSpec, name: str) -> Pointwise:
    """The sum with the residual stream."""
    return Pointwise(name, "residual", spec.hidden_size, "sequence", dropout=spec.dropout)


def build_inner_norm(spec: ModelSpec, name: str, width: int) -> list[Operator]:
    """A norm of the input of a last matrix, in models that have it."""
    if not spec.inner_norms:
        return []
    parameters = width if spec.norm_weight else 0
    return [Pointwise(name, "head_norm", width, "tensor", parameters, function=spec.norm)]


def build_opening_norm(spec: ModelSpec, name: str) -> list[Operator]:
    """The norm before attention, where there is one."""
    has_norm = spec.opening_norm and spec.norm_placement in ("before", "both")
    return [build_norm(spec, name)] if has_norm else []


def build_closing(spec: ModelSpec, prefix: str) -> list[Operator]:
    """The norm after attention or the MLP, where there is one, and the residual."""
    norms = [build_norm(spec, f"{prefix}_post_norm")] if spec.norm_placement in ("after", "both") else []
    return [*norms, build_residual(spec, f"{prefix}_residual")]


def build_attention(spec: ModelSpec, *, is_causal: bool, prefix: str = "") -> list[Operator]:
    """Attention over `spec.sliding_window` tokens, with what is around it."""
    if spec.mla is not None:
        return _build_latent_attention(spec, spec.mla, is_causal)
    core = build_attention_branch(spec, is_causal=is_causal, prefix=prefix)
    return [*build_opening_norm(spec, f"{prefix}attention_norm"), *core, *build_closing(spec, f"{prefix}attention")]


def build_attention_branch(spec: ModelSpec, *, is_causal: bool, prefix: str = "") -> list[Operator]:
    """Projections, core and output projection, without norm and residual."""
    head_dim, value_dim, kv_heads = spec.head_size, spec.value_head_size, spec.kv_head_count
    query_width, key_width, value_width = spec.heads * head_dim, kv_heads * head_dim, kv_heads * value_dim
    output_width, gate_width = spec.heads * value_dim, _compute_gate_width(spec)
    projected_widths = [] if spec.shares_keys else [key_width] if spec.values_are_keys else [key_width, value_width]
    qk_width = query_width + sum(projected_widths[:1])
    kept_width = query_width + key_width + value_width
    # GPT-2, GPT-NeoX (transformers 4.57, models/gpt2/modeling_gpt2.py, c_attn; gpt_neox, query_key_value)
    is_joined = spec.norm == "layernorm" and spec.architecture == "decoder"
    is_joint = spec.attention_gate == "width" and spec.joint_gate
    qkv = Linear(
        f"{prefix}qkv",
        spec.hidden_size,
        query_width + (gate_width if is_joint else 0) + sum(projected_widths),
        "column",
        bias=spec.qkv_bias,
        kv_outputs=sum(projected_widths),
        kv_heads=kv_heads if projected_widths else 0,
        parts=1 if is_joined else 1 + len(projected_widths),
    )
    operators: list[Operator] = [qkv]
    if gate_width and not is_joint:
        operators.append(
            Linear(f"{prefix}attention_gate_projection", spec.hidden_size, gate_width, "column", saves_input=False)
        )
    operators += _build_relative_positions(spec, query_width)
    if spec.qk_norm:
        operators.append(_build_head_norm(spec, f"{prefix}qk_norm", qk_width))
    has_rotary = spec.rotary and spec.learned_positions == 0 and spec.relative_positions in ("none", "alibi")
    name, rotated_width = ("rotary", qk_width) if has_rotary else ("split_heads", 0)
    sinks = spec.heads if spec.attention_sinks else 0
    heads = Pointwise(
        *(f"{prefix}{name}", "heads", rotated_width, "tensor", sinks),
        kept_width=kept_width,
        joined=is_joined,
        composite=True,
    )
    core = AttentionCore(
        f"{prefix}attention",
        *(spec.heads, kv_heads, head_dim, value_dim),
        causal=is_causal,
        window=spec.sliding_window,
        topk=spec.indexer.topk if spec.indexer is not None and spec.is_sparse else 0,
        dropout=spec.dropout,
        wide_softmax=spec.learned_positions == 0 and spec.relative_positions in ("none", "alibi"),
    )
    indexer = _build_indexer(spec, spec.hidden_size)
    return [*operators, *indexer, heads, core, *_build_output(spec, output_width, gate_width, prefix)]


def _compute_gate_width(spec: ModelSpec) -> int:
    """Values of the gate of attention's output."""
    widths = {"none": 0, "head": spec.heads, "width": spec.heads * spec.value_head_size}
    return widths[spec.attention_gate]


def _build_output(spec: ModelSpec, width: int, gate_width: int, prefix: str) -> list[Operator]:
    """The gate of the output, its norm, and the last matrix."""
    operators: list[Operator] = []
    if gate_width:
        gate = Pointwise(
            f"{prefix}attention_gate", "activation", width, "tensor", gated=True, function="sigmoid", composite=True
        )
        operators.append(gate)
    operators += build_inner_norm(spec, f"{prefix}attention_inner_norm", width)
    out = Linear(f"{prefix}attention_out", width, spec.hidden_size, "row", bias=spec.attention_out_bias)
    return [*operators, out]


def _build_head_norm(spec: ModelSpec, name: str, qk_width: int) -> Pointwise:
    """The norm of queries and keys. A scope of the width has a weight for each of their values, cut with them."""
    bias_factor = 2 if spec.norm == "layernorm" and spec.norm_bias and spec.qk_norm_bias else 1
    norm_count = 1 if spec.shares_keys else 2
    sharded, replicated = 0, norm_count * spec.head_size * bias_factor
    if spec.qk_norm_scope == "width":
        sharded, replicated = qk_width * bias_factor, 0
    if spec.qk_norm_scope == "post" or not spec.norm_weight:
        sharded, replicated = 0, 0
    return Pointwise(name, "head_norm", qk_width, "tensor", sharded, replicated, function=spec.norm)


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


def _build_indexer(spec: ModelSpec, query_inputs: int) -> list[Operator]:
    """The lightning indexer, whose queries are made of `query_inputs` values: a key for all heads and its layernorm,
    a weight for each head, and the scores (transformers 5.24, `DeepseekV32Indexer`). Empty for other layers.
    """
    indexer: IndexerSpec | None = spec.indexer
    if indexer is None or not spec.is_sparse or not spec.has_indexer:
        return []
    hidden, width = spec.hidden_size, indexer.heads * indexer.head_dim
    return [
        Linear("indexer_q", query_inputs, width, "none", saves_input=False),
        Linear("indexer_k", hidden, indexer.head_dim, "none", saves_input=False),
        Pointwise("indexer_norm", "head_norm", indexer.head_dim, "tensor", 0, 2 * indexer.head_dim),
        Linear("indexer_weights", hidden, indexer.heads, "none", saves_input=False),
        SparseIndexer("indexer", indexer.heads, indexer.head_dim, indexer.topk),
    ]


def _build_latent_attention(spec: ModelSpec, mla: MlaSpec, is_causal: bool) -> list[Operator]:
    """Multi-head latent attention: low-rank queries and keys/values, norms in between (arXiv 2405.04434)."""
    hidden, heads, bias = spec.hidden_size, spec.heads, spec.qkv_bias
    qk_dim = mla.qk_nope_head_dim + mla.qk_rope_head_dim
    kv_up_width = heads * (mla.qk_nope_head_dim + mla.v_head_dim)
    qk_width, qkv_width = heads * 2 * qk_dim, heads * (2 * qk_dim + mla.v_head_dim)
    gate_width = {"none": 0, "head": heads, "width": heads * mla.v_head_dim}[mla.gate]
    queries: list[Operator] = [Linear("q", hidden, heads * qk_dim, "column")]
    if mla.q_lora_rank:
        queries = [
            Linear("q_down", hidden, mla.q_lora_rank, "none", bias=bias),
            build_norm(spec, "q_norm", mla.q_lora_rank),
            Linear("q_up", mla.q_lora_rank, heads * qk_dim, "column", recomputed=True),
        ]
    if gate_width:
        queries.append(Linear("attention_gate_projection", hidden, gate_width, "column", saves_input=False))
    kv_width = mla.kv_lora_rank + mla.qk_rope_head_dim
    sinks = heads if spec.attention_sinks else 0
    rotary = "rotary" if spec.rotary else "split_heads"
    return [
        *build_opening_norm(spec, "attention_norm"),
        *queries,
        *_build_indexer(spec, mla.q_lora_rank or hidden),
        # reads the same normalised hidden state as q_down, which is saved once
        Linear("kv_down", hidden, kv_width, "none", bias=bias, saves_input=False),
        build_norm(spec, "kv_norm", mla.kv_lora_rank),
        Linear("kv_up", mla.kv_lora_rank, kv_up_width, "column", recomputed=True),
        Pointwise(
            *(rotary, "heads", qk_width, "tensor", sinks), kept_width=qkv_width, recomputed=True, composite=True
        ),
        AttentionCore(
            *("attention", heads, heads, qk_dim, mla.v_head_dim),
            causal=is_causal,
            window=spec.sliding_window,
            topk=spec.indexer.topk if spec.indexer is not None and spec.is_sparse else 0,
            dropout=spec.dropout,
            wide_softmax=True,
        ),
        *_build_output(spec, heads * mla.v_head_dim, gate_width, ""),
        *build_closing(spec, "attention"),
    ]
