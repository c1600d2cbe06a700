"""`planner cluster import`: makes a cluster file from descriptions by schedulers, drivers and fabrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options.grouped import expand_option_groups
from planner.cli.options.words import IMPORT_FORMATS
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.cluster.importers.imported_cluster import HostPatterns
    from planner.cluster.importers.node_types import ImportDefaults

DescriptionsArgument = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="Files that describe the cluster.")
]
ImportFormatsOption = Annotated[
    list[str] | None,
    typer.Option("--from", help=f"Format of all files, or of each in order: {', '.join(IMPORT_FORMATS)}."),
]
ClusterFileOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="The cluster file (TOML); without it, stdout.")
]


@dataclass(frozen=True)
class ImportOptions:
    """Options for figures that the descriptions leave out."""

    node: Annotated[str | None, typer.Option("--node", help="Node of every host: dgx-h100, ...")] = None
    accelerator: Annotated[
        str | None,
        typer.Option(
            "--accelerator", help="Accelerator, where the description of a node names none: h100-sxm-80gb, ..."
        ),
    ] = None
    link_bandwidth: Annotated[
        str | None, typer.Option("--link-bandwidth", help="Bandwidth of NICs and links that state none: 400Gb/s.")
    ] = None
    node_bandwidth: Annotated[
        str | None,
        typer.Option("--node-bandwidth", help="Bandwidth of one device inside a node, where none is stated: 32GB/s."),
    ] = None
    oversubscription: Annotated[
        float,
        typer.Option("--oversubscription", help="Oversubscription of switches whose uplinks are not described."),
    ] = 1.0
    hosts: Annotated[
        str | None, typer.Option("--hosts", help="Patterns of host names; others are left out: 'gpu*,dgx-*'.")
    ] = None
    nodes: Annotated[
        int | None, typer.Option("--nodes", help="Number of nodes, where the description is of a single node.")
    ] = None
    name: Annotated[
        str | None, typer.Option("--name", help="The cluster's name. Default: the first file's name.")
    ] = None


@expand_option_groups
def import_cluster(
    files: DescriptionsArgument,
    *,
    formats: ImportFormatsOption = None,
    output: ClusterFileOption = None,
    import_options: ImportOptions,
) -> None:
    """Make a cluster file from the output of schedulers and drivers.

    Descriptions of fabrics, launchers and lists of links are read as well.

    \b
    Examples:
      planner cluster import nvidia-smi-topo.txt --accelerator a100-sxm-80gb
      planner cluster import topology.conf --from slurm --node dgx-h100 -o cluster.toml
      plan llama-3-8b --cluster cluster.toml --global-batch 512
    """
    from planner.cli.io.files import check_distinct_files, check_suffix, write_file_atomically
    from planner.cli.io.output import write_stdout
    from planner.cluster.importers.imported_cluster import HostPatterns
    from planner.request.notices import warn

    check_suffix(output, (".toml",))
    check_distinct_files([("--output", output)], [("FILE", path) for path in files])
    patterns = HostPatterns(
        tuple(pattern.strip() for pattern in (import_options.hosts or "").split(",") if pattern.strip())
    )
    import_defaults = _build_import_defaults(import_options, files[0])
    text, notes = _build_cluster_file(files, _expand_formats(formats, len(files)), patterns, import_defaults)
    for note in notes:
        warn(note)
    if output is None:
        write_stdout(text, is_machine_readable=True)
    else:
        write_file_atomically(output, text)


def _build_cluster_file(
    files: Sequence[Path], formats: Sequence[str], patterns: HostPatterns, import_defaults: ImportDefaults
) -> tuple[str, Sequence[str]]:
    """The cluster file from all descriptions together, and notes on assumptions. Raises InputError."""
    from planner.cluster.importers.cluster_file import render_cluster_toml
    from planner.cluster.importers.complete_draft import complete_cluster_draft
    from planner.cluster.importers.detect_format import DESCRIPTION_FORMATS, read_description
    from planner.cluster.importers.imported_cluster import merge_descriptions
    from planner.errors import escape_nonprintable
    from planner.request.files import read_foreign_text

    host_descriptions, sources = [], []
    for path, file_format in zip(files, formats, strict=True):
        format_name, description = read_description(
            read_foreign_text(path, "a description of a cluster"), str(path), file_format, patterns
        )
        host_descriptions.append((str(path), description))
        sources.append(f"{path.name} ({DESCRIPTION_FORMATS[format_name].title})")
    file_names = ", ".join(path.name for path in files)
    try:
        draft, notes = complete_cluster_draft(
            merge_descriptions(host_descriptions), import_defaults, escape_nonprintable(f"Imported from {file_names}")
        )
    except InputError as error:
        raise error if error.origin or error.problem.startswith("unknown ") else error.relocate(file_names) from None
    return render_cluster_toml(draft, sources, notes), notes


def _build_import_defaults(import_options: ImportOptions, first_file: Path) -> ImportDefaults:
    """The options' values. Raises InputError for invalid values."""
    from planner.cluster.importers.imported_cluster import clean_name
    from planner.cluster.importers.node_types import ImportDefaults
    from planner.cluster.model.spec import MAX_CLUSTER_DEVICES

    name = import_options.name if import_options.name is not None else clean_name(first_file.stem)
    oversubscription, nodes = import_options.oversubscription, import_options.nodes
    if not 1 <= oversubscription <= 1000:
        raise InputError("out of range", key="--oversubscription", value=oversubscription, expected="from 1 to 1,000")
    if nodes is not None and not 1 <= nodes <= MAX_CLUSTER_DEVICES:
        raise InputError("out of range", key="--nodes", value=nodes, expected=f"from 1 to {MAX_CLUSTER_DEVICES:,}")
    if not name.strip() or not name.isprintable():
        raise InputError("not a name", key="--name", value=name, expected="a printable name")
    link_rate = _parse_rate_bytes_per_s(import_options.link_bandwidth, "--link-bandwidth")
    node_rate = _parse_rate_bytes_per_s(import_options.node_bandwidth, "--node-bandwidth")
    return ImportDefaults(
        name, import_options.node, import_options.accelerator, link_rate, node_rate, oversubscription, nodes
    )


def _parse_rate_bytes_per_s(text: str | None, key: str) -> float | None:
    """A bandwidth in bytes/s. Raises InputError outside the range of cables and links."""
    from planner.units import parse_quantity

    if text is None:
        return None
    rate = parse_quantity(text, "bytes_per_s", key=key, allow_bare=False)
    if not 1e6 <= rate <= 1e15:
        raise InputError("out of range", key=key, value=text, expected="from 1MB/s to 1PB/s")
    return rate


def _expand_formats(formats: list[str] | None, file_count: int) -> list[str]:
    """The format of each file. Raises InputError unless one format is given, or as many as files."""
    format_names = [format_name.strip().casefold() for format_name in formats or ["auto"]]
    if len(format_names) == 1:
        return format_names * file_count
    if len(format_names) != file_count:
        expected = f"once for all files, or {file_count} times, in the order of the files"
        raise InputError("wrong number of values", key="--from", value=", ".join(format_names), expected=expected)
    return format_names
