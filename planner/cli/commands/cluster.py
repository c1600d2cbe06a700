"""`planner cluster`: the cluster presets."""

from __future__ import annotations

import typer

from planner.cli.commands.cluster_import import import_cluster
from planner.cli.options.output import FilesOption, FormatOption, OutputFormat

cluster_app = typer.Typer(
    help="Clusters: list the presets, import your own.", no_args_is_help=True, rich_markup_mode=None
)


@cluster_app.command("list")
def list_clusters(form: FormatOption = OutputFormat.TABLE, files: FilesOption = None) -> None:
    """List the presets with their hardware.

    \b
    Examples:
      planner cluster list
    """
    from planner.cli.io.lists import write_listing
    from planner.cluster.build.resolve import resolve_cluster
    from planner.cluster.model import presets
    from planner.documents.listing import ClusterEntry
    from planner.hardware import database

    entries = []
    for name in database.list_database_names("clusters"):
        cluster = resolve_cluster(presets.load_cluster_spec(name), f"hardware_db/clusters/{name}.toml")
        entries.append(
            ClusterEntry(
                name=name,
                title=cluster.title,
                accelerator=cluster.accelerator.name,
                devices_per_node=cluster.devices_per_node,
                nodes=cluster.nodes,
            )
        )
    write_listing("clusters", entries, form.value, files)


cluster_app.command("import")(import_cluster)
