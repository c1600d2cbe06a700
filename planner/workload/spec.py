"""The description of a model in a file: the keys a person may write, validated. A preset is such a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from planner.decode import MISSING_KEY_PROBLEM, convert_to_type
from planner.errors import InputError

MOST_LAYERS = 2048
WIDEST = 10_000_000
LONGEST = 2**24
MOST_PARTS = 65_536
"""The most layers, values of a width, tokens, and heads or experts: far above any model that was trained, so that a
slip of the keyboard is told and not computed."""

Positive = Annotated[int, msgspec.Meta(ge=1, le=WIDEST)]
NonNegative = Annotated[int, msgspec.Meta(ge=0, le=WIDEST)]
Layers = Annotated[int, msgspec.Meta(ge=1, le=MOST_LAYERS)]
Heads = Annotated[int, msgspec.Meta(ge=1, le=MOST_PARTS)]
Experts = Annotated[int, msgspec.Meta(ge=1, le=MOST_PARTS)]

Architecture = Literal["decoder", "encoder", "encoder-decoder"]
_GUIDE = "as in docs/how-to/models.md, A model of your own; a list of operators has [[layers]] and input"


class MoeSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Mixture of experts: how many, how many a token visits, and how wide each is."""

    experts: Experts
    topk: Positive
    expert_ffn_size: Positive
    shared_ffn_size: NonNegative = 0
    shared_gate: bool = False
    first_dense_layers: NonNegative = 0
    every: Positive = 1
    """One layer in `every` is a MoE layer, the others are dense."""
    router_bias: bool = False
    expert_bias: bool = False


class MlaSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): ranks and head dimensions."""

    q_lora_rank: NonNegative
    kv_lora_rank: Positive
    qk_nope_head_dim: Positive
    qk_rope_head_dim: NonNegative
    v_head_dim: Positive


class VisionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A vision transformer's ends (Dosovitskiy et al. 2020, arXiv 2010.11929): square patches in, classes out."""

    image_size: Positive
    patch_size: Positive
    channels: Positive = 3
    classes: Positive

    @property
    def tokens(self) -> int:
        """Patches, and the class token."""
        return int((self.image_size // self.patch_size) ** 2) + 1


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The parameter count that the model's authors state, and where."""

    parameters: Annotated[int, msgspec.Meta(ge=1)]
    source: str
    rounding: Annotated[int, msgspec.Meta(ge=1)] = 1


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A transformer as a person describes it; everything that decides parameters and FLOPs, nothing else."""

    name: str
    title: str = ""
    architecture: Architecture = "decoder"
    hidden_size: Positive
    layers: Layers
    heads: Heads
    kv_heads: Heads | None = None
    """Of keys and values; left out, as many as `heads`."""
    head_dim: Positive | None = None
    """Left out, `hidden_size` / `heads`."""
    ffn_size: Positive
    """Width of the MLP, of the dense layers where there are experts."""
    vocab_size: NonNegative = 0
    """Needed, as `seq_length` is, unless there is a `vision` table: that decides both."""
    seq_length: Annotated[int, msgspec.Meta(ge=0, le=LONGEST)] = 0
    """Tokens of a sequence where `--seq-length` says nothing."""
    decoder_layers: Annotated[int, msgspec.Meta(ge=0, le=MOST_LAYERS)] = 0
    """Encoder-decoder only: layers with cross-attention, beside `layers` encoder layers."""
    learned_positions: NonNegative = 0
    """Rows of a table of positions; 0: there is none."""
    token_types: NonNegative = 0
    """Rows of a table of segments, as BERT has."""
    gated_mlp: bool = False
    """Whether the MLP has three matrices (SwiGLU) and not two."""
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"
    norm_bias: bool = True
    """Whether a layernorm has one; an RMSNorm has none."""
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
    """What follows the layers. lm: logits of every token; masked-lm: the same behind one more layer, as in BERT;
    pooler: a layer for the first token.
    """
    relative_positions: Literal["none", "t5", "xlnet"] = "none"
    relative_buckets: NonNegative = 0
    """Rows of T5's table of distances."""
    attention_sinks: bool = False
    """A learned logit for each head, to which attention goes that goes to no token."""
    sliding_window: NonNegative = 0
    """Tokens that a token attends to; 0: all."""
    sliding_every: Positive = 1
    """With a sliding window: one layer in `sliding_every` attends to the window only (1: every layer)."""
    dropout: bool = False
    """Whether there is dropout, whose masks are kept for the backward pass."""
    moe: MoeSpec | None = None
    mla: MlaSpec | None = None
    vision: VisionSpec | None = None
    published: Published | None = None

    @property
    def kv_head_count(self) -> int:
        """Key/value heads; as many as query heads where the file does not say."""
        return self.kv_heads or self.heads

    @property
    def head_size(self) -> int:
        """Dimension of one head; hidden_size / heads where the file does not say."""
        return self.head_dim or self.hidden_size // self.heads


def spec_of(raw: Mapping[str, object], origin: str) -> ModelSpec:
    """A transformer from the keys of its file. Raises InputError naming origin, key and what was expected."""
    try:
        spec = convert_to_type(raw, ModelSpec, origin)
    except InputError as error:
        if error.problem != MISSING_KEY_PROBLEM or "." in error.key:
            raise
        expected = f"{error.expected}; a model file is {_GUIDE}"
        raise InputError(MISSING_KEY_PROBLEM, origin=origin, key=error.key, expected=expected) from None
    return checked(spec, origin)


def _with_ends(spec: ModelSpec, origin: str) -> ModelSpec:
    """The same spec with vocabulary and sequence told, or decided by the image. Raises InputError."""
    vision = spec.vision
    for key in ("vocab_size", "seq_length"):
        value = getattr(spec, key)
        if vision is None and not value:
            expected = "a whole number of at least 1 (or a [vision] table)"
            raise InputError("missing key", origin=origin, key=key, expected=expected)
    if vision is None:
        return spec
    if spec.vocab_size:
        raise InputError("an image has no vocabulary", origin=origin, key="vocab_size", value=spec.vocab_size)
    if vision.image_size % vision.patch_size:
        expected = f"a divisor of vision.image_size {vision.image_size}"
        raise InputError(
            "does not fit the other keys",
            origin=origin,
            key="vision.patch_size",
            value=vision.patch_size,
            expected=expected,
        )
    length = vision.tokens
    if spec.seq_length not in (0, length):
        expected = f"left out, or {length}: the patches of an image and the class token"
        raise InputError(
            "does not fit the other keys", origin=origin, key="seq_length", value=spec.seq_length, expected=expected
        )
    return msgspec.structs.replace(spec, seq_length=length, learned_positions=length)


def checked(spec: ModelSpec, origin: str, names: Mapping[str, str] | None = None) -> ModelSpec:
    """The same spec, after the checks that take more than one key.

    `names` says under which keys the user's file has what the spec calls otherwise. Raises InputError.
    """
    own = names or {}
    spec = _with_ends(spec, origin)

    def name(key: str) -> str:
        return own.get(key, key)

    def wrong(key: str, value: object, expected: str) -> InputError:
        return InputError("does not fit the other keys", origin=origin, key=name(key), value=value, expected=expected)

    moe = spec.moe
    if spec.head_dim is None and spec.mla is None and spec.hidden_size % spec.heads:
        expected = f"a divisor of {name('hidden_size')} {spec.hidden_size}, or a {name('head_dim')} key"
        raise wrong("heads", spec.heads, expected)
    if spec.heads % spec.kv_head_count:
        raise wrong("kv_heads", spec.kv_heads, f"a divisor of {name('heads')} {spec.heads}")
    if moe is not None and moe.topk > moe.experts:
        raise wrong("moe.topk", moe.topk, f"at most {name('moe.experts')} {moe.experts}")
    if moe is not None and moe.first_dense_layers >= spec.layers:
        expected = f"less than {name('layers')} {spec.layers}"
        raise wrong("moe.first_dense_layers", moe.first_dense_layers, expected)
    if spec.decoder_layers and spec.architecture != "encoder-decoder":
        raise wrong("decoder_layers", spec.decoder_layers, 'architecture = "encoder-decoder"')
    if spec.architecture == "encoder-decoder" and not spec.decoder_layers:
        raise wrong("decoder_layers", spec.decoder_layers, "at least 1 for an encoder-decoder")
    return spec


def is_network(raw: Mapping[str, object]) -> bool:
    """Whether a file's keys are those of a list of operators: a transformer's `layers` is a number."""
    return any(key in raw for key in ("input", "stem")) or isinstance(raw.get("layers"), list)
