"""`planner topology`: a cluster's fabric as a drawing, its bisection, and the bandwidth of each parallel group."""

from __future__ import annotations

from functools import partial

from planner.cli.io.output import DocumentOutput
from planner.cli.lazy import import_lazily
from planner.cli.options.command import OptionValues, declare_command
from planner.cli.options.output import FORMAT, extend_output
from planner.errors import InputError
from planner.request.notices import warn
from planner.request.options import CLUSTER_ENDINGS, Completion, Option

with import_lazily():
    from planner.cluster.wired import prune_unused_links
    from planner.report.topology import files
    from planner.request import inputs, plan_request
    from planner.studies import topology as topology_study

_TOPOLOGY_ENDINGS = (".svg", ".dot", ".graphml", ".html")


@declare_command(
    Option(
        "cluster", "Arguments", "Preset (`planner cluster list`) or file.", metavar="CLUSTER", is_argument=True,
        is_required=True, completion=Completion(source="clusters", endings=CLUSTER_ENDINGS),
    ),
    FORMAT,
    extend_output(*_TOPOLOGY_ENDINGS, help_text=".svg, .dot, .graphml"),
    request="topology",
)  # fmt: skip
def topology(values: OptionValues, cluster: str, output: DocumentOutput) -> None:
    """Draw a cluster's fabric and show its bandwidths.

    It prints the bisection, the diameter and the bandwidth of parallel groups.

    \b
    Examples:
      planner topology dgx-h100 --nodes 128
      planner topology tpu-v5e -o pod.svg
      planner topology gb200-nvl72 --nodes 36 --format json
    """
    parsed_values = plan_request.parse_option_values(values, "topology")
    try:
        resolved_cluster = inputs.read_cluster(cluster, **parsed_values)  # type: ignore[arg-type]
    except InputError as error:
        raise error if error.key != "--cluster" else error.relocate(error.origin, "CLUSTER") from None
    wiring = prune_unused_links.list_used_links(resolved_cluster)
    document = topology_study.build_topology_document(resolved_cluster, wiring)

    def render_file(ending: str) -> str:
        file_text, note = files.render_topology_file(ending, resolved_cluster, wiring, document)
        if note:
            warn(f"{ending} file: {note}")
        return file_text

    output.write(document, {ending: partial(render_file, ending) for ending in _TOPOLOGY_ENDINGS})
