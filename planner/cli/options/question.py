"""Options that `plan` and `estimate` share, and the question to the search that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.models import OptionInfo

from planner.cli.options.carbon import with_pue
from planner.cli.options.techniques import NOTHING, Chosen, applied
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.cluster.model.cluster import Cluster
    from planner.cost.scenario import Training
    from planner.documents.heterogeneous import HeterogeneousDocument
    from planner.documents.plan import Document
    from planner.search.space import Space
    from planner.studies.conditions.parse import Condition
    from planner.workload.operators import Workload


class Output(StrEnum):
    """Forms of output."""

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
ClusterName = Annotated[
    str, typer.Option("--cluster", "-c", metavar="CLUSTER", help="Preset (`planner cluster list`) or file.")
]
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
        "--global-batch", "-b", help="Sequences of one step, or tokens: '4M tokens'; of plan also a range: 256..4096."
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
    typer.Option(
        "--gradients",
        case_sensitive=False,
        help="Gradients as held and sent; else as the trainer does.",
    ),
]
Tokens = Annotated[str | None, typer.Option("--tokens", help="Tokens of the whole run (15T): tells steps and days.")]
Form = Annotated[Output, typer.Option("--format", "-f", case_sensitive=False, help="Form of the output.")]


def files_option(*names: str, more: str = "") -> OptionInfo:
    """The option `-o`, also by other names. `more`: endings that a command has beside the usual ones."""
    endings = f"{more}.html, .md, .csv, .jsonl, .json, .xml (JUnit) or .txt"
    told = f"Also write a file, in the form of its ending: {endings}. May be given several times."
    option: OptionInfo = typer.Option("--output", *names, "-o", metavar="FILE", help=told)
    return option


Files = Annotated[list[Path] | None, files_option()]


Require = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        metavar="CONDITION",
        help="What the best plan has to meet, else the exit code is 4: 'mfu >= 40%'. May be given several times.",
    ),
]


@dataclass(frozen=True)
class Question:
    """What is trained, on what, in which steps: the options as the user gave them."""

    model: Model
    cluster: ClusterName
    global_batch: Batch
    nodes: Nodes = None
    devices: Devices = None
    faults: Faults = None
    seq_length: SeqLength = None
    precision: Precision = None
    attention: AttentionKernel = Attention.FLASH
    flops_convention: FlopsConvention = Convention.FULL
    framework: FrameworkName = None
    launch: LaunchMode = None

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """Where model and cluster are read from, if they are files, with the options that name them."""
        from planner.cli.io.files import of_model

        return *of_model("MODEL", self.model), ("--cluster", self.cluster)


def read_workload(question: Question) -> Workload:
    """The model that is trained. Raises InputError."""
    from planner.cli.input.inputs import read_length, read_model

    return read_model(question.model, read_length(question.seq_length))


def check_attention(question: Question, workload: Workload) -> None:
    """Raises InputError for an attention kernel that the model has no use for."""
    from planner.workload.operators import AttentionCore

    operators = (op for kind in workload.kinds for op in kind.operators)
    if question.attention is not Attention.FLASH and not any(isinstance(op, AttentionCore) for op in operators):
        raise InputError(
            f"{workload.name} has no attention",
            key="--attention",
            value=question.attention.value,
            expected="left out",
        )


Subject = Callable[[Question, str | None], tuple["Workload", "Cluster"]]
"""Reads model and cluster of a question, the cluster at a site of this PUE. Raises InputError."""


def read_subject(question: Question, pue: str | None) -> tuple[Workload, Cluster]:
    """What is trained and on what. Raises InputError."""
    from planner.cli.input.inputs import read_cluster, read_number

    nodes, devices = read_number(question.nodes, "--nodes"), read_number(question.devices, "--devices")
    return read_workload(question), with_pue(
        read_cluster(question.cluster, nodes, devices, question.faults or ()), pue
    )


def ask(
    question: Question,
    allowed: Mapping[str, tuple[int, ...] | None],
    assumed: frozenset[str] = frozenset(),
    *,
    gradients: Gradients | None = None,
    pue: str | None = None,
    techniques: Chosen = NOTHING,
    subject: Subject = read_subject,
) -> tuple[tuple[Training, ...], Cluster, Space]:
    """A training for each batch, the cluster, and the space of plans, which has the first batch. Raises InputError.

    `allowed`: values by dimension, None for one that is searched; `assumed`: dimensions that a default pinned.
    """
    from planner.cli.input.inputs import few_widths, read_batches, read_precision
    from planner.cli.io.output import warn
    from planner.cost.scenario import training
    from planner.search.space import Space

    workload, cluster = subject(question, pue)
    check_attention(question, workload)
    batches = read_batches(question.global_batch, workload.seq_length)
    bound = training(
        workload,
        cluster,
        global_batch=batches[0],
        precision=read_precision(question.precision, cluster.accelerator),
        attention=question.attention.value,
        flops_convention=question.flops_convention.value,
        framework=question.framework.value if question.framework else None,
        launch=question.launch.value if question.launch else None,
        gradients=gradients.value if gradients else None,
    )
    bound = applied(bound, techniques)
    given = {name: values for name, values in allowed.items() if values is not None}
    if not workload.experts and "etp" in assumed:
        given["etp"] = (1,)
    if few := few_widths(question.global_batch, batches[0], cluster.devices, given):
        warn(few)
    questions = tuple(replace(bound, global_batch=batch) for batch in batches)
    return questions, cluster, Space(cluster.devices, batches[0], given, assumed)


def read_required(texts: Sequence[str] | None) -> tuple[Condition, ...]:
    """The conditions of `--require`, before anything is computed. Raises InputError."""
    if not texts:
        return ()
    from planner.studies.conditions.parse import parse_condition

    return tuple(parse_condition(text) for text in texts)


def check_required(requirements: Sequence[Condition], document: Document | HeterogeneousDocument) -> None:
    """Hold the best plan against them. Raises RequirementNotMet that names each that is not met."""
    if not requirements:
        return
    from planner.errors import RequirementNotMet
    from planner.studies.conditions.evaluate import evaluate_condition, format_unmet_condition
    from planner.studies.conditions.values import compute_figure_values

    values = compute_figure_values(document)
    missed = [
        one for one in (evaluate_condition(requirement, values) for requirement in requirements) if not one.is_met
    ]
    if missed:
        raise RequirementNotMet("\n".join(format_unmet_condition(one.condition, one.explanation) for one in missed))


def tell(document: Document | HeterogeneousDocument, form: Output, files: Sequence[Path] = ()) -> None:
    """Write the document to the files and print it."""
    from planner.cli.io.output import tell as tell_anywhere
    from planner.documents.plan import Document

    def text() -> str:
        if isinstance(document, Document):
            from planner.report.views.plan_text import document_text

            return document_text(document)
        from planner.report.views.heterogeneous_text import mixed_text

        return mixed_text(document)

    tell_anywhere(document, form.value, files, text)
