"""Collectives inside a layer: tensor, context and expert parallelism, and what of them compute does not hide.

All results are seconds of one micro-batch through one layer, arrays of shape [keys].
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Bools, Floats, added
from planner.cost.collectives import all_gather, all_reduce, all_to_all, routed, tiers_used
from planner.cost.operators.compute import Passes, Shard, merging_seconds
from planner.cost.rank_groups import context_group, expert_group, tensor_group
from planner.cost.scenario import Training
from planner.cost.strategies import Strategies
from planner.workload.operators import AttentionCore, Layer, Linear

_DECOMPOSED = 0.6
"""Share of a multiply beside which its exchange can run when both are cut in pieces: the pieces are slower multiplies
(Wang et al. 2023, ASPLOS, Overlap Communication with Dependent Computation via Decomposition)."""


def _exposed(collective: Floats, beside: Floats) -> Floats:
    return np.maximum(collective - beside, 0.0)


def tensor_collective(training: Training, s: Strategies, size: Floats) -> Floats:
    """Seconds of one collective around the cut multiplies of any layer: an all-gather (or reduce-scatter) of `size`
    bytes under sequence parallelism, else an all-reduce; [keys].
    """
    network, ranks = training.network, tensor_group(training.order, s)
    one = np.zeros(len(s))
    parallel = s.sequence_parallel == 1
    for which, collective in ((parallel, all_gather), (~parallel & (s.tp > 1), all_reduce)):
        chosen = np.flatnonzero(which)
        if len(chosen):
            one[chosen] = collective(network, size[chosen], ranks.take(chosen))
    return one


def tensor_exchange(
    training: Training, layer: Layer, s: Strategies, one: Floats, multiplies: Passes
) -> dict[str, Floats]:
    """Around each pair of cut multiplies: an all-reduce, or under sequence parallelism an all-gather and a
    reduce-scatter, and in the backward pass a second all-gather that runs beside the input's gradient.

    With `tp_overlap` the exchange is cut into tp pieces that run beside the multiply they belong to, all but the
    first (Transformer Engine's user buffers, PyTorch's async TP). `one`: seconds of `tensor_collective`;
    `multiplies`: of the cut multiplies.
    """
    parallel = s.sequence_parallel == 1
    count = _exchanges(layer, s)
    pair = count * np.where(parallel, 2 * one, one)
    again = np.where(parallel, count * one, 0.0)
    forward = backward = pair
    if training.tp_overlap:
        share = _DECOMPOSED * training.calibration.overlap
        forward = pair / s.tp + _exposed(pair * (1 - 1 / s.tp), share * multiplies.forward)
        backward = pair / s.tp + _exposed(pair * (1 - 1 / s.tp), share * multiplies.backward)
    slowed = training.calibration.contention
    return {
        "tp_forward": forward + slowed * (pair - forward),
        "tp_backward": backward + slowed * (again + pair - backward),
        "tp_hidden_forward": pair - forward,
        "tp_hidden_backward": again + pair - backward,
    }


def _exchanges(layer: Layer, s: Strategies) -> Floats:
    """How many pairs of cut multiplies: whole experts of a cut sequence are none, shared ones beside them are."""
    if not layer.topk:
        return np.full(len(s), float(layer.tensor_exchanges))
    cut = sum(isinstance(op, Linear) and op.shard == "row" for op in layer.operators)
    return np.where((s.etp == 1) & (s.sequence_parallel == 1), float(cut), float(layer.tensor_exchanges))


def context_exchange(
    training: Training, layer: Layer, s: Strategies, shard: Shard, core: Passes
) -> dict[str, Floats]:
    """Keys and values to whoever needs them, by the way that `cp_exchange` names.

    ring (Liu et al. 2023, arXiv 2310.01889): they travel round beside the attention of the block at hand, and each
    step's partial result is merged with what is there; the backward pass sends their gradients as well.
    all-gather (Llama 3, arXiv 2407.21783, section 3.3.2): before the attention, exposed, with nothing to merge.
    all-to-all (DeepSpeed-Ulysses, arXiv 2309.14509): sequence against heads before the attention, and back after it.
    """
    cores = [op for op in layer.operators if isinstance(op, AttentionCore)]
    if not cores:
        return _nothing("cp", s)
    # of keys and values there are no more parts than heads: beyond, tensor-parallel ranks hold copies
    keys = added(op.kv_heads / np.minimum(shard.tp, op.kv_heads) * (op.qk_dim + op.v_dim) for op in cores)
    value = training.value_bytes * shard.tokens
    ranks = context_group(training.order, s)
    if training.cp_exchange == "all-to-all":
        queries = added(op.heads / shard.tp * (op.qk_dim + op.v_dim) for op in cores)
        one = all_to_all(training.network, value * (keys + queries), ranks)
        return _nothing("cp", s) | {"cp_forward": one, "cp_backward": one}
    one = all_gather(training.network, value * keys * s.cp, ranks)
    if training.cp_exchange == "all-gather":
        return _nothing("cp", s) | {"cp_forward": one, "cp_backward": 2 * one}
    hideable = training.calibration.overlap
    forward, backward = _exposed(one, core.forward * hideable), _exposed(2 * one, core.backward * hideable)
    merged = added(merging_seconds(training, op, shard, s.cp) for op in layer.operators)
    return {
        "cp_forward": forward + merged,
        "cp_backward": backward + merged,
        "cp_hidden_forward": one - forward,
        "cp_hidden_backward": 2 * one - backward,
    }


def expert_exchange(
    training: Training, layer: Layer, s: Strategies, whole: Floats, compute: Passes, others: dict[str, Floats]
) -> dict[str, Floats]:
    """Dispatch and combine: every token's hidden state to its top-k experts and back, in both passes. `whole`: bytes
    of one micro-batch's hidden states; `others`: the columns of the other exchanges.

    Where the framework hides it, the exchange of one micro-batch runs beside the layer of another, while hidden
    exchanges of the layer leave the links that it needs.
    """
    if not layer.topk:
        return _nothing("ep", s)
    size = np.where(s.sequence_parallel == 1, whole / s.tp, whole)
    # without tensor parallelism inside the experts each of its ranks sends its own part of the sequence
    size = np.where(s.etp == s.tp, size, whole / s.tp)
    ranks = expert_group(training.order, s)
    both = 2 * routed(training.network, size, layer.topk, ranks)
    forward = backward = both
    if training.framework.hides_experts:
        share, busy = training.calibration.overlap, _busy(training, s, tiers_used(training.network, ranks), others)
        forward = _exposed(both, np.maximum(share * compute.forward - busy["forward"], 0.0))
        backward = _exposed(both, np.maximum(share * compute.backward - busy["backward"], 0.0))
    slowed = training.calibration.contention
    return {
        "ep_forward": forward + slowed * (both - forward),
        "ep_backward": backward + slowed * (both - backward),
        "ep_hidden_forward": both - forward,
        "ep_hidden_backward": both - backward,
    }


def _busy(training: Training, s: Strategies, tiers: Bools, others: dict[str, Floats]) -> dict[str, Floats]:
    """Seconds of each pass in which hidden tensor and context exchanges use one of `tiers`, [keys]."""
    seconds = {"forward": np.zeros(len(s)), "backward": np.zeros(len(s))}
    for kind, ranks in (("tp", tensor_group), ("cp", context_group)):
        shared = (tiers & tiers_used(training.network, ranks(training.order, s))).any(axis=1)
        for name in seconds:
            seconds[name] = seconds[name] + np.where(shared, others[f"{kind}_hidden_{name}"], 0.0)
    return seconds


def _nothing(kind: str, s: Strategies) -> dict[str, Floats]:
    """All columns of a kind of exchange, zero."""
    return {
        f"{kind}_{name}": np.zeros(len(s)) for name in ("forward", "backward", "hidden_forward", "hidden_backward")
    }
