"""Techniques that make training cheaper, as pure functions from one question to another, and what each changes.

What they cost in accuracy is not modelled and told as unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import get_args

from planner.cost.flops import forward_flops
from planner.cost.operators.compute import in_16_bit, peak_16_bit
from planner.cost.scenario import Training
from planner.cost.techniques.operator_time import is_adapted, is_pruned
from planner.errors import InputError
from planner.workload.operators import (
    ExpertLinear,
    Layer,
    LayerRun,
    Linear,
    Loss,
    Operator,
    Workload,
)
from planner.workload.techniques import (
    WEIGHT_16BIT,
    Lora,
    LowRank,
    Optimizer,
    Pruning,
    Teacher,
)

OPTIMIZERS: tuple[Optimizer, ...] = get_args(Optimizer)
UNKNOWN = "unknown"
_FOUR_BIT_BYTES = 0.5 + 0.127 / 8
"""NormalFloat4 with its blocks' constants quantised once more: 0.127 bits a parameter (arXiv 2305.14314)."""
_MOMENT = 4.0
_EIGHT_BIT_MOMENT = 1.0 + 4.0 / 2048
"""One byte, and a 32-bit constant of each block of 2,048 (Dettmers et al. 2021, arXiv 2110.02861)."""
SPARSE = ("ampere", "ada", "hopper", "blackwell", "blackwell-ultra")
"""Architectures whose matrix units take 2:4 weights at twice the dense rate (arXiv 2104.08378; later data sheets)."""
_SPARSE_SPEED = 1.3
"""Of the MLP's multiplies forward and backward, pruning each step included (PyTorch blog, Accelerating neural network
training with semi-structured sparsity, June 2024: ViT-L on A100); never measured on a later part."""
_SPARSE_BYTES = WEIGHT_16BIT * 9 / 16
"""The compressed copy beside the dense weight: half the values, and two bits that say which for each of them."""
_MASK_BYTES = 1 / 8
_NEWTON_SCHULZ = 5
"""Iterations of one update (Jordan et al. 2024, Muon)."""


@dataclass(frozen=True)
class Technique:
    """One technique in words: what it changes; `accuracy` is what it costs there."""

    name: str
    changes: tuple[str, ...]
    accuracy: str = UNKNOWN


def with_optimizer(training: Training, name: Optimizer) -> Training:
    """The same with another optimizer's state: bytes for each trained parameter beside the framework's master copy.

    Adam and LAMB keep two 32-bit moments, Adam in 8 bit two of one byte, SGD with momentum one; Adafactor one value a
    row and column (arXiv 1804.04235); Muon momentum of matrices, two moments of the rest.
    """
    rest = _share(training.workload, lambda op: not isinstance(op, Linear | ExpertLinear))
    sides = 2.0 / training.workload.hidden_size
    moments = {
        "adamw": 2 * _MOMENT,
        "lamb": 2 * _MOMENT,
        "adam8bit": 2 * _EIGHT_BIT_MOMENT,
        "sgd": _MOMENT,
        "adafactor": sides * _MOMENT,
        "muon": (1.0 + rest) * _MOMENT,
    }[name]
    own = training.framework
    # the framework's own state ends with Adam's two moments
    held = replace(own, optimizer=own.optimizer - 2 * _MOMENT + moments)
    flops = _newton_schulz_flops(training.workload) if name == "muon" else 0.0
    return _changed(replace(training, framework=held), optimizer=name, optimizer_flops=flops)


def _newton_schulz_flops(workload: Workload) -> float:
    """FLOPs of Muon's update for each parameter of the model: with m <= n the sides of a matrix, an iteration makes
    X X^T, its square, and their product with X: 4 n m^2 + 2 m^3.
    """
    total = 0.0
    for run in workload.runs:
        for op in run.layer.operators:
            if isinstance(op, Linear | ExpertLinear):
                m, n = sorted((op.inputs, op.outputs))
                matrices = op.experts if isinstance(op, ExpertLinear) else 1
                total += run.count * matrices * _NEWTON_SCHULZ * (4.0 * n * m * m + 2.0 * m**3)
    return total / workload.parameters


def with_low_rank(training: Training, share: float) -> Training:
    """Every matrix of the layers as the product of two of `share` of its rank, where that is smaller.

    A column-cut matrix is made narrow on every rank and wide by parts, a row-cut one the other way round.
    """
    workload = training.workload
    runs = tuple(LayerRun(_factored(run.layer, share), run.count) for run in workload.runs)
    thin = replace(workload, runs=runs)
    if thin.parameters >= workload.parameters:
        expected = "less than 0.5: of a square matrix two factors of half its rank are as large"
        raise InputError("makes no matrix smaller", key="--low-rank", value=share, expected=expected)
    return _changed(replace(training, workload=thin), low_rank=LowRank(share, workload.parameters))


def _factored(layer: Layer, share: float) -> Layer:
    operators: list[Operator] = []
    for op in layer.operators:
        operators += _factors(op, share) if isinstance(op, Linear | ExpertLinear) else [op]
    return replace(layer, operators=tuple(operators))


def _factors(op: Linear | ExpertLinear, share: float) -> list[Operator]:
    """The two factors of a matrix; itself where they would be larger, or where it stays in full precision."""
    rank = max(1, round(share * min(op.inputs, op.outputs)))
    if rank * (op.inputs + op.outputs) >= op.inputs * op.outputs:
        return [op]
    if isinstance(op, ExpertLinear):
        return [replace(op, outputs=rank, bias=False), replace(op, inputs=rank)]
    if op.full_precision or op.tied:
        return [op]
    down = Linear(f"{op.name}_narrow", op.inputs, rank, "row" if op.shard == "row" else "none", rows=op.rows)
    down = replace(down, saves_input=op.saves_input)
    return [down, replace(op, inputs=rank, shard="column" if op.shard == "column" else "none", saves_input=True)]


def with_lora(training: Training, rank: int, bits: int = 16) -> Training:
    """Only adapters of `rank` beside every matrix of the layers are trained; the rest is frozen in 16 bit, or its
    matrices in 4.
    """
    workload = training.workload
    adapters = sum(
        run.count * rank * (op.inputs + op.outputs) * (op.experts if isinstance(op, ExpertLinear) else 1)
        for run in workload.runs
        for op in run.layer.operators
        if is_adapted(op) and isinstance(op, Linear | ExpertLinear)
    )
    if not adapters:
        expected = "a model whose layers have matrices"
        raise InputError("nothing to adapt", key="--lora", value=rank, expected=expected)
    quantised = _share(workload, is_adapted) if bits == 4 else 0.0
    frozen = quantised * _FOUR_BIT_BYTES + (1.0 - quantised) * WEIGHT_16BIT
    return _changed(training, lora=Lora(rank, bits, adapters / workload.parameters, frozen))


def with_pruning(training: Training, sparsity: float | None = None) -> Training:
    """The MLP's weights with two of each four zero (None), or a share of them wherever they are.

    Where the units take 2:4 weights their multiplies are faster; other zeros are multiplied like any number.
    """
    share = _share(training.workload, is_pruned)
    if not share:
        expected = "a transformer with dense MLPs"
        raise InputError("nothing to prune", key="--prune", value=training.workload.name, expected=expected)
    if sparsity is not None:
        return _changed(training, pruning=Pruning("unstructured", sparsity, share, _MASK_BYTES, 1.0))
    fast = training.accelerator.architecture in SPARSE and in_16_bit(training, full_precision=False)
    speed, beside = (_SPARSE_SPEED, _SPARSE_BYTES) if fast else (1.0, _MASK_BYTES)
    return _changed(training, pruning=Pruning("2:4", 0.5, share, beside, speed))


def with_teacher(training: Training, teacher: Workload) -> Training:
    """The same with a teacher's forward pass over the same samples.

    Raises InputError for a teacher of other samples, or whose logits are not as many.
    """
    student = training.workload
    own, other = _predicted(student), _predicted(teacher)
    if teacher.sample != student.sample:
        problem = f"{teacher.name} is trained on {teacher.sample}s, {student.name} on {student.sample}s"
        raise InputError(
            problem, key="--distil", value=teacher.name, expected=f"a teacher that is trained on {student.sample}s"
        )
    if other != own:
        a, same = ("token", "the same vocabulary") if student.has_tokens else (student.sample, "as many classes")
        problem = f"{teacher.name} has {_logits(other)} a {a}, {student.name} {_logits(own)}"
        raise InputError(problem, key="--distil", value=teacher.name, expected=f"a teacher with {same}")
    # a teacher reads the student's tokens; of an image it makes its own
    seen = replace(teacher, seq_length=student.seq_length) if student.has_tokens else teacher
    flops = forward_flops(seen, "causal" if training.attention == "flash" else "full")
    flops *= seen.seq_length / student.seq_length
    return _changed(training, teacher=Teacher(teacher.name, teacher.parameters, flops))


def _predicted(workload: Workload) -> tuple[int, int]:
    """Classes that a prediction is one of, and predictions for each sample, of language for each token.

    0 classes where nothing is predicted.
    """
    if workload.has_tokens:
        return workload.vocab_size, 1
    layers = [workload.embedding, *(run.layer for run in workload.runs), workload.head]
    losses = [op for layer in layers for op in layer.operators if isinstance(op, Loss)]
    if not losses:
        return 0, 0
    return losses[-1].vocab_size, round(losses[-1].rows * workload.seq_length)


def _logits(predicted: tuple[int, int]) -> str:
    classes, places = predicted
    return f"{classes:,} logits" if places == 1 else f"{places:,} times {classes:,} logits" if places else "no logits"


def _changed(training: Training, **changes: object) -> Training:
    return replace(training, techniques=replace(training.techniques, **changes))  # type: ignore[arg-type]


def _share(workload: Workload, chosen: Callable[[Operator], bool]) -> float:
    """Share of the model's parameters that are in the chosen operators, of layers, embedding and head."""
    layers = [(run.layer, run.count) for run in workload.runs] + [(workload.embedding, 1), (workload.head, 1)]
    own = sum(count * Layer("", (op,)).parameters for layer, count in layers for op in layer.operators if chosen(op))
    return own / workload.parameters


def techniques(training: Training) -> Iterator[Technique]:
    """What the question is trained with beside the usual, in words."""
    if not in_16_bit(training, full_precision=False):
        yield _narrow(training)
    yield from filter(None, (make(training) for make in (_optimizer, _low_rank, _lora, _pruning, _teacher)))


def _narrow(training: Training) -> Technique:
    times = training.accelerator.peak(training.precision) / peak_16_bit(training)
    kept = "kept inputs of multiplies are narrow" if training.framework.saves_quantised else "kept inputs stay wide"
    return Technique(
        f"quantised training in {training.precision}",
        (
            f"multiplies of the layers at {times:.3g} times the 16-bit peak, casts before them",
            "logits, router, attention and all exchanges in 16 bit, master weights and moments in 32 bit",
            kept,
        ),
    )


def _optimizer(training: Training) -> Technique | None:
    name = training.techniques.optimizer
    if name is None:
        return None
    changes = [f"{training.framework.optimizer:.3g} bytes of state for each trained parameter, master copy included"]
    if training.techniques.optimizer_flops:
        changes.append(f"{training.techniques.optimizer_flops:,.0f} FLOPs for each parameter and update")
    return Technique(f"optimizer {name}", tuple(changes))


def _low_rank(training: Training) -> Technique | None:
    one = training.techniques.low_rank
    if one is None:
        return None
    left = training.workload.parameters / one.parameters_before
    changes = (
        f"{left:.1%} of {one.parameters_before:,} parameters are left",
        "each matrix of the layers is two thinner multiplies",
    )
    return Technique(f"low-rank factors of {one.share:g} of the rank", changes)


def _lora(training: Training) -> Technique | None:
    one = training.techniques.lora
    if one is None:
        return None
    name = f"LoRA of rank {one.rank}" + (", frozen matrices in 4 bit" if one.bits == 4 else "")
    changes = [
        f"{one.share:.3%} as many parameters are trained as the model has",
        f"a frozen parameter takes {one.frozen_bytes:.3g} bytes; gradients and moments are of adapters alone",
        "no gradients of frozen weights: one multiply less of three",
        "data parallelism exchanges the adapters' gradients alone",
    ]
    changes += ["frozen matrices are written out in 16 bit before each pass"] if one.bits == 4 else []
    return Technique(name, tuple(changes))


def _pruning(training: Training) -> Technique | None:
    one = training.techniques.pruning
    if one is None:
        return None
    name = "2:4 pruning" if one.pattern == "2:4" else f"unstructured pruning of {one.sparsity:.0%}"
    if one.speed > 1.0:
        time = f"their multiplies are {one.speed:g} times as fast, as measured on one part"
    else:
        time = "no multiply is faster: zeros are multiplied like any number"
    changes = (
        f"{one.share:.1%} of the parameters are in pruned matrices",
        time,
        f"{one.bytes:.3g} bytes a parameter of these beside the dense weight",
    )
    return Technique(name, changes)


def _teacher(training: Training) -> Technique | None:
    one = training.techniques.teacher
    if one is None:
        return None
    workload = training.workload
    flops, unit = one.forward_flops, "token"
    if not workload.has_tokens:
        flops, unit = flops * workload.seq_length, workload.sample
    changes = (
        f"{flops:.3g} FLOPs of one {unit} for the teacher's forward pass, told with the backward pass",
        f"{WEIGHT_16BIT * one.parameters / 1e9:,.1f} GB of its weights are cut over tp and pp",
        "its logits and their probabilities stand beside the student's",
    )
    return Technique(f"distillation from {one.name}", changes)
