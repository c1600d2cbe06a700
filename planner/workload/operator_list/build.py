"""From a model that is told as a list of operators to a workload: what each operator multiplies, moves and keeps for
the backward pass of one sample.

A tensor is kept once, by the first multiply that reads it, else by the first operator that needs it. A layer's output
is kept by the layer after it, which reads it.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.errors import InputError
from planner.workload.operator_list import spec as file
from planner.workload.operator_list.shapes import GIVEN, Shape, Step, steps_of, window
from planner.workload.operator_list.spec import NetworkSpec, Section
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


def build_network(spec: NetworkSpec) -> Workload:
    """The operators of `spec`; a sample is one token. Raises InputError where sizes do not fit."""
    shape = Shape(*spec.input, *(1,) * (3 - len(spec.input)))
    stem, shape = _layer(spec.stem, shape, spec.origin, first=True)
    runs: list[LayerRun] = []
    for section in spec.layers:
        first = not spec.stem.operators and not runs
        layer, made = _layer(section, shape, spec.origin, first=first)
        if section.repeat > 1 and made != shape:
            told = [f"{one.channels} x {one.height} x {one.width}" for one in (made, shape)]
            raise InputError(
                "a layer that repeats must make what it is given",
                origin=spec.origin,
                key=f"{section.key}.repeat",
                value=section.repeat,
                expected=f"1, or {told[1]} in place of {told[0]}",
            )
        runs.append(LayerRun(layer, section.repeat))
        shape = made
    head, _ = _layer(spec.head, shape, spec.origin, first=False)
    return Workload(
        name=spec.name,
        title=spec.title,
        hidden_size=max(layer.inputs for layer in (*(run.layer for run in runs), head)),
        seq_length=1,
        heads=1,
        kv_heads=1,
        ffn_size=1,
        vocab_size=1,
        experts=0,
        embedding=stem,
        runs=tuple(runs),
        head=head,
        sample=spec.sample,
    )


def _layer(section: Section, given: Shape, origin: str, *, first: bool) -> tuple[Layer, Shape]:
    """One kind of layer, and the shape that it makes; `first`: it reads the data."""
    steps = steps_of(section, given, origin)
    keepers = _keepers(steps)
    operators: list[Operator] = []
    for i, step in enumerate(steps):
        kept = [tensor for tensor, keeper in keepers.items() if keeper == i]
        reread = i in keepers and keepers[i] != i and isinstance(steps[keepers[i]].op, _MULTIPLIES)
        data = first and GIVEN in step.sources
        operators += _operators(step, [_values(steps, given, tensor) for tensor in kept], reread=reread, data=data)
    made = steps[-1].made if steps else given
    return Layer(section.name, tuple(operators), tensor_exchanges=0, inputs=given.values), made


def _values(steps: list[Step], given: Shape, tensor: int) -> int:
    return given.values if tensor == GIVEN else steps[tensor].made.values


_MULTIPLIES = (file.ConvolutionOp, file.LinearOp)


def _needed(step: Step, own: int) -> Iterator[int]:
    """Tensors that the backward pass of an operator reads, by index; its own output is `own`."""
    op = step.op
    kept_input = (*_MULTIPLIES, file.NormOp, file.AttentionOp)
    if isinstance(op, kept_input) or op.op == "max_pool" or (isinstance(op, file.ActivationOp) and op.gated):
        yield step.sources[0]
    # an activation is undone from what it made
    plain = isinstance(op, file.ActivationOp) and not op.gated
    if plain or (isinstance(op, file.NormOp | file.JoinOp) and op.relu):
        yield own


def _keepers(steps: list[Step]) -> dict[int, int]:
    """For each tensor that is kept in this layer the step that keeps it."""
    keepers: dict[int, int] = {}
    for i, step in enumerate(steps):
        for tensor in _needed(step, i):
            if tensor == len(steps) - 1:
                continue  # the layer's output: the next one's input
            multiply = isinstance(step.op, _MULTIPLIES)
            if tensor not in keepers or (multiply and not isinstance(steps[keepers[tensor]].op, _MULTIPLIES)):
                keepers[tensor] = i
    return keepers


def _operators(step: Step, kept: list[int], *, reread: bool, data: bool) -> list[Operator]:
    """What an operator is to the cost model; `kept`: values of each tensor that it keeps. `reread`: a multiply keeps
    what it makes, which selective recomputation can make again. `data`: it reads the data, which has no gradient.
    """
    op, given, made = step.op, step.given, step.made
    if isinstance(op, file.ConvolutionOp):
        size, keeps = window(op, given), bool(kept)
        return [
            Convolution(
                step.name,
                given.channels,
                op.out,
                size,
                made.places,
                given.values,
                op.groups,
                op.bias,
                saves_input=keeps,
                input_gradient=not data,
            )
        ]
    if isinstance(op, file.LinearOp):
        rows = float(given.places)
        return [Linear(step.name, given.channels, op.out, "none", op.bias, saves_input=bool(kept), rows=rows)]
    saved = float(VALUE_BYTES * sum(kept))
    if isinstance(op, file.AttentionOp):
        heads, keys, size = op.heads, op.kv_heads or op.heads, op.head_dim
        split = Pointwise(f"{step.name}_heads", 0.0, saved, "tensor")
        return [split, AttentionCore(step.name, heads, keys, size, size, op.causal, length=given.places)]
    if isinstance(op, file.LossOp):
        return [Loss(step.name, given.channels, rows=float(given.places))]
    if isinstance(op, file.PointwiseOp):
        saved += op.keeps * VALUE_BYTES * given.values
    dropped = float(VALUE_BYTES * made.values) if reread else 0.0
    return [
        Pointwise(
            step.name,
            float(VALUE_BYTES * _moved(step)),
            saved,
            "tensor",
            replicated_parameters=_parameters(step),
            dropped_bytes=dropped,
            beside_convolution=op.op in ("batch_norm", "add", "activation"),
        )
    ]


def _moved(step: Step) -> float:
    """Values read and written in the forward pass."""
    op, given, made = step.op, step.given, step.made
    if op.op in ("take", "bundle"):
        return 0.0
    if op.op == "batch_norm":
        return _NORM_PASSES * given.values
    if op.op == "add":
        return (len(step.sources) + 1) * made.values
    if op.op == "concat":
        return 2 * made.values
    if isinstance(op, file.EmbeddingOp):
        return 2 * made.values
    if isinstance(op, file.PointwiseOp):
        return (op.reads + op.writes) * given.values
    return given.values + made.values


def _parameters(step: Step) -> int:
    if isinstance(step.op, file.NormOp):
        return 2 * step.given.channels
    if isinstance(step.op, file.EmbeddingOp):
        return step.op.vocab * step.op.out
    return step.op.parameters if isinstance(step.op, file.PointwiseOp) else 0
