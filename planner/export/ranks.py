"""Files that state the host of each rank: hostfiles (MPI, DeepSpeed) and rankfiles (Open MPI).

Ranks are numbered as trainers number them, tensor parallelism innermost and pipeline stages outermost
(Megatron-LM's default order); for a plan with another order of dimensions, the rankfile has a line for each rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from planner.cost.settings import RANK_ORDERS
from planner.documents.plan import PlanDocument, PlanPart
from planner.errors import InputError


def render_hostfile(document: PlanDocument) -> str:
    """The hosts in the order of the ranks, each with its devices.

    Raises InputError where consecutive ranks do not fill one host after the other.
    """
    plan = document.plans[0]
    if plan.settings.order != RANK_ORDERS[0]:
        raise InputError(
            f"ranks are laid out as {plan.settings.order}, which a list of hosts cannot express",
            key="--hostfile",
            expected=f"--rankfile, or --order {RANK_ORDERS[0]}",
        )
    slots = document.cluster.devices_per_node
    return "".join(f"{host} slots={slots}\n" for host in list_host_names(document))


def render_rankfile(document: PlanDocument) -> str:
    """The rankfile: host and slot of every rank."""
    hosts, slots = list_host_names(document), document.cluster.devices_per_node
    device_places = _enumerate_places(document.plans[0])
    return "".join(
        f"rank {rank}={hosts[place // slots]} slot={place % slots}\n" for rank, place in enumerate(device_places)
    )


def list_host_names(document: PlanDocument) -> Sequence[str]:
    """Hosts in the order of places; on a regular cluster they are numbered."""
    if document.placement is not None:
        return document.placement.hosts
    return [f"node-{number}" for number in range(document.cluster.nodes)]


def _enumerate_places(plan: PlanPart) -> Iterator[int]:
    """The place of each rank, counted from the first device of the first host."""
    degrees = {name: int(getattr(plan.strategy, name)) for name in ("tp", "cp", "dp", "pp")}
    stride, inner_size = {}, 1
    for name in plan.settings.order.split("-"):
        stride[name], inner_size = inner_size, inner_size * degrees[name]
    rank, place = np.arange(inner_size), np.zeros(inner_size, dtype=np.int64)
    for name in RANK_ORDERS[0].split("-"):
        place += rank % degrees[name] * stride[name]
        rank = rank // degrees[name]
    return iter(place.tolist())
