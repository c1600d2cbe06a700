"""`planner topology`: a cluster's fabric drawn, its middle measured, and what each parallel group gets of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from planner.cli.options.question import (
    Devices,
    Faults,
    Form,
    Nodes,
    Output,
    files_option,
)

_ENDINGS = (".graphml", ".dot", ".svg", ".html")
Cluster = Annotated[str, typer.Argument(metavar="CLUSTER", help="Preset (`planner cluster list`) or file.")]
Files = Annotated[list[Path] | None, files_option(more=".svg, .dot, .graphml, ")]


def topology(
    cluster: Cluster,
    nodes: Nodes = None,
    devices: Devices = None,
    faults: Faults = None,
    form: Form = Output.TABLE,
    files: Files = None,
) -> None:
    """Draw a cluster's fabric and tell what it carries.

    It tells the bisection, the diameter and the bandwidth of parallel groups.

    \b
    Examples:
      planner topology dgx-h100 --nodes 128
      planner topology tpu-v5e -o pod.svg
      planner topology gb200-nvl72 --nodes 36 --format json
    """
    from planner.cli.input.inputs import read_cluster, read_number
    from planner.cli.io.output import check_files, tell, warn
    from planner.report.topology.files import exported
    from planner.report.topology.measure import topology_document, wiring_of

    wanted = check_files(files, _ENDINGS, read=[("CLUSTER", cluster)])
    asked = read_cluster(cluster, read_number(nodes, "--nodes"), read_number(devices, "--devices"), faults or ())
    wiring = wiring_of(asked)
    document = topology_document(asked, wiring)

    def text() -> str:
        from planner.report.views.topology_text import topology_text

        return topology_text(document)

    def file_of(ending: str) -> Callable[[], str]:
        def made() -> str:
            written, note = exported(ending, asked, wiring, document)
            if note:
                warn(f"{ending} file: {note}")
            return written

        return made

    tell(document, form.value, wanted, text, {ending: file_of(ending) for ending in _ENDINGS})
