"""Shapes of the tensors between a layer's operators: the inputs and the output of each."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from planner.errors import InputError, find_nearest_name
from planner.workload.operator_list import spec as file
from planner.workload.operator_list.spec import LAYER_INPUT_NAME, OperatorSection, _OperatorEntry

LAYER_INPUT = -1
"""The index of a layer's input."""


@dataclass(frozen=True)
class TensorShape:
    """The shape of a tensor of one sample."""

    channels: int
    height: int
    width: int

    @property
    def positions(self) -> int:
        """Positions."""
        return self.height * self.width

    @property
    def value_count(self) -> int:
        """Values of all channels."""
        return self.channels * self.positions


@dataclass(frozen=True)
class OperatorStep:
    """An operator with its inputs, by index among the steps (or GIVEN), and its output shape."""

    op: _OperatorEntry
    name: str
    sources: tuple[int, ...]
    input_shape: TensorShape
    output_shape: TensorShape


@dataclass(frozen=True)
class _ErrorLocation:
    """The key of the operator, for messages."""

    origin: str
    key: str

    def build_error(self, problem: str, key: str, value: object, expected: str, suggestion: str = "") -> InputError:
        full_key = f"{self.key}.{key}"
        return InputError(
            problem, origin=self.origin, key=full_key, value=value, expected=expected, suggestion=suggestion
        )


def build_operator_steps(section: OperatorSection, input_shape: TensorShape, origin: str) -> list[OperatorStep]:
    """The steps of a layer in order; a convolution has own steps for its norm and activation. Raises InputError."""
    steps: list[OperatorStep] = []
    names: dict[str, int] = {LAYER_INPUT_NAME: LAYER_INPUT}
    for i, op in enumerate(section.operators):
        location = _ErrorLocation(origin, f"{section.key}.operators[{i}]")
        if op.name in names:
            raise location.build_error(
                "the name is used twice", "name", op.name, "a name that is unique in this layer"
            )
        first_source = _resolve_source(op.source, names, location, "from") if op.source else len(steps) - 1
        others = op.others if isinstance(op, file.JoinOp) else []
        if isinstance(op, file.JoinOp) and not others:
            raise location.build_error("joins nothing", "with", "[]", 'the names of other operators, or "input"')
        sources = (first_source, *(_resolve_source(name, names, location, "with") for name in others))
        for part_op in _split_convolution(op):
            input_shapes = [input_shape if index == LAYER_INPUT else steps[index].output_shape for index in sources]
            name = part_op.name or f"{part_op.op}_{len(steps) + 1}"
            steps.append(
                OperatorStep(
                    part_op, name, sources, input_shapes[0], _compute_output_shape(part_op, input_shapes, location)
                )
            )
            sources = (len(steps) - 1,)
        if op.name:
            names[op.name] = len(steps) - 1
    return steps


def _resolve_source(name: str, names: dict[str, int], location: _ErrorLocation, key: str) -> int:
    if name not in names:
        known_names = sorted(names)
        expected = f"one of {', '.join(known_names)}: an operator above it in the same layer"
        raise location.build_error("unknown operator", key, name, expected, find_nearest_name(name, known_names))
    return names[name]


def _split_convolution(op: _OperatorEntry) -> list[_OperatorEntry]:
    """The steps of a convolution: itself, its norm and its activation."""
    if not isinstance(op, file.ConvolutionOp):
        return [op]
    parts: list[_OperatorEntry] = [op]
    if op.batch_norm:
        parts.append(file.NormOp(op="batch_norm", relu=op.relu))
    elif op.relu:
        parts.append(file.ActivationOp(op="activation"))
    return [*parts[:-1], msgspec.structs.replace(parts[-1], name=op.name)]


def _compute_output_shape(
    op: _OperatorEntry, input_shapes: list[TensorShape], location: _ErrorLocation
) -> TensorShape:
    """The shape of an operator's output."""
    input_shape = input_shapes[0]
    if isinstance(op, file.ConvolutionOp):
        if op.op == "conv1d" and (input_shape.width > 1 or isinstance(op.kernel, tuple)):
            shape_text = f"{input_shape.channels} x {input_shape.height} x {input_shape.width}"
            raise location.build_error(
                "has a window in one dimension only", "op", f"conv1d over {shape_text}", "conv2d, or a width of 1"
            )
        for key, channels in (("groups", input_shape.channels), ("out", op.out)):
            if channels % op.groups:
                raise location.build_error(
                    "does not fit the groups", key, op.groups, f"a divisor of {channels} channels"
                )
        return _compute_window_shape(op, input_shape, op.out, op.stride, op.dilation, location)
    if isinstance(op, file.PoolOp):
        return _compute_window_shape(op, input_shape, input_shape.channels, op.stride or op.kernel, 1, location)
    if isinstance(op, file.GlobalPoolOp):
        return TensorShape(input_shape.channels, 1, 1)
    if isinstance(op, file.JoinOp):
        return _compute_join_shape(op, input_shapes, location)
    if isinstance(op, file.TakeOp) and op.out > input_shape.channels:
        raise location.build_error(
            "too many channels", "out", op.out, f"at most the {input_shape.channels} channels before it"
        )
    if isinstance(op, file.LinearOp | file.EmbeddingOp | file.TakeOp):
        return TensorShape(op.out, input_shape.height, input_shape.width)
    if isinstance(op, file.ActivationOp) and op.gated:
        if input_shape.channels % 2:
            raise location.build_error(
                "cannot be halved", "gated", input_shape.channels, "an even number of channels before it"
            )
        return TensorShape(input_shape.channels // 2, input_shape.height, input_shape.width)
    if isinstance(op, file.AttentionOp):
        return _compute_attention_shape(op, input_shape, location)
    return input_shape


def _compute_window_shape(
    op: file.ConvolutionOp | file.PoolOp,
    input_shape: TensorShape,
    channels: int,
    stride: int | tuple[int, int],
    dilation: int,
    location: _ErrorLocation,
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
        pad = 0 if is_1d and i else _make_pair(op.padding)[i]
        free_span = size + 2 * pad - dilation * (kernel[i] - 1) - 1
        if free_span < 0:
            raise location.build_error(
                "the window is larger than its input", "kernel", kernel[i], f"at most {size + 2 * pad}"
            )
        sizes.append(free_span // strides[i] + 1)
    return TensorShape(channels, *sizes)


def count_window_values(op: file.ConvolutionOp | file.PoolOp, input_shape: TensorShape) -> int:
    """Values of a window in a channel."""
    if isinstance(op.kernel, tuple):
        return op.kernel[0] * op.kernel[1]
    return op.kernel if op.op == "conv1d" or input_shape.width == 1 else op.kernel**2


def _make_pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return size if isinstance(size, tuple) else (size, size)


def _compute_join_shape(op: file.JoinOp, input_shapes: list[TensorShape], location: _ErrorLocation) -> TensorShape:
    """The output of `add`, which needs equal shapes, or of `concat`, which needs equal height and width."""
    first_shape = input_shapes[0]
    shape_texts = ", ".join(f"{shape.channels} x {shape.height} x {shape.width}" for shape in input_shapes)
    if op.op == "add":
        if any(shape != first_shape for shape in input_shapes):
            raise location.build_error(
                "the inputs have different shapes", "with", shape_texts, "operators that make the same shape"
            )
        return first_shape
    if any((shape.height, shape.width) != (first_shape.height, first_shape.width) for shape in input_shapes):
        raise location.build_error(
            "the inputs have different sizes", "with", shape_texts, "operators that make the same height and width"
        )
    return TensorShape(sum(shape.channels for shape in input_shapes), first_shape.height, first_shape.width)


def _compute_attention_shape(op: file.AttentionOp, input_shape: TensorShape, location: _ErrorLocation) -> TensorShape:
    kv_heads = op.kv_heads or op.heads
    if op.heads % kv_heads:
        raise location.build_error("does not fit the heads", "kv_heads", kv_heads, f"a divisor of {op.heads} heads")
    required_channels = (op.heads + 2 * kv_heads) * op.head_dim
    if input_shape.channels != required_channels:
        expected = (
            f"{required_channels} channels before it: {op.heads} queries and twice {kv_heads} keys of {op.head_dim}"
        )
        raise location.build_error("does not fit the input", "heads", f"{input_shape.channels} channels", expected)
    return TensorShape(op.heads * op.head_dim, input_shape.height, input_shape.width)
