"""The step: every term by its name, in seconds, adding up to the step's time; memory, throughput, MFU."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.cost.arrays import added, weighted
from planner.cost.collectives import send
from planner.cost.data_parallel import data_parallel, optimizer_seconds
from planner.cost.flops import model_flops, recomputed_flops
from planner.cost.layers import LayerTables, layer_tables
from planner.cost.memory import Parameters, memory, stage_parameters, totals
from planner.cost.pipeline import Stages, stage_tables
from planner.cost.strategies import Strategies
from planner.cost.training import Training

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TERMS = (
    "forward",
    "backward",
    "recompute",
    "tensor_parallel",
    "context_parallel",
    "expert_parallel",
    "pipeline_send",
    "pipeline_bubble",
    "data_parallel",
    "optimizer",
    "overhead",
)
HIDDEN = ("tensor_parallel", "context_parallel", "pipeline_send", "data_parallel")


@dataclass(frozen=True)
class Scores:
    """What the model says of each plan, arrays of shape [plans]. `terms` add up to `step_time_s`."""

    step_time_s: Floats
    terms: dict[str, Floats]
    hidden: dict[str, Floats]
    mfu: Floats
    hfu: Floats


@dataclass(frozen=True)
class Prepared:
    """What time and memory both need: the tables, each plan's rows in them, parameters of its stages."""

    tables: LayerTables
    layer_row: Ints
    stages: Stages
    split: Ints
    parameters: Parameters


def prepare(training: Training, s: Strategies) -> Prepared:
    """Tables of layers and stages for these plans."""
    tables, layer_row = layer_tables(training, s)
    stages, split = stage_tables(training.workload, s)
    return Prepared(tables, layer_row, stages, split, stage_parameters(training, s, stages, split))


def memory_of(training: Training, s: Strategies) -> dict[str, Floats]:
    """Bytes by kind on the fullest device of each plan."""
    p = prepare(training, s)
    return memory(training, s, p.tables, p.layer_row, p.stages, p.split, p.parameters)


def memory_totals(
    training: Training, s: Strategies, p: Prepared, zero_stages: tuple[int, ...], recomputes: tuple[int, ...]
) -> Floats:
    """Total bytes under every pair of ZeRO stage and recompute mode: [plans, zero stages, recompute modes]."""
    return totals(training, s, p.tables, p.layer_row, p.stages, p.split, p.parameters, zero_stages, recomputes)


def pipeline_bound(training: Training, s: Strategies, p: Prepared) -> Floats:
    """A lower bound of the step's time over all ZeRO stages and recompute modes, shape [plans].

    Proof: recomputation only adds to a stage's terms, so with none every stage's time, hence the slowest's
    and the others' sum, is least; n t_max + (sum_i t_i - t_max)/vpp grows in every t_i, since n >= 1/vpp.
    Data-parallel exchange, optimizer and overhead are at least zero.
    """
    none = replace(s, recompute=np.zeros_like(s.recompute))
    stage, rest = _slowest_stage(p, none)
    n = training.global_batch // (s.dp * s.micro_batch)
    sends, _ = _sends(training, s, n)
    return n * added(stage[name] for name in TERMS[:6]) + sends + rest / s.vpp


def score(training: Training, s: Strategies) -> Scores:
    """Time of one step of each plan.

    1F1B (Narayanan et al. 2021, arXiv 2104.04473): with t_i a stage's time for one micro-batch, the slowest
    stage works n t_max; filling and draining costs the other stages' time once, divided by vpp when
    interleaved: bubble = (sum_i t_i - t_max) / vpp.
    """
    p = prepare(training, s)
    n = training.global_batch // (s.dp * s.micro_batch)
    stage, rest = _slowest_stage(p, s)
    one_forward = stage["forward"]
    one_backward = stage["backward"] + stage["recompute"]
    dp_shown, dp_hidden = data_parallel(training, s, p.parameters, p.split, n, one_forward, one_backward)
    sends, sends_hidden = _sends(training, s, n)
    terms = {name: n * stage[name] for name in TERMS[:6]}
    terms |= {
        "pipeline_send": sends,
        "pipeline_bubble": rest / s.vpp,
        "data_parallel": dp_shown,
        "optimizer": optimizer_seconds(training, s, p.parameters),
        "overhead": np.full(len(s), training.calibration.step_overhead_s),
    }
    hidden = {
        "tensor_parallel": n * stage["tp_hidden"],
        "context_parallel": n * stage["cp_hidden"],
        "pipeline_send": sends_hidden,
        "data_parallel": dp_hidden,
    }
    step = added(terms.values())
    mfu, hfu = _utilisation(training, s, step)
    return Scores(step, terms, hidden, mfu, hfu)


def _slowest_stage(p: Prepared, s: Strategies) -> tuple[dict[str, Floats], Floats]:
    """Terms of one micro-batch on the slowest stage, and the time of all other stages together; [plans]."""
    layers, row = p.tables, p.layer_row
    selective, full = (s.recompute == 1)[:, None], (s.recompute == 2)[:, None]
    body = np.ones(layers.forward.shape[1])
    body[-2:] = 0.0  # embedding and head are never recomputed

    again = layers.again[row] * selective + layers.forward[row] * full
    tp_again = layers.tp_forward[row] * full
    ep_again = layers.ep_forward[row] * full
    by_kind = {
        "forward": layers.forward[row],
        "backward": layers.backward[row],
        "recompute": again * body,
        "tensor_parallel": layers.tp_forward[row] + layers.tp_backward[row] + tp_again * body,
        "context_parallel": layers.cp[row],
        "expert_parallel": layers.ep_forward[row] + layers.ep_backward[row] + ep_again * body,
    }
    per_layer = added(by_kind.values())
    counts = p.stages.counts[p.split]
    times = weighted(counts, per_layer[:, None, :])
    slowest = np.argmax(times, axis=1)
    chosen = counts[np.arange(len(row)), slowest]
    terms = {name: weighted(chosen, part) for name, part in by_kind.items()}
    terms["tp_hidden"] = weighted(chosen, layers.tp_hidden[row])
    terms["cp_hidden"] = weighted(chosen, layers.cp_hidden[row])
    return terms, np.maximum(weighted(p.stages.whole[None, :], per_layer) - times.max(axis=1), 0.0)


def _sends(training: Training, s: Strategies, n: Ints) -> tuple[Floats, Floats]:
    """Activations to the next stage and gradients back, exposed and hidden, shape [plans].

    A stage sends and receives for each chunk of each micro-batch; with interleaving the transfer runs beside
    the other chunks' compute. Tensor-parallel ranks each send their part (scatter-gather, section 4.1 there).
    """
    tokens = s.micro_batch * (training.workload.seq_length / s.cp)
    size = tokens * training.workload.hidden_size * 2.0 / s.tp
    one = send(training.network, size, s.tp * s.cp * s.dp)
    total = np.where(s.pp > 1, 2 * one * (n * s.vpp + s.pp - 1), 0.0)
    hidden = np.where(s.vpp > 1, total * training.calibration.overlap, 0.0)
    return total - hidden, hidden


def _utilisation(training: Training, s: Strategies, step: Floats) -> tuple[Floats, Floats]:
    """MFU and HFU, shape [plans]."""
    workload, batch, convention = training.workload, training.global_batch, training.flops_convention
    peak = training.devices * training.accelerator.peak(training.precision)
    flops = model_flops(workload, batch, convention)
    again = recomputed_flops(workload, batch, convention, unfused_attention=training.attention == "unfused")
    mfu = flops / (peak * step)
    return mfu, (flops + np.array(again)[s.recompute]) / (peak * step)
