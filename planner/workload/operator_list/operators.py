"""The operators of a list, one class each: the keys in a model's file, and the shape of the output.

To add an operator: a class below, its names in `OPERATOR_TYPES`, what it saves and moves in `build.py`, and a row of
the table in docs/how-to/models.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from planner.errors import InputError
from planner.workload.limits import MAX_SEQ_LENGTH, HeadCount, PositiveWidth

DimensionSize = Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQ_LENGTH)]
WindowSize = int | tuple[int, int]
"""For both height and width, or for each; bounds are checked apart, since msgspec cannot tell those of a number from
those of a tuple."""
ValuesPerInput = Annotated[float, msgspec.Meta(ge=0, le=1000)]


@dataclass(frozen=True)
class TensorShape:
    """The shape of a tensor of one sample."""

    channels: int
    height: int
    width: int

    @property
    def positions(self) -> int:
        """Positions of a channel."""
        return self.height * self.width

    @property
    def value_count(self) -> int:
        """Values of all channels."""
        return self.channels * self.positions

    def __str__(self) -> str:
        return f"{self.channels} x {self.height} x {self.width}"


class ListedOperator(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys of every operator: its name, and the operator whose output it reads, if not the one before it."""

    op: str
    name: str = ""
    source: str = msgspec.field(name="from", default="")

    def compute_output_shape(self, inputs: Sequence[TensorShape]) -> TensorShape:
        """The shape of the output. Raises InputError, with the key, where the inputs do not fit."""
        return inputs[0]


class ConvolutionOp(ListedOperator, frozen=True, kw_only=True):
    """`conv2d` and `conv1d`, with the norm and activation after it: windows of `kernel` in each channel."""

    out: PositiveWidth
    kernel: WindowSize
    stride: WindowSize = 1
    padding: Literal["same", "causal"] | WindowSize = "same"
    dilation: DimensionSize = 1
    groups: PositiveWidth = 1
    bias: bool = False
    batch_norm: bool = False
    relu: bool = False

    def compute_output_shape(self, inputs: Sequence[TensorShape]) -> TensorShape:
        """The shape after the windows; the groups must divide the channels on both sides."""
        input_shape = inputs[0]
        if self.op == "conv1d" and (input_shape.width > 1 or isinstance(self.kernel, tuple)):
            problem, expected = "has a window in one dimension only", "conv2d, or a width of 1"
            raise InputError(problem, key="op", value=f"conv1d over {input_shape}", expected=expected)
        for key, channels in (("groups", input_shape.channels), ("out", self.out)):
            if channels % self.groups:
                expected = f"a divisor of {channels} channels"
                raise InputError("does not fit the groups", key=key, value=self.groups, expected=expected)
        return _compute_window_shape(self, input_shape, self.out, self.stride, self.dilation)

    def count_window_values(self, input_shape: TensorShape) -> int:
        """Values of a window in a channel."""
        if isinstance(self.kernel, tuple):
            return math.prod(self.kernel)
        return self.kernel if self.op == "conv1d" or input_shape.width == 1 else self.kernel**2

    def split_parts(self) -> list[ListedOperator]:
        """The convolution, its norm and its activation; the last of them has its name."""
        parts: list[ListedOperator] = [self]
        if self.batch_norm:
            parts.append(NormOp(op="batch_norm", relu=self.relu))
        elif self.relu:
            parts.append(ActivationOp(op="activation"))
        return [*parts[:-1], msgspec.structs.replace(parts[-1], name=self.name)]


class PoolOp(ListedOperator, frozen=True, kw_only=True):
    """`max_pool` and `avg_pool`; `stride`: the kernel's size where it is left out."""

    kernel: WindowSize
    stride: WindowSize | None = None
    padding: Literal["same"] | WindowSize = 0

    def compute_output_shape(self, inputs: Sequence[TensorShape]) -> TensorShape:
        """The shape after the windows."""
        return _compute_window_shape(self, inputs[0], inputs[0].channels, self.stride or self.kernel, 1)


class GlobalPoolOp(ListedOperator, frozen=True, kw_only=True):
    """`global_pool`: the mean of each channel."""

    def compute_output_shape(self, inputs: Sequence[TensorShape]) -> TensorShape:
        """One value a channel."""
        return TensorShape(inputs[0].channels, 1, 1)


class NormOp(ListedOperator, frozen=True, kw_only=True):
    """`batch_norm` and `layer_norm`, with the activation after it."""

    relu: bool = False


class ActivationOp(ListedOperator, frozen=True, kw_only=True):
    """`activation`; gated: half of the channels times the other half, both activated."""

    gated: bool = False

    def compute_output_shape(self, inputs: Sequence[TensorShape]) -> TensorShape:
        """The shape of the input, with half of the channels where it is gated."""
        channels = inputs[0].channels
        if self.gated and channels % 2:
            expected = "an even number of channels before it"
            raise InputError("cannot be halved", key="gated", value=channels, expected=expected)
        return TensorShape(channels // 2, inputs[0].height, inputs[0].width) if self.gated else inputs[0]


class JoinOp(ListedOperator, frozen=True, kw_only=True):
    """`add` and `concat` of the operator before it and those in `with`; `bundle`: handed on together, uncopied."""

    others: list[str] = msgspec.field(name="with")
    relu: bool = False

    def compute_output_shape(self, inputs: Sequence[TensorShape]) -> TensorShape:
        """`add` needs equal shapes, the others equal height and width."""
        first = inputs[0]
        if self.op == "add":
            if any(shape != first for shape in inputs):
                problem, expected = "the inputs have different shapes", "operators that make the same shape"
                raise InputError(problem, key="with", value=", ".join(map(str, inputs)), expected=expected)
            return first
        if any((shape.height, shape.width) != (first.height, first.width) for shape in inputs):
            problem, expected = "the inputs have different sizes", "operators that make the same height and width"
            raise InputError(problem, key="with", value=", ".join(map(str, inputs)), expected=expected)
        return TensorShape(sum(shape.channels for shape in inputs), first.height, first.width)


class TakeOp(ListedOperator, frozen=True, kw_only=True):
    """`take`: a slice of the channels, without a copy."""

    out: PositiveWidth

    def compute_output_shape(self, inputs: Sequence[TensorShape]) -> TensorShape:
        """The shape of the input, with these channels."""
        if self.out > inputs[0].channels:
            expected = f"at most the {inputs[0].channels} channels before it"
            raise InputError("too many channels", key="out", value=self.out, expected=expected)
        return TensorShape(self.out, inputs[0].height, inputs[0].width)


class LinearOp(ListedOperator, frozen=True, kw_only=True):
    """`linear`: the channels of every position times a matrix."""

    out: PositiveWidth
    bias: bool = True

    def compute_output_shape(self, inputs: Sequence[TensorShape]) -> TensorShape:
        """The shape of the input, with these channels."""
        return TensorShape(self.out, inputs[0].height, inputs[0].width)


class AttentionOp(ListedOperator, frozen=True, kw_only=True):
    """`attention` of every position to every other: reads queries, keys and values concatenated."""

    heads: HeadCount
    head_dim: PositiveWidth
    kv_heads: HeadCount | None = None
    causal: bool = False

    def compute_output_shape(self, inputs: Sequence[TensorShape]) -> TensorShape:
        """Needs the channels of queries, keys and values; makes those of the queries."""
        heads, kv_heads, head_dim = self.heads, self.kv_heads or self.heads, self.head_dim
        channels = inputs[0].channels
        if heads % kv_heads:
            expected = f"a divisor of {heads} heads"
            raise InputError("does not fit the heads", key="kv_heads", value=kv_heads, expected=expected)
        required = (heads + 2 * kv_heads) * head_dim
        if channels != required:
            expected = f"{required} channels before it: {heads} queries and twice {kv_heads} keys of {head_dim}"
            raise InputError("does not fit the input", key="heads", value=f"{channels} channels", expected=expected)
        return TensorShape(heads * head_dim, inputs[0].height, inputs[0].width)


class EmbeddingOp(ListedOperator, frozen=True, kw_only=True):
    """`embedding`: a row of a table for every position."""

    vocab: PositiveWidth
    out: PositiveWidth

    def compute_output_shape(self, inputs: Sequence[TensorShape]) -> TensorShape:
        """The shape of the input, with these channels."""
        return TensorShape(self.out, inputs[0].height, inputs[0].width)


class PointwiseOp(ListedOperator, frozen=True, kw_only=True):
    """`pointwise`: any other memory-bound operator, in values read, written and saved per input value."""

    reads: ValuesPerInput = 1.0
    writes: ValuesPerInput = 1.0
    keeps: ValuesPerInput = 0.0
    parameters: Annotated[int, msgspec.Meta(ge=0, le=2**40)] = 0


class LossOp(ListedOperator, frozen=True, kw_only=True):
    """`loss`: cross-entropy over the channels of every position."""


OPERATOR_TYPES: dict[str, type[ListedOperator]] = {
    "conv2d": ConvolutionOp,
    "conv1d": ConvolutionOp,
    "max_pool": PoolOp,
    "avg_pool": PoolOp,
    "global_pool": GlobalPoolOp,
    "batch_norm": NormOp,
    "layer_norm": NormOp,
    "activation": ActivationOp,
    "add": JoinOp,
    "concat": JoinOp,
    "bundle": JoinOp,
    "take": TakeOp,
    "linear": LinearOp,
    "attention": AttentionOp,
    "embedding": EmbeddingOp,
    "pointwise": PointwiseOp,
    "loss": LossOp,
}


def _compute_window_shape(
    op: ConvolutionOp | PoolOp, input_shape: TensorShape, channels: int, stride: WindowSize, dilation: int
) -> TensorShape:
    """The shape after a window over both dimensions, or over the first where there is only one."""
    is_1d = input_shape.width == 1 and not isinstance(op.kernel, tuple)
    strides, kernel = _make_pair(stride), _make_pair(op.kernel)
    if is_1d:
        strides, kernel = (strides[0], 1), (kernel[0], 1)
    sizes = []
    for i, size in enumerate((input_shape.height, input_shape.width)):
        if isinstance(op.padding, str):
            sizes.append(-(-size // strides[i]))
            continue
        padded_size = size + 2 * (0 if is_1d and i else _make_pair(op.padding)[i])
        free_span = padded_size - dilation * (kernel[i] - 1) - 1
        if free_span < 0:
            problem, expected = "the window is larger than its input", f"at most {padded_size}"
            raise InputError(problem, key="kernel", value=kernel[i], expected=expected)
        sizes.append(free_span // strides[i] + 1)
    return TensorShape(channels, *sizes)


def _make_pair(size: WindowSize) -> tuple[int, int]:
    return size if isinstance(size, tuple) else (size, size)
