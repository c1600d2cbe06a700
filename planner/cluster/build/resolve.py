"""A cluster in SI numbers, from its description: regular, or with its links where these are listed."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from planner.cluster.build.power import parse_pue
from planner.cluster.build.regular_cluster import resolve_node_spec, resolve_regular_cluster
from planner.cluster.build.reliability import check_reliability
from planner.cluster.model.cluster import Cluster, WiredCluster
from planner.cluster.model.spec import ClusterSpec, FailedPartSpec
from planner.errors import InputError, name_origin
from planner.hardware.figures import parse_positive_figure

ClusterType = TypeVar("ClusterType", bound=Cluster)


def resolve_cluster(
    spec: ClusterSpec,
    origin: str,
    *,
    nodes: int | None = None,
    devices: int | None = None,
    failed_parts: tuple[FailedPartSpec, ...] = (),
) -> Cluster:
    """The cluster of `spec` with `nodes` nodes, or as many as hold `devices` (the file's count if neither).

    Fewer devices than one node's make a single, partly used node. `failed_parts` are added to the file's own; with
    any, a regular cluster is written out host by host. Raises InputError naming the file `origin`, for figures that
    make no sense, for both counts at once, for more nodes than the cluster can have, and for a failed part that it
    has not.
    """
    if spec.hosts or spec.failed_parts or failed_parts:
        return resolve_listed_cluster(spec, origin, nodes=nodes, devices=devices, failed_parts=failed_parts)
    with name_origin(origin):
        _check_single_pool(spec)
        return _add_operations(resolve_regular_cluster(spec, nodes=nodes, devices=devices), spec)


def resolve_listed_cluster(
    spec: ClusterSpec,
    origin: str,
    *,
    nodes: int | None = None,
    devices: int | None = None,
    failed_parts: tuple[FailedPartSpec, ...] = (),
) -> WiredCluster:
    """`resolve_cluster` of a wired cluster, or of one with failed parts."""
    from planner.cluster.build.wired_cluster import resolve_wired_cluster
    from planner.cluster.wired.failed_parts import format_failed_parts

    with name_origin(origin):
        _check_single_pool(spec)
        cluster = _add_operations(resolve_wired_cluster(spec, failed_parts, nodes=nodes, devices=devices), spec)
    all_parts = (*spec.failed_parts, *failed_parts)
    if not all_parts:
        return cluster
    return replace(cluster, title=f"{cluster.title}, degraded ({format_failed_parts(all_parts)})")


def _check_single_pool(spec: ClusterSpec) -> None:
    if spec.pools:
        raise InputError("the cluster is heterogeneous", key="pools", expected="a single pool; `plan` takes several")


def _add_operations(cluster: ClusterType, spec: ClusterSpec) -> ClusterType:
    """The cluster with what its file states on failures, storage and the site's power."""
    check_reliability(spec.reliability, spec.storage)
    pue = None if spec.pue is None else parse_pue(spec.pue, "pue", "the cluster's file")
    cores, storage_bytes_per_s = _resolve_input_figures(spec)
    return replace(
        cluster,
        reliability=spec.reliability,
        storage=spec.storage,
        pue=pue,
        host_cores=cores,
        node_storage_bytes_per_s=storage_bytes_per_s,
    )


def _resolve_input_figures(spec: ClusterSpec) -> tuple[float | None, float | None]:
    """Cores of a node, and what it reads from storage in bytes/s; None where its file does not say."""
    if spec.node is None:
        return None, None
    host = resolve_node_spec(spec.node).host
    if host is None:
        return None, None
    return (
        None if host.cores is None else parse_positive_figure(host.cores, "count", key="node.host.cores"),
        None if host.storage is None else parse_positive_figure(host.storage, "bytes_per_s", key="node.host.storage"),
    )
