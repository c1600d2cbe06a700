"""A cluster of two kinds of nodes: each kind's pool on its own, and the fabric that joins them.

Between the pools the slower one decides. To say so with the figures of uniform clusters, each pool is told twice: as
it is, and as if every device of the whole cluster were of its kind. What a group of ranks of both kinds pays is then
the larger of what it would pay in either of these: every node has its own way out, and a ring is as fast as the
slowest of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner.cluster.build.resolve import resolve_cluster
from planner.cluster.model import presets
from planner.cluster.model.cluster import Cluster
from planner.cluster.model.spec import MOST_DEVICES, ClusterSpec, NodeSpec, PoolSpec
from planner.errors import InputError


@dataclass(frozen=True, slots=True)
class Pool:
    """Equal nodes: `own` is the pool alone, `everywhere` a cluster of at least all devices, all of this kind."""

    own: Cluster
    everywhere: Cluster

    @property
    def name(self) -> str:
        """The node's name."""
        return self.own.name

    @property
    def devices(self) -> int:
        """Accelerators of the pool."""
        return self.own.devices


@dataclass(frozen=True, slots=True)
class Pools:
    """Two kinds of nodes in one cluster. `note`: what was chosen on the user's behalf; maybe empty."""

    name: str
    title: str
    pools: tuple[Pool, Pool]
    note: str = ""

    @property
    def devices(self) -> int:
        """Accelerators of both kinds."""
        return sum(pool.devices for pool in self.pools)


def resolve_pools(spec: ClusterSpec, origin: str, note: str = "") -> Pools:
    """The pools of `spec`, those of equal nodes put together. Raises InputError unless two kinds are left."""
    for key, given in (("node", spec.node), ("nodes", spec.nodes), ("hosts", spec.hosts)):
        if given:
            raise InputError("pools say it", origin=origin, key=key, expected=f"either pools or {key}")
    kinds = _kinds(spec.pools, origin)
    if len(kinds) != 2:
        raise InputError(
            "not two kinds of nodes",
            origin=origin,
            key="pools",
            value=f"{len(kinds)}: {', '.join(node.name for node, _ in kinds)}",
            expected="two pools whose nodes differ; one kind alone is told by node and nodes",
        )
    sizes = [node.devices * count for node, count in kinds]
    if sum(sizes) > MOST_DEVICES:
        raise InputError(
            "more devices than can be planned",
            origin=origin,
            key="pools",
            value=sum(sizes),
            expected=f"up to {MOST_DEVICES:,} devices",
        )
    first, second = (_pool(spec, node, count, sum(sizes), origin) for node, count in kinds)
    names = _names((first, second))
    pools = tuple(_named(pool, name) for pool, name in zip((first, second), names, strict=True))
    return Pools(spec.name, spec.title or spec.name, (pools[0], pools[1]), note)


def joined_presets(parts: Sequence[tuple[str, int | None]], *, key: str = "--cluster") -> tuple[ClusterSpec, str]:
    """Presets joined to one description, and a note: the nodes of each, as many as told (None: the preset's number),
    under the first one's fabric. Raises InputError for unknown names and for more nodes than a preset can have.
    """
    specs = [presets.cluster_spec(name, key=key) for name, _ in parts]
    pools = []
    for spec, (_, count) in zip(specs, parts, strict=True):
        nodes = count or spec.nodes
        if spec.node is None or nodes is None:
            raise InputError("has no nodes of one kind", key=key, value=spec.name, expected="a cluster of one kind")
        if spec.max_nodes is not None and nodes > spec.max_nodes:
            raise InputError(
                f"{spec.name} is not built larger", key=key, value=nodes, expected=f"at most {spec.max_nodes} nodes"
            )
        pools.append(PoolSpec(node=spec.node, nodes=nodes))
    first = specs[0]
    name = "+".join(f"{spec.name}:{pool.nodes}" for spec, pool in zip(specs, pools, strict=True))
    whole = ClusterSpec(name=name, title=name, fabric=first.fabric, pools=tuple(pools), sources=first.sources)
    return whole, f"all nodes are joined by the fabric of {first.name}"


def _kinds(pools: Sequence[PoolSpec], origin: str) -> list[tuple[NodeSpec, int]]:
    """Distinct nodes and how many of each, in order."""
    found: list[tuple[NodeSpec, int]] = []
    for index, pool in enumerate(pools):
        key = f"pools[{index}].node"
        node = pool.node if isinstance(pool.node, NodeSpec) else presets.node_spec(pool.node, origin=origin, key=key)
        same = [at for at, (other, _) in enumerate(found) if other == node]
        if same:
            found[same[0]] = (node, found[same[0]][1] + pool.nodes)
        else:
            found.append((node, pool.nodes))
    return found


def _pool(spec: ClusterSpec, node: NodeSpec, nodes: int, devices: int, origin: str) -> Pool:
    """One kind alone, and so many nodes of it as hold all `devices`."""
    alone = ClusterSpec(name=node.name, title=node.title or node.name, node=node, fabric=spec.fabric, nodes=nodes)
    own = resolve_cluster(alone, origin, nodes=nodes)
    # more than one node, so that the fabric is there even where all devices would fit in one node of this kind
    return Pool(own, resolve_cluster(alone, origin, nodes=max(2, -(-devices // node.devices))))


def _names(pools: Sequence[Pool]) -> list[str]:
    """A name for each pool: the node's, or the accelerator's where nodes are called alike, or one with a number."""
    for names in ([pool.name for pool in pools], [pool.own.accelerator.name for pool in pools]):
        if len(set(names)) == len(names):
            return names
    return [f"{pool.name} {number}" for number, pool in enumerate(pools, start=1)]


def _named(pool: Pool, name: str) -> Pool:
    return Pool(replace(pool.own, name=name), replace(pool.everywhere, name=name))
