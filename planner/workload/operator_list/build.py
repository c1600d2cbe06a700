"""Builds the workload of a list of operators: FLOPs, memory traffic and saved activations of each operator, for one
sample.

A tensor is saved once, by the first multiply that reads it, else by the first operator that needs it. A layer's
output is saved by the layer after it, which reads it.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.errors import InputError
from planner.workload.operator_list import spec as file
from planner.workload.operator_list.shapes import (
    LAYER_INPUT,
    OperatorStep,
    TensorShape,
    build_operator_steps,
    count_window_values,
)
from planner.workload.operator_list.spec import OperatorListSpec, OperatorSection
from planner.workload.operators import (
    VALUE_BYTES,
    AttentionCore,
    Convolution,
    Layer,
    LayerRun,
    Linear,
    Loss,
    Operator,
    Pointwise,
    Workload,
)

_NORM_PASSES = 3
"""A batch norm reads its input for the mean and variance, reads it again, and writes (arXiv 1502.03167, alg. 1)."""


def build_from_operators(spec: OperatorListSpec) -> Workload:
    """The operators of `spec`; a sample is one token. Raises InputError where sizes do not fit."""
    shape = TensorShape(*spec.input_sizes, *(1,) * (3 - len(spec.input_sizes)))
    stem, shape = _build_section_layer(spec.stem, shape, spec.origin, is_first=True)
    runs: list[LayerRun] = []
    for section in spec.layers:
        is_first = not spec.stem.operators and not runs
        layer, output_shape = _build_section_layer(section, shape, spec.origin, is_first=is_first)
        if section.repeat > 1 and output_shape != shape:
            shape_texts = [
                f"{each_shape.channels} x {each_shape.height} x {each_shape.width}"
                for each_shape in (output_shape, shape)
            ]
            raise InputError(
                "a repeated layer must have an output of the shape of its input",
                origin=spec.origin,
                key=f"{section.key}.repeat",
                value=section.repeat,
                expected=f"1, or {shape_texts[1]} in place of {shape_texts[0]}",
            )
        runs.append(LayerRun(layer, section.repeat))
        shape = output_shape
    head, _ = _build_section_layer(spec.head, shape, spec.origin, is_first=False)
    return Workload(
        name=spec.name,
        title=spec.title,
        hidden_size=max(layer.input_values for layer in (*(run.layer for run in runs), head)),
        seq_length=1,
        heads=1,
        kv_heads=1,
        ffn_size=1,
        vocab_size=1,
        experts=0,
        embedding=stem,
        layer_runs=tuple(runs),
        head=head,
        sample_name=spec.sample,
    )


def _build_section_layer(
    section: OperatorSection, input_shape: TensorShape, origin: str, *, is_first: bool
) -> tuple[Layer, TensorShape]:
    """A layer and its output shape; `is_first`: it reads the data."""
    steps = build_operator_steps(section, input_shape, origin)
    saving_steps = _assign_saved_tensors(steps)
    operators: list[Operator] = []
    for i, step in enumerate(steps):
        saved_tensors = [tensor for tensor, saving_step in saving_steps.items() if saving_step == i]
        is_recomputable = (
            i in saving_steps and saving_steps[i] != i and isinstance(steps[saving_steps[i]].op, _MULTIPLY_OPS)
        )
        reads_data = is_first and LAYER_INPUT in step.sources
        operators += _build_operators(
            step,
            [_count_tensor_values(steps, input_shape, tensor) for tensor in saved_tensors],
            is_recomputable=is_recomputable,
            reads_data=reads_data,
        )
    output_shape = steps[-1].output_shape if steps else input_shape
    return Layer(section.name, tuple(operators), tp_all_reduces=0, input_values=input_shape.value_count), output_shape


def _count_tensor_values(steps: list[OperatorStep], input_shape: TensorShape, tensor: int) -> int:
    return input_shape.value_count if tensor == LAYER_INPUT else steps[tensor].output_shape.value_count


_MULTIPLY_OPS = (file.ConvolutionOp, file.LinearOp)


def _enumerate_saved_tensors(step: OperatorStep, own_tensor: int) -> Iterator[int]:
    """Tensors that the backward pass of an operator reads, by index; its own output is `own_tensor`."""
    op = step.op
    saves_input_ops = (*_MULTIPLY_OPS, file.NormOp, file.AttentionOp)
    if isinstance(op, saves_input_ops) or op.op == "max_pool" or (isinstance(op, file.ActivationOp) and op.gated):
        yield step.sources[0]
    # the gradient of an activation is computed from its output
    is_plain_activation = isinstance(op, file.ActivationOp) and not op.gated
    if is_plain_activation or (isinstance(op, file.NormOp | file.JoinOp) and op.relu):
        yield own_tensor


def _assign_saved_tensors(steps: list[OperatorStep]) -> dict[int, int]:
    """The step that saves each tensor that is saved in this layer."""
    saving_steps: dict[int, int] = {}
    for i, step in enumerate(steps):
        for tensor in _enumerate_saved_tensors(step, i):
            if tensor == len(steps) - 1:
                continue  # the layer's output is the next layer's input
            is_multiply = isinstance(step.op, _MULTIPLY_OPS)
            if tensor not in saving_steps or (
                is_multiply and not isinstance(steps[saving_steps[tensor]].op, _MULTIPLY_OPS)
            ):
                saving_steps[tensor] = i
    return saving_steps


def _build_operators(
    step: OperatorStep, saved_values: list[int], *, is_recomputable: bool, reads_data: bool
) -> list[Operator]:
    """The operator of the cost model. `saved_values`: values of each tensor that it saves; `is_recomputable`: a
    multiply saves its output, which selective recomputation can compute again; `reads_data`: it reads the data, which
    has no gradient.
    """
    op, input_shape, output_shape = step.op, step.input_shape, step.output_shape
    if isinstance(op, file.ConvolutionOp):
        size, saves_input = count_window_values(op, input_shape), bool(saved_values)
        return [
            Convolution(
                step.name,
                input_shape.channels,
                op.out,
                size,
                output_shape.positions,
                input_shape.value_count,
                op.groups,
                op.bias,
                saves_input=saves_input,
                input_gradient=not reads_data,
            )
        ]
    if isinstance(op, file.LinearOp):
        rows = float(input_shape.positions)
        return [
            Linear(
                step.name, input_shape.channels, op.out, "none", op.bias, saves_input=bool(saved_values), rows=rows
            )
        ]
    saved_bytes = float(VALUE_BYTES * sum(saved_values))
    if isinstance(op, file.AttentionOp):
        heads, kv_heads, size = op.heads, op.kv_heads or op.heads, op.head_dim
        split_heads = Pointwise(f"{step.name}_heads", 0.0, saved_bytes, "tensor")
        return [
            split_heads,
            AttentionCore(step.name, heads, kv_heads, size, size, op.causal, attended_rows=input_shape.positions),
        ]
    if isinstance(op, file.LossOp):
        return [Loss(step.name, input_shape.channels, rows=float(input_shape.positions))]
    if isinstance(op, file.PointwiseOp):
        saved_bytes += op.keeps * VALUE_BYTES * input_shape.value_count
    dropped_bytes = float(VALUE_BYTES * output_shape.value_count) if is_recomputable else 0.0
    return [
        Pointwise(
            step.name,
            float(VALUE_BYTES * _count_moved_values(step)),
            saved_bytes,
            "tensor",
            replicated_parameters=_count_parameters(step),
            dropped_bytes=dropped_bytes,
            fuses_with_convolution=op.op in ("batch_norm", "add", "activation"),
        )
    ]


def _count_moved_values(step: OperatorStep) -> float:
    """Values read and written in the forward pass."""
    op, input_shape, output_shape = step.op, step.input_shape, step.output_shape
    if op.op in ("take", "bundle"):
        return 0.0
    if op.op == "batch_norm":
        return _NORM_PASSES * input_shape.value_count
    if op.op == "add":
        return (len(step.sources) + 1) * output_shape.value_count
    if op.op == "concat":
        return 2 * output_shape.value_count
    if isinstance(op, file.EmbeddingOp):
        return 2 * output_shape.value_count
    if isinstance(op, file.PointwiseOp):
        return (op.reads + op.writes) * input_shape.value_count
    return input_shape.value_count + output_shape.value_count


def _count_parameters(step: OperatorStep) -> int:
    if isinstance(step.op, file.NormOp):
        return 2 * step.input_shape.channels
    if isinstance(step.op, file.EmbeddingOp):
        return step.op.vocab * step.op.out
    return step.op.parameters if isinstance(step.op, file.PointwiseOp) else 0
