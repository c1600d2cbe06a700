"""Sizes on the way through a layer's operators: what each reads, and what it makes."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from planner.errors import InputError, find_nearest_name
from planner.workload.operator_list import spec as file
from planner.workload.operator_list.spec import INPUT, Section, _Op

GIVEN = -1
"""The index of a layer's input."""


@dataclass(frozen=True)
class Shape:
    """What one sample has at one place of the network."""

    channels: int
    height: int
    width: int

    @property
    def places(self) -> int:
        """Positions."""
        return self.height * self.width

    @property
    def values(self) -> int:
        """Values of all channels."""
        return self.channels * self.places


@dataclass(frozen=True)
class Step:
    """One operator with what it reads, by index among the steps (or GIVEN), and the shape that it makes."""

    op: _Op
    name: str
    sources: tuple[int, ...]
    given: Shape
    made: Shape


@dataclass(frozen=True)
class _Fault:
    """Where an error is told."""

    origin: str
    key: str

    def of(self, problem: str, key: str, value: object, expected: str, suggestion: str = "") -> InputError:
        where = f"{self.key}.{key}"
        return InputError(
            problem, origin=self.origin, key=where, value=value, expected=expected, suggestion=suggestion
        )


def steps_of(section: Section, given: Shape, origin: str) -> list[Step]:
    """The operators of one layer in order, a convolution's norm and activation as their own. Raises InputError."""
    steps: list[Step] = []
    names: dict[str, int] = {INPUT: GIVEN}
    for i, op in enumerate(section.operators):
        fault = _Fault(origin, f"{section.key}.operators[{i}]")
        if op.name in names:
            raise fault.of("the name is taken", "name", op.name, "a name of its own in this layer")
        first = _found(op.source, names, fault, "from") if op.source else len(steps) - 1
        others = op.others if isinstance(op, file.JoinOp) else []
        if isinstance(op, file.JoinOp) and not others:
            raise fault.of("joins nothing", "with", "[]", 'the names of other operators, or "input"')
        sources = (first, *(_found(name, names, fault, "with") for name in others))
        for part in _parts(op):
            read = [given if at == GIVEN else steps[at].made for at in sources]
            name = part.name or f"{part.op}_{len(steps) + 1}"
            steps.append(Step(part, name, sources, read[0], _made(part, read, fault)))
            sources = (len(steps) - 1,)
        if op.name:
            names[op.name] = len(steps) - 1
    return steps


def _found(name: str, names: dict[str, int], fault: _Fault, key: str) -> int:
    if name not in names:
        known = sorted(names)
        expected = f"one of {', '.join(known)}: an operator above it in the same layer"
        raise fault.of("unknown operator", key, name, expected, find_nearest_name(name, known))
    return names[name]


def _parts(op: _Op) -> list[_Op]:
    """A convolution as itself, its norm and its activation."""
    if not isinstance(op, file.ConvolutionOp):
        return [op]
    parts: list[_Op] = [op]
    if op.batch_norm:
        parts.append(file.NormOp(op="batch_norm", relu=op.relu))
    elif op.relu:
        parts.append(file.ActivationOp(op="activation"))
    return [*parts[:-1], msgspec.structs.replace(parts[-1], name=op.name)]


def _made(op: _Op, read: list[Shape], fault: _Fault) -> Shape:
    """The shape of an operator's output."""
    given = read[0]
    if isinstance(op, file.ConvolutionOp):
        if op.op == "conv1d" and (given.width > 1 or isinstance(op.kernel, tuple)):
            shown = f"{given.channels} x {given.height} x {given.width}"
            raise fault.of("slides over one dimension", "op", f"conv1d over {shown}", "conv2d, or a width of 1")
        for key, channels in (("groups", given.channels), ("out", op.out)):
            if channels % op.groups:
                raise fault.of("does not fit the groups", key, op.groups, f"a divisor of {channels} channels")
        return _slid(op, given, op.out, op.stride, op.dilation, fault)
    if isinstance(op, file.PoolOp):
        return _slid(op, given, given.channels, op.stride or op.kernel, 1, fault)
    if isinstance(op, file.GlobalPoolOp):
        return Shape(given.channels, 1, 1)
    if isinstance(op, file.JoinOp):
        return _joined(op, read, fault)
    if isinstance(op, file.TakeOp) and op.out > given.channels:
        raise fault.of("more than there are", "out", op.out, f"at most the {given.channels} channels before it")
    if isinstance(op, file.LinearOp | file.EmbeddingOp | file.TakeOp):
        return Shape(op.out, given.height, given.width)
    if isinstance(op, file.ActivationOp) and op.gated:
        if given.channels % 2:
            raise fault.of("cannot be halved", "gated", given.channels, "an even number of channels before it")
        return Shape(given.channels // 2, given.height, given.width)
    if isinstance(op, file.AttentionOp):
        return _attended(op, given, fault)
    return given


def _slid(
    op: file.ConvolutionOp | file.PoolOp,
    given: Shape,
    channels: int,
    stride: int | tuple[int, int],
    dilation: int,
    fault: _Fault,
) -> Shape:
    """A window slid over both dimensions; over the first alone where there is one."""
    flat = given.width == 1 and not isinstance(op.kernel, tuple)
    steps, kernel = _both(stride), _both(op.kernel)
    if flat:
        steps, kernel = (steps[0], 1), (kernel[0], 1)
    sizes = []
    for i, size in enumerate((given.height, given.width)):
        if isinstance(op.padding, str):
            sizes.append(-(-size // steps[i]))
            continue
        pad = 0 if flat and i else _both(op.padding)[i]
        room = size + 2 * pad - dilation * (kernel[i] - 1) - 1
        if room < 0:
            raise fault.of("larger than what it slides over", "kernel", kernel[i], f"at most {size + 2 * pad}")
        sizes.append(room // steps[i] + 1)
    return Shape(channels, *sizes)


def window(op: file.ConvolutionOp | file.PoolOp, given: Shape) -> int:
    """Values of one window in one channel."""
    if isinstance(op.kernel, tuple):
        return op.kernel[0] * op.kernel[1]
    return op.kernel if op.op == "conv1d" or given.width == 1 else op.kernel**2


def _both(size: int | tuple[int, int]) -> tuple[int, int]:
    return size if isinstance(size, tuple) else (size, size)


def _joined(op: file.JoinOp, read: list[Shape], fault: _Fault) -> Shape:
    """Added where all are alike, side by side where places are."""
    first = read[0]
    told = ", ".join(f"{one.channels} x {one.height} x {one.width}" for one in read)
    if op.op == "add":
        if any(one != first for one in read):
            raise fault.of("not of one shape", "with", told, "operators that make the same shape")
        return first
    if any((one.height, one.width) != (first.height, first.width) for one in read):
        raise fault.of("not of one size", "with", told, "operators that make the same height and width")
    return Shape(sum(one.channels for one in read), first.height, first.width)


def _attended(op: file.AttentionOp, given: Shape, fault: _Fault) -> Shape:
    keys = op.kv_heads or op.heads
    if op.heads % keys:
        raise fault.of("does not fit the heads", "kv_heads", keys, f"a divisor of {op.heads} heads")
    wanted = (op.heads + 2 * keys) * op.head_dim
    if given.channels != wanted:
        expected = f"{wanted} channels before it: {op.heads} queries and twice {keys} keys of {op.head_dim}"
        raise fault.of("does not fit what it reads", "heads", f"{given.channels} channels", expected)
    return Shape(op.heads * op.head_dim, given.height, given.width)
