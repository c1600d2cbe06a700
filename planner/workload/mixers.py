"""What mixes the tokens of a layer beside attention: recurrences, convolutions, and the indexer of sparse attention.

Each is a table of a model file, `[delta_net]` and so on; a layer has it by its kind (`LayerKind.mixer`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from planner.workload.limits import HeadCount, NonNegativeWidth, PositiveWidth

Mixer = Literal["attention", "delta-net", "mamba-2", "mamba", "attention+mamba-2", "short-conv", "lightning", "none"]


class DeltaNetSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Gated delta rule (Yang et al. 2024, arXiv 2412.06464), as Qwen3-Next has it (transformers 5.24,
    `Qwen3NextGatedDeltaNet`), or with a decay for each channel (Kimi Linear, arXiv 2510.26692,
    `KimiLinearDeltaAttention`): projections, a short convolution, the recurrence, a gated norm.
    """

    key_heads: HeadCount
    value_heads: HeadCount
    key_dim: PositiveWidth
    value_dim: PositiveWidth
    conv_kernel: PositiveWidth = 4
    chunk: PositiveWidth = 64
    """Tokens of a chunk, within which pairs are multiplied."""
    decay: Literal["head", "channel"] = "head"
    """A decay for each head, or for each channel of a head's keys."""
    decay_rank: NonNegativeWidth = 0
    """Rank of the projection of channel decays; 0: whole."""
    gate_rank: NonNegativeWidth = 0
    """Rank of the projection of the output's gate; 0: whole."""

    @property
    def key_width(self) -> int:
        """Values of a token's keys."""
        return self.key_heads * self.key_dim

    @property
    def value_width(self) -> int:
        """Values of a token's values."""
        return self.value_heads * self.value_dim


class StateSpaceSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Selective state spaces: Mamba-2 (arXiv 2405.21060; transformers 5.24, `Mamba2Mixer`), or with `dt_rank` Mamba-1
    (arXiv 2312.00752, `MambaMixer`), in which each channel is a head.
    """

    inner_size: PositiveWidth
    state_size: PositiveWidth
    heads: HeadCount = 1
    """Of Mamba-2."""
    groups: HeadCount = 1
    """Groups of heads with the same inputs and outputs of the state, of Mamba-2."""
    conv_kernel: PositiveWidth = 4
    chunk: PositiveWidth = 256
    """Tokens of a chunk, within which pairs are multiplied."""
    dt_rank: NonNegativeWidth = 0
    """Rank of the step size, of Mamba-1."""
    conv_bias: bool = True
    bias: bool = False
    """Whether the projections in and out have biases."""
    gated_norm: bool = True
    """A norm before the output's projection, of Mamba-2."""
    inner_norms: bool = False
    """Norms of step size, inputs and outputs of the state, as in Jamba."""


class ShortConvSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Gated short convolution (LFM2; transformers 5.24, `Lfm2ShortConv`): three projections, one convolved."""

    kernel: PositiveWidth = 3
    bias: bool = False


class LightningSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Lightning attention (MiniMax-01, arXiv 2501.08313; transformers 5.24, `MiniMaxLightningAttention`): linear
    attention with a decay, a norm and a gate of its output. Its heads are those of attention.
    """

    chunk: PositiveWidth = 256


class IndexerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The lightning indexer of DeepSeek sparse attention (DeepSeek-V3.2; transformers 5.24, `DeepseekV32Indexer`):
    it scores every key for every query, and attention goes to the best `topk` keys.
    """

    heads: HeadCount
    head_dim: PositiveWidth
    topk: PositiveWidth
