"""Techniques that make training cheaper, as pure functions from a scenario to a scenario, and what each changes.

Their cost in accuracy is not modelled and reported as unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple, get_args

from planner.cost.flops import compute_token_forward_flops
from planner.cost.operators import is_pruned
from planner.cost.operators.kept import find_adapted, is_adapted
from planner.cost.operators.roofline import get_peak_16bit_flops_per_s, is_16bit_or_wider
from planner.cost.scenario import Scenario
from planner.errors import InputError
from planner.trainers.trainer import ADAM_MOMENT_BYTES, replace_moment_bytes
from planner.workload.operators import ExpertLinear, Layer, LayerRun, Linear, Loss, Operator, ShardDimension, Workload
from planner.workload.techniques import (
    WEIGHT_16BIT_BYTES,
    Lora,
    LoraModules,
    LowRank,
    OptimizerName,
    Pruning,
    Teacher,
)

OPTIMIZERS: tuple[OptimizerName, ...] = get_args(OptimizerName)
_8BIT_PRECISIONS = ("fp8", "mxfp8")
"""Of multiplies that take frozen weights of 8 bits as they are."""
_FOUR_BIT_BYTES = 0.5 + 0.127 / 8
"""NormalFloat4 with its blocks' constants quantised once more: 0.127 bits a parameter (arXiv 2305.14314)."""
_EIGHT_BIT_MOMENT_BYTES = 1.0 + 4.0 / 2048
"""One byte, and a 32-bit constant of each block of 2,048 (Dettmers et al. 2021, arXiv 2110.02861)."""
SPARSE_ARCHITECTURES = ("ampere", "ada", "hopper", "blackwell", "blackwell-ultra")
"""Architectures whose matrix units take 2:4 weights at twice the dense rate (arXiv 2104.08378; later data sheets)."""
_SPARSE_SPEEDUP = 1.3
"""Of the MLP's multiplies forward and backward, pruning each step included (PyTorch blog, Accelerating neural network
training with semi-structured sparsity, June 2024: ViT-L on A100); never measured on a later part."""
_SPARSE_BYTES = WEIGHT_16BIT_BYTES * 9 / 16
"""The compressed copy beside the dense weight: half the values, and two bits that say which for each of them."""
_MASK_BYTES = 1 / 8
_NEWTON_SCHULZ_ITERATIONS = 5
"""Iterations of one update (Jordan et al. 2024, Muon)."""


class Technique(NamedTuple):
    """One technique in words: what it changes."""

    name: str
    changes: tuple[str, ...]


def apply_optimizer(scenario: Scenario, optimizer_name: OptimizerName) -> Scenario:
    """The same with another optimizer's state: bytes for each trained parameter beside the trainer's master weights.

    Adam and LAMB keep two 32-bit moments, Adam in 8 bit two of one byte, SGD with momentum one; Adafactor one value a
    row and column (arXiv 1804.04235); Muon momentum of matrices, two moments of the rest.
    """
    vector_share = _compute_parameter_share(scenario.workload, lambda op: not isinstance(op, Linear | ExpertLinear))
    sides_ratio = 2.0 / scenario.workload.hidden_size
    moment_bytes = {
        "adamw": 2 * ADAM_MOMENT_BYTES,
        "lamb": 2 * ADAM_MOMENT_BYTES,
        "adam8bit": 2 * _EIGHT_BIT_MOMENT_BYTES,
        "sgd": ADAM_MOMENT_BYTES,
        "adafactor": sides_ratio * ADAM_MOMENT_BYTES,
        "muon": (1.0 + vector_share) * ADAM_MOMENT_BYTES,
    }[optimizer_name]
    flops = _compute_newton_schulz_flops(scenario.workload) if optimizer_name == "muon" else 0.0
    scenario = replace(scenario, trainer=replace_moment_bytes(scenario.trainer, moment_bytes))
    return _replace_techniques(scenario, optimizer=optimizer_name, optimizer_flops=flops)


def _compute_newton_schulz_flops(workload: Workload) -> float:
    """FLOPs of Muon's update for each parameter of the model: with m <= n the sides of a matrix, an iteration makes
    X X^T, its square, and their product with X: 4 n m^2 + 2 m^3.
    """
    total = 0.0
    for run in workload.repeated_runs:
        for op in run.layer.operators:
            if isinstance(op, Linear | ExpertLinear):
                m, n = sorted((op.inputs, op.outputs))
                matrices = op.experts if isinstance(op, ExpertLinear) else 1
                total += run.count * matrices * _NEWTON_SCHULZ_ITERATIONS * (4.0 * n * m * m + 2.0 * m**3)
    return total / workload.parameters


def apply_low_rank(scenario: Scenario, rank_share: float) -> Scenario:
    """Every matrix of the layers as the product of two of `rank_share` of its rank, where that is smaller.

    A column-cut matrix is made narrow on every rank and wide by parts, a row-cut one the other way round.
    """
    workload = scenario.workload
    runs = tuple(LayerRun(_factor_layer(run.layer, rank_share), run.count) for run in workload.layer_runs)
    prediction = workload.prediction
    if prediction is not None:
        prediction = LayerRun(_factor_layer(prediction.layer, rank_share), prediction.count)
    factored_workload = replace(workload, layer_runs=runs, prediction=prediction)
    if factored_workload.parameters >= workload.parameters:
        expected = "less than 0.5: of a square matrix two factors of half its rank are as large"
        raise InputError("makes no matrix smaller", key="--low-rank", value=rank_share, expected=expected)
    scenario = replace(scenario, workload=factored_workload)
    return _replace_techniques(scenario, low_rank=LowRank(rank_share, workload.parameters))


def _factor_layer(layer: Layer, rank_share: float) -> Layer:
    operators: list[Operator] = []
    for op in layer.operators:
        operators += _factor_operator(op, rank_share) if isinstance(op, Linear | ExpertLinear) else [op]
    return replace(layer, operators=tuple(operators))


def _factor_operator(op: Linear | ExpertLinear, rank_share: float) -> list[Operator]:
    """The two factors of a matrix; itself where they would be larger, or where it stays in full precision."""
    rank = max(1, round(rank_share * min(op.inputs, op.outputs)))
    if rank * (op.inputs + op.outputs) >= op.inputs * op.outputs:
        return [op]
    if isinstance(op, ExpertLinear):
        return [replace(op, outputs=rank, bias=False), replace(op, inputs=rank)]
    if op.full_precision or op.tied:
        return [op]
    down_shard: ShardDimension = "row" if op.shard == "row" else "none"
    down = Linear(f"{op.name}_narrow", op.inputs, rank, down_shard, saves_input=op.saves_input, rows=op.rows)
    return [down, replace(op, inputs=rank, shard="column" if op.shard == "column" else "none", saves_input=True)]


def apply_lora(
    scenario: Scenario, rank: int, bits: int = 16, *, modules: LoraModules = "all", dropout: bool = False
) -> Scenario:
    """Only adapters of `rank` beside every matrix of the layers, or of attention, are trained; the rest is frozen in
    16 bit, or its matrices in 8 or 4. Raises InputError where multiplies take no weights of 8 bits.
    """
    if bits == 8 and scenario.precision not in _8BIT_PRECISIONS:
        raise InputError(
            f"multiplies in {scenario.precision} have no frozen weights of 8 bits",
            key="--lora",
            value=f"{rank}:8bit",
            expected=f"--precision {' or '.join(_8BIT_PRECISIONS)}",
        )
    workload = scenario.workload
    adapter_parameters = sum(
        run.count * _count_adapter_parameters(find_adapted(scenario, op), rank)
        for run in workload.repeated_runs
        for op in run.layer.operators
        if is_adapted(op, modules)
    )
    if not adapter_parameters:
        expected = "a model whose layers have matrices"
        raise InputError("nothing to adapt", key="--lora", value=rank, expected=expected)
    quantized_share = _compute_parameter_share(workload, is_adapted) if bits == 4 else 0.0
    frozen_bytes = quantized_share * _FOUR_BIT_BYTES + (1.0 - quantized_share) * WEIGHT_16BIT_BYTES
    if bits == 8:
        # embedding and head stay wide: `planner/cost/memory/narrow_weights.py`
        frozen_bytes = 1.0
    adapter_share = adapter_parameters / workload.parameters
    return _replace_techniques(scenario, lora=Lora(rank, bits, adapter_share, frozen_bytes, modules, dropout))


def _count_adapter_parameters(op: Operator, rank: int) -> int:
    """Those of the thin matrices of a multiply, in each of its experts: down for each part, and up."""
    assert isinstance(op, Linear | ExpertLinear)
    experts = op.experts if isinstance(op, ExpertLinear) else 1
    return experts * rank * (op.parts * op.inputs + op.outputs)


def apply_pruning(scenario: Scenario, sparsity: float | None = None) -> Scenario:
    """The MLP's weights with two of each four zero (None), or a share of them wherever they are.

    Where the units take 2:4 weights their multiplies are faster; other zeros are multiplied like any number.
    """
    pruned_share = _compute_parameter_share(scenario.workload, is_pruned)
    if not pruned_share:
        expected = "a transformer with dense MLPs"
        raise InputError("nothing to prune", key="--prune", value=scenario.workload.name, expected=expected)
    if sparsity is not None:
        pruning = Pruning("unstructured", sparsity, pruned_share, _MASK_BYTES, 1.0)
        return _replace_techniques(scenario, pruning=pruning)
    has_sparse_units = scenario.accelerator.architecture in SPARSE_ARCHITECTURES
    is_sparse = has_sparse_units and is_16bit_or_wider(scenario, full_precision=False)
    speed, extra_bytes = (_SPARSE_SPEEDUP, _SPARSE_BYTES) if is_sparse else (1.0, _MASK_BYTES)
    return _replace_techniques(scenario, pruning=Pruning("2:4", 0.5, pruned_share, extra_bytes, speed))


def apply_distillation(scenario: Scenario, teacher_workload: Workload) -> Scenario:
    """The same with a teacher's forward pass over the same samples.

    Raises InputError for a teacher of other samples, or whose logits are not as many.
    """
    student, teacher = scenario.workload, teacher_workload
    student_predictions, teacher_predictions = _count_predictions(student), _count_predictions(teacher)
    if teacher.sample_name != student.sample_name:
        problem = f"{teacher.name} is trained on {teacher.sample_name}s, {student.name} on {student.sample_name}s"
        expected = f"a teacher that is trained on {student.sample_name}s"
        raise InputError(problem, key="--distil", value=teacher.name, expected=expected)
    if teacher_predictions != student_predictions:
        sample_noun, requirement = (
            ("token", "the same vocabulary") if student.has_tokens else (student.sample_name, "as many classes")
        )
        teacher_logits, student_logits = _format_logits(teacher_predictions), _format_logits(student_predictions)
        problem = f"{teacher.name} has {teacher_logits} a {sample_noun}, {student.name} {student_logits}"
        raise InputError(problem, key="--distil", value=teacher.name, expected=f"a teacher with {requirement}")
    # a teacher reads the student's tokens; of an image it makes its own
    matched = replace(teacher, seq_length=student.seq_length) if student.has_tokens else teacher
    flops = compute_token_forward_flops(matched, "causal" if scenario.attention_kernel == "flash" else "full")
    flops *= matched.seq_length / student.seq_length
    return _replace_techniques(scenario, teacher=Teacher(teacher.name, teacher.parameters, flops))


def _count_predictions(workload: Workload) -> tuple[int, int]:
    """Classes that a prediction is one of, and predictions for each sample, of language for each token.

    0 classes where nothing is predicted.
    """
    if workload.has_tokens:
        return workload.vocab_size, 1
    layers = [workload.embedding, *(run.layer for run in workload.layer_runs), workload.head]
    losses = [op for layer in layers for op in layer.operators if isinstance(op, Loss)]
    if not losses:
        return 0, 0
    return losses[-1].vocab_size, round(losses[-1].rows * workload.seq_length)


def _format_logits(predictions: tuple[int, int]) -> str:
    classes, count = predictions
    if not count:
        return "no logits"
    return f"{classes:,} logits" if count == 1 else f"{count:,} times {classes:,} logits"


def _replace_techniques(scenario: Scenario, **changes: object) -> Scenario:
    return replace(scenario, techniques=replace(scenario.techniques, **changes))  # type: ignore[arg-type]


def _compute_parameter_share(workload: Workload, is_counted: Callable[[Operator], bool]) -> float:
    """Share of the model's parameters that are in the chosen operators, of layers, embedding and head."""
    layers = [(run.layer, run.count) for run in workload.repeated_runs]
    layers += [(workload.embedding, 1), (workload.head, 1)]
    counted_parameters = sum(
        count * Layer("", (op,)).parameters for layer, count in layers for op in layer.operators if is_counted(op)
    )
    return counted_parameters / workload.parameters


def describe_techniques(scenario: Scenario) -> Iterator[Technique]:
    """The techniques of a scenario, in words."""
    techniques = scenario.techniques
    if not is_16bit_or_wider(scenario, full_precision=False):
        yield _describe_quantization(scenario)
    if techniques.optimizer is not None:
        optimizer_bytes, flops = scenario.trainer.optimizer_bytes, techniques.optimizer_flops
        changes = [f"{optimizer_bytes:.3g} bytes of state for each trained parameter, master copy included"]
        changes += [f"{flops:,.0f} FLOPs for each parameter and update"] if flops else []
        yield Technique(f"optimizer {techniques.optimizer}", tuple(changes))
    if techniques.low_rank is not None:
        rank_share, parameters = techniques.low_rank.rank_share, techniques.low_rank.parameters_before
        left_share = scenario.workload.parameters / parameters
        yield Technique(
            f"low-rank factors of {rank_share:g} of the rank",
            (
                f"{left_share:.1%} of {parameters:,} parameters are left",
                "each matrix of the layers is two thinner multiplies",
            ),
        )
    if techniques.lora is not None:
        yield _describe_lora(techniques.lora)
    if techniques.pruning is not None:
        yield _describe_pruning(techniques.pruning)
    if techniques.teacher is not None:
        yield _describe_teacher(techniques.teacher, scenario.workload)


def _describe_quantization(scenario: Scenario) -> Technique:
    speedup = scenario.accelerator.get_peak_flops(scenario.precision) / get_peak_16bit_flops_per_s(scenario)
    saves_narrow = scenario.trainer.saves_quantized_inputs
    return Technique(
        f"quantised training in {scenario.precision}",
        (
            f"multiplies of the layers at {speedup:.3g} times the 16-bit peak, casts before them",
            "logits, router, attention and all communication in 16 bit, master weights and moments in 32 bit",
            "kept inputs of multiplies are narrow" if saves_narrow else "kept inputs stay wide",
        ),
    )


def _describe_lora(lora: Lora) -> Technique:
    changes = (
        f"{lora.adapter_share:.3%} as many parameters are trained as the model has",
        f"a frozen parameter takes {lora.frozen_bytes:.3g} bytes; gradients and moments are of adapters alone",
        "no gradients of frozen weights: one multiply less of three",
        "data parallelism reduces the adapters' gradients alone",
        *(["frozen matrices are written out in 16 bit before each pass"] if lora.bits == 4 else []),
    )
    frozen = f", frozen matrices in {lora.bits} bit" if lora.bits < 16 else ""
    return Technique(
        f"LoRA of rank {lora.rank}{' on attention' if lora.modules == 'attention' else ''}{frozen}", changes
    )


def _describe_pruning(pruning: Pruning) -> Technique:
    name = "2:4 pruning" if pruning.pattern == "2:4" else f"unstructured pruning of {pruning.sparsity:.0%}"
    speed_text = "no multiply is faster: zeros are multiplied like any number"
    if pruning.speedup > 1.0:
        speed_text = f"their multiplies are {pruning.speedup:g} times as fast, as measured on one part"
    changes = (
        f"{pruning.pruned_share:.1%} of the parameters are in pruned matrices",
        speed_text,
        f"{pruning.extra_bytes:.3g} bytes a parameter of these beside the dense weight",
    )
    return Technique(name, changes)


def _describe_teacher(teacher: Teacher, workload: Workload) -> Technique:
    flops, unit = teacher.forward_flops_per_token, "token"
    if not workload.has_tokens:
        flops, unit = flops * workload.seq_length, workload.sample_name
    changes = (
        f"{flops:.3g} FLOPs of one {unit} for the teacher's forward pass, counted with the backward pass",
        f"{WEIGHT_16BIT_BYTES * teacher.parameters / 1e9:,.1f} GB of its weights are cut over tp and pp",
        "its logits and their probabilities stand beside the student's",
    )
    return Technique(f"distillation from {teacher.name}", changes)
