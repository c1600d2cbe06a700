"""A bare size such as `70B`: a sensible Llama-style shape for it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from planner.errors import InputError
from planner.units import format_parameter_count, parse_quantity
from planner.workload.spec import ModelSpec

_SIZE = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?[MBT]", re.IGNORECASE)
_SMALLEST, _LARGEST = 10e6, 100e12
_EXACT = 0.01
"""A shape this near to the size is as good as one that meets it."""


def looks_like_size(text: str) -> bool:
    """Whether `text` has the form of a bare size: digits and one of M, B, T."""
    return _SIZE.fullmatch(text) is not None


def spec_of_size(text: str) -> ModelSpec:
    """A decoder with `text` parameters, within 3 % from 0.1B on. Raises InputError outside 10M to 100T.

    Width is about 128 times the depth, as in GPT-3 (arXiv 2005.14165, table 2.1) and Llama 3
    (arXiv 2407.21783, table 3), 64 times below 500M and 200 times above 500B. Head dimension 128 (64 below
    1B), eight key/value heads from 3B on, gated MLP of about 3.5 times the width, vocabulary 128,256 (32,000
    below 3B). Depths are multiples of four and head counts of eight (below 100M of one), preferably of
    sixteen, so that they divide well; the MLP's width then takes up the difference, in steps of 256.
    """
    problem = InputError("size out of range", key="MODEL", value=text, expected="from 10M to 100T parameters")
    try:
        wanted = parse_quantity(text.upper(), "count", key="MODEL")
    except InputError:
        raise problem from None
    if not _SMALLEST <= wanted <= _LARGEST:
        raise problem
    return _spec(min(_shapes(wanted), key=lambda shape: _misfit(shape, wanted)), wanted)


def describe_size(spec: ModelSpec) -> str:
    """The sentence that tells which shape was chosen."""
    shape = _Shape(
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
class _Shape:
    """What decides the parameters of this family."""

    hidden: int
    layers: int
    head: int
    kv_heads: int
    ffn: int
    vocab: int
    tied: bool

    @property
    def ends(self) -> int:
        """Parameters of embedding, output matrix and last norm."""
        return self.vocab * self.hidden * (1 if self.tied else 2) + self.hidden

    @property
    def layer(self) -> int:
        """Parameters of one layer without the MLP's matrices."""
        return 2 * self.hidden * (self.hidden + self.kv_heads * self.head + 1)

    @property
    def parameters(self) -> int:
        """Closed form of what `build_workload` counts (a test holds the two together)."""
        return self.ends + self.layers * (self.layer + 3 * self.hidden * self.ffn)


def _shapes(wanted: float) -> Iterator[_Shape]:
    """For every width the depths near the one that fits, with the usual MLP and with one that meets the size."""
    vocab = 32_000 if wanted < 3e9 else 128_256
    head = 64 if wanted < 1e9 else 128
    step = head if wanted < 100e6 else 8 * head
    for hidden in range(step, 160 * 1024 + 1, step):
        heads = hidden // head
        usual = -(-7 * hidden // 2 // 256) * 256
        one = _Shape(hidden, 1, head, 8 if wanted >= 3e9 else heads, usual, vocab, wanted < 1e9)
        room = wanted - one.ends
        middle = 4 * round(room / (one.layer + 3 * hidden * usual) / 4)
        for layers in (middle - 4, middle, middle + 4):
            if not 4 <= layers <= 2048:
                continue
            meets = 256 * round((room / layers - one.layer) / (3 * hidden) / 256)
            for ffn in {usual, max(meets, 256)}:
                yield _Shape(hidden, layers, head, one.kv_heads, ffn, vocab, one.tied)


def _misfit(shape: _Shape, wanted: float) -> float:
    """How far a shape is from the size (weighed most), from the usual proportions, and from even heads."""
    usual = 64 if wanted < 500e6 else 128 if wanted < 500e9 else 200
    size = max(0.0, abs(math.log(shape.parameters / wanted)) - _EXACT)
    proportion = abs(math.log(shape.hidden / shape.layers / usual))
    mlp = abs(math.log(shape.ffn / shape.hidden / 3.5))
    odd = 0.15 if shape.hidden // shape.head % 16 and wanted >= 3e9 else 0.0
    return 40 * size + proportion + 2 * mlp + odd


def _spec(shape: _Shape, wanted: float) -> ModelSpec:
    return ModelSpec(
        name=format_parameter_count(wanted),
        hidden_size=shape.hidden,
        layers=shape.layers,
        heads=shape.hidden // shape.head,
        kv_heads=shape.kv_heads,
        head_dim=shape.head,
        ffn_size=shape.ffn,
        vocab_size=shape.vocab,
        seq_length=2048 if wanted < 3e9 else 8192,
        gated_mlp=True,
        norm="rmsnorm",
        tied_embeddings=shape.tied,
    )
