"""Options that `plan` and `estimate` share, and the question to the search that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.models import OptionInfo

from planner.cli.options.carbon import replace_pue
from planner.cli.options.techniques import NO_TECHNIQUES, TechniqueOptions, apply_techniques
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.cluster.model.cluster import Cluster
    from planner.cost.scenario import Training
    from planner.documents.heterogeneous import HeterogeneousDocument
    from planner.documents.plan import Document
    from planner.search.space import Space
    from planner.studies.conditions.parse import Condition
    from planner.workload.operators import Workload


class OutputFormat(StrEnum):
    """Forms of output."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    MARKDOWN = "markdown"
    HTML = "html"
    JUNIT = "junit"


class AttentionChoice(StrEnum):
    """Attention kernels."""

    FLASH = "flash"
    UNFUSED = "unfused"


class FlopsConventionChoice(StrEnum):
    """How causal attention is counted in FLOPs."""

    FULL = "full"
    CAUSAL = "causal"


class FrameworkChoice(StrEnum):
    """Trainers whose memory, kernels and collectives are known."""

    MEGATRON = "megatron"
    MEGATRON_CLASSIC = "megatron-classic"
    MEGATRON_FSDP = "megatron-fsdp"
    FSDP2 = "fsdp2"
    FSDP = "fsdp"
    DEEPSPEED = "deepspeed"
    DDP = "ddp"
    MAXTEXT = "maxtext"


class LaunchChoice(StrEnum):
    """How kernels reach the device."""

    GRAPH = "graph"
    FUSED = "fused"
    COMPILED = "compiled"
    EAGER = "eager"


class GradientDtypeChoice(StrEnum):
    """Number formats of gradients, held and sent."""

    FP32 = "fp32"
    BF16 = "bf16"


ModelArgument = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="Preset, config.json or its folder, model TOML, or a size (70B)."),
]
ClusterNameOption = Annotated[
    str, typer.Option("--cluster", "-c", metavar="CLUSTER", help="Preset (`planner cluster list`) or file.")
]
NodesOption = Annotated[str | None, typer.Option("--nodes", metavar="INTEGER", help="Number of nodes.")]
DevicesOption = Annotated[
    str | None, typer.Option("--devices", metavar="INTEGER", help="Number of devices, instead of --nodes.")
]
FaultsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="PART[=RATE]",
        help="A host (node-3), card (node-3:2) or link ('node-3 - leaf-0') that is gone, or has so much left (=0.5). "
        "May be given several times.",
    ),
]
GlobalBatchOption = Annotated[
    str,
    typer.Option(
        "--global-batch", "-b", help="Sequences of one step, or tokens: '4M tokens'; of plan also a range: 256..4096."
    ),
]
SeqLengthOption = Annotated[
    str | None,
    typer.Option("--seq-length", metavar="INTEGER", help="Tokens of a sequence (8K is 8192); else the model's own."),
]
PrecisionOption = Annotated[
    str | None, typer.Option("--precision", help="bf16, fp16, fp8, ...; else bf16 where the part has it.")
]
AttentionOption = Annotated[
    AttentionChoice, typer.Option("--attention", case_sensitive=False, help="Attention kernel.")
]
FlopsConventionOption = Annotated[
    FlopsConventionChoice,
    typer.Option("--flops-convention", case_sensitive=False, help="Count causal attention in full or by half."),
]
FrameworkOption = Annotated[
    FrameworkChoice | None,
    typer.Option(
        "--framework", case_sensitive=False, help="The trainer; else Megatron, for images ddp, on TPUs maxtext."
    ),
]
LaunchOption = Annotated[
    LaunchChoice | None,
    typer.Option(
        "--launch", case_sensitive=False, help="How kernels are launched; else as the trainer does by itself."
    ),
]
GradientDtypeOption = Annotated[
    GradientDtypeChoice | None,
    typer.Option(
        "--gradients",
        case_sensitive=False,
        help="Gradients as held and sent; else as the trainer does.",
    ),
]
TokensOption = Annotated[
    str | None, typer.Option("--tokens", help="Tokens of the whole run (15T): tells steps and days.")
]
FormatOption = Annotated[
    OutputFormat, typer.Option("--format", "-f", case_sensitive=False, help="Form of the output.")
]


def build_files_option(*names: str, extra_suffixes: str = "") -> OptionInfo:
    """The option `-o`, also by other names. `extra_suffixes`: endings that a command has beside the usual ones."""
    suffixes = f"{extra_suffixes}.html, .md, .csv, .jsonl, .json, .xml (JUnit) or .txt"
    help_text = f"Also write a file, in the form of its ending: {suffixes}. May be given several times."
    option: OptionInfo = typer.Option("--output", *names, "-o", metavar="FILE", help=help_text)
    return option


OutputFilesOption = Annotated[list[Path] | None, build_files_option()]


RequireOption = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        metavar="CONDITION",
        help="What the best plan has to meet, else the exit code is 4: 'mfu >= 40%'. May be given several times.",
    ),
]


@dataclass(frozen=True)
class ScenarioOptions:
    """What is trained, on what, in which steps: the options as the user gave them."""

    model: ModelArgument
    cluster: ClusterNameOption
    global_batch: GlobalBatchOption
    nodes: NodesOption = None
    devices: DevicesOption = None
    faults: FaultsOption = None
    seq_length: SeqLengthOption = None
    precision: PrecisionOption = None
    attention: AttentionOption = AttentionChoice.FLASH
    flops_convention: FlopsConventionOption = FlopsConventionChoice.FULL
    framework: FrameworkOption = None
    launch: LaunchOption = None

    @property
    def input_files(self) -> tuple[tuple[str, str], ...]:
        """Where model and cluster are read from, if they are files, with the options that name them."""
        from planner.cli.io.files import list_model_files

        return *list_model_files("MODEL", self.model), ("--cluster", self.cluster)


def read_workload(scenario_options: ScenarioOptions) -> Workload:
    """The model that is trained. Raises InputError."""
    from planner.cli.input.inputs import read_model, read_seq_length

    return read_model(scenario_options.model, read_seq_length(scenario_options.seq_length))


def check_attention_kernel(scenario_options: ScenarioOptions, workload: Workload) -> None:
    """Raises InputError for an attention kernel that the model has no use for."""
    from planner.workload.operators import AttentionCore

    operators = (op for layer_type in workload.kinds for op in layer_type.operators)
    if scenario_options.attention is not AttentionChoice.FLASH and not any(
        isinstance(op, AttentionCore) for op in operators
    ):
        raise InputError(
            f"{workload.name} has no attention",
            key="--attention",
            value=scenario_options.attention.value,
            expected="left out",
        )


ModelClusterReader = Callable[[ScenarioOptions, str | None], tuple["Workload", "Cluster"]]
"""Reads model and cluster of a question, the cluster at a site of this PUE. Raises InputError."""


def read_model_and_cluster(scenario_options: ScenarioOptions, pue: str | None) -> tuple[Workload, Cluster]:
    """What is trained and on what. Raises InputError."""
    from planner.cli.input.inputs import read_cluster, read_whole_number

    nodes, devices = (
        read_whole_number(scenario_options.nodes, "--nodes"),
        read_whole_number(scenario_options.devices, "--devices"),
    )
    return read_workload(scenario_options), replace_pue(
        read_cluster(scenario_options.cluster, nodes, devices, scenario_options.faults or ()), pue
    )


def resolve_scenarios(
    scenario_options: ScenarioOptions,
    allowed: Mapping[str, tuple[int, ...] | None],
    defaulted: frozenset[str] = frozenset(),
    *,
    gradients: GradientDtypeChoice | None = None,
    pue: str | None = None,
    techniques: TechniqueOptions = NO_TECHNIQUES,
    model_cluster_reader: ModelClusterReader = read_model_and_cluster,
) -> tuple[tuple[Training, ...], Cluster, Space]:
    """A training for each batch, the cluster, and the space of plans, which has the first batch. Raises InputError.

    `allowed`: values by dimension, None for one that is searched; `defaulted`: dimensions that a default pinned.
    """
    from planner.cli.input.inputs import find_dp_width_hint, read_global_batches, read_precision
    from planner.cli.io.output import warn
    from planner.cost.scenario import training
    from planner.search.space import Space

    workload, cluster = model_cluster_reader(scenario_options, pue)
    check_attention_kernel(scenario_options, workload)
    batches = read_global_batches(scenario_options.global_batch, workload.seq_length)
    first_scenario = training(
        workload,
        cluster,
        global_batch=batches[0],
        precision=read_precision(scenario_options.precision, cluster.accelerator),
        attention=scenario_options.attention.value,
        flops_convention=scenario_options.flops_convention.value,
        framework=scenario_options.framework.value if scenario_options.framework else None,
        launch=scenario_options.launch.value if scenario_options.launch else None,
        gradients=gradients.value if gradients else None,
    )
    first_scenario = apply_techniques(first_scenario, techniques)
    pinned_values = {name: values for name, values in allowed.items() if values is not None}
    if not workload.experts and "etp" in defaulted:
        pinned_values["etp"] = (1,)
    if width_hint := find_dp_width_hint(scenario_options.global_batch, batches[0], cluster.devices, pinned_values):
        warn(width_hint)
    scenarios = tuple(replace(first_scenario, global_batch=batch) for batch in batches)
    return scenarios, cluster, Space(cluster.devices, batches[0], pinned_values, defaulted)


def read_conditions(texts: Sequence[str] | None) -> tuple[Condition, ...]:
    """The conditions of `--require`, before anything is computed. Raises InputError."""
    if not texts:
        return ()
    from planner.studies.conditions.parse import parse_condition

    return tuple(parse_condition(text) for text in texts)


def check_conditions(conditions: Sequence[Condition], document: Document | HeterogeneousDocument) -> None:
    """Hold the best plan against them. Raises RequirementNotMet that names each that is not met."""
    if not conditions:
        return
    from planner.errors import RequirementNotMet
    from planner.studies.conditions.evaluate import evaluate_condition, format_unmet_condition
    from planner.studies.conditions.values import compute_figure_values

    values = compute_figure_values(document)
    unmet_results = [
        result for result in (evaluate_condition(condition, values) for condition in conditions) if not result.is_met
    ]
    if unmet_results:
        raise RequirementNotMet(
            "\n".join(format_unmet_condition(result.condition, result.explanation) for result in unmet_results)
        )


def write_plan_document(
    document: Document | HeterogeneousDocument, output_format: OutputFormat, files: Sequence[Path] = ()
) -> None:
    """Write the document to the files and print it."""
    from planner.cli.io.output import write_document as write_any_document

    from planner.documents.plan import Document

    def render_table() -> str:
        if isinstance(document, Document):
            from planner.report.views.plan_text import document_text

            return document_text(document)
        from planner.report.views.heterogeneous_text import mixed_text

        return mixed_text(document)

    write_any_document(document, output_format.value, files, render_table)
