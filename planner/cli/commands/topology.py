"""`planner topology`: a cluster's fabric as a drawing, its bisection, and the bandwidth of each parallel group."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from planner.cli.options.output import FormatOption, OutputFormat, build_files_option
from planner.cli.options.parameters import OptionValues, take_options

_TOPOLOGY_SUFFIXES = (".graphml", ".dot", ".svg", ".html")
ClusterArgument = Annotated[str, typer.Argument(metavar="CLUSTER", help="Preset (`planner cluster list`) or file.")]
TopologyFilesOption = Annotated[list[Path] | None, build_files_option(extra_suffixes=".svg, .dot, .graphml, ")]


@take_options("topology")
def topology(
    values: OptionValues,
    cluster: ClusterArgument,
    form: FormatOption = OutputFormat.TABLE,
    files: TopologyFilesOption = None,
) -> None:
    """Draw a cluster's fabric and show its bandwidths.

    It prints the bisection, the diameter and the bandwidth of parallel groups.

    \b
    Examples:
      planner topology dgx-h100 --nodes 128
      planner topology tpu-v5e -o pod.svg
      planner topology gb200-nvl72 --nodes 36 --format json
    """
    from planner.cli.io.output import check_output_files, write_document
    from planner.cluster.wired.prune_unused_links import list_used_links
    from planner.report.topology.files import render_topology_file
    from planner.request.inputs import read_cluster
    from planner.request.notices import warn
    from planner.request.plan_request import parse_option_values
    from planner.studies.topology import build_topology_document

    output_files = check_output_files(files, _TOPOLOGY_SUFFIXES, input_files=[("CLUSTER", cluster)])
    resolved_cluster = read_cluster(cluster, **parse_option_values(values, "topology"))  # type: ignore[arg-type]
    wiring = list_used_links(resolved_cluster)
    document = build_topology_document(resolved_cluster, wiring)

    def build_file_renderer(suffix: str) -> Callable[[], str]:
        def render_file() -> str:
            file_text, note = render_topology_file(suffix, resolved_cluster, wiring, document)
            if note:
                warn(f"{suffix} file: {note}")
            return file_text

        return render_file

    write_document(
        document,
        form.value,
        output_files,
        {suffix: build_file_renderer(suffix) for suffix in _TOPOLOGY_SUFFIXES},
    )
