"""A cluster in SI numbers: so many nodes of one kind, and the levels of its fabric."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from planner.cluster.build.power import parse_pue
from planner.cluster.build.reliability import check_reliability
from planner.cluster.model.spec import ClusterSpec, FaultSpec
from planner.errors import InputError

if TYPE_CHECKING:
    pass
from planner.cluster.build.regular_cluster import resolve_regular_cluster
from planner.cluster.model.cluster import Cluster


def resolve_cluster(
    spec: ClusterSpec,
    origin: str,
    *,
    nodes: int | None = None,
    devices: int | None = None,
    faults: tuple[FaultSpec, ...] = (),
) -> Cluster:
    """The cluster of `spec` with `nodes` nodes, or as many as hold `devices` (the file's count if neither).

    Fewer devices than one node's make a single, partly used node. `faults` are beside the file's own; with any, a
    regular cluster is written out host by host. Raises InputError for figures that make no sense, for both counts at
    once, for more nodes than the cluster can have, and for a fault of a part that it does not have.
    """
    if spec.pools:
        raise InputError(
            "the cluster is heterogeneous", origin=origin, key="pools", expected="a single pool; `plan` takes several"
        )
    if spec.hosts or spec.faults or faults:
        from planner.cluster.build.wired_cluster import resolve_wired_cluster

        cluster: Cluster = resolve_wired_cluster(spec, origin, faults, nodes=nodes, devices=devices)
    else:
        cluster = resolve_regular_cluster(spec, origin, nodes=nodes, devices=devices)
    check_reliability(spec.reliability, spec.storage, origin)
    pue = None if spec.pue is None else parse_pue(spec.pue, origin, "pue", "the cluster's file")
    return replace(cluster, reliability=spec.reliability, storage=spec.storage, pue=pue)
