"""The keys of a model file, validated. A preset is such a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from planner.decode import MISSING_KEY_PROBLEM, convert_to_type
from planner.errors import InputError, name_origin

MAX_LAYERS = 2048
MAX_WIDTH = 10_000_000
MAX_SEQ_LENGTH = 2**24
MAX_HEADS_OR_EXPERTS = 65_536
"""Bounds of layers, widths, tokens, and heads or experts: far above any trained model, so that typing errors are
reported."""

PositiveWidth = Annotated[int, msgspec.Meta(ge=1, le=MAX_WIDTH)]
NonNegativeWidth = Annotated[int, msgspec.Meta(ge=0, le=MAX_WIDTH)]
LayerCount = Annotated[int, msgspec.Meta(ge=1, le=MAX_LAYERS)]
HeadCount = Annotated[int, msgspec.Meta(ge=1, le=MAX_HEADS_OR_EXPERTS)]
ExpertCount = Annotated[int, msgspec.Meta(ge=1, le=MAX_HEADS_OR_EXPERTS)]
PositiveNumber = Annotated[float, msgspec.Meta(gt=0, le=1e12)]
NonNegativeNumber = Annotated[float, msgspec.Meta(ge=0, le=1e12)]

_CONFLICT_PROBLEM = "does not fit the other keys"
ModelArchitecture = Literal["decoder", "encoder", "encoder-decoder"]
Norm = Literal["layernorm", "rmsnorm"]
Activation = Literal["silu", "gelu", "gelu-tanh", "quick-gelu", "relu", "squared-relu"]
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
    """The parameter count that the model's authors state, and its source."""

    parameters: Annotated[int, msgspec.Meta(ge=1)]
    source: str
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
    head: Literal["lm", "masked-lm", "pooler", "none"] = "lm"
    """The part after the layers. lm: logits of every token; masked-lm: the same behind one more layer, as in BERT;
    pooler: a layer for the first token.
    """
    relative_positions: Literal["none", "t5", "xlnet", "alibi"] = "none"
    relative_buckets: NonNegativeWidth = 0
    """Rows of T5's table of distances."""
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
        return self.learned_positions == 0 and self.relative_positions == "none"

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


def is_operator_list(raw: Mapping[str, object]) -> bool:
    """Whether a file's keys are those of a list of operators: a transformer's `layers` is a number."""
    return any(key in raw for key in ("input", "stem")) or isinstance(raw.get("layers"), list)
