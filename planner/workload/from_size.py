"""A bare size such as `70B`: a sensible Llama-style shape for it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import msgspec

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
    return min(_enumerate_specs(target_parameters), key=lambda spec: _compute_shape_penalty(spec, target_parameters))


def describe_size(spec: ModelSpec) -> str:
    """A sentence on the chosen shape."""
    return (
        f"shape chosen for the size: {spec.layers} layers, hidden {spec.hidden_size}, {spec.heads} heads, "
        f"{spec.kv_head_count} KV heads, MLP {spec.ffn_size}, vocabulary {spec.vocab_size}, "
        f"{format_parameter_count(_count_parameters(spec))} parameters"
    )


def _count_parameters(spec: ModelSpec) -> int:
    """Parameters of a decoder in closed form; a test compares it with the count of `build_workload`."""
    mlp_parameters = 3 * spec.hidden_size * spec.ffn_size
    return _count_outer_parameters(spec) + spec.layers * (_count_attention_parameters(spec) + mlp_parameters)


def _count_outer_parameters(spec: ModelSpec) -> int:
    """Parameters of embedding, output matrix and last norm."""
    return spec.vocab_size * spec.hidden_size * (1 if spec.tied_embeddings else 2) + spec.hidden_size


def _count_attention_parameters(spec: ModelSpec) -> int:
    """Parameters of one layer without the MLP's matrices."""
    return 2 * spec.hidden_size * (spec.hidden_size + spec.kv_head_count * spec.head_size + 1)


def _enumerate_specs(target_parameters: float) -> Iterator[ModelSpec]:
    """Candidates: for every width the depths near the size, with the usual MLP width and with the one that meets the
    size.
    """
    head_dim = 64 if target_parameters < 1e9 else 128
    hidden_step = head_dim if target_parameters < 100e6 else 8 * head_dim
    for hidden_size in range(hidden_step, 160 * 1024 + 1, hidden_step):
        heads = hidden_size // head_dim
        default_ffn_size = -(-7 * hidden_size // 2 // 256) * 256
        single_layer = ModelSpec(
            name=format_parameter_count(target_parameters),
            hidden_size=hidden_size,
            layers=1,
            heads=heads,
            kv_heads=8 if target_parameters >= 3e9 else heads,
            head_dim=head_dim,
            ffn_size=default_ffn_size,
            vocab_size=32_000 if target_parameters < 3e9 else 128_256,
            seq_length=2048 if target_parameters < 3e9 else 8192,
            gated_mlp=True,
            norm="rmsnorm",
            tied_embeddings=target_parameters < 1e9,
        )
        layer_budget = target_parameters - _count_outer_parameters(single_layer)
        attention_parameters = _count_attention_parameters(single_layer)
        middle_depth = 4 * round(layer_budget / (attention_parameters + 3 * hidden_size * default_ffn_size) / 4)
        for layers in (middle_depth - 4, middle_depth, middle_depth + 4):
            if 4 <= layers <= 2048:
                mlp_budget = layer_budget / layers - attention_parameters
                fitted_ffn_size = 256 * round(mlp_budget / (3 * hidden_size) / 256)
                for ffn_size in {default_ffn_size, max(fitted_ffn_size, 256)}:
                    yield msgspec.structs.replace(single_layer, layers=layers, ffn_size=ffn_size)


def _compute_shape_penalty(spec: ModelSpec, target_parameters: float) -> float:
    """Distance of a shape from the size (weighted most), the usual proportions, and an even number of heads."""
    usual_aspect = 64 if target_parameters < 500e6 else 128 if target_parameters < 500e9 else 200
    size_penalty = max(0.0, abs(math.log(_count_parameters(spec) / target_parameters)) - _LOG_SIZE_TOLERANCE)
    aspect_penalty = abs(math.log(spec.hidden_size / spec.layers / usual_aspect))
    mlp_penalty = abs(math.log(spec.ffn_size / spec.hidden_size / 3.5))
    head_penalty = 0.15 if spec.heads % 16 and target_parameters >= 3e9 else 0.0
    return 40 * size_penalty + aspect_penalty + 2 * mlp_penalty + head_penalty
