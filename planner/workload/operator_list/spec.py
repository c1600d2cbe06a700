"""The file of a model as a list of operators, for models that are no transformers: its keys, validated.

The list describes one sample. Shapes are inferred from operator to operator, so that a file states the outputs of an
operator, not its inputs; `from` and `with` name another operator of the same layer, or "input", the layer's input.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

from planner.decode import MISSING_KEY_PROBLEM, convert_to_type
from planner.errors import InputError, build_unknown_name_error, name_origin
from planner.workload.limits import MAX_LAYERS, LayerCount
from planner.workload.operator_list.operators import OPERATOR_TYPES, DimensionSize, ListedOperator
from planner.workload.spec import PublishedParameters

_MAX_WINDOW = 65_536
_GUIDE_REFERENCE = "as in docs/how-to/models.md, Your own list of operators"
_SAMPLE_PATTERN = re.compile(r"[a-z][a-z ]{0,23}")


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
    operators: tuple[ListedOperator, ...]


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
    with name_origin(origin):
        # an unknown key may be the missing one misspelt: it is named first
        if "layers" not in raw and all(key in OperatorListFile.__struct_fields__ for key in raw):
            expected = f"[[layers]] with their operators, {_GUIDE_REFERENCE}"
            raise InputError(MISSING_KEY_PROBLEM, key="layers", expected=expected)
        spec = _build_spec(convert_to_type(raw, OperatorListFile, origin), origin)
        if len(spec.input_sizes) == 2:
            _check_no_conv2d(spec)
    return spec


def _build_spec(parsed_file: OperatorListFile, origin: str) -> OperatorListSpec:
    if not _SAMPLE_PATTERN.fullmatch(parsed_file.sample):
        expected = 'one word in the singular, such as "image"'
        raise InputError("not a name", key="sample", value=parsed_file.sample, expected=expected)
    if len(parsed_file.input) not in (2, 3):
        expected = "[channels, height, width] or [channels, length]"
        raise InputError("wrong length", key="input", value=parsed_file.input, expected=expected)
    layer_count = sum(layer.repeat for layer in parsed_file.layers)
    if layer_count > MAX_LAYERS:
        expected = f"at most {MAX_LAYERS:,} layers together"
        raise InputError("too many layers", key="layers", value=layer_count, expected=expected)
    return OperatorListSpec(
        name=parsed_file.name,
        title=parsed_file.title or parsed_file.name,
        sample=parsed_file.sample,
        input_sizes=tuple(parsed_file.input),
        stem=_build_section(parsed_file.stem, "stem", "stem"),
        layers=tuple(
            _build_section(layer, layer.name or f"layer {i + 1}", f"layers[{i}]", layer.repeat)
            for i, layer in enumerate(parsed_file.layers)
        ),
        head=_build_section(parsed_file.head, "head", "head"),
        published=parsed_file.published,
        origin=origin,
    )


def _check_no_conv2d(spec: OperatorListSpec) -> None:
    """Raise InputError for a window in two dimensions, where the input has a length only."""
    for section in (spec.stem, *spec.layers, spec.head):
        for i, op in enumerate(section.operators):
            if op.op == "conv2d":
                problem = "has a window in two dimensions, but the input has a length only"
                expected = "conv1d, or input = [channels, height, width]"
                raise InputError(problem, key=f"{section.key}.operators[{i}].op", value=op.op, expected=expected)


def _build_section(entry: _SectionEntry | None, name: str, key: str, repeat: int = 1) -> OperatorSection:
    """The operators of a table, each with its own keys."""
    raw = entry.operators if entry is not None else []
    operators = tuple(_parse_operator(table, f"{key}.operators[{i}]") for i, table in enumerate(raw))
    return OperatorSection(name, key, repeat, operators)


def _parse_operator(raw: dict[str, object], key: str) -> ListedOperator:
    op = raw.get("op")
    if op is None:
        raise InputError("missing key", key=f"{key}.op", expected=f"one of {', '.join(sorted(OPERATOR_TYPES))}")
    if not isinstance(op, str) or op not in OPERATOR_TYPES:
        op_text = op if isinstance(op, str) else type(op).__name__
        raise build_unknown_name_error("operator", op_text, OPERATOR_TYPES, key=f"{key}.op")
    operator = convert_to_type(raw, OPERATOR_TYPES[op], "", key)
    for name, minimum in (("kernel", 1), ("stride", 1), ("padding", 0)):
        value = getattr(operator, name, None)
        sizes = value if isinstance(value, tuple) else (value,)
        if any(isinstance(size, int) and not minimum <= size <= _MAX_WINDOW for size in sizes):
            expected = f"whole numbers from {minimum} to {_MAX_WINDOW:,}"
            raise InputError("out of range", key=f"{key}.{name}", value=raw[name], expected=expected)
    return operator
