"""The file of a model as a list of operators, for models that are no transformers: its keys, validated.

The list describes one sample. Shapes are inferred from operator to operator, so that a file states the outputs of an
operator, not its inputs; `from` and `with` name another operator of the same layer, or "input", the layer's input.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from planner.decode import MISSING_KEY_PROBLEM, convert_to_type
from planner.errors import InputError, build_unknown_name_error
from planner.workload.spec import (
    MAX_LAYERS,
    MAX_SEQ_LENGTH,
    HeadCount,
    LayerCount,
    PositiveWidth,
    PublishedParameters,
)

DimensionSize = Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQ_LENGTH)]
WindowSize = int | tuple[int, int]
"""For both height and width, or for each; bounds are checked apart, since msgspec cannot tell those of a number from
those of a tuple."""
ValuesPerInput = Annotated[float, msgspec.Meta(ge=0, le=1000)]
_MAX_WINDOW = 65_536
LAYER_INPUT_NAME = "input"
_GUIDE_REFERENCE = "as in docs/how-to/models.md, Your own list of operators"
_SAMPLE_PATTERN = re.compile(r"[a-z][a-z ]{0,23}")


class _OperatorEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys of every operator: its name, and the operator whose output it reads, if not the one before it."""

    op: str
    name: str = ""
    source: str = msgspec.field(name="from", default="")


class ConvolutionOp(_OperatorEntry, frozen=True, kw_only=True):
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


class PoolOp(_OperatorEntry, frozen=True, kw_only=True):
    """`max_pool` and `avg_pool`; `stride`: the kernel's size where it is left out."""

    kernel: WindowSize
    stride: WindowSize | None = None
    padding: Literal["same"] | WindowSize = 0


class GlobalPoolOp(_OperatorEntry, frozen=True, kw_only=True):
    """`global_pool`: the mean of each channel."""


class NormOp(_OperatorEntry, frozen=True, kw_only=True):
    """`batch_norm` and `layer_norm`, with the activation after it."""

    relu: bool = False


class ActivationOp(_OperatorEntry, frozen=True, kw_only=True):
    """`activation`; gated: half of the channels times the other half, both activated."""

    gated: bool = False


class JoinOp(_OperatorEntry, frozen=True, kw_only=True):
    """`add` and `concat` of the operator before it and those in `with`; `bundle`: handed on together, uncopied."""

    others: list[str] = msgspec.field(name="with")
    relu: bool = False


class TakeOp(_OperatorEntry, frozen=True, kw_only=True):
    """`take`: a slice of the channels, without a copy."""

    out: PositiveWidth


class LinearOp(_OperatorEntry, frozen=True, kw_only=True):
    """`linear`: the channels of every position times a matrix."""

    out: PositiveWidth
    bias: bool = True


class AttentionOp(_OperatorEntry, frozen=True, kw_only=True):
    """`attention` of every position to every other: reads queries, keys and values concatenated."""

    heads: HeadCount
    head_dim: PositiveWidth
    kv_heads: HeadCount | None = None
    causal: bool = False


class EmbeddingOp(_OperatorEntry, frozen=True, kw_only=True):
    """`embedding`: a row of a table for every position."""

    vocab: PositiveWidth
    out: PositiveWidth


class PointwiseOp(_OperatorEntry, frozen=True, kw_only=True):
    """`pointwise`: any other memory-bound operator, in values read, written and saved per input value."""

    reads: ValuesPerInput = 1.0
    writes: ValuesPerInput = 1.0
    keeps: ValuesPerInput = 0.0
    parameters: Annotated[int, msgspec.Meta(ge=0, le=2**40)] = 0


class LossOp(_OperatorEntry, frozen=True, kw_only=True):
    """`loss`: cross-entropy over the channels of every position."""


OPERATOR_TYPES: dict[str, type[_OperatorEntry]] = {
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


class _SectionEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table with operators that are not yet parsed."""

    operators: Annotated[list[dict[str, object]], msgspec.Meta(min_length=1, max_length=MAX_LAYERS)]
    name: str = ""


class _LayerEntry(_SectionEntry, frozen=True, kw_only=True):
    """A number of equal layers."""

    repeat: LayerCount = 1


class OperatorListFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys of the whole file."""

    name: str
    input: list[DimensionSize]
    layers: Annotated[list[_LayerEntry], msgspec.Meta(min_length=1, max_length=MAX_LAYERS)]
    title: str = ""
    sample: str = "sample"
    stem: _SectionEntry | None = None
    head: _SectionEntry | None = None
    published: PublishedParameters | None = None


@dataclass(frozen=True)
class OperatorSection:
    """Operators of a layer, which is repeated `repeat` times; `key`: its place in the file."""

    name: str
    key: str
    repeat: int
    operators: tuple[_OperatorEntry, ...]


@dataclass(frozen=True)
class OperatorListSpec:
    """A model as a list of operators; `input_sizes` is [channels, height, width] or [channels, length]."""

    name: str
    title: str
    sample: str
    input_sizes: tuple[int, ...]
    stem: OperatorSection
    layers: tuple[OperatorSection, ...]
    head: OperatorSection
    published: PublishedParameters | None
    origin: str


def parse_operator_list(raw: Mapping[str, object], origin: str) -> OperatorListSpec:
    """A list of operators from the keys of its file. Raises InputError with origin, key and expected value."""
    if "layers" not in raw and not _has_unknown_key(raw):
        expected = f"[[layers]] with their operators, {_GUIDE_REFERENCE}"
        raise InputError(MISSING_KEY_PROBLEM, origin=origin, key="layers", expected=expected)
    parsed_file = convert_to_type(raw, OperatorListFile, origin)
    if not _SAMPLE_PATTERN.fullmatch(parsed_file.sample):
        expected = 'one word in the singular, such as "image"'
        raise InputError("not a name", origin=origin, key="sample", value=parsed_file.sample, expected=expected)
    if len(parsed_file.input) not in (2, 3):
        expected = "[channels, height, width] or [channels, length]"
        raise InputError("wrong length", origin=origin, key="input", value=parsed_file.input, expected=expected)
    layer_count = sum(layer.repeat for layer in parsed_file.layers)
    if layer_count > MAX_LAYERS:
        expected = f"at most {MAX_LAYERS:,} layers together"
        raise InputError("too many layers", origin=origin, key="layers", value=layer_count, expected=expected)
    spec = OperatorListSpec(
        name=parsed_file.name,
        title=parsed_file.title or parsed_file.name,
        sample=parsed_file.sample,
        input_sizes=tuple(parsed_file.input),
        stem=_build_section(parsed_file.stem, "stem", "stem", origin),
        layers=tuple(
            _build_section(layer, layer.name or f"layer {i + 1}", f"layers[{i}]", origin, layer.repeat)
            for i, layer in enumerate(parsed_file.layers)
        ),
        head=_build_section(parsed_file.head, "head", "head", origin),
        published=parsed_file.published,
        origin=origin,
    )
    if len(spec.input_sizes) == 2:
        _check_conv2d_input(spec)
    return spec


def _check_conv2d_input(spec: OperatorListSpec) -> None:
    """Raise InputError for a window in two dimensions where the input has a length only."""
    for section in (spec.stem, *spec.layers, spec.head):
        for i, op in enumerate(section.operators):
            if op.op == "conv2d":
                key, expected = f"{section.key}.operators[{i}].op", "conv1d, or input = [channels, height, width]"
                raise InputError(
                    "has a window in two dimensions, but the input has a length only",
                    origin=spec.origin,
                    key=key,
                    value=op.op,
                    expected=expected,
                )


def _has_unknown_key(raw: Mapping[str, object]) -> bool:
    """Whether a table has an unknown key, which may be the missing key misspelt."""
    return any(key not in OperatorListFile.__struct_fields__ for key in raw)


def _build_section(entry: _SectionEntry | None, name: str, key: str, origin: str, repeat: int = 1) -> OperatorSection:
    """The operators of a table, each with its own keys."""
    raw = entry.operators if entry is not None else []
    operators = tuple(_parse_operator(table, origin, f"{key}.operators[{i}]") for i, table in enumerate(raw))
    return OperatorSection(name, key, repeat, operators)


def _parse_operator(raw: dict[str, object], origin: str, key: str) -> _OperatorEntry:
    op = raw.get("op")
    if op is None:
        expected = f"one of {', '.join(sorted(OPERATOR_TYPES))}"
        raise InputError("missing key", origin=origin, key=f"{key}.op", expected=expected)
    if not isinstance(op, str) or op not in OPERATOR_TYPES:
        op_text = op if isinstance(op, str) else type(op).__name__
        raise build_unknown_name_error("operator", op_text, OPERATOR_TYPES, origin=origin, key=f"{key}.op")
    operator = convert_to_type(raw, OPERATOR_TYPES[op], origin, key)
    for name, minimum in (("kernel", 1), ("stride", 1), ("padding", 0)):
        value = getattr(operator, name, None)
        sizes = value if isinstance(value, tuple) else (value,)
        if any(isinstance(size, int) and not minimum <= size <= _MAX_WINDOW for size in sizes):
            expected = f"whole numbers from {minimum} to {_MAX_WINDOW:,}"
            raise InputError("out of range", origin=origin, key=f"{key}.{name}", value=raw[name], expected=expected)
    return operator
