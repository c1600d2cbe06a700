"""Failures: how often a job is interrupted, how often it should save its state, and what share of the time is left.

Failures are independent and exponential, and any of them stops the job (a series system). All functions take arrays
of one shape (broadcast), so that many jobs, sizes or step times are told at once.

Sources: J. W. Young, A first order approximation to the optimum checkpoint interval, CACM 17(9), 1974,
doi:10.1145/361147.361115; J. T. Daly, A higher order estimate of the optimum checkpoint interval for restart dumps,
Future Generation Computer Systems 22(3), 2006, doi:10.1016/j.future.2004.11.016.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.cost.arrays import Floats, settled

_LARGEST_EXPONENT = 700.0
"""Beyond it an exponential leaves the floats; what it divides is zero by then."""


@dataclass(frozen=True)
class Checkpoint:
    """What saving and reading the state of a job takes, every array of shape [jobs], in seconds.

    `blocked_s`: training stands still; `behind_s`: until the state is safe after training has gone on.
    """

    blocked_s: Floats
    behind_s: Floats
    load_s: Floats


@dataclass(frozen=True)
class TimeShares:
    """Where the time of a job goes, shares that add up to one, every array of shape [jobs].

    `lost`: work done again after a failure, and checkpoints that were cut short; `repair`: waiting for a node.
    """

    goodput: Floats
    checkpoint: Floats
    lost: Floats
    detection: Floats
    restart: Floats
    load: Floats
    repair: Floats


def job_mtbf(
    devices: Floats, nodes: Floats, *, device_mtbf_s: float, node_mtbf_s: float, software_mtbf_s: float
) -> Floats:
    """Mean time between failures of a job on so many devices and nodes, shape [jobs], seconds: rates add up."""
    return 1.0 / (devices / device_mtbf_s + nodes / node_mtbf_s + nodes / software_mtbf_s)


def checkpoint_times(
    state_bytes: Floats,
    writers: Floats,
    *,
    write_bytes_per_s: float,
    read_bytes_per_s: float,
    link_bytes_per_s: float,
    way_out_bytes_per_s: float,
    pause_s: float,
    asynchronous: bool,
) -> Checkpoint:
    """Times of a checkpoint of the whole state, once, shape [jobs], spread evenly over the devices that write.

    `link_bytes_per_s`, `way_out_bytes_per_s`: one device's to its host, and out of its node; `pause_s`: what each
    checkpoint blocks beside the bytes. Asynchronous (MegaScale, arXiv 2402.15627, section 4.4): only the copy to
    the host blocks, and the storage is written behind the training.
    """
    share = state_bytes / writers
    copied = share / link_bytes_per_s
    out = np.maximum(state_bytes / write_bytes_per_s, share / way_out_bytes_per_s)
    load = np.maximum(state_bytes / read_bytes_per_s, share / min(link_bytes_per_s, way_out_bytes_per_s))
    if asynchronous:
        return Checkpoint(pause_s + copied, out, load)
    return Checkpoint(pause_s + np.maximum(copied, out), np.zeros_like(out), load)


def young_interval(blocked_s: Floats, mtbf_s: Floats) -> Floats:
    """Young's optimum of the work between two checkpoints, sqrt(2 C M), shape [jobs], seconds."""
    return np.sqrt(2.0 * blocked_s * mtbf_s)


def daly_interval(blocked_s: Floats, mtbf_s: Floats) -> Floats:
    """Daly's optimum of the work between two checkpoints (2006, equation 37), shape [jobs], seconds."""
    half = blocked_s / (2.0 * mtbf_s)
    series = 1.0 + np.sqrt(half) / 3.0 + half / 9.0
    return np.where(half < 1.0, young_interval(blocked_s, mtbf_s) * series - blocked_s, mtbf_s)


def useful_share(work_s: Floats, checkpoint: Checkpoint, mtbf_s: Floats, restart_s: Floats) -> Floats:
    """Share of the time in which work is done that lasts, shape [jobs].

    Daly's complete model (2006): the work τ of a segment takes M e^(R/M) (e^((τ+C)/M) - 1). Where a
    checkpoint is safe only D after the segment, a life between failures leaves E[floor((X - D) / (τ + C))] segments
    instead of E[floor(X / (τ + C))], which is e^(-D/M) times as many.
    """
    segment = np.minimum((work_s + checkpoint.blocked_s) / mtbf_s, _LARGEST_EXPONENT)
    cut = settled(np.exp(-np.minimum((restart_s + checkpoint.behind_s) / mtbf_s, _LARGEST_EXPONENT)))
    return cut * (work_s / mtbf_s) / settled(np.expm1(segment))


def whole_steps(step_s: Floats, checkpoint: Checkpoint, mtbf_s: Floats) -> Floats:
    """Steps between two checkpoints: Daly's optimum, rounded to what is better of the two, shape [jobs].

    An asynchronous checkpoint has to be written before the next one begins.
    """
    least = np.ceil(np.maximum(checkpoint.behind_s - checkpoint.blocked_s, 0.0) / step_s)
    least = np.maximum(least, 1.0)
    exact = daly_interval(checkpoint.blocked_s, mtbf_s) / step_s
    fewer, more = np.maximum(np.floor(exact), least), np.maximum(np.ceil(exact), least)
    none = np.zeros_like(mtbf_s)
    kept = useful_share(fewer * step_s, checkpoint, mtbf_s, none) >= useful_share(
        more * step_s, checkpoint, mtbf_s, none
    )
    return np.where(kept, fewer, more)


def time_shares(
    work_s: Floats,
    checkpoint: Checkpoint,
    mtbf_s: Floats,
    *,
    detection_s: float,
    restart_s: float,
    available: Floats,
) -> TimeShares:
    """Where the time goes with a checkpoint after every `work_s` of training, each of shape [jobs].

    `available`: share of the time in which enough nodes are there (`planner.cost.operations.spares`).
    """
    stop = detection_s + restart_s + checkpoint.load_s
    useful = useful_share(work_s, checkpoint, mtbf_s, stop)
    saving = useful * checkpoint.blocked_s / work_s
    stopped = settled(-np.expm1(-stop / mtbf_s))
    lost = np.maximum(1.0 - stopped - useful - saving, 0.0)
    each = available * stopped / np.maximum(stop, np.finfo(np.float64).tiny)
    return TimeShares(
        goodput=available * useful,
        checkpoint=available * saving,
        lost=available * lost,
        detection=each * detection_s,
        restart=each * restart_s,
        load=each * checkpoint.load_s,
        repair=1.0 - available,
    )
