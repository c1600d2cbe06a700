"""`planner cluster`: the clusters that are known by name."""

from __future__ import annotations

import typer

from planner.cli.commands.cluster_import import import_cluster
from planner.cli.options.question import Files, Form, Output

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
    from planner.cli.io.lists import tell_list
    from planner.cluster.build.resolve import resolve_cluster
    from planner.cluster.model import presets
    from planner.documents.listing import ClusterEntry
    from planner.hardware import database

    entries = []
    for name in database.names("clusters"):
        one = resolve_cluster(presets.cluster_spec(name), f"hardware_db/clusters/{name}.toml")
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
