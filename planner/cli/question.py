"""Options that `plan` and `estimate` share, and the question to the search that they make."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from planner.cluster.cluster import Cluster
    from planner.cost.training import Training
    from planner.search.document import Document
    from planner.search.space import Space


class Output(StrEnum):
    """Forms of output."""

    TABLE = "table"
    JSON = "json"


class Attention(StrEnum):
    """Attention kernels."""

    FLASH = "flash"
    UNFUSED = "unfused"


class Convention(StrEnum):
    """How causal attention is counted in FLOPs."""

    FULL = "full"
    CAUSAL = "causal"


Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="Preset, config.json or its folder, model TOML, or a size (70B)."),
]
ClusterName = Annotated[str, typer.Option("--cluster", "-c", help="Preset (`planner clusters list`) or file.")]
Nodes = Annotated[int | None, typer.Option("--nodes", help="Number of nodes.")]
Devices = Annotated[int | None, typer.Option("--devices", help="Number of devices, instead of --nodes.")]
Batch = Annotated[str, typer.Option("--global-batch", "-b", help="Sequences of one step, or tokens: '4M tokens'.")]
SeqLength = Annotated[int | None, typer.Option("--seq-length", help="Tokens of a sequence; else the model's own.")]
Precision = Annotated[
    str | None, typer.Option("--precision", help="bf16, fp16, fp8, ...; else bf16 where the part has it.")
]
AttentionKernel = Annotated[Attention, typer.Option("--attention", help="Attention kernel.")]
FlopsConvention = Annotated[
    Convention, typer.Option("--flops-convention", help="Count causal attention in full or by half.")
]
Tokens = Annotated[str | None, typer.Option("--tokens", help="Tokens of the whole run (15T): tells steps and days.")]
Form = Annotated[Output, typer.Option("--format", "-f", help="Form of the output.")]


@dataclass(frozen=True)
class Common:
    """The shared options as the user gave them."""

    model: str
    cluster: str
    nodes: int | None
    devices: int | None
    global_batch: str
    seq_length: int | None
    precision: str | None
    attention: Attention
    flops_convention: Convention


def ask(common: Common, allowed: dict[str, tuple[int, ...] | None]) -> tuple[Training, Cluster, Space]:
    """Read model and cluster and bind them. Raises InputError."""
    from planner.cli.inputs import read_batch, read_cluster, read_model
    from planner.cost.training import training
    from planner.search.space import Space

    workload = read_model(common.model, common.seq_length)
    cluster = read_cluster(common.cluster, common.nodes, common.devices)
    batch = read_batch(common.global_batch, workload.seq_length)
    bound = training(
        workload,
        cluster,
        global_batch=batch,
        precision=common.precision,
        attention=common.attention.value,
        flops_convention=common.flops_convention.value,
    )
    given = {name: values for name, values in allowed.items() if values is not None}
    return bound, cluster, Space(cluster.devices, batch, given)


def read_tokens(text: str | None) -> int | None:
    """Tokens of the run, or None."""
    from planner.units import parse_count

    return None if text is None else parse_count(text, key="--tokens")


def tell(document: Document, form: Output) -> None:
    """Print the document."""
    if form is Output.JSON:
        from planner.report.machine import to_json

        typer.echo(to_json(document), nl=False)
    else:
        from planner.report.terminal import print_document

        print_document(document)
