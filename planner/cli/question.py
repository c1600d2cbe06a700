"""Options that `plan` and `estimate` share, and the question to the search that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.models import OptionInfo

from planner.cli.carbon import with_pue
from planner.cli.techniques import NOTHING, Chosen, applied

if TYPE_CHECKING:
    from planner.cluster.cluster import Cluster
    from planner.cost.training import Training
    from planner.search.document import Document
    from planner.search.space import Space


class Output(StrEnum):
    """Forms of output."""

    TABLE = "table"
    JSON = "json"


class PlanOutput(StrEnum):
    """Forms of output of plans."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    MARKDOWN = "markdown"
    HTML = "html"
    JUNIT = "junit"


class Attention(StrEnum):
    """Attention kernels."""

    FLASH = "flash"
    UNFUSED = "unfused"


class Convention(StrEnum):
    """How causal attention is counted in FLOPs."""

    FULL = "full"
    CAUSAL = "causal"


class Framework(StrEnum):
    """Trainers whose memory, kernels and collectives are known."""

    MEGATRON = "megatron"
    MEGATRON_CLASSIC = "megatron-classic"
    MEGATRON_FSDP = "megatron-fsdp"
    FSDP2 = "fsdp2"
    FSDP = "fsdp"
    DEEPSPEED = "deepspeed"
    DDP = "ddp"
    MAXTEXT = "maxtext"


class Launch(StrEnum):
    """How kernels reach the device."""

    GRAPH = "graph"
    FUSED = "fused"
    COMPILED = "compiled"
    EAGER = "eager"


class Gradients(StrEnum):
    """Number formats of gradients, held and sent."""

    FP32 = "fp32"
    BF16 = "bf16"


Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="Preset, config.json or its folder, model TOML, or a size (70B)."),
]
ClusterName = Annotated[str, typer.Option("--cluster", "-c", help="Preset (`planner cluster list`) or file.")]
Nodes = Annotated[str | None, typer.Option("--nodes", metavar="INTEGER", help="Number of nodes.")]
Devices = Annotated[
    str | None, typer.Option("--devices", metavar="INTEGER", help="Number of devices, instead of --nodes.")
]
Faults = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="PART[=RATE]",
        help="A host (node-3), card (node-3:2) or link ('node-3 - leaf-0') that is gone, or has so much left (=0.5). "
        "May be given several times.",
    ),
]
Batch = Annotated[
    str,
    typer.Option(
        "--global-batch", "-b", help="Sequences of one step, or tokens: '4M tokens'; of plan also a range: 1M..16M."
    ),
]
SeqLength = Annotated[
    str | None,
    typer.Option("--seq-length", metavar="INTEGER", help="Tokens of a sequence (8K is 8192); else the model's own."),
]
Precision = Annotated[
    str | None, typer.Option("--precision", help="bf16, fp16, fp8, ...; else bf16 where the part has it.")
]
AttentionKernel = Annotated[Attention, typer.Option("--attention", case_sensitive=False, help="Attention kernel.")]
FlopsConvention = Annotated[
    Convention,
    typer.Option("--flops-convention", case_sensitive=False, help="Count causal attention in full or by half."),
]
FrameworkName = Annotated[
    Framework | None,
    typer.Option(
        "--framework", case_sensitive=False, help="The trainer; else Megatron, for images ddp, on TPUs maxtext."
    ),
]
LaunchMode = Annotated[
    Launch | None,
    typer.Option(
        "--launch", case_sensitive=False, help="How kernels are launched; else as the trainer does by itself."
    ),
]
GradientFormat = Annotated[
    Gradients | None,
    typer.Option("--gradients", case_sensitive=False, help="Gradients as held and sent; else as the trainer does."),
]
Tokens = Annotated[str | None, typer.Option("--tokens", help="Tokens of the whole run (15T): tells steps and days.")]
Form = Annotated[Output, typer.Option("--format", "-f", case_sensitive=False, help="Form of the output.")]
PlanForm = Annotated[PlanOutput, typer.Option("--format", "-f", case_sensitive=False, help="Form of the output.")]


def files_option(*names: str, more: str = "") -> OptionInfo:
    """The option `-o`, also by other names. `more`: endings that a command has beside the usual ones."""
    endings = f"{more}.html, .md, .csv, .jsonl, .json, .xml (JUnit) or .txt"
    told = f"Also write a file, in the form of its ending: {endings}. May be given several times."
    option: OptionInfo = typer.Option("--output", *names, "-o", metavar="FILE", help=told)
    return option


Files = Annotated[list[Path] | None, files_option()]


@dataclass(frozen=True)
class Common:
    """The shared options as the user gave them."""

    model: str
    cluster: str
    nodes: str | None
    devices: str | None
    global_batch: str
    seq_length: str | None
    precision: str | None
    attention: Attention
    flops_convention: Convention
    framework: Framework | None
    launch: Launch | None
    gradients: Gradients | None
    faults: tuple[str, ...] = ()
    pue: str | None = None
    techniques: Chosen = NOTHING


def ask(
    common: Common, allowed: dict[str, tuple[int, ...] | None], assumed: frozenset[str] = frozenset()
) -> tuple[tuple[Training, ...], Cluster, Space]:
    """Read model and cluster and bind them; `assumed` names what a default pinned. Raises InputError.

    A training for each batch; the space is the first one's.
    """
    from planner.cli.inputs import read_batches, read_cluster, read_length, read_model, read_number, read_precision
    from planner.cost.training import training
    from planner.search.space import Space

    nodes, devices = read_number(common.nodes, "--nodes"), read_number(common.devices, "--devices")
    workload = read_model(common.model, read_length(common.seq_length))
    cluster = with_pue(read_cluster(common.cluster, nodes, devices, common.faults), common.pue)
    batches = read_batches(common.global_batch, workload.seq_length)
    bound = training(
        workload,
        cluster,
        global_batch=batches[0],
        precision=read_precision(common.precision, cluster.accelerator),
        attention=common.attention.value,
        flops_convention=common.flops_convention.value,
        framework=common.framework.value if common.framework else None,
        launch=common.launch.value if common.launch else None,
        gradients=common.gradients.value if common.gradients else None,
    )
    bound = applied(bound, common.techniques)
    given = {name: values for name, values in allowed.items() if values is not None}
    if not workload.experts and "etp" in assumed:
        given["etp"] = (1,)
    questions = tuple(replace(bound, global_batch=batch) for batch in batches)
    return questions, cluster, Space(cluster.devices, batches[0], given, assumed)


def tell(document: Document, form: PlanOutput, files: Sequence[Path] = ()) -> None:
    """Write the document to the files and print it."""
    from planner.cli.output import tell as tell_anywhere

    def text() -> str:
        from planner.report.terminal import document_text

        return document_text(document)

    tell_anywhere(document, form.value, files, text)
