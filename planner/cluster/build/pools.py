"""A cluster of two types of nodes: the pool of each type on its own, and the fabric that joins them.

Between the pools the slower one decides. To use the figures of uniform clusters, each pool is described twice: as
it is, and as if every device of the whole cluster were of its kind. What a group of ranks of both kinds pays is then
the larger of what it would pay in either of these: every node has its own uplink, and a ring is as fast as the
slowest of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner.cluster.build.regular_cluster import resolve_node_spec
from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model import presets
from planner.cluster.model.cluster import Cluster
from planner.cluster.model.spec import MAX_CLUSTER_DEVICES, ClusterSpec, NodeSpec, PoolSpec
from planner.errors import InputError, name_origin


@dataclass(frozen=True, slots=True)
class NodePool:
    """Equal nodes: `own_cluster` is the pool alone, `uniform_cluster` a cluster of at least all devices, all of this
    kind.
    """

    own_cluster: Cluster
    uniform_cluster: Cluster

    @property
    def name(self) -> str:
        """The node's name."""
        return self.own_cluster.name

    @property
    def devices(self) -> int:
        """Accelerators of the pool."""
        return self.own_cluster.devices


@dataclass(frozen=True, slots=True)
class HeteroCluster:
    """Two types of nodes in one cluster. `note`: what was chosen on the user's behalf; maybe empty."""

    name: str
    title: str
    pools: tuple[NodePool, NodePool]
    note: str = ""

    @property
    def devices(self) -> int:
        """Accelerators of both kinds."""
        return sum(pool.devices for pool in self.pools)


def resolve_pools(spec: ClusterSpec, origin: str, note: str = "") -> HeteroCluster:
    """The pools of `spec`, those of equal nodes put together.

    Raises InputError naming the file `origin`, unless two types of nodes are left.
    """
    with name_origin(origin):
        node_counts = _count_nodes_by_type(spec)
        devices = sum(node.devices * count for node, count in node_counts)
        if devices > MAX_CLUSTER_DEVICES:
            expected = f"up to {MAX_CLUSTER_DEVICES:,} devices"
            raise InputError("more devices than can be planned", key="pools", value=devices, expected=expected)
        first, second = _assign_pool_names([_build_pool(spec, node, count, devices) for node, count in node_counts])
    return HeteroCluster(spec.name, spec.title or spec.name, (first, second), note)


def join_presets(parts: Sequence[tuple[str, int | None]], *, key: str = "--cluster") -> tuple[ClusterSpec, str]:
    """Presets joined to one description, and a note: the nodes of each, as many as given (None: the preset's number),
    under the first one's fabric. Raises InputError for unknown names and for more nodes than a preset can have.
    """
    specs = [presets.load_cluster_spec(name, key=key) for name, _ in parts]
    pools = []
    for spec, (_, count) in zip(specs, parts, strict=True):
        nodes = count or spec.nodes
        if spec.node is None or nodes is None:
            raise InputError("is a heterogeneous cluster", key=key, value=spec.name, expected="a cluster of one kind")
        if spec.max_nodes is not None and nodes > spec.max_nodes:
            raise InputError(
                f"{spec.name} is not built larger", key=key, value=nodes, expected=f"at most {spec.max_nodes} nodes"
            )
        pools.append(PoolSpec(node=spec.node, nodes=nodes))
    first = specs[0]
    name = "+".join(f"{spec.name}:{pool.nodes}" for spec, pool in zip(specs, pools, strict=True))
    joined_spec = ClusterSpec(name=name, title=name, fabric=first.fabric, pools=tuple(pools), sources=first.sources)
    return joined_spec, f"all nodes are joined by the fabric of {first.name}"


def _count_nodes_by_type(spec: ClusterSpec) -> list[tuple[NodeSpec, int]]:
    """Distinct nodes and how many of each, in order. Raises InputError unless they are two."""
    for key, given in (("node", spec.node), ("nodes", spec.nodes), ("hosts", spec.hosts)):
        if given:
            raise InputError("conflicts with [[pools]]", key=key, expected=f"either pools or {key}")
    nodes = [resolve_node_spec(pool.node, f"pools[{index}].node") for index, pool in enumerate(spec.pools)]
    node_types = [node for index, node in enumerate(nodes) if node not in nodes[:index]]
    if len(node_types) != 2:
        listed_types = f"{len(node_types)}: {', '.join(node.name for node in node_types)}"
        expected = "two pools whose nodes differ; equal nodes are described by node and nodes"
        raise InputError("not two kinds of nodes", key="pools", value=listed_types, expected=expected)
    return [
        (node_type, sum(pool.nodes for pool, node in zip(spec.pools, nodes, strict=True) if node == node_type))
        for node_type in node_types
    ]


def _build_pool(spec: ClusterSpec, node: NodeSpec, nodes: int, devices: int) -> NodePool:
    """One type of node alone, and as many nodes of it as hold all `devices`."""
    pool_spec = ClusterSpec(name=node.name, title=node.title or node.name, node=node, fabric=spec.fabric, nodes=nodes)
    own_cluster = resolve_cluster(pool_spec, "", nodes=nodes)
    # more than one node, so that the fabric is there even where all devices would fit in one node of this kind
    return NodePool(own_cluster, resolve_cluster(pool_spec, "", nodes=max(2, -(-devices // node.devices))))


def _assign_pool_names(pools: Sequence[NodePool]) -> list[NodePool]:
    """Pools named after their node, or after the accelerator where nodes have the same name, or with a number."""
    numbered_names = [f"{pool.name} {number}" for number, pool in enumerate(pools, start=1)]
    accelerators = [pool.own_cluster.accelerator.name for pool in pools]
    candidates = ([pool.name for pool in pools], accelerators, numbered_names)
    names = next(names for names in candidates if len(set(names)) == len(names))
    return [
        NodePool(replace(pool.own_cluster, name=name), replace(pool.uniform_cluster, name=name))
        for pool, name in zip(pools, names, strict=True)
    ]
