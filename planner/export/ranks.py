"""Files that state the host of each rank: hostfiles (MPI, DeepSpeed) and rankfiles (Open MPI).

Ranks are numbered as the trainer numbers them: in the plan's order of dimensions where it has an option for it
(`Trainer.rank_orders`: Megatron's `use_tp_pp_dp_mapping`), else in its own, tensor parallelism innermost and pipeline
stages outermost. The rankfile then lays them so that each group lies where the plan has it
(`planner/cost/rank_groups.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planner.cost.arrays import Ints
from planner.cost.rank_groups import RankLayout, compute_rank_places
from planner.cost.strategies import build_strategy
from planner.documents.plan import PlanDocument
from planner.errors import InputError
from planner.export.run import list_degrees
from planner.trainers.registry import TRAINERS_BY_NAME
from planner.trainers.trainer import find_numbering_order


def render_hostfile(document: PlanDocument) -> str:
    """The hosts in the order of the ranks, each with its devices.

    Raises InputError where consecutive ranks do not fill one host after the other.
    """
    places = compute_document_places(document)
    if (places != np.arange(len(places))).any():
        order = document.plans[0].settings.order
        raise InputError(
            f"ranks are laid out as {order}, which a list of hosts cannot express",
            key="--hostfile",
            expected=f"--rankfile, or --order {TRAINERS_BY_NAME[document.scenario.framework].rank_orders[0]}",
        )
    slots = document.cluster.devices_per_node
    return "".join(f"{host} slots={slots}\n" for host in list_host_names(document))


def render_rankfile(document: PlanDocument) -> str:
    """The rankfile: host and slot of every rank."""
    hosts, slots = list_host_names(document), document.cluster.devices_per_node
    return "".join(
        f"rank {rank}={hosts[place // slots]} slot={place % slots}\n"
        for rank, place in enumerate(compute_document_places(document).tolist())
    )


def compute_document_places(document: PlanDocument) -> Ints:
    """The place of each rank of the first plan, counted from the first device of the first host; shape [devices]."""
    plan, trainer = document.plans[0], TRAINERS_BY_NAME[document.scenario.framework]
    order, degrees = plan.settings.order, list_degrees(plan.strategy)
    has_experts = document.model.active_parameters < document.model.parameters
    numbering_order = find_numbering_order(trainer, order, degrees, has_experts=has_experts)
    layout, numbering = (RankLayout(laid, trainer.has_expert_axis) for laid in (order, numbering_order))
    return compute_rank_places(layout, numbering, build_strategy(**degrees))


def list_host_names(document: PlanDocument) -> Sequence[str]:
    """Hosts in the order of places; on a regular cluster they are numbered."""
    if document.placement is not None:
        return document.placement.hosts
    return [f"node-{number}" for number in range(document.cluster.nodes)]
