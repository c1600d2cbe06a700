"""hardware_db: the accelerators, nodes and clusters that are known by name."""

from __future__ import annotations

from planner.cluster.model.spec import ClusterSpec, NodeSpec
from planner.hardware.database import load_database_entry


def load_node_spec(name: str, *, origin: str = "", key: str = "node") -> NodeSpec:
    """The named node's file. Raises InputError with the nearest name."""
    return load_database_entry("nodes", name, NodeSpec, "node", origin, key)


def load_cluster_spec(name: str, *, key: str = "--cluster") -> ClusterSpec:
    """The named cluster's file. Raises InputError with the nearest name."""
    return load_database_entry("clusters", name, ClusterSpec, "cluster", "", key)
