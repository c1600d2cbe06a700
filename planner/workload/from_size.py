"""A bare size such as `70B`: a sensible Llama-style shape for it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from planner.errors import InputError
from planner.units import format_parameter_count, parse_quantity
from planner.workload.spec import ModelSpec

_SIZE_PATTERN = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?[MBT]", re.IGNORECASE)
_MIN_PARAMETERS, _MAX_PARAMETERS = 10e6, 100e12
_LOG_SIZE_TOLERANCE = 0.01
"""Relative difference from the size below which shapes count as equally close."""


def looks_like_size(text: str) -> bool:
    """Whether `text` has the form of a bare size: digits, then M, B or T."""
    return _SIZE_PATTERN.fullmatch(text) is not None


def build_spec_for_size(text: str) -> ModelSpec:
    """A decoder with `text` parameters, within 3 % from 0.1B on. Raises InputError outside 10M to 100T.

    Width is about 128 times the depth, as in GPT-3 (arXiv 2005.14165, table 2.1) and Llama 3
    (arXiv 2407.21783, table 3), 64 times below 500M and 200 times above 500B. Head dimension 128 (64 below
    1B), eight key/value heads from 3B on, gated MLP of about 3.5 times the width, vocabulary 128,256 (32,000
    below 3B). Depths are multiples of four and head counts of eight (below 100M of one), preferably of
    sixteen, so that they divide well; the MLP's width then takes up the difference, in steps of 256.
    """
    size_error = InputError("size out of range", key="MODEL", value=text, expected="from 10M to 100T parameters")
    try:
        target_parameters = parse_quantity(text.upper(), "count", key="MODEL")
    except InputError:
        raise size_error from None
    if not _MIN_PARAMETERS <= target_parameters <= _MAX_PARAMETERS:
        raise size_error
    return _build_decoder_spec(
        min(_enumerate_shapes(target_parameters), key=lambda shape: _compute_shape_penalty(shape, target_parameters)),
        target_parameters,
    )


def describe_size(spec: ModelSpec) -> str:
    """A sentence on the chosen shape."""
    shape = _DecoderShape(
        spec.hidden_size,
        spec.layers,
        spec.head_size,
        spec.kv_head_count,
        spec.ffn_size,
        spec.vocab_size,
        spec.tied_embeddings,
    )
    return (
        f"shape chosen for the size: {spec.layers} layers, hidden {spec.hidden_size}, {spec.heads} heads, "
        f"{spec.kv_head_count} KV heads, MLP {spec.ffn_size}, vocabulary {spec.vocab_size}, "
        f"{format_parameter_count(shape.parameters)} parameters"
    )


@dataclass(frozen=True)
class _DecoderShape:
    """The sizes that determine the parameters of this family."""

    hidden_size: int
    layers: int
    head_dim: int
    kv_heads: int
    ffn_size: int
    vocab_size: int
    tied_embeddings: bool

    @property
    def embedding_and_head_parameters(self) -> int:
        """Parameters of embedding, output matrix and last norm."""
        return self.vocab_size * self.hidden_size * (1 if self.tied_embeddings else 2) + self.hidden_size

    @property
    def attention_parameters(self) -> int:
        """Parameters of one layer without the MLP's matrices."""
        return 2 * self.hidden_size * (self.hidden_size + self.kv_heads * self.head_dim + 1)

    @property
    def parameters(self) -> int:
        """Parameters of a shape in closed form; a test compares it with the count of `build_workload`."""
        return self.embedding_and_head_parameters + self.layers * (
            self.attention_parameters + 3 * self.hidden_size * self.ffn_size
        )


def _enumerate_shapes(target_parameters: float) -> Iterator[_DecoderShape]:
    """Candidates: for every width the depths near the size, with the usual MLP width and with the one that meets the
    size.
    """
    vocab_size = 32_000 if target_parameters < 3e9 else 128_256
    head_dim = 64 if target_parameters < 1e9 else 128
    hidden_step = head_dim if target_parameters < 100e6 else 8 * head_dim
    for hidden_size in range(hidden_step, 160 * 1024 + 1, hidden_step):
        heads = hidden_size // head_dim
        default_ffn_size = -(-7 * hidden_size // 2 // 256) * 256
        single_layer_shape = _DecoderShape(
            hidden_size,
            1,
            head_dim,
            8 if target_parameters >= 3e9 else heads,
            default_ffn_size,
            vocab_size,
            target_parameters < 1e9,
        )
        layer_budget = target_parameters - single_layer_shape.embedding_and_head_parameters
        middle_depth = 4 * round(
            layer_budget / (single_layer_shape.attention_parameters + 3 * hidden_size * default_ffn_size) / 4
        )
        for layers in (middle_depth - 4, middle_depth, middle_depth + 4):
            if not 4 <= layers <= 2048:
                continue
            fitted_ffn_size = 256 * round(
                (layer_budget / layers - single_layer_shape.attention_parameters) / (3 * hidden_size) / 256
            )
            for ffn_size in {default_ffn_size, max(fitted_ffn_size, 256)}:
                yield _DecoderShape(
                    hidden_size,
                    layers,
                    head_dim,
                    single_layer_shape.kv_heads,
                    ffn_size,
                    vocab_size,
                    single_layer_shape.tied_embeddings,
                )


def _compute_shape_penalty(shape: _DecoderShape, target_parameters: float) -> float:
    """Distance of a shape from the size (weighted most), the usual proportions, and an even number of heads."""
    usual_aspect = 64 if target_parameters < 500e6 else 128 if target_parameters < 500e9 else 200
    size_penalty = max(0.0, abs(math.log(shape.parameters / target_parameters)) - _LOG_SIZE_TOLERANCE)
    aspect_penalty = abs(math.log(shape.hidden_size / shape.layers / usual_aspect))
    mlp_penalty = abs(math.log(shape.ffn_size / shape.hidden_size / 3.5))
    head_penalty = 0.15 if shape.hidden_size // shape.head_dim % 16 and target_parameters >= 3e9 else 0.0
    return 40 * size_penalty + aspect_penalty + 2 * mlp_penalty + head_penalty


def _build_decoder_spec(shape: _DecoderShape, target_parameters: float) -> ModelSpec:
    return ModelSpec(
        name=format_parameter_count(target_parameters),
        hidden_size=shape.hidden_size,
        layers=shape.layers,
        heads=shape.hidden_size // shape.head_dim,
        kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        ffn_size=shape.ffn_size,
        vocab_size=shape.vocab_size,
        seq_length=2048 if target_parameters < 3e9 else 8192,
        gated_mlp=True,
        norm="rmsnorm",
        tied_embeddings=shape.tied_embeddings,
    )
