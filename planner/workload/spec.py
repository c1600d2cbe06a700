"""The keys of a model file, validated. A preset is such a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from planner.decode import MISSING_KEY_PROBLEM, convert_to_type
from planner.errors import InputError, name_origin
from planner.workload.limits import (
    MAX_LAYERS,
    MAX_SEQ_LENGTH,
    ExpertCount,
    HeadCount,
    LayerCount,
    NonNegativeNumber,
    NonNegativeWidth,
    ParameterCount,
    PositiveNumber,
    PositiveWidth,
)
from planner.workload.mixers import (
    DeltaNetSpec,
    IndexerSpec,
    LightningSpec,
    Mixer,
    ShortConvSpec,
    StateSpaceSpec,
)

_CONFLICT_PROBLEM = "does not fit the other keys"
ModelArchitecture = Literal["decoder", "encoder", "encoder-decoder"]
Norm = Literal["layernorm", "rmsnorm"]
Activation = Literal["silu", "gelu", "gelu-tanh", "quick-gelu", "relu", "squared-relu", "xielu", "tanh", "sigmoid"]
_GUIDE_REFERENCE = "as in docs/how-to/models.md, A model of your own; a list of operators has [[layers]] and input"


class RopeScaling(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rotary positions stretched to longer sequences, under the names of Hugging Face's library (transformers,
    modeling_rope_utils.py): `linear`, `dynamic` (NTK), `llama3`, `yarn` (arXiv 2309.00071), `longrope`.
    """

    type: Literal["linear", "dynamic", "llama3", "yarn", "longrope"]
    factor: PositiveNumber = 1.0
    original_seq_length: NonNegativeWidth = 0
    """Tokens of the sequences before stretching."""
    low_freq_factor: PositiveNumber = 1.0
    high_freq_factor: PositiveNumber = 4.0
    beta_fast: PositiveNumber = 32.0
    beta_slow: PositiveNumber = 1.0
    mscale: NonNegativeNumber | None = None
    mscale_all_dim: NonNegativeNumber | None = None
    truncate: bool = True
    """Whether the bounds of yarn's ramp are whole dimensions."""


class MoeSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Mixture of experts: the number of experts, the experts that a token visits, and their width."""

    experts: ExpertCount
    topk: PositiveWidth
    expert_ffn_size: PositiveWidth
    shared_ffn_size: NonNegativeWidth = 0
    shared_gate: bool = False
    first_dense_layers: NonNegativeWidth = 0
    every: PositiveWidth = 1
    """One layer in `every` is a MoE layer, the others are dense."""
    router_bias: bool = False
    """A bias for each expert: with `expert_bias` of the router's GEMM (gpt-oss), else of the choice alone, by which
    the experts are balanced (DeepSeek-V3, arXiv 2412.19437, section 2.1.2).
    """
    expert_bias: bool = False
    counts_bias: bool = True
    """Whether the bias that balances the experts is counted with the parameters, as DeepSeek-V3's authors do; in
    trainers it is a buffer (transformers 5.24, `DeepseekV3TopkRouter`; megatron-core 0.16.1, `TopKRouter`).
    """
    latent_size: NonNegativeWidth = 0
    """Width to which tokens are projected before routed experts, and from which after them; 0: no projection."""
    dense_beside: bool = False
    """Whether the dense MLP runs beside the experts, with norms of its own (Gemma 4)."""
    shared_bias: bool = False
    """Whether shared experts have biases."""
    router_score: Literal["softmax", "sigmoid"] | None = None
    """How the router's logits become weights; default: sigmoid where a bias balances the experts, else softmax."""
    router_normalized: bool | None = None
    """Whether the weights of a token's experts add up to 1; default: where it visits several."""
    router_groups: NonNegativeWidth = 0
    """Groups of experts, of which a token visits `router_topk_groups`; 0: no groups."""
    router_topk_groups: NonNegativeWidth = 0
    router_group_experts: PositiveWidth = 2
    """Best experts of a group whose scores add up to the group's: 2 in DeepSeek-V3 (arXiv 2412.19437, section 2.1.2),
    1 in DeepSeek-V2 (arXiv 2405.04434, section 2.2.2).
    """
    router_scaling: PositiveNumber = 1.0
    """Factor of the weights of a token's experts."""
    aux_loss: NonNegativeNumber = 0.0
    """Coefficient of the loss that balances the experts; 0: no such loss."""
    aux_loss_scope: Literal["batch", "sequence"] = "batch"
    """The tokens over which that loss is balanced."""

    @property
    def balances_by_bias(self) -> bool:
        """Whether a bias of the choice balances the experts."""
        return self.router_bias and not self.expert_bias

    @property
    def score_function(self) -> Literal["softmax", "sigmoid"]:
        """How the router's logits become weights."""
        return self.router_score or ("sigmoid" if self.balances_by_bias else "softmax")

    @property
    def normalizes_topk(self) -> bool:
        """Whether the weights of a token's experts add up to 1."""
        return self.topk > 1 if self.router_normalized is None else self.router_normalized


class MlaSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): ranks and head dimensions."""

    q_lora_rank: NonNegativeWidth
    kv_lora_rank: PositiveWidth
    qk_nope_head_dim: PositiveWidth
    qk_rope_head_dim: NonNegativeWidth
    v_head_dim: PositiveWidth
    gate: Literal["none", "head", "width"] = "none"
    """A gate of the output, by head or by value."""


class LayerKind(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A kind of layer: what mixes its tokens, its MLP, and the keys of the model that differ in it. A key left out is
    the model's.
    """

    name: str
    mixer: Mixer | None = None
    mlp: Literal["dense", "moe", "none"] | None = None
    """None: experts as `[moe]` says."""
    sliding_window: NonNegativeWidth | None = None
    heads: HeadCount | None = None
    kv_heads: HeadCount | None = None
    head_dim: PositiveWidth | None = None
    v_head_dim: NonNegativeWidth | None = None
    ffn_size: PositiveWidth | None = None
    gated_mlp: bool | None = None
    rotary: bool | None = None
    qk_norm: bool | None = None
    attention_sinks: bool | None = None
    shares_keys: bool | None = None
    values_are_keys: bool | None = None
    is_sparse: bool | None = None
    has_indexer: bool | None = None
    mla: MlaSpec | None = None
    extra_parameters: ParameterCount | None = None
    opening_norm: bool | None = None
    norm_placement: Literal["before", "after", "both", "none"] | None = None
    qk_norm_scope: Literal["head", "width", "post"] | None = None
    attention_gate: Literal["none", "head", "width"] | None = None


class VisionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Patches and classes of a vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929); patches are square."""

    image_size: PositiveWidth
    patch_size: PositiveWidth
    channels: PositiveWidth = 3
    classes: PositiveWidth

    @property
    def tokens(self) -> int:
        """Patches, and the class token."""
        return int((self.image_size // self.patch_size) ** 2) + 1


class PublishedParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The parameter count that the model's authors state, and its source; `recalled` marks one whose configuration,
    or whose name on the hub, was not read in a source, as of figures of hardware_db.
    """

    parameters: Annotated[int, msgspec.Meta(ge=1)]
    source: str
    confidence: Literal["read", "recalled"] = "read"
    rounding: Annotated[int, msgspec.Meta(ge=1)] = 1


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The description of a transformer: the figures that determine parameters and FLOPs."""

    name: str
    title: str = ""
    architecture: ModelArchitecture = "decoder"
    hidden_size: PositiveWidth
    layers: LayerCount
    heads: HeadCount
    kv_heads: HeadCount | None = None
    """Heads of keys and values; default: `heads`."""
    head_dim: PositiveWidth | None = None
    """Dimension of a head; default: `hidden_size` / `heads`."""
    ffn_size: PositiveWidth
    """Width of the MLP; with experts, of the dense layers."""
    vocab_size: NonNegativeWidth = 0
    """Required, as `seq_length` is, unless a `vision` table determines both."""
    seq_length: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ_LENGTH)] = 0
    """Tokens of a sequence without `--seq-length`."""
    decoder_layers: Annotated[int, msgspec.Meta(ge=0, le=MAX_LAYERS)] = 0
    """Encoder-decoder only: layers with cross-attention, in addition to `layers` encoder layers."""
    learned_positions: NonNegativeWidth = 0
    """Rows of the table of learned positions; 0: no table."""
    token_types: NonNegativeWidth = 0
    """Rows of the table of segments, as in BERT."""
    gated_mlp: bool = False
    """Whether the MLP has three matrices (SwiGLU) and not two."""
    activation: Activation | None = None
    """Of the MLP; default: silu in a gated one, gelu-tanh in one with biases (GPT-2, Megatron), else gelu."""
    activation_limit: NonNegativeNumber = 0.0
    """Above 0: the gate is cut off there, the other half at both sides, and 1 is added to it (gpt-oss)."""
    norm: Norm = "layernorm"
    norm_bias: bool = True
    """Whether a layernorm has a bias; an RMSNorm has none."""
    norm_epsilon: PositiveNumber = 1e-5
    embedding_norm: bool = False
    """A norm after the embedding."""
    final_norm: bool = True
    """A norm before the head."""
    qk_norm: bool = False
    """Norms of queries and keys."""
    qkv_bias: bool = False
    attention_out_bias: bool = False
    mlp_bias: bool = False
    tied_embeddings: bool = False
    """Whether the head's matrix is the embedding's."""
    head: Literal["lm", "masked-lm", "pooler", "classes", "token-classes", "none"] = "lm"
    """The part after the layers. lm: logits of every token; masked-lm: the same behind one more layer, as in BERT;
    pooler: a layer for the first token; classes: of a sequence, in an encoder behind a pooler; token-classes: of each
    token.
    """
    classes: NonNegativeWidth = 0
    """Of a head of classes."""
    classes_bias: bool = False
    relative_positions: Literal["none", "t5", "xlnet", "alibi"] = "none"
    relative_buckets: NonNegativeWidth = 0
    """Rows of T5's table of distances."""
    relative_every_layer: bool = False
    """Whether each layer has such a table, and not the first one alone (UMT5)."""
    rope_base: PositiveNumber = 10_000.0
    """Base of the rotary positions, of a model without learned or relative ones."""
    rope_fraction: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    """Share of a head's dimensions that is rotated."""
    rope_scaling: RopeScaling | None = None
    attention_sinks: bool = False
    """A learned logit for each head, which takes attention away from the tokens (an attention sink)."""
    sliding_window: NonNegativeWidth = 0
    """Tokens that a token attends to; 0: all."""
    sliding_every: PositiveWidth = 1
    """With a sliding window: one layer in `sliding_every` attends to the window only (1: every layer)."""
    pattern: tuple[str, ...] = ()
    """The kinds of the layers in order, repeated for all layers; empty: all are as the other keys say."""
    kinds: tuple[LayerKind, ...] = ()
    """The kinds that `pattern` names; in a model with a pattern `sliding_every` has no meaning."""
    mixer: Mixer = "attention"
    """What mixes the tokens of a layer."""
    delta_net: DeltaNetSpec | None = None
    state_space: StateSpaceSpec | None = None
    short_conv: ShortConvSpec | None = None
    lightning: LightningSpec | None = None
    indexer: IndexerSpec | None = None
    v_head_dim: NonNegativeWidth = 0
    """Dimension of a head of values; 0: that of queries and keys."""
    rotary: bool = True
    """Whether positions are rotary where there are no others; false: none at all."""
    attention_gate: Literal["none", "head", "width"] = "none"
    """A gate of attention's output, by head or by value, computed from its input."""
    joint_gate: bool = True
    """Whether the gate by value comes of one matrix, and bias, with the queries (Qwen3-Next)."""
    shares_keys: bool = False
    """Whether attention takes the keys and values of an earlier layer, and projects none."""
    values_are_keys: bool = False
    """Whether the values of attention are its keys before their norm, and need no projection."""
    is_sparse: bool = True
    """With an indexer: whether attention goes to the best keys only."""
    has_indexer: bool = True
    """With an indexer: whether the layer has one, and does not take the choice of an earlier layer."""
    norm_placement: Literal["before", "after", "both", "none"] = "before"
    """Where the norms of attention and MLP are: before each, after each, or both (four norms a layer)."""
    norm_weight: bool = True
    """Whether norms have weights."""
    qk_norm_scope: Literal["head", "width", "post"] = "head"
    """Weights of the norms of queries and keys: as many as a head has, as all heads have together, or none."""
    qk_norm_bias: bool = True
    """Whether layernorms of queries and keys have biases, where the others have."""
    inner_norms: bool = False
    """Norms before the last matrix of attention and of the MLP, as in BitNet."""
    shared_norm: bool = False
    """With `parallel_residual`: whether attention and MLP have one norm together (GPT-J, Cohere)."""
    head_bias: bool = False
    """A bias of the output matrix."""
    embedding_size: NonNegativeWidth = 0
    """Width of the embedding where it is projected to the hidden size; 0: the hidden size."""
    layer_embedding_size: NonNegativeWidth = 0
    """Width of an embedding of each layer, added to its output (Gemma 3n, Gemma 4; transformers 5.24,
    `Gemma4TextDecoderLayer`); 0: none."""
    layer_embedding_vocab: NonNegativeWidth = 0
    """Rows of its table; 0: `vocab_size`."""
    opening_norm: bool = True
    """Whether attention has the norm before it that `norm_placement` says; ModernBERT's first layer has none."""
    head_transform_bias: bool = True
    """Whether the layer before a head of masked tokens has a bias."""
    embedding_bias: bool = False
    """Whether the projection of the embedding has a bias."""
    extra_parameters: ParameterCount = 0
    """Parameters of a layer that no matrix or norm has: scales, coefficients of activations."""
    outer_parameters: ParameterCount = 0
    """The same outside the layers."""
    parallel_residual: bool = False
    """Whether attention and MLP have the same input, as in GPT-NeoX, and not the MLP the attention's output."""
    attention_softcap: NonNegativeNumber = 0.0
    """Bound of the attention's logits, by a tanh; 0: none."""
    logit_softcap: NonNegativeNumber = 0.0
    """The same of the head's logits."""
    mtp_layers: Annotated[int, msgspec.Meta(ge=0, le=MAX_LAYERS)] = 0
    """Layers of multi-token prediction after the others (arXiv 2412.19437, section 2.2), counted in parameters, time
    and memory; of a decoder of language."""
    dropout: bool = False
    """Whether there is dropout, whose masks are kept for the backward pass."""
    moe: MoeSpec | None = None
    mla: MlaSpec | None = None
    vision: VisionSpec | None = None
    published: PublishedParameters | None = None

    @property
    def kv_head_count(self) -> int:
        """Key/value heads; default: the query heads."""
        return self.kv_heads or self.heads

    @property
    def has_rotary_positions(self) -> bool:
        """Whether queries and keys are rotated by their positions."""
        return self.rotary and self.learned_positions == 0 and self.relative_positions == "none"

    @property
    def mlp_activation(self) -> Activation:
        """The activation function of the MLP."""
        if self.activation is not None:
            return self.activation
        return "silu" if self.gated_mlp else "gelu-tanh" if self.mlp_bias else "gelu"

    @property
    def head_size(self) -> int:
        """Dimension of a head; default: hidden_size / heads."""
        return self.head_dim or self.hidden_size // self.heads

    @property
    def value_head_size(self) -> int:
        """Dimension of a head of values; default: that of queries and keys."""
        return self.v_head_dim or self.head_size

    def build_kind(self, kind: LayerKind) -> ModelSpec:
        """The model as its layers of this kind are."""
        given = {key: getattr(kind, key) for key in kind.__struct_fields__ if key not in ("name", "mlp")}
        return msgspec.structs.replace(self, **{key: value for key, value in given.items() if value is not None})


def parse_model_spec(raw: Mapping[str, object], origin: str) -> ModelSpec:
    """A transformer from the keys of its file. Raises InputError with origin, key and expected value."""
    try:
        spec = convert_to_type(raw, ModelSpec, origin)
    except InputError as error:
        if error.problem != MISSING_KEY_PROBLEM or "." in error.key:
            raise
        expected = f"{error.expected}; a model file is {_GUIDE_REFERENCE}"
        raise InputError(MISSING_KEY_PROBLEM, origin=origin, key=error.key, expected=expected) from None
    return check_model_spec(spec, origin)


def check_model_spec(spec: ModelSpec, origin: str, key_names: Mapping[str, str] | None = None) -> ModelSpec:
    """The same spec, after the checks of several keys together.

    `key_names`: the keys of the user's file for keys of the spec, where they differ. Raises InputError.
    """
    with name_origin(origin):
        spec = _fill_vocab_and_seq_length(spec)
        _check_keys_together(spec, key_names or {})
    return spec


def _fill_vocab_and_seq_length(spec: ModelSpec) -> ModelSpec:
    """The same spec with vocabulary and sequence given, or determined by the image. Raises InputError."""
    vision = spec.vision
    if vision is None:
        for key in ("vocab_size", "seq_length"):
            if not getattr(spec, key):
                expected = "a whole number of at least 1 (or a [vision] table)"
                raise InputError("missing key", key=key, expected=expected)
        return spec
    if spec.vocab_size:
        raise InputError("an image has no vocabulary", key="vocab_size", value=spec.vocab_size)
    if vision.image_size % vision.patch_size:
        expected = f"a divisor of vision.image_size {vision.image_size}"
        raise InputError(_CONFLICT_PROBLEM, key="vision.patch_size", value=vision.patch_size, expected=expected)
    if spec.seq_length not in (0, vision.tokens):
        expected = f"left out, or {vision.tokens}: the patches of an image and the class token"
        raise InputError(_CONFLICT_PROBLEM, key="seq_length", value=spec.seq_length, expected=expected)
    return msgspec.structs.replace(spec, seq_length=vision.tokens, learned_positions=vision.tokens)


def _check_keys_together(spec: ModelSpec, key_names: Mapping[str, str]) -> None:
    """Raise InputError for a key that does not fit the others; `key_names` as of `check_model_spec`."""

    def get_file_key(key: str) -> str:
        return key_names.get(key, key)

    def require(is_valid: bool, key: str, value: object, expected: str) -> None:
        if not is_valid:
            raise InputError(_CONFLICT_PROBLEM, key=get_file_key(key), value=value, expected=expected)

    names = [kind.name for kind in spec.kinds]
    for place, name in enumerate(spec.pattern):
        expected = f"one of {', '.join(sorted(names))}: a name of [[kinds]]"
        require(name in names, f"pattern[{place}]", name, expected)
    for place, kind in enumerate(spec.kinds):
        require(names.index(kind.name) == place, f"kinds[{place}].name", kind.name, "a name of its own")
        _check_kind(spec, kind)
    _check_mixer_tables(spec, spec.mixer, "mixer")
    moe, is_encoder_decoder = spec.moe, spec.architecture == "encoder-decoder"
    predicts_tokens = spec.architecture == "decoder" and spec.head == "lm" and spec.vision is None
    require(not spec.mtp_layers or predicts_tokens, "mtp_layers", spec.mtp_layers, "0, but for a decoder of language")
    require(
        spec.head_dim is not None or spec.mla is not None or spec.hidden_size % spec.heads == 0,
        "heads",
        spec.heads,
        f"a divisor of {get_file_key('hidden_size')} {spec.hidden_size}, or a {get_file_key('head_dim')} key",
    )
    expected = f"a divisor of {get_file_key('heads')} {spec.heads}"
    require(spec.heads % spec.kv_head_count == 0, "kv_heads", spec.kv_heads, expected)
    if moe is not None:
        require(moe.topk <= moe.experts, "moe.topk", moe.topk, f"at most {get_file_key('moe.experts')} {moe.experts}")
        expected = f"less than {get_file_key('layers')} {spec.layers}"
        require(moe.first_dense_layers < spec.layers, "moe.first_dense_layers", moe.first_dense_layers, expected)
        groups = moe.router_groups or 1
        expected = f"a divisor of {get_file_key('moe.experts')} {moe.experts}"
        require(moe.experts % groups == 0, "moe.router_groups", groups, expected)
        expected = f"at most {get_file_key('moe.router_groups')} {moe.router_groups}"
        topk_groups = moe.router_topk_groups
        require(topk_groups <= moe.router_groups, "moe.router_topk_groups", topk_groups, expected)
    expected = "at least 1 for an encoder-decoder" if is_encoder_decoder else 'architecture = "encoder-decoder"'
    require(bool(spec.decoder_layers) == is_encoder_decoder, "decoder_layers", spec.decoder_layers, expected)


def _check_kind(spec: ModelSpec, kind: LayerKind) -> None:
    """Raise InputError for a kind of layer whose tables the model lacks, or whose heads do not fit."""
    name, merged = kind.name, spec.build_kind(kind)
    _check_mixer_tables(merged, merged.mixer, f"kinds.{name}.mixer")
    if kind.mlp == "moe" and spec.moe is None:
        raise InputError(_CONFLICT_PROBLEM, key=f"kinds.{name}.mlp", value="moe", expected="a table [moe]")
    if merged.heads % merged.kv_head_count:
        expected = f"a divisor of {merged.heads} heads"
        raise InputError(_CONFLICT_PROBLEM, key=f"kinds.{name}.kv_heads", value=merged.kv_heads, expected=expected)


def _check_mixer_tables(spec: ModelSpec, mixer: Mixer, key: str) -> None:
    """Raise InputError for a mixer whose table the model lacks."""
    tables = {
        "delta-net": ("delta_net",),
        "mamba": ("state_space",),
        "mamba-2": ("state_space",),
        "attention+mamba-2": ("state_space",),
        "short-conv": ("short_conv",),
        "lightning": ("lightning",),
    }.get(mixer, ())
    for table in tables:
        if getattr(spec, table) is None:
            raise InputError(_CONFLICT_PROBLEM, key=key, value=mixer, expected=f"a table [{table}]")


def is_operator_list(raw: Mapping[str, object]) -> bool:
    """Whether a file's keys are those of a list of operators: a transformer's `layers` is a number."""
    return any(key in raw for key in ("input", "stem")) or isinstance(raw.get("layers"), list)
