"""Spare nodes: how often one is missing, what that costs, and how many pay off.

Nodes fail one after the other and are repaired side by side. While more are out than there are spares the job
waits, so none fails: the birth-death process of Erlang's loss system (A. K. Erlang 1917), whose result holds for
repair times of any distribution. A job that goes on with fewer data-parallel replicas sees the plain Poisson number
of nodes out.
"""

from __future__ import annotations

import numpy as np

from planner.cluster.model.spec import MAX_SPARES
from planner.cost.arrays import Floats, round_significant


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
    max_nodes_out = min(
        float(np.max(nodes_in_repair) + 10.0 * np.sqrt(np.max(nodes_in_repair)) + 20.0), float(np.max(nodes)) + spares
    )
    nodes_out = np.arange(int(max_nodes_out) + 1)
    factorial = np.concatenate([[0.0], np.cumsum(round_significant(np.log(nodes_out[1:])))])
    positive_load = np.maximum(nodes_in_repair, np.finfo(np.float64).tiny)[..., np.newaxis]
    probability = round_significant(
        np.exp(nodes_out * round_significant(np.log(positive_load)) - positive_load - factorial), 36
    )
    nodes_per_replica = replica_nodes[..., np.newaxis]
    missing_share = (
        np.ceil(np.maximum(nodes_out - spares, 0) / nodes_per_replica) * nodes_per_replica / nodes[..., np.newaxis]
    )
    tail_probability = np.maximum(1.0 - np.sum(probability, axis=-1), 0.0)  # nobody is left to run
    share: Floats = np.clip(
        np.sum(probability * np.minimum(missing_share, 1.0), axis=-1) + tail_probability, 0.0, 1.0
    )
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
        best_spares, best_gain = (
            np.where(is_rising, float(spares), best_spares),
            np.where(is_rising, current_gain, best_gain),
        )
    return best_spares
