"""`planner clusters`: the clusters that are known by name."""

from __future__ import annotations

import typer

clusters_app = typer.Typer(help="The clusters that are known by name.", no_args_is_help=True, rich_markup_mode=None)


@clusters_app.command("list")
def list_clusters() -> None:
    """List the presets with what they are made of."""
    from planner.cli.output import write
    from planner.cluster import database
    from planner.cluster.cluster import resolve_cluster
    from planner.report.listing import listing

    rows = []
    for name in database.names("clusters"):
        cluster = resolve_cluster(database.cluster_spec(name), f"hardware_db/clusters/{name}.toml")
        counts = [str(cluster.devices_per_node), str(cluster.nodes)]
        rows.append([name, cluster.title, cluster.accelerator.name, *counts])
    write(listing(("name", "cluster", "accelerator", "devices/node", "default nodes"), rows, numbers_from=3))
