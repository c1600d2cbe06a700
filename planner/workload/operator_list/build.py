"""Builds the workload of a list of operators: FLOPs, memory traffic and saved activations of each operator, for one
sample.

A tensor is saved once, by the first multiply that reads it, else by the first operator that needs it. A layer's
output is saved by the layer after it, which reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from planner.errors import InputError, find_nearest_name, name_origin
from planner.workload import operators as workload
from planner.workload.operator_list import operators as listed
from planner.workload.operator_list.operators import ListedOperator, TensorShape
from planner.workload.operator_list.spec import OperatorListSpec, OperatorSection
from planner.workload.operators import VALUE_BYTES, Layer, LayerRun, Workload

_NORM_PASSES = 3
"""A batch norm reads its input for the mean and variance, reads it again, and writes (arXiv 1502.03167, alg. 1)."""
_MULTIPLY_OPS = (listed.ConvolutionOp, listed.LinearOp)
_LAYER_INPUT, _LAYER_INPUT_NAME = -1, "input"
"""The index of a layer's input among its tensors, and its name in `from` and `with`."""


@dataclass(frozen=True)
class OperatorStep:
    """An operator with its inputs, by index among the steps (or _LAYER_INPUT), and its output shape."""

    op: ListedOperator
    name: str
    sources: tuple[int, ...]
    input_shape: TensorShape
    output_shape: TensorShape


def build_from_operators(spec: OperatorListSpec) -> Workload:
    """The operators of `spec`; a sample is one token. Raises InputError where sizes do not fit."""
    shape = TensorShape(*spec.input_sizes, *(1,) * (3 - len(spec.input_sizes)))
    with name_origin(spec.origin):
        stem, shape = _build_section_layer(spec.stem, shape, is_first=True)
        runs: list[LayerRun] = []
        for section in spec.layers:
            is_first = not spec.stem.operators and not runs
            layer, output_shape = _build_section_layer(section, shape, is_first=is_first)
            if section.repeat > 1 and output_shape != shape:
                problem = "a repeated layer must have an output of the shape of its input"
                expected = f"1, or {shape} in place of {output_shape}"
                raise InputError(problem, key=f"{section.key}.repeat", value=section.repeat, expected=expected)
            runs.append(LayerRun(layer, section.repeat))
            shape = output_shape
        head, _ = _build_section_layer(spec.head, shape, is_first=False)
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
        signal_length=spec.input_sizes[1] if len(spec.input_sizes) == 2 else None,
    )


def _build_section_layer(
    section: OperatorSection, input_shape: TensorShape, *, is_first: bool
) -> tuple[Layer, TensorShape]:
    """A layer and its output shape; `is_first`: it reads the data."""
    steps = _build_steps(section, input_shape)
    saving_steps = _assign_saved_tensors(steps)
    operators: list[workload.Operator] = []
    for i, step in enumerate(steps):
        saved_shapes = [
            input_shape if tensor == _LAYER_INPUT else steps[tensor].output_shape
            for tensor, saving_step in saving_steps.items()
            if saving_step == i
        ]
        saving_step = saving_steps.get(i, i)
        operators += _build_operators(
            step,
            [shape.value_count for shape in saved_shapes],
            is_recomputable=saving_step != i and isinstance(steps[saving_step].op, _MULTIPLY_OPS),
            reads_data=is_first and _LAYER_INPUT in step.sources,
        )
    output_shape = steps[-1].output_shape if steps else input_shape
    return Layer(section.name, tuple(operators), tp_all_reduces=0, input_values=input_shape.value_count), output_shape


def _build_steps(section: OperatorSection, input_shape: TensorShape) -> list[OperatorStep]:
    """The steps of a layer in order; a convolution has own steps for its norm and activation. Raises InputError."""
    steps: list[OperatorStep] = []
    names: dict[str, int] = {_LAYER_INPUT_NAME: _LAYER_INPUT}
    for i, op in enumerate(section.operators):
        try:
            sources = _resolve_sources(op, names, len(steps) - 1)
            for part in op.split_parts() if isinstance(op, listed.ConvolutionOp) else [op]:
                inputs = [input_shape if index == _LAYER_INPUT else steps[index].output_shape for index in sources]
                name = part.name or f"{part.op}_{len(steps) + 1}"
                steps.append(OperatorStep(part, name, sources, inputs[0], part.compute_output_shape(inputs)))
                sources = (len(steps) - 1,)
        except InputError as error:
            raise error.relocate("", f"{section.key}.operators[{i}].{error.key}") from None
        if op.name:
            names[op.name] = len(steps) - 1
    return steps


def _resolve_sources(op: ListedOperator, names: dict[str, int], previous: int) -> tuple[int, ...]:
    """The tensors that an operator reads, by index; `previous`: that of the operator before it."""
    if op.name in names:
        problem, expected = "the name is used twice", "a name that is unique in this layer"
        raise InputError(problem, key="name", value=op.name, expected=expected)
    others = op.others if isinstance(op, listed.JoinOp) else []
    references = [("from", op.source)] if op.source else []
    for key, name in [*references, *(("with", other) for other in others)]:
        if name not in names:
            expected = f"one of {', '.join(sorted(names))}: an operator above it in the same layer"
            suggestion = find_nearest_name(name, sorted(names))
            raise InputError("unknown operator", key=key, value=name, expected=expected, suggestion=suggestion)
    if isinstance(op, listed.JoinOp) and not others:
        expected = 'the names of other operators, or "input"'
        raise InputError("joins nothing", key="with", value="[]", expected=expected)
    return (names[op.source] if op.source else previous, *(names[other] for other in others))


def _assign_saved_tensors(steps: list[OperatorStep]) -> dict[int, int]:
    """The step that saves each tensor that is saved in this layer."""
    saving_steps: dict[int, int] = {}
    for i, step in enumerate(steps):
        for tensor in _enumerate_saved_tensors(step, i):
            if tensor == len(steps) - 1:
                continue  # the layer's output is the next layer's input
            saving_op = steps[saving_steps[tensor]].op if tensor in saving_steps else None
            if saving_op is None or (isinstance(step.op, _MULTIPLY_OPS) and not isinstance(saving_op, _MULTIPLY_OPS)):
                saving_steps[tensor] = i
    return saving_steps


def _enumerate_saved_tensors(step: OperatorStep, own_tensor: int) -> Iterator[int]:
    """Tensors that the backward pass of an operator reads, by index; its own output is `own_tensor`."""
    op = step.op
    is_gated = isinstance(op, listed.ActivationOp) and op.gated
    if isinstance(op, (*_MULTIPLY_OPS, listed.NormOp, listed.AttentionOp)) or op.op == "max_pool" or is_gated:
        yield step.sources[0]
    # the gradient of an activation is computed from its output
    has_activation = isinstance(op, listed.NormOp | listed.JoinOp) and op.relu
    if has_activation or (isinstance(op, listed.ActivationOp) and not is_gated):
        yield own_tensor


def _build_operators(
    step: OperatorStep, saved_values: list[int], *, is_recomputable: bool, reads_data: bool
) -> list[workload.Operator]:
    """The operator of the cost model. `saved_values`: values of each tensor that it saves; `is_recomputable`: a
    multiply saves its output, which selective recomputation can compute again; `reads_data`: it reads the data, which
    has no gradient.
    """
    op, input_shape, output_shape = step.op, step.input_shape, step.output_shape
    channels, positions = input_shape.channels, input_shape.positions
    if isinstance(op, listed.ConvolutionOp):
        convolution = workload.Convolution(
            step.name,
            channels,
            op.out,
            op.count_window_values(input_shape),
            output_shape.positions,
            input_shape.value_count,
            op.groups,
            op.bias,
            saves_input=bool(saved_values),
            input_gradient=not reads_data,
        )
        return [convolution]
    if isinstance(op, listed.LinearOp):
        rows, saves_input = float(positions), bool(saved_values)
        return [workload.Linear(step.name, channels, op.out, "none", op.bias, saves_input=saves_input, rows=rows)]
    saved_bytes = float(VALUE_BYTES * sum(saved_values))
    if isinstance(op, listed.AttentionOp):
        heads, kv_heads, size = op.heads, op.kv_heads or op.heads, op.head_dim
        return [
            workload.Pointwise(
                f"{step.name}_heads", "listed", 0, "tensor", listed_bytes=workload.TokenBytes(0.0, saved_bytes)
            ),
            workload.AttentionCore(step.name, heads, kv_heads, size, size, op.causal, attended_rows=positions),
        ]
    if isinstance(op, listed.LossOp):
        return [workload.Loss(step.name, channels, rows=float(positions))]
    if isinstance(op, listed.PointwiseOp):
        saved_bytes += op.keeps * VALUE_BYTES * input_shape.value_count
    pointwise = workload.Pointwise(
        step.name,
        "listed",
        input_shape.value_count,
        "tensor",
        replicated_parameters=_count_parameters(step),
        listed_bytes=workload.TokenBytes(
            float(VALUE_BYTES * _count_moved_values(step)),
            saved_bytes,
            dropped=float(VALUE_BYTES * output_shape.value_count) if is_recomputable else 0.0,
        ),
        fuses_with_convolution=op.op in ("batch_norm", "add", "activation"),
    )
    return [pointwise]


def _count_moved_values(step: OperatorStep) -> float:
    """Values read and written in the forward pass."""
    op, input_values, output_values = step.op, step.input_shape.value_count, step.output_shape.value_count
    if isinstance(op, listed.JoinOp):
        return {"add": len(step.sources) + 1, "concat": 2, "bundle": 0}[op.op] * output_values
    if isinstance(op, listed.TakeOp):
        return 0
    if isinstance(op, listed.EmbeddingOp):
        return 2 * output_values
    if isinstance(op, listed.PointwiseOp):
        return (op.reads + op.writes) * input_values
    return _NORM_PASSES * input_values if op.op == "batch_norm" else input_values + output_values


def _count_parameters(step: OperatorStep) -> int:
    if isinstance(step.op, listed.NormOp):
        return 2 * step.input_shape.channels
    if isinstance(step.op, listed.EmbeddingOp):
        return step.op.vocab * step.op.out
    return step.op.parameters if isinstance(step.op, listed.PointwiseOp) else 0
