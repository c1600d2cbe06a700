"""Spare nodes: how often one is missing, what that costs, and how many pay off.

Nodes fail one after the other and are repaired side by side. While more are out than there are spares the job
waits, so none fails: the birth-death process of Erlang's loss system (A. K. Erlang 1917), whose answer holds for
repair times of any distribution. A job that goes on with fewer data-parallel replicas sees the plain Poisson number
of nodes out.
"""

from __future__ import annotations

import numpy as np

from planner.cluster.model.reliability_spec import MOST_SPARES
from planner.cost.arrays import Floats, settled


def nodes_out(nodes: Floats, devices: Floats, *, device_mtbf_s: float, node_mtbf_s: float, repair_s: float) -> Floats:
    """Mean number of nodes in repair while the job runs, shape [jobs]: the offered load of Erlang's system."""
    return (devices / device_mtbf_s + nodes / node_mtbf_s) * repair_s


def waiting_share(load: Floats, spares: int) -> Floats:
    """Share of the time in which more nodes are out than there are spares and the job waits, shape [jobs].

    Erlang's B for spares + 1 servers: B(0) = 1, B(m) = a B(m-1) / (m + a B(m-1)).
    """
    share = np.ones_like(load)
    for servers in range(1, spares + 2):
        share = load * share / (servers + load * share)
    return share


def shrunk_share(load: Floats, spares: int, nodes: Floats, replica_nodes: Floats) -> Floats:
    """Share of the work that is missing where the job goes on with fewer replicas of `replica_nodes`, shape [jobs].

    With k > s nodes out, Poisson of mean a, ceil((k - s) / q) of n / q replicas do not run: their whole nodes step
    in for others.
    """
    most = min(float(np.max(load) + 10.0 * np.sqrt(np.max(load)) + 20.0), float(np.max(nodes)) + spares)
    out = np.arange(int(most) + 1)
    factorial = np.concatenate([[0.0], np.cumsum(settled(np.log(out[1:])))])
    held = np.maximum(load, np.finfo(np.float64).tiny)[..., np.newaxis]
    probability = settled(np.exp(out * settled(np.log(held)) - held - factorial), 36)
    replica = replica_nodes[..., np.newaxis]
    missing = np.ceil(np.maximum(out - spares, 0) / replica) * replica / nodes[..., np.newaxis]
    beyond = np.maximum(1.0 - np.sum(probability, axis=-1), 0.0)  # nobody is left to run
    share: Floats = np.clip(np.sum(probability * np.minimum(missing, 1.0), axis=-1) + beyond, 0.0, 1.0)
    return share


def spares_that_pay(load: Floats, nodes: Floats) -> Floats:
    """How many spare nodes make the most goodput of a node, all nodes counted, shape [jobs].

    One more pays while it adds at least its share of the nodes: A(s) / (n + s), A = 1 - B(s + 1), rises until then
    and falls ever after, since Erlang's B is convex in the number of servers (E. J. Messerli 1972).
    """
    share = load / (1.0 + load)
    best, gain = np.zeros_like(load), (1.0 - share) / nodes
    rising = np.ones(np.shape(load), dtype=np.bool_)
    for spares in range(1, MOST_SPARES + 1):
        share = load * share / (spares + 1.0 + load * share)
        now = (1.0 - share) / (nodes + spares)
        rising &= now >= gain
        if not rising.any():
            break
        best, gain = np.where(rising, float(spares), best), np.where(rising, now, gain)
    return best
