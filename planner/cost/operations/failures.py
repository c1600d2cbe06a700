"""Failures: how often a job is interrupted, how often it should save its state, what share of the time is left, and
how many spare nodes pay off.

Failures are independent and exponential, and any of them stops the job (a series system). All functions take arrays
of one shape (broadcast), so that many jobs, sizes or step times are computed at once.

Sources: J. W. Young, A first order approximation to the optimum checkpoint interval, CACM 17(9), 1974,
doi:10.1145/361147.361115; J. T. Daly, A higher order estimate of the optimum checkpoint interval for restart dumps,
Future Generation Computer Systems 22(3), 2006, doi:10.1016/j.future.2004.11.016.

Nodes fail one after the other and are repaired side by side. While more are out than there are spares the job
waits, so none fails: the birth-death process of Erlang's loss system (A. K. Erlang 1917), whose result holds for
repair times of any distribution. A job that goes on with fewer data-parallel replicas sees the plain Poisson number
of nodes out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cluster.model.spec import MAX_SPARES
from planner.cost.arrays import Floats, round_significant

_MAX_EXPONENT = 700.0
"""Beyond it an exponential leaves the floats; what it divides is zero by then."""


@dataclass(frozen=True)
class CheckpointTimes:
    """What saving and reading the state of a job takes, every array of shape [jobs], in seconds.

    `blocked_s`: training stands still; `background_write_s`: until the state is safe after training has gone on.
    """

    blocked_s: Floats
    background_write_s: Floats
    load_s: Floats


@dataclass(frozen=True)
class TimeShares:
    """Where the time of a job goes, shares that add up to one, every array of shape [jobs].

    `lost_work`: work done again after a failure, and checkpoints that were cut short; `repair`: waiting for a node.
    """

    goodput: Floats
    checkpoint: Floats
    lost_work: Floats
    detection: Floats
    restart: Floats
    load: Floats
    repair: Floats


def compute_job_mtbf_s(
    devices: Floats, nodes: Floats, *, device_mtbf_s: float, node_mtbf_s: float, software_mtbf_s: float
) -> Floats:
    """Mean time between failures of a job on this many devices and nodes, shape [jobs], seconds: rates add up."""
    return 1.0 / (devices / device_mtbf_s + nodes / node_mtbf_s + nodes / software_mtbf_s)


def compute_checkpoint_times(
    state_bytes: Floats,
    writers: Floats,
    *,
    write_bytes_per_s: float,
    read_bytes_per_s: float,
    link_bytes_per_s: float,
    uplink_bytes_per_s: float,
    pause_s: float,
    asynchronous: bool,
) -> CheckpointTimes:
    """Times of a checkpoint of the whole state, once, shape [jobs], spread evenly over the devices that write.

    `link_bytes_per_s`, `uplink_bytes_per_s`: one device's to its host, and out of its node; `pause_s`: what each
    checkpoint blocks beside the bytes. Asynchronous (MegaScale, arXiv 2402.15627, section 4.4): only the copy to
    the host blocks, and the storage is written behind the training.
    """
    bytes_per_writer = state_bytes / writers
    host_copy_s = bytes_per_writer / link_bytes_per_s
    storage_write_s = np.maximum(state_bytes / write_bytes_per_s, bytes_per_writer / uplink_bytes_per_s)
    load_s = np.maximum(state_bytes / read_bytes_per_s, bytes_per_writer / min(link_bytes_per_s, uplink_bytes_per_s))
    if asynchronous:
        return CheckpointTimes(pause_s + host_copy_s, storage_write_s, load_s)
    return CheckpointTimes(pause_s + np.maximum(host_copy_s, storage_write_s), np.zeros_like(storage_write_s), load_s)


def compute_young_interval_s(blocked_s: Floats, mtbf_s: Floats) -> Floats:
    """Young's optimum of the work between two checkpoints, sqrt(2 C M), shape [jobs], seconds."""
    return np.sqrt(2.0 * blocked_s * mtbf_s)


def compute_daly_interval_s(blocked_s: Floats, mtbf_s: Floats) -> Floats:
    """Daly's optimum of the work between two checkpoints (2006, equation 37), shape [jobs], seconds."""
    half_ratio = blocked_s / (2.0 * mtbf_s)
    series = 1.0 + np.sqrt(half_ratio) / 3.0 + half_ratio / 9.0
    return np.where(half_ratio < 1.0, compute_young_interval_s(blocked_s, mtbf_s) * series - blocked_s, mtbf_s)


def compute_useful_share(work_s: Floats, checkpoint: CheckpointTimes, mtbf_s: Floats, restart_s: Floats) -> Floats:
    """Share of the time in which work is done that lasts, shape [jobs].

    Daly's complete model (2006): the work τ of a segment takes M e^(R/M) (e^((τ+C)/M) - 1). Where a
    checkpoint is safe only D after the segment, a life between failures leaves E[floor((X - D) / (τ + C))] segments
    instead of E[floor(X / (τ + C))], which is e^(-D/M) times as many.
    """
    segment_ratio = np.minimum((work_s + checkpoint.blocked_s) / mtbf_s, _MAX_EXPONENT)
    survival_share = round_significant(
        np.exp(-np.minimum((restart_s + checkpoint.background_write_s) / mtbf_s, _MAX_EXPONENT))
    )
    return survival_share * (work_s / mtbf_s) / round_significant(np.expm1(segment_ratio))


def compute_checkpoint_steps(step_s: Floats, checkpoint: CheckpointTimes, mtbf_s: Floats) -> Floats:
    """Steps between two checkpoints: Daly's optimum, rounded to what is better of the two, shape [jobs].

    An asynchronous checkpoint has to be written before the next one begins.
    """
    min_steps = np.ceil(np.maximum(checkpoint.background_write_s - checkpoint.blocked_s, 0.0) / step_s)
    min_steps, no_restart_s = np.maximum(min_steps, 1.0), np.zeros_like(mtbf_s)
    exact_steps = compute_daly_interval_s(checkpoint.blocked_s, mtbf_s) / step_s
    fewer_steps = np.maximum(np.floor(exact_steps), min_steps)
    more_steps = np.maximum(np.ceil(exact_steps), min_steps)
    fewer_share, more_share = (
        compute_useful_share(steps * step_s, checkpoint, mtbf_s, no_restart_s) for steps in (fewer_steps, more_steps)
    )
    return np.where(fewer_share >= more_share, fewer_steps, more_steps)


def compute_time_shares(
    work_s: Floats,
    checkpoint: CheckpointTimes,
    mtbf_s: Floats,
    *,
    detection_s: float,
    restart_s: float,
    available: Floats,
) -> TimeShares:
    """Where the time goes with a checkpoint after every `work_s` of training, each of shape [jobs].

    `available`: share of the time in which enough nodes are there.
    """
    stop_s = detection_s + restart_s + checkpoint.load_s
    useful_time = compute_useful_share(work_s, checkpoint, mtbf_s, stop_s)
    checkpoint_share = useful_time * checkpoint.blocked_s / work_s
    stopped_share = round_significant(-np.expm1(-stop_s / mtbf_s))
    lost_share = np.maximum(1.0 - stopped_share - useful_time - checkpoint_share, 0.0)
    share_per_s = available * stopped_share / np.maximum(stop_s, np.finfo(np.float64).tiny)
    return TimeShares(
        goodput=available * useful_time,
        checkpoint=available * checkpoint_share,
        lost_work=available * lost_share,
        detection=share_per_s * detection_s,
        restart=share_per_s * restart_s,
        load=share_per_s * checkpoint.load_s,
        repair=1.0 - available,
    )


def compute_nodes_in_repair(
    nodes: Floats, devices: Floats, *, device_mtbf_s: float, node_mtbf_s: float, repair_s: float
) -> Floats:
    """Mean number of nodes in repair while the job runs, shape [jobs]: the offered load of Erlang's system."""
    return (devices / device_mtbf_s + nodes / node_mtbf_s) * repair_s


def compute_stalled_share(nodes_in_repair: Floats, spares: int) -> Floats:
    """Share of the time in which more nodes are out than there are spares and the job waits, shape [jobs].

    Erlang's B for spares + 1 servers: B(0) = 1, B(m) = a B(m-1) / (m + a B(m-1)).
    """
    share = np.ones_like(nodes_in_repair)
    for servers in range(1, spares + 2):
        share = nodes_in_repair * share / (servers + nodes_in_repair * share)
    return share


def compute_shrunk_share(nodes_in_repair: Floats, spares: int, nodes: Floats, replica_nodes: Floats) -> Floats:
    """Share of the work that is missing where the job goes on with fewer replicas of `replica_nodes`, shape [jobs].

    With k > s nodes out, Poisson of mean a, ceil((k - s) / q) of n / q replicas do not run: their whole nodes step
    in for others.
    """
    most_load = np.max(nodes_in_repair)
    max_nodes_out = min(float(most_load + 10.0 * np.sqrt(most_load) + 20.0), float(np.max(nodes)) + spares)
    nodes_out = np.arange(int(max_nodes_out) + 1)
    log_factorial = np.concatenate([[0.0], np.cumsum(round_significant(np.log(nodes_out[1:])))])
    load = np.maximum(nodes_in_repair, np.finfo(np.float64).tiny)[..., np.newaxis]
    exponent = nodes_out * round_significant(np.log(load)) - load - log_factorial
    probability = round_significant(np.exp(exponent), 36)
    replica_nodes = replica_nodes[..., np.newaxis]
    missing_nodes = np.ceil(np.maximum(nodes_out - spares, 0) / replica_nodes) * replica_nodes
    missing_share = np.minimum(missing_nodes / nodes[..., np.newaxis], 1.0)
    tail_probability = np.maximum(1.0 - np.sum(probability, axis=-1), 0.0)  # nobody is left to run
    share: Floats = np.clip(np.sum(probability * missing_share, axis=-1) + tail_probability, 0.0, 1.0)
    return share


def find_optimal_spares(nodes_in_repair: Floats, nodes: Floats) -> Floats:
    """How many spare nodes make the most goodput of a node, all nodes counted, shape [jobs].

    One more pays while it adds at least its share of the nodes: A(s) / (n + s), A = 1 - B(s + 1), rises until then
    and falls ever after, since Erlang's B is convex in the number of servers (E. J. Messerli 1972).
    """
    stalled_share = nodes_in_repair / (1.0 + nodes_in_repair)
    best_spares, best_gain = np.zeros_like(nodes_in_repair), (1.0 - stalled_share) / nodes
    is_rising = np.ones(np.shape(nodes_in_repair), dtype=np.bool_)
    for spares in range(1, MAX_SPARES + 1):
        stalled_share = nodes_in_repair * stalled_share / (spares + 1.0 + nodes_in_repair * stalled_share)
        current_gain = (1.0 - stalled_share) / (nodes + spares)
        is_rising &= current_gain >= best_gain
        if not is_rising.any():
            break
        best_spares = np.where(is_rising, float(spares), best_spares)
        best_gain = np.where(is_rising, current_gain, best_gain)
    return best_spares
