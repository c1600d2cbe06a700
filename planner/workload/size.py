"""A bare size such as `70B`: a sensible Llama-style shape for it."""

from __future__ import annotations

import math
import re

import msgspec

from planner.errors import InputError
from planner.units import format_parameters, parse_quantity
from planner.workload.spec import ModelSpec

_SIZE = re.compile(r"\d+(\.\d+)?[MBT]", re.IGNORECASE)
_SMALLEST, _LARGEST = 10e6, 100e12


def looks_like_size(text: str) -> bool:
    """Whether `text` has the form of a bare size: digits and one of M, B, T."""
    return _SIZE.fullmatch(text) is not None


def spec_of_size(text: str) -> ModelSpec:
    """A decoder with about `text` parameters. Raises InputError outside 10M to 100T.

    Width is about 128 times the depth, as in GPT-3 (arXiv 2005.14165, table 2.1) and Llama 3
    (arXiv 2407.21783, table 3), 64 times below 500M and 200 times above 500B. Head dimension 128 (64 below
    1B), eight key/value heads from 3B on, gated MLP of 3.5 times the width, vocabulary 128,256 (32,000
    below 3B). Depths are multiples of four and head counts preferably of sixteen, so that they divide well.
    """
    wanted = parse_quantity(text.upper(), "count", key="MODEL")
    if not _SMALLEST <= wanted <= _LARGEST:
        raise InputError("size out of range", key="MODEL", value=text, expected="from 10M to 100T parameters")
    return min(_shapes(wanted), key=lambda spec: _misfit(spec, wanted))


def describe_size(spec: ModelSpec) -> str:
    """The sentence that tells which shape was chosen."""
    return (
        f"shape chosen for the size: {spec.layers} layers, hidden {spec.hidden_size}, {spec.heads} heads, "
        f"{spec.kv_head_count} KV heads, MLP {spec.ffn_size}, vocabulary {spec.vocab_size}, "
        f"{format_parameters(_parameters(spec))} parameters"
    )


def _shapes(wanted: float) -> list[ModelSpec]:
    vocab = 32_000 if wanted < 3e9 else 128_256
    # below 1B in steps of one head of 64, above in whole multiples of 8 heads of 128: both divide well
    head, step = (64, 64) if wanted < 1e9 else (128, 1024)
    blank = ModelSpec(
        name=f"{format_parameters(wanted)}",
        hidden_size=step,
        layers=1,
        heads=1,
        ffn_size=step,
        vocab_size=vocab,
        seq_length=2048 if wanted < 3e9 else 8192,
        gated_mlp=True,
        norm="rmsnorm",
        tied_embeddings=wanted < 1e9,
    )
    shapes = []
    for hidden in range(step, 160 * 1024 + 1, step):
        heads = hidden // head
        kv_heads = 8 if wanted >= 3e9 and heads % 8 == 0 else heads
        ffn = -(-7 * hidden // 2 // 256) * 256
        one = msgspec.structs.replace(
            blank, hidden_size=hidden, heads=heads, kv_heads=kv_heads, head_dim=head, ffn_size=ffn
        )
        per_layer = _parameters(msgspec.structs.replace(one, layers=2)) - _parameters(one)
        layers = 4 * round((wanted - (_parameters(one) - per_layer)) / per_layer / 4)
        if layers >= 4:
            shapes.append(msgspec.structs.replace(one, layers=layers))
    return shapes


def _misfit(spec: ModelSpec, wanted: float) -> float:
    """How far a shape is from the size (weighed most), from the usual proportions, and from even heads."""
    usual = 64 if wanted < 500e6 else 128 if wanted < 500e9 else 200
    size = abs(math.log(_parameters(spec) / wanted))
    proportion = abs(math.log(spec.hidden_size / spec.layers / usual))
    return 5 * size + proportion + (0.15 if spec.heads % 16 and wanted >= 3e9 else 0.0)


def _parameters(spec: ModelSpec) -> int:
    """Closed form of what `build_workload` counts for this family (a test holds the two together)."""
    h, kv = spec.hidden_size, spec.kv_head_count * spec.head_size
    layer = 2 * h * h + 2 * h * kv + 3 * h * spec.ffn_size + 2 * h
    tables = spec.vocab_size * h * (1 if spec.tied_embeddings else 2)
    return spec.layers * layer + tables + h
