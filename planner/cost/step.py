"""The step: every term by its name, in seconds, adding up to the step's time; memory, throughput, MFU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.cluster.network.network import Network
from planner.cost.arrays import Floats, Ints, added, gathered, weighted
from planner.cost.collectives import send
from planner.cost.flops import model_flops, recomputed_flops
from planner.cost.layer_tables import LayerTables
from planner.cost.link_contention import KINDS, shared_tiers
from planner.cost.link_contention import windows as added_windows
from planner.cost.memory import kept_activations, repeated_layers
from planner.cost.offload import NO_OFFLOAD, exposed_seconds
from planner.cost.parallelism.data_parallel import data_parallel, optimizer_seconds, own_parameters
from planner.cost.parameters import sharded_over
from planner.cost.pipeline.partition import handed_on
from planner.cost.plan_tables import Prepared, prepare
from planner.cost.rank_groups import next_stage
from planner.cost.scenario import Training
from planner.cost.strategies import Strategies
from planner.cost.techniques.operator_time import needed_flops
from planner.cost.techniques.trained_state import held_state, trained_share

IN_LAYERS = ("forward", "backward", "recompute", "tensor_parallel", "context_parallel", "expert_parallel")
"""Terms that every micro-batch pays in each layer that it goes through."""
AFTER_PIPELINE = ("data_parallel", "optimizer", "offload", "overhead")
"""Terms that a stage pays once a step, after its last micro-batch."""
TERMS = (*IN_LAYERS, "pipeline_send", "pipeline_bubble", *AFTER_PIPELINE)
"""All terms of a step, in the order in which they are told."""
HIDDEN = ("tensor_parallel", "context_parallel", "expert_parallel", "pipeline_send", "data_parallel", "offload")
"""Terms of which a part may run beside other work: exchanges, and transfers to the host."""


@dataclass(frozen=True)
class Scores:
    """What the model says of each plan, arrays of shape [plans]. `terms` add up to `step_time_s`."""

    step_time_s: Floats
    terms: dict[str, Floats]
    hidden: dict[str, Floats]
    mfu: Floats
    hfu: Floats


def micro_batches(training: Training, s: Strategies) -> Ints:
    """Micro-batches of a step on each data-parallel rank, all ranks alike, shape [plans]."""
    return training.global_batch // (s.dp * s.micro_batch)


def pipeline_bound(training: Training, s: Strategies, p: Prepared, n: Ints | None = None, mode: int = 0) -> Floats:
    """A lower bound of the step's time over all ZeRO stages and recompute modes from `mode` on, shape [plans]; `n`:
    micro-batches of a rank, where ranks are not all alike.

    Proof: recomputation only adds to a stage's terms, so with least of it every chunk's time is least; with f_i the
    first chunks' times, n t_max + sum_i f_i - f_max grows in each of them, since t_max holds f_max and n >= 1.
    Data-parallel exchange, optimizer, offload and overhead are at least zero.
    """
    least = mode if training.recompute_layers is None else 0
    per_layer = gathered(added(_terms_per_layer(training, p.tables).values())[least], p.layer_row)
    slowest = p.stages.slowest_path(p.split, per_layer)
    n = micro_batches(training, s) if n is None else n
    sends, _ = pipeline_sends(training, s, n)
    return n * slowest + sends + bubble(training, s, p, per_layer)


def score(training: Training, s: Strategies, prepared: Prepared | None = None) -> Scores:
    """Time of one step of each plan; `prepared`: what `prepare` makes of them, where it is at hand.

    1F1B (Narayanan et al. 2021, arXiv 2104.04473): with t_i a stage's time for one micro-batch, the slowest
    stage works n t_max; filling and draining costs the other stages' first chunks once: of equal chunks
    (sum_i t_i - t_max) / vpp. Interleaved chunks of different length wait for the longest of their turn, so that
    t_max is the sum over turns of the slowest chunk.
    """
    terms, hidden = step_terms(training, s, prepared or prepare(training, s), micro_batches(training, s))
    step = added(terms.values())
    mfu, hfu = _utilisation(training, s, step)
    return Scores(step, terms, hidden, mfu, hfu)


def step_terms(
    training: Training, s: Strategies, p: Prepared, n: Ints, networks: Sequence[Network] = ()
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Seconds of every term and what is hidden beside it, shape [plans] each, for ranks of `n` micro-batches.

    `networks`: those of other kinds of devices among the data-parallel ranks; the slowest network decides.
    """
    stage, per_layer = slowest_stage(training, p, s)
    one_forward = stage["forward"]
    one_backward = stage["backward"] + stage["recompute"]
    windows = free_links(training, stage)
    dp_shown, dp_hidden = data_parallel(training, s, p.parameters, p.split, n, *windows)
    for network in networks:
        elsewhere = replace(training, network=network)
        shown, under = data_parallel(elsewhere, s, p.parameters, p.split, n, *windows)
        dp_hidden = np.where(shown > dp_shown, under, dp_hidden)
        dp_shown = np.maximum(shown, dp_shown)
    sends, sends_hidden = pipeline_sends(training, s, n)
    offload_shown, offload_hidden = offloading(training, s, p, n, one_forward, one_backward)
    terms = {name: n * stage[name] for name in IN_LAYERS}
    terms |= {
        "pipeline_send": sends,
        "pipeline_bubble": bubble(training, s, p, per_layer),
        "data_parallel": dp_shown,
        "optimizer": optimizer_seconds(training, s, p.parameters),
        "offload": offload_shown,
        "overhead": np.full(len(s), training.calibration.step_overhead_s),
    }
    hidden = {
        "tensor_parallel": n * stage["tp_hidden"],
        "context_parallel": n * stage["cp_hidden"],
        "expert_parallel": n * stage["ep_hidden"],
        "pipeline_send": sends_hidden,
        "data_parallel": dp_hidden,
        "offload": offload_hidden,
    }
    return terms, hidden


def _terms_per_layer(training: Training, tables: LayerTables) -> dict[str, Floats]:
    """Seconds of one micro-batch in one layer, by term and recompute mode: shape [modes, rows, kinds] each."""
    body = tables.repeatable
    none = np.zeros_like(tables.forward)
    again = np.stack([none, tables.again * body, tables.forward * body])
    tp_again = np.stack([none, none, tables.tp_forward * body])
    ep_again = np.stack([none, none, tables.ep_forward * body])
    core_again = tables.cp_forward * body
    cp_again = np.stack([none, core_again if training.attention == "unfused" else none, core_again])
    return {
        "forward": np.stack([tables.forward] * 3),
        "backward": np.stack([tables.backward] * 3),
        "recompute": again,
        "tensor_parallel": tables.tp_forward + tables.tp_backward + tp_again,
        "context_parallel": tables.cp_forward + tables.cp_backward + cp_again,
        "expert_parallel": tables.ep_forward + tables.ep_backward + ep_again,
    }


def bubble(training: Training, s: Strategies, p: Prepared, per_layer: Floats) -> Floats:
    """Filling and draining: the first chunks of all stages but the slowest, forward going in and backward coming out;
    [plans].

    The zero-bubble schedule ZB-H1 (Qi et al. 2023, arXiv 2401.10241, table 2) puts the weights' gradients W where
    1F1B waits: (p - 1)(F + B - W) instead of (p - 1)(F + B + W), in the same memory; it is not interleaved.
    """
    return p.stages.filling(p.split, waiting(training, s, p, per_layer))


def waiting(training: Training, s: Strategies, p: Prepared, per_layer: Floats) -> Floats:
    """Of a layer's seconds those that other stages wait while the pipeline fills and drains, [plans, kinds]."""
    if training.schedule != "zero-bubble":
        return per_layer
    weight = gathered(p.tables.weight, p.layer_row)
    return np.where((s.vpp == 1)[:, None], np.maximum(per_layer - 2 * weight, 0.0), per_layer)


def _of_plans(training: Training, s: Strategies, terms: dict[str, Floats], row: Ints) -> dict[str, Floats]:
    """The terms of each plan's recompute mode, shape [plans, kinds] each; of full, as many layers as are repeated."""
    return {name: _of_mode(training, s, table[s.recompute, row], table[0, row]) for name, table in terms.items()}


def _of_mode(training: Training, s: Strategies, chosen: Floats, none: Floats) -> Floats:
    """What a recompute mode takes where not all layers are repeated: between it and none."""
    if training.recompute_layers is None:
        return chosen
    share = repeated_layers(training, s)[:, None]
    return none + share * (chosen - none)


def layer_terms(training: Training, s: Strategies, tables: LayerTables, row: Ints) -> dict[str, Floats]:
    """Seconds of one micro-batch in one layer of each kind by term, under each plan's mode: [plans, kinds] each."""
    return _of_plans(training, s, _terms_per_layer(training, tables), row)


def slowest_stage(training: Training, p: Prepared, s: Strategies) -> tuple[dict[str, Floats], Floats]:
    """Terms of one micro-batch on the slowest path, [plans]; seconds of one layer of each kind, [plans, kinds]."""
    tables, row = p.tables, p.layer_row
    terms = layer_terms(training, s, tables, row)
    per_layer = added(terms.values())
    counts = p.stages.slowest_layers(p.split, per_layer)
    stage = {name: weighted(counts, table) for name, table in terms.items()}
    for kind in KINDS:
        hidden = getattr(tables, f"{kind}_hidden_forward") + getattr(tables, f"{kind}_hidden_backward")
        stage[f"{kind}_hidden"] = weighted(counts, hidden[row])
    bits = shared_tiers(training, s)
    for name, window in zip(("window_forward", "window_backward"), added_windows(tables), strict=True):
        chosen = _of_mode(training, s, window[s.recompute, bits, row], window[0, bits, row])
        stage[name] = weighted(counts, chosen)
    return stage, per_layer


def free_links(training: Training, stage: dict[str, Floats]) -> tuple[Floats, Floats]:
    """Seconds of one micro-batch, forward and backward, beside which a data-parallel collective can run, [plans]."""
    overlap = training.calibration.overlap
    forward = overlap * stage["forward"] + stage["window_forward"]
    return forward, overlap * (stage["backward"] + stage["recompute"]) + stage["window_backward"]


def pipeline_sends(training: Training, s: Strategies, n: Ints) -> tuple[Floats, Floats]:
    """Activations to the next stage and gradients back, exposed and hidden, shape [plans].

    A stage sends and receives for each chunk of each micro-batch; with interleaving the transfer runs beside
    the other chunks' compute. Tensor-parallel ranks each send their part (scatter-gather, section 4.1 there).
    """
    tokens = s.micro_batch * (training.workload.seq_length / s.cp)
    size = tokens * handed_on(training.workload, s) * training.value_bytes / s.tp
    one = send(training.network, size, next_stage(training.order, s), s.pp)
    total = np.where(s.pp > 1, 2 * one * (n * s.vpp + s.pp - 1), 0.0)
    hidden = np.where(s.vpp > 1, total * training.calibration.overlap, 0.0)
    return total - hidden, hidden


def offloading(
    training: Training, s: Strategies, p: Prepared, n: Ints, forward: Floats, backward: Floats
) -> tuple[Floats, Floats]:
    """Transfers to and from the host on the fullest stage, exposed and hidden, shape [plans]."""
    if training.host is None or not training.offload.any:
        return np.zeros(len(s)), np.zeros(len(s))
    whole, one = replace(training, offload=NO_OFFLOAD), np.ones((len(s), 1))
    # of two micro-batches more than of one: what is kept, without the layer at work
    once, twice = (kept_activations(whole, s, p, s.recompute, count * one)["activations"] for count in (1, 2))
    dense, expert = p.parameters.dense, p.parameters.expert
    shards = np.where(s.zero_stage == 3, sharded_over(training, s.dp * s.cp), 1)[:, None]
    of_experts = np.where(s.zero_stage == 3, sharded_over(training, s.expert_ranks), 1)[:, None]
    held = training.framework
    return exposed_seconds(
        training.host,
        training.devices_per_host,
        training.offload,
        own_parameters=trained_share(training) * own_parameters(training, s, p.parameters),
        weights_bytes=held_state(training).weight * (dense / shards + expert / of_experts).max(axis=1),
        activations_bytes=(twice - once).max(axis=1),
        micro_batches=n.astype(np.float64),
        forward=forward,
        backward=backward,
        overlap=training.calibration.overlap,
        held=(held.gradient, held.weight),
    )


def _utilisation(training: Training, s: Strategies, step: Floats) -> tuple[Floats, Floats]:
    """MFU and HFU, shape [plans]."""
    workload, batch, convention = training.workload, training.global_batch, training.flops_convention
    peak = training.devices * training.accelerator.peak(training.precision)
    flops = needed_flops(training, model_flops(workload, batch, convention))
    again = repeated_layers(training, s) * np.array(recomputed_flops(training))[s.recompute]
    mfu = flops / (peak * step)
    return mfu, (flops + again) / (peak * step)
