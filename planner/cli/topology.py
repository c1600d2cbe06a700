"""`planner topology`: a cluster's fabric drawn, its middle measured, and what each parallel group gets of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner.cli.question import Devices, Faults, Form, Nodes, Output
from planner.errors import InputError

_ENDINGS = (".graphml", ".dot", ".svg", ".html")
Cluster = Annotated[str, typer.Argument(metavar="CLUSTER", help="Preset (`planner cluster list`) or file.")]
Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--output", "-o", help="Also write a file: .svg, .html, .dot or .graphml. May be given several times."
    ),
]


def topology(
    cluster: Cluster,
    nodes: Nodes = None,
    devices: Devices = None,
    faults: Faults = None,
    form: Form = Output.TABLE,
    files: Files = None,
) -> None:
    """Draw a cluster's fabric and tell its bisection, its diameter and the bandwidth of parallel groups.

    \b
    Examples:
      planner topology dgx-h100 --nodes 128
      planner topology tpu-v5e -o pod.svg
      planner topology gb200-nvl72 --nodes 36 --format json
    """
    from planner.cli.files import check_distinct, write_file
    from planner.cli.inputs import read_cluster, read_number
    from planner.cli.output import warn, write
    from planner.report.topology_files import exported
    from planner.report.topology_measure import topology_document, wiring_of

    wanted = files or []
    for path in wanted:
        if path.suffix.casefold() not in _ENDINGS:
            expected = f"a file ending in {', '.join(_ENDINGS)}"
            raise InputError("unknown file format", key="--output", value=str(path), expected=expected)
    check_distinct([("--output", path) for path in wanted])
    asked = read_cluster(cluster, read_number(nodes, "--nodes"), read_number(devices, "--devices"), faults or ())
    wiring = wiring_of(asked)
    document = topology_document(asked, wiring)
    for path in wanted:
        text, note = exported(path.suffix.casefold(), asked, wiring, document)
        write_file(path, text)
        if note:
            warn(f"{path}: {note}")
    if form is Output.JSON:
        from planner.report.machine import to_json

        write(to_json(document))
    else:
        from planner.report.topology import topology_text

        write(topology_text(document))
