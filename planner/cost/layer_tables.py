"""Time and kept activations of each kind of layer on one device, for each distinct shape of shard.

Tables of shape [keys, kinds]: the workload's kinds of layer, then the embedding, then the head. A key is a
distinct (tp, cp, ep, etp, micro-batch, sequence parallel) at one place in the network (`_places`). Tensor, context
and expert parallel collectives are counted here, since they happen inside the layer.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from planner.cost.arrays import Floats, Ints
from planner.cost.operators.compute import (
    Passes,
    Shard,
    attention,
    expert_linear,
    in_16_bit,
    linear,
    loss,
    pointwise,
)
from planner.cost.operators.convolution import convolution
from planner.cost.parallelism.intra_layer_comm import (
    context_exchange,
    expert_exchange,
    tensor_collective,
    tensor_exchange,
)
from planner.cost.rank_groups import ORDERS, strides
from planner.cost.scenario import Training
from planner.cost.strategies import Strategies
from planner.cost.techniques.operator_time import is_adapted, teacher_seconds, with_techniques
from planner.cost.unique_rows import distinct
from planner.workload.operators import (
    AttentionCore,
    Convolution,
    ExpertLinear,
    Layer,
    Linear,
    Loss,
    Operator,
    Pointwise,
)

_TAUGHT_BYTES = 6.0
"""Of one logit where there is a teacher: its logit in 16 bit, and its probability in 32."""
_NARROW_BYTES = {"fp8": 1.0, "mxfp8": 1.0 + 1 / 32, "nvfp4": 0.5 + 1 / 16}
"""Of one value with its share of the block's scale (OCP Microscaling Formats v1.0; NVFP4: one byte for 16)."""


@dataclass(frozen=True)
class LayerTables:
    """Seconds of one micro-batch through one layer of each kind, shape [keys, kinds].

    `weight` is the part of `backward` that makes the weights' gradients, `again` the forward time of what selective
    recomputation repeats; `*_hidden_*` run beside compute. `saved_bytes` is kept per micro-batch without
    recomputation, `dropped_bytes` what selective drops of it, `input_bytes` the layer's input, all that full
    recomputation keeps. `gathered_bytes`: the gathered sequence and its gradient, which sequence
    parallelism has whole on each device while a layer is at work.
    """

    forward: Floats
    backward: Floats
    weight: Floats
    again: Floats
    tp_forward: Floats
    tp_backward: Floats
    tp_hidden_forward: Floats
    tp_hidden_backward: Floats
    cp_forward: Floats
    cp_backward: Floats
    cp_hidden_forward: Floats
    cp_hidden_backward: Floats
    ep_forward: Floats
    ep_backward: Floats
    ep_hidden_forward: Floats
    ep_hidden_backward: Floats
    saved_bytes: Floats
    dropped_bytes: Floats
    input_bytes: Floats
    gathered_bytes: Floats

    @property
    def repeatable(self) -> Floats:
        """One for each kind of layer, zero for embedding and head, which are never recomputed; shape [kinds]."""
        repeatable = np.ones(self.forward.shape[1])
        repeatable[-2:] = 0.0
        return repeatable


def layer_kinds(training: Training) -> tuple[Layer, ...]:
    """The columns of the tables."""
    workload = training.workload
    return (*workload.kinds, workload.embedding, workload.head)


def layer_tables(training: Training, strategies: Strategies) -> tuple[LayerTables, Ints]:
    """The tables, and for each plan its row in them."""
    s = strategies
    keys = distinct(s.tp, s.cp, s.ep, s.etp, s.micro_batch, s.sequence_parallel, *_places(training, s))
    rows = s.take(keys.first)
    layers = layer_kinds(training)
    widths = {_width(training, layer) for layer in layers}
    tensor = {width: tensor_collective(training, rows, width * _value_bytes(training, rows)) for width in widths}
    columns = [_layer_column(training, layer, rows, tensor[_width(training, layer)]) for layer in layers]
    tables = {
        field.name: np.stack([column[field.name] for column in columns], axis=1) for field in fields(LayerTables)
    }
    return LayerTables(**tables), keys.of


def _places(training: Training, s: Strategies) -> tuple[Ints, ...]:
    """Columns that tell where the groups of a layer lie in the network, beside the degrees: none in the usual order,
    in which tp and cp tell it. In others the strides of tp and cp, and where experts may be spread over data-parallel
    ranks dp's stride and dp itself.
    """
    if training.order == ORDERS[0]:
        return ()
    at = strides(training.order, s)
    return (at["tp"], at["cp"], at["dp"], s.dp) if training.workload.experts else (at["tp"], at["cp"])


def _width(training: Training, layer: Layer) -> int:
    """Values per token that a layer is given."""
    return layer.inputs or training.workload.hidden_size


def _value_bytes(training: Training, s: Strategies) -> Floats:
    """One value of every token of a micro-batch on the ranks that share its sequence, [keys]."""
    return s.micro_batch * (training.workload.seq_length / s.cp) * training.value_bytes


def _layer_column(training: Training, layer: Layer, s: Strategies, tensor: Floats) -> dict[str, Floats]:
    """One kind of layer: every field of LayerTables, shape [keys]. `tensor`: see `tensor_collective`."""
    shard = shard_of(training, s)
    zero = np.zeros(len(s))
    column = dict.fromkeys(("forward", "backward", "weight", "again", "saved_bytes", "dropped_bytes"), zero)
    core = multiplies = Passes(zero, zero, zero)
    for op in layer.operators:
        passes = operator_passes(training, op, shard)
        saved = _saved_bytes(training, op, shard)
        column["forward"] = column["forward"] + passes.forward
        column["backward"] = column["backward"] + passes.backward
        column["saved_bytes"] = column["saved_bytes"] + saved
        column["again"] = column["again"] + repeated_share(training, op) * passes.forward
        column["dropped_bytes"] = column["dropped_bytes"] + _dropped_bytes(training, op, shard, saved)
        column["weight"] = column["weight"] + passes.weight
        if isinstance(op, AttentionCore):
            core = core + passes
        if isinstance(op, Linear) and op.shard != "none":
            multiplies = multiplies + passes
    if training.techniques.teacher is not None and layer in training.workload.kinds:
        # with the backward pass, which needs it: recomputation does not repeat it
        column["backward"] = column["backward"] + teacher_seconds(training, shard)
    # the device waits for the host where kernels are short: three passes' worth of launches for two passes
    host = _kernels(training, layer, shard) * (
        0.0 if training.launch == "graph" else training.calibration.host_launch_s
    )
    waits = Passes(np.maximum(host - column["forward"], 0.0), np.maximum(2 * host - column["backward"], 0.0), zero)
    column["forward"] = column["forward"] + waits.forward
    column["backward"] = column["backward"] + waits.backward
    hidden_bytes = _width(training, layer) * _value_bytes(training, s)
    column["input_bytes"] = hidden_bytes / shard.sequence_cut
    column["gathered_bytes"] = np.where(shard.sequence_cut > 1, 2 * hidden_bytes, 0.0)
    if training.framework.selective == "multiplies":
        kept = column["input_bytes"] + _kept_outputs(training, layer, shard)
        column["dropped_bytes"] = np.maximum(column["saved_bytes"] - kept, 0.0)
    # exchanges run beside the kernels that hide them and while the device waits
    column |= tensor_exchange(training, layer, s, tensor, multiplies + waits)
    column |= context_exchange(training, layer, s, shard, core + waits)
    whole = Passes(column["forward"], column["backward"], column["weight"])
    return column | expert_exchange(training, layer, s, hidden_bytes, whole, column)


def shard_of(training: Training, s: Strategies) -> Shard:
    """What one device has of every layer, [keys]."""
    tp = s.tp.astype(np.float64)
    return Shard(
        tokens=s.micro_batch * (training.workload.seq_length / s.cp),
        tp=tp,
        ep=s.ep.astype(np.float64),
        etp=s.etp.astype(np.float64),
        sequence_cut=np.where(s.sequence_parallel == 1, tp, 1.0),
    )


def operator_passes(training: Training, op: Operator, shard: Shard) -> Passes:
    """Seconds of one micro-batch in one operator, with the question's techniques, [keys]."""
    return with_techniques(training, op, shard, _passes(training, op, shard))


def _kernels(training: Training, layer: Layer, shard: Shard) -> Floats:
    """Launches of the host in one forward pass: one an operator, for experts one each; in narrow precision one more
    to cast a multiply's input, which experts share by fours.
    """
    count = np.zeros_like(shard.tokens)
    narrow = 0.0 if in_16_bit(training, full_precision=False) else 1.0
    adapters = 0.0 if training.techniques.lora is None else 2.0
    for op in layer.operators:
        if adapters and is_adapted(op):
            count = count + adapters * (op.experts / shard.ep if isinstance(op, ExpertLinear) else 1.0)
        if isinstance(op, ExpertLinear):
            count = count + (1.0 + 0.25 * narrow) * op.experts / shard.ep
        elif isinstance(op, Linear) and not op.full_precision:
            count = count + 1.0 + narrow
        else:
            count = count + 1.0
    return count


def _passes(training: Training, op: Operator, shard: Shard) -> Passes:
    if isinstance(op, Linear):
        return linear(training, op, shard)
    if isinstance(op, ExpertLinear):
        return expert_linear(training, op, shard)
    if isinstance(op, Convolution):
        return convolution(training, op, shard)
    if isinstance(op, AttentionCore):
        return attention(training, op, shard)
    if isinstance(op, Loss):
        return loss(training, op, shard)
    return pointwise(training, op, shard)


def repeated_share(training: Training, op: Operator) -> float:
    """Share of an operator that selective recomputation repeats: the attention core where it keeps its scores
    (arXiv 2205.05198, section 5); where a fused kernel keeps none, the norms and activations, cheap by FLOPs and
    large, and in some frameworks every second multiply.
    """
    if isinstance(op, AttentionCore):
        return 1.0 if training.attention == "unfused" else 0.0
    if training.attention == "unfused":
        return 0.0
    if isinstance(op, Convolution):
        return 0.5 if op.saves_input and training.framework.selective == "multiplies" else 0.0
    if isinstance(op, Linear):
        half = op.saves_input and training.framework.selective == "multiplies"
        return 1.0 if op.repeated else 0.5 if half else 0.0
    return 1.0 if isinstance(op, Pointwise) and (op.dropped_inputs or op.dropped_bytes) else 0.0


def _dropped_bytes(training: Training, op: Operator, shard: Shard, saved: Floats) -> Floats:
    """What selective recomputation does not keep, bytes of shape [keys]; see `repeated_share`."""
    if isinstance(op, AttentionCore):
        return saved * repeated_share(training, op)
    if not isinstance(op, Pointwise) or training.attention == "unfused":
        return np.zeros_like(saved)
    dropped = op.dropped_inputs * _input_bytes(training) + op.dropped_bytes * training.value_bytes / 2.0
    return op.rows * shard.tokens * dropped / _cut(op, shard)


def _cut(op: Pointwise, shard: Shard) -> Floats:
    """What divides the values of a pointwise operator."""
    return shard.sequence_cut if op.domain == "sequence" else shard.tp


def _kept_outputs(training: Training, layer: Layer, shard: Shard) -> Floats:
    """Outputs of the attention core and of every second multiply (half of each one's, as multiplies come in pairs
    that share an input), bytes of shape [keys].
    """
    kept = np.zeros_like(shard.tokens)
    for op in layer.operators:
        if isinstance(op, AttentionCore):
            rows = shard.tokens * (op.length or 1)
            kept = kept + rows * op.heads * (op.v_dim * training.value_bytes + 4.0) / shard.tp
        elif isinstance(op, Linear) and op.saves_input:
            cut = shard.tp if op.shard == "column" else shard.sequence_cut
            kept = kept + 0.5 * op.rows * shard.tokens * op.outputs * training.value_bytes / cut
        elif isinstance(op, Convolution) and op.saves_input:
            kept = kept + 0.5 * shard.tokens * op.outputs * op.places * training.value_bytes
    return kept


def _saved_bytes(training: Training, op: Operator, shard: Shard) -> Floats:
    """Kept for the backward pass (arXiv 2205.05198, section 4.1, operator by operator), shape [keys]."""
    if isinstance(op, Linear):
        if not op.saves_input:
            return np.zeros_like(shard.tokens)
        width = training.value_bytes if op.full_precision else _input_bytes(training)
        size = op.rows * shard.tokens * op.inputs * width
        if op.shard == "row":
            return size / shard.tp
        gathered = training.framework.keeps_gathered and op.shard == "column"
        return size / (1.0 if gathered else shard.sequence_cut)
    if isinstance(op, Convolution):
        return shard.tokens * op.given * training.value_bytes if op.saves_input else np.zeros_like(shard.tokens)
    if isinstance(op, ExpertLinear):
        # rows that experts cut over tp multiply whole: the sequence gathered
        cut = shard.tp / shard.etp if op.shard == "column" else shard.tp
        return op.topk * shard.tokens * op.inputs * _input_bytes(training) / cut
    if isinstance(op, AttentionCore):
        rows = shard.tokens * (op.length or 1)
        if training.attention == "unfused":
            # softmax's output, dropout's mask and output: in 16 bit 2 + 1 + 2 bytes a pair
            pairs = op.heads * rows * (op.length or training.workload.seq_length) / shard.tp
            return (2 * training.value_bytes + 1.0) * pairs
        # the row sums of the softmax; the output where the multiply after it keeps a narrow copy of its own
        own = op.v_dim * training.value_bytes if _input_bytes(training) < training.value_bytes else 0.0
        return rows * op.heads * (4.0 + own) / shard.tp
    if isinstance(op, Loss):
        # of a teacher's logits also 16-bit ones and their 32-bit probabilities
        taught = 0.0 if training.techniques.teacher is None else _TAUGHT_BYTES
        return op.rows * shard.tokens * op.vocab_size * (training.framework.loss + taught) / shard.tp
    return op.rows * shard.tokens * op.saved_bytes * training.value_bytes / 2.0 / _cut(op, shard)


def _input_bytes(training: Training) -> float:
    """Bytes of one kept input value of a multiply: in its own precision where the framework keeps that copy."""
    wide = training.value_bytes
    return _NARROW_BYTES.get(training.precision, wide) if training.framework.saves_quantised else wide
