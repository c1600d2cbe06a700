"""`planner cluster import`: a cluster file made from what schedulers, drivers and fabrics tell of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.completion.words import IMPORTS
from planner.cli.options.grouped import grouped
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.cluster.importers.imported_cluster import HostPatterns
    from planner.cluster.importers.node_types import Given

Descriptions = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Descriptions of one cluster.")]
Formats = Annotated[
    list[str] | None, typer.Option("--from", help=f"Format of all files, or of each in turn: {', '.join(IMPORTS)}.")
]
ClusterFile = Annotated[
    Path | None, typer.Option("--output", "-o", help="The cluster file (TOML); without it, stdout.")
]


@dataclass(frozen=True)
class Beside:
    """What the descriptions do not tell, as the user gave it."""

    node: Annotated[str | None, typer.Option("--node", help="Node of every host: dgx-h100, ...")] = None
    accelerator: Annotated[
        str | None, typer.Option("--accelerator", help="For a node's description that names none: h100-sxm-80gb, ...")
    ] = None
    link_bandwidth: Annotated[
        str | None, typer.Option("--link-bandwidth", help="Of network cards and cables that tell none: 400Gb/s.")
    ] = None
    node_bandwidth: Annotated[
        str | None, typer.Option("--node-bandwidth", help="Of one device inside a node that tells none: 32GB/s.")
    ] = None
    oversubscription: Annotated[
        float, typer.Option("--oversubscription", help="Of switches whose cables upwards are not told.")
    ] = 1.0
    hosts: Annotated[
        str | None, typer.Option("--hosts", help="Which names are hosts, others are left out: 'gpu*,dgx-*'.")
    ] = None
    nodes: Annotated[int | None, typer.Option("--nodes", help="How many nodes, where one is described.")] = None
    name: Annotated[
        str | None, typer.Option("--name", help="The cluster's name; as the first file if not given.")
    ] = None


@grouped
def import_cluster(
    files: Descriptions,
    *,
    formats: Formats = None,
    output: ClusterFile = None,
    beside: Beside,
) -> None:
    """Make a cluster file from what a scheduler or driver tells.

    It reads what fabrics, launchers and lists of cables tell as well.

    \b
    Examples:
      planner cluster import nvidia-smi-topo.txt --accelerator a100-sxm-80gb
      planner cluster import topology.conf --from slurm --node dgx-h100 -o cluster.toml
      plan llama-3-8b --cluster cluster.toml --global-batch 512
    """
    from planner.cli.io.files import check_distinct, check_ending, write_file
    from planner.cli.io.output import warn, write
    from planner.cluster.importers.imported_cluster import HostPatterns

    check_ending(output, (".toml",))
    check_distinct([("--output", output)], [("FILE", path) for path in files])
    patterns = HostPatterns(tuple(one.strip() for one in (beside.hosts or "").split(",") if one.strip()))
    given = _given(beside, files[0])
    text, notes = _imported(files, _formats(formats, len(files)), patterns, given)
    for note in notes:
        warn(note)
    if output is None:
        write(text, for_machines=True)
    else:
        write_file(output, text)


def _imported(
    files: Sequence[Path], formats: Sequence[str], patterns: HostPatterns, given: Given
) -> tuple[str, Sequence[str]]:
    """The cluster file that the descriptions make together, and what was assumed. Raises InputError."""
    from planner.cli.io.files import read_any
    from planner.cluster.importers.cluster_file import write_toml
    from planner.cluster.importers.complete_draft import complete
    from planner.cluster.importers.detect_format import TITLES, read
    from planner.cluster.importers.merge_links import merge
    from planner.errors import escape_nonprintable

    found, sources = [], []
    for path, wanted in zip(files, formats, strict=True):
        format_name, one = read(read_any(path, "a description of a cluster"), str(path), wanted, patterns)
        found.append((str(path), one))
        sources.append(f"{path.name} ({TITLES[format_name]})")
    named = ", ".join(path.name for path in files)
    try:
        draft, notes = complete(merge(found), given, escape_nonprintable(f"Imported from {named}"))
    except InputError as error:
        raise error if error.origin or error.problem.startswith("unknown ") else error.relocate(named) from None
    return write_toml(draft, sources, notes), notes


def _given(told: Beside, first: Path) -> Given:
    """The options' values. Raises InputError for those that make no sense."""
    from planner.cluster.importers.imported_cluster import clean_name
    from planner.cluster.importers.node_types import Given
    from planner.cluster.model.spec import MOST_DEVICES

    name = told.name if told.name is not None else clean_name(first.stem)
    over, nodes = told.oversubscription, told.nodes
    if not 1 <= over <= 1000:
        raise InputError("out of range", key="--oversubscription", value=over, expected="from 1 to 1,000")
    if nodes is not None and not 1 <= nodes <= MOST_DEVICES:
        raise InputError("out of range", key="--nodes", value=nodes, expected=f"from 1 to {MOST_DEVICES:,}")
    if not name.strip() or not name.isprintable():
        raise InputError("not a name", key="--name", value=name, expected="a printable name")
    link_rate = _rate(told.link_bandwidth, "--link-bandwidth")
    inside_rate = _rate(told.node_bandwidth, "--node-bandwidth")
    return Given(name, told.node, told.accelerator, link_rate, inside_rate, over, nodes)


def _rate(text: str | None, key: str) -> float | None:
    """Bytes/s. Raises InputError for what no cable or link has."""
    from planner.units import parse_quantity

    if text is None:
        return None
    rate = parse_quantity(text, "bytes_per_s", key=key, allow_bare=False)
    if not 1e6 <= rate <= 1e15:
        raise InputError("is not possible", key=key, value=text, expected="from 1MB/s to 1PB/s")
    return rate


def _formats(formats: list[str] | None, files: int) -> list[str]:
    """One format a file. Raises InputError where there are neither one nor as many as files."""
    wanted = [one.strip().casefold() for one in formats or ["auto"]]
    if len(wanted) == 1:
        return wanted * files
    if len(wanted) != files:
        expected = f"once for all files, or {files} times, once for each"
        raise InputError("not so many", key="--from", value=", ".join(wanted), expected=expected)
    return wanted
