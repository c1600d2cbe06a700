"""`planner cluster`: the clusters that are known by name."""

from __future__ import annotations

import typer

from planner.cli.cluster_import import import_cluster
from planner.cli.question import Files, Form, Output

cluster_app = typer.Typer(
    help="Clusters: list the known ones, import one's own.", no_args_is_help=True, rich_markup_mode=None
)


@cluster_app.command("list")
def list_clusters(form: Form = Output.TABLE, files: Files = None) -> None:
    """List the presets with what they are made of.

    \b
    Examples:
      planner cluster list
    """
    from planner.cli.lists import tell_list
    from planner.cluster import database
    from planner.cluster.cluster import resolve_cluster
    from planner.report.listing_document import ClusterEntry

    entries = []
    for name in database.names("clusters"):
        one = resolve_cluster(database.cluster_spec(name), f"hardware_db/clusters/{name}.toml")
        entries.append(
            ClusterEntry(
                name=name,
                title=one.title,
                accelerator=one.accelerator.name,
                devices_per_node=one.devices_per_node,
                nodes=one.nodes,
            )
        )
    tell_list("clusters", entries, form, files)


cluster_app.command("import")(import_cluster)
