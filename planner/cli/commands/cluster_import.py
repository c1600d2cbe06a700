"""`planner cluster import`: makes a cluster file from descriptions by schedulers, drivers and fabrics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from planner.cli.io.files import write_file_atomically
from planner.cli.io.output import write_stdout
from planner.cli.lazy import import_lazily
from planner.cli.options.command import declare_command
from planner.errors import InputError, escape_nonprintable
from planner.request.files import read_foreign_text
from planner.request.notices import warn
from planner.request.options import Completion, Option
from planner.request.values import OptionValue, parse_number, parse_texts
from planner.units import parse_quantity

with import_lazily():
    from planner.cluster.importers import (
        cluster_file,
        complete_draft,
        detect_format,
        imported_cluster,
        node_types,
    )

IMPORT_FORMATS = ("auto", "nvidia-smi", "slurm", "ibnetdiscover", "links", "hostfile", "kubernetes", "nccl", "graph")


def _parse_rate_bytes_per_s(value: OptionValue, key: str) -> float:
    """A bandwidth in bytes/s. Raises InputError outside the range of NICs and links."""
    rate = parse_quantity(str(value), "bytes_per_s", key=key, allow_bare=False)
    if not 1e6 <= rate <= 1e15:
        raise InputError("out of range", key=key, value=str(value), expected="from 1MB/s to 1PB/s")
    return rate


def _parse_oversubscription(value: OptionValue, key: str) -> float:
    try:
        oversubscription = float(str(value))
    except ValueError:
        oversubscription = 0.0
    if not 1 <= oversubscription <= 1000:
        raise InputError("out of range", key=key, value=value, expected="from 1 to 1,000")
    return oversubscription


@declare_command(
    Option(
        "files", "Arguments", "Files that describe the cluster.", parse_texts, metavar="FILE...", is_argument=True,
        is_required=True, is_repeatable=True, is_path=True, completion=Completion(endings=()),
    ),
    Option(
        "formats", "Descriptions", f"Format of all files, or of each in order: {', '.join(IMPORT_FORMATS)}.",
        parse_texts, ("--from",), is_repeatable=True, completion=Completion(IMPORT_FORMATS),
    ),
    Option(
        "hosts", "Descriptions", "Only hosts whose names match: 'gpu*,dgx-*'.", metavar="PATTERNS"
    ),
    Option(
        "node", "Figures that the descriptions leave out", "Node of every host: dgx-h100, ...",
        completion=Completion(source="nodes"),
    ),
    Option(
        "accelerator", "Figures that the descriptions leave out",
        "Accelerator, where the description of a node names none: h100-sxm-80gb, ...",
        completion=Completion(source="accelerators"),
    ),
    Option(
        "link_bandwidth", "Figures that the descriptions leave out",
        "Bandwidth of NICs and links that state none: 400Gb/s.", _parse_rate_bytes_per_s,
    ),
    Option(
        "node_bandwidth", "Figures that the descriptions leave out",
        "Bandwidth of one device inside a node, where none is stated: 32GB/s.", _parse_rate_bytes_per_s,
    ),
    Option(
        "oversubscription", "Figures that the descriptions leave out",
        "Oversubscription of switches whose uplinks are not described.", _parse_oversubscription, metavar="NUMBER",
        default="1",
    ),
    Option(
        "nodes", "Figures that the descriptions leave out",
        "Number of nodes, where the description is of a single node.", parse_number, metavar="INTEGER",
    ),
    Option("name", "Output", "The cluster's name. Default: the first file's name."),
    Option(
        "output", "Output", "The cluster file (TOML). Default: print it.", flags=("--output", "-o"), is_path=True,
        in_answer=False, completion=Completion(endings=(".toml",)),
    ),
)  # fmt: skip
def import_cluster(
    files: Sequence[Path],
    formats: Sequence[str],
    hosts: str | None,
    node: str | None,
    accelerator: str | None,
    link_bandwidth: float | None,
    node_bandwidth: float | None,
    oversubscription: float,
    nodes: int | None,
    name: str | None,
    output: Path | None,
) -> None:
    """Make a cluster file from the output of schedulers and drivers.

    Descriptions of fabrics, launchers and lists of links are read as well.

    \b
    Examples:
      planner cluster import nvidia-smi-topo.txt --accelerator a100-sxm-80gb
      planner cluster import topology.conf --from slurm --node dgx-h100 -o cluster.toml
      plan llama-3-8b --cluster cluster.toml --global-batch 512
    """
    patterns = imported_cluster.HostPatterns(
        tuple(pattern.strip() for pattern in (hosts or "").split(",") if pattern.strip())
    )
    cluster_name = imported_cluster.clean_name(files[0].stem) if name is None else name
    if not cluster_name.strip() or not cluster_name.isprintable():
        raise InputError("not a name", key="--name", value=cluster_name, expected="a printable name")
    import_defaults = node_types.ImportDefaults(
        cluster_name, node, accelerator, link_bandwidth, node_bandwidth, oversubscription, nodes
    )
    text, notes = _build_cluster_file(files, _expand_formats(formats, len(files)), patterns, import_defaults)
    for note in notes:
        warn(note)
    if output is None:
        write_stdout(text, is_machine_readable=True)
    else:
        write_file_atomically(output, text)


def _build_cluster_file(
    files: Sequence[Path],
    formats: Sequence[str],
    patterns: imported_cluster.HostPatterns,
    import_defaults: node_types.ImportDefaults,
) -> tuple[str, Sequence[str]]:
    """The cluster file from all descriptions together, and notes on assumptions. Raises InputError."""
    host_descriptions, sources = [], []
    for path, file_format in zip(files, formats, strict=True):
        text = read_foreign_text(path, "a description of a cluster")
        format_name, description = detect_format.read_description(text, str(path), file_format, patterns)
        host_descriptions.append((str(path), description))
        sources.append(f"{path.name} ({detect_format.DESCRIPTION_FORMATS[format_name].title})")
    file_names = ", ".join(path.name for path in files)
    try:
        draft, notes = complete_draft.complete_cluster_draft(
            imported_cluster.merge_descriptions(host_descriptions),
            import_defaults,
            escape_nonprintable(f"Imported from {file_names}"),
        )
    except InputError as error:
        raise error if error.origin or error.problem.startswith("unknown ") else error.relocate(file_names) from None
    return cluster_file.render_cluster_toml(draft, sources, notes), notes


def _expand_formats(formats: Sequence[str], file_count: int) -> list[str]:
    """The format of each file. Raises InputError unless one format is given, or as many as files."""
    format_names = [format_name.strip().casefold() for format_name in formats or ["auto"]]
    if len(format_names) == 1:
        return format_names * file_count
    if len(format_names) != file_count:
        expected = f"once for all files, or {file_count} times, in the order of the files"
        raise InputError("wrong number of values", key="--from", value=", ".join(format_names), expected=expected)
    return format_names
