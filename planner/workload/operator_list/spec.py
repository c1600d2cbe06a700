"""The file of a model that is told as a list of operators, as all are that are no transformers: its keys, validated.

The list is told for one sample. Sizes flow from operator to operator, so that a file states what an operator makes,
not what it is given; `from` and `with` name another operator of the same layer, or "input", the layer's own.
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
    LONGEST,
    MOST_LAYERS,
    Heads,
    Layers,
    Positive,
    Published,
)

Size = Annotated[int, msgspec.Meta(ge=1, le=LONGEST)]
Window = int | tuple[int, int]
"""Of height and width alike, or of each; bounds are checked apart (msgspec mixes those of a number and a tuple)."""
Amount = Annotated[float, msgspec.Meta(ge=0, le=1000)]
_LARGEST_WINDOW = 65_536
INPUT = "input"
_GUIDE = "as in docs/how-to/models.md, Your own list of operators"
_SAMPLE = re.compile(r"[a-z][a-z ]{0,23}")


class _Op(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every operator may say: its name, and whose output it reads where not the one before it."""

    op: str
    name: str = ""
    source: str = msgspec.field(name="from", default="")


class ConvolutionOp(_Op, frozen=True, kw_only=True):
    """`conv2d` and `conv1d`, with the norm and activation after it: windows of `kernel` in each channel."""

    out: Positive
    kernel: Window
    stride: Window = 1
    padding: Literal["same", "causal"] | Window = "same"
    dilation: Size = 1
    groups: Positive = 1
    bias: bool = False
    batch_norm: bool = False
    relu: bool = False


class PoolOp(_Op, frozen=True, kw_only=True):
    """`max_pool` and `avg_pool`; `stride`: the kernel's size where it is left out."""

    kernel: Window
    stride: Window | None = None
    padding: Literal["same"] | Window = 0


class GlobalPoolOp(_Op, frozen=True, kw_only=True):
    """`global_pool`: one mean of each channel."""


class NormOp(_Op, frozen=True, kw_only=True):
    """`batch_norm` and `layer_norm`, with the activation after it."""

    relu: bool = False


class ActivationOp(_Op, frozen=True, kw_only=True):
    """`activation`; gated: one half of the channels times the other, both activated."""

    gated: bool = False


class JoinOp(_Op, frozen=True, kw_only=True):
    """`add` and `concat` of the operator before it and those in `with`; `bundle`: handed on together, uncopied."""

    others: list[str] = msgspec.field(name="with")
    relu: bool = False


class TakeOp(_Op, frozen=True, kw_only=True):
    """`take`: some of the channels, without a copy."""

    out: Positive


class LinearOp(_Op, frozen=True, kw_only=True):
    """`linear`: every place's channels times a matrix."""

    out: Positive
    bias: bool = True


class AttentionOp(_Op, frozen=True, kw_only=True):
    """`attention` of every place to every other: reads queries, keys and values side by side."""

    heads: Heads
    head_dim: Positive
    kv_heads: Heads | None = None
    causal: bool = False


class EmbeddingOp(_Op, frozen=True, kw_only=True):
    """`embedding`: a row of a table for every place."""

    vocab: Positive
    out: Positive


class PointwiseOp(_Op, frozen=True, kw_only=True):
    """`pointwise`: anything else that memory bounds, in values read, written and kept for each value it is given."""

    reads: Amount = 1.0
    writes: Amount = 1.0
    keeps: Amount = 0.0
    parameters: Annotated[int, msgspec.Meta(ge=0, le=2**40)] = 0


class LossOp(_Op, frozen=True, kw_only=True):
    """`loss`: cross-entropy over the channels of every place."""


OPERATORS: dict[str, type[_Op]] = {
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


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table with operators, not yet looked into."""

    operators: Annotated[list[dict[str, object]], msgspec.Meta(min_length=1, max_length=MOST_LAYERS)]
    name: str = ""


class _Layer(_Section, frozen=True, kw_only=True):
    """So many layers of one kind."""

    repeat: Layers = 1


class NetworkFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys of the whole file."""

    name: str
    input: list[Size]
    layers: Annotated[list[_Layer], msgspec.Meta(min_length=1, max_length=MOST_LAYERS)]
    title: str = ""
    sample: str = "sample"
    stem: _Section | None = None
    head: _Section | None = None
    published: Published | None = None


@dataclass(frozen=True)
class Section:
    """Operators of one kind of layer, which comes `repeat` times; `key`: where it stands in its file."""

    name: str
    key: str
    repeat: int
    operators: tuple[_Op, ...]


@dataclass(frozen=True)
class NetworkSpec:
    """A model as a list of operators; `input` is [channels, height, width] or [channels, length]."""

    name: str
    title: str
    sample: str
    input: tuple[int, ...]
    stem: Section
    layers: tuple[Section, ...]
    head: Section
    published: Published | None
    origin: str


def network_of(raw: Mapping[str, object], origin: str) -> NetworkSpec:
    """A list of operators from the keys of its file. Raises InputError naming origin, key and what was expected."""
    if "layers" not in raw and not _mistyped(raw):
        expected = f"[[layers]] with their operators, {_GUIDE}"
        raise InputError(MISSING_KEY_PROBLEM, origin=origin, key="layers", expected=expected)
    file = convert_to_type(raw, NetworkFile, origin)
    if not _SAMPLE.fullmatch(file.sample):
        expected = 'one word in the singular, such as "image"'
        raise InputError("not a name", origin=origin, key="sample", value=file.sample, expected=expected)
    if len(file.input) not in (2, 3):
        expected = "[channels, height, width] or [channels, length]"
        raise InputError("wrong length", origin=origin, key="input", value=file.input, expected=expected)
    count = sum(layer.repeat for layer in file.layers)
    if count > MOST_LAYERS:
        expected = f"at most {MOST_LAYERS:,} layers together"
        raise InputError("too many layers", origin=origin, key="layers", value=count, expected=expected)
    spec = NetworkSpec(
        name=file.name,
        title=file.title or file.name,
        sample=file.sample,
        input=tuple(file.input),
        stem=_section(file.stem, "stem", "stem", origin),
        layers=tuple(
            _section(layer, layer.name or f"layer {i + 1}", f"layers[{i}]", origin, layer.repeat)
            for i, layer in enumerate(file.layers)
        ),
        head=_section(file.head, "head", "head", origin),
        published=file.published,
        origin=origin,
    )
    if len(spec.input) == 2:
        _check_flat(spec)
    return spec


def _check_flat(spec: NetworkSpec) -> None:
    """What has a length alone has nothing for windows of two dimensions. Raises InputError."""
    for section in (spec.stem, *spec.layers, spec.head):
        for i, op in enumerate(section.operators):
            if op.op == "conv2d":
                key, expected = f"{section.key}.operators[{i}].op", "conv1d, or input = [channels, height, width]"
                raise InputError(
                    "slides over two dimensions, the input has a length alone",
                    origin=spec.origin,
                    key=key,
                    value=op.op,
                    expected=expected,
                )


def _mistyped(raw: Mapping[str, object]) -> bool:
    """Whether a key is unknown: maybe one that is missing, written otherwise."""
    return any(key not in NetworkFile.__struct_fields__ for key in raw)


def _section(section: _Section | None, name: str, key: str, origin: str, repeat: int = 1) -> Section:
    """The operators of one table, each by its own keys."""
    raw = section.operators if section is not None else []
    found = tuple(_operator(one, origin, f"{key}.operators[{i}]") for i, one in enumerate(raw))
    return Section(name, key, repeat, found)


def _operator(raw: dict[str, object], origin: str, key: str) -> _Op:
    op = raw.get("op")
    if op is None:
        expected = f"one of {', '.join(sorted(OPERATORS))}"
        raise InputError("missing key", origin=origin, key=f"{key}.op", expected=expected)
    if not isinstance(op, str) or op not in OPERATORS:
        told = op if isinstance(op, str) else type(op).__name__
        raise build_unknown_name_error("operator", told, OPERATORS, origin=origin, key=f"{key}.op")
    found = convert_to_type(raw, OPERATORS[op], origin, key)
    for name, least in (("kernel", 1), ("stride", 1), ("padding", 0)):
        value = getattr(found, name, None)
        sizes = value if isinstance(value, tuple) else (value,)
        if any(isinstance(size, int) and not least <= size <= _LARGEST_WINDOW for size in sizes):
            expected = f"whole numbers from {least} to {_LARGEST_WINDOW:,}"
            raise InputError("out of range", origin=origin, key=f"{key}.{name}", value=raw[name], expected=expected)
    return found
