"""`planner estimate`: score one given plan through the functions that the search uses."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer.models import OptionInfo

from planner.cli.carbon import CarbonIntensity, GridOption, Pue, read_carbon
from planner.cli.failures import (
    Asynchronous,
    CheckpointBandwidth,
    Failures,
    MtbfDevice,
    MtbfNode,
    RepairTime,
    RestartTime,
    Shrink,
    Spares,
    read_failures,
)
from planner.cli.openings import (
    CommunicationOption,
    CpExchangeOption,
    DpOverlap,
    OffloadOption,
    OrderOption,
    RecomputeLayers,
    ScheduleOption,
    ShardGroup,
    TpOverlap,
    read_settings,
)
from planner.cli.question import (
    Attention,
    AttentionKernel,
    Batch,
    ClusterName,
    Common,
    Convention,
    Devices,
    Faults,
    Files,
    FlopsConvention,
    FrameworkName,
    GradientFormat,
    LaunchMode,
    Model,
    Nodes,
    PlanForm,
    PlanOutput,
    Precision,
    Require,
    SeqLength,
    Tokens,
    ask,
    check_required,
    read_required,
    tell,
)
from planner.cli.ranks import HostfileOption, RankfileOption, layouts, write_ranks
from planner.cli.techniques import Chosen, Distil, LoraOption, LowRankOption, OptimizerOption, Prune


class Recompute(StrEnum):
    """Modes of activation recomputation."""

    NONE = "none"
    SELECTIVE = "selective"
    FULL = "full"


def _whole(name: str, what: str) -> OptionInfo:
    """A whole number as text, so that one function reads and refuses it everywhere."""
    option: OptionInfo = typer.Option(name, metavar="INTEGER", help=what)
    return option


def estimate(
    model: Model,
    cluster: ClusterName,
    global_batch: Batch,
    nodes: Nodes = None,
    devices: Devices = None,
    seq_length: SeqLength = None,
    precision: Precision = None,
    attention: AttentionKernel = Attention.FLASH,
    flops_convention: FlopsConvention = Convention.FULL,
    framework: FrameworkName = None,
    launch: LaunchMode = None,
    gradients: GradientFormat = None,
    tokens: Tokens = None,
    form: PlanForm = PlanOutput.TABLE,
    files: Files = None,
    tp: Annotated[str | None, _whole("--tp", "Tensor parallel degree; else 1.")] = None,
    pp: Annotated[str | None, _whole("--pp", "Pipeline stages; else 1.")] = None,
    dp: Annotated[str | None, _whole("--dp", "Data-parallel width; else what is left.")] = None,
    cp: Annotated[str | None, _whole("--cp", "Context parallel degree; else 1.")] = None,
    ep: Annotated[str | None, _whole("--ep", "Expert parallel degree; else 1.")] = None,
    etp: Annotated[
        str | None, _whole("--etp", "Expert-tensor parallel degree, 1 or tp; else tp with --ep 1.")
    ] = None,
    vpp: Annotated[str | None, _whole("--vpp", "Virtual pipeline stages a device; else 1.")] = None,
    micro_batch: Annotated[str | None, _whole("--micro-batch", "Sequences of a micro-batch; else 1.")] = None,
    zero: Annotated[str | None, _whole("--zero", "ZeRO stage, 0 to 3; else 0.")] = None,
    recompute: Annotated[
        Recompute | None,
        typer.Option("--recompute", case_sensitive=False, help="Activation recomputation; else none."),
    ] = None,
    sequence_parallel: Annotated[
        bool | None,
        typer.Option("--sequence-parallel/--no-sequence-parallel", help="Cut norms and residuals over tp ranks."),
    ] = None,
    schedule: ScheduleOption = None,
    tp_overlap: TpOverlap = None,
    dp_overlap: DpOverlap = None,
    cp_exchange: CpExchangeOption = None,
    communication: CommunicationOption = None,
    offload: OffloadOption = None,
    order: OrderOption = None,
    shard_group: ShardGroup = None,
    recompute_layers: RecomputeLayers = None,
    faults: Faults = None,
    hosts_to: HostfileOption = None,
    ranks_to: RankfileOption = None,
    failures: Failures = True,
    mtbf_device: MtbfDevice = None,
    mtbf_node: MtbfNode = None,
    checkpoint_bandwidth: CheckpointBandwidth = None,
    restart_time: RestartTime = None,
    repair_time: RepairTime = None,
    spares: Spares = None,
    async_checkpoint: Asynchronous = None,
    shrink: Shrink = False,
    grid: GridOption = None,
    carbon_intensity: CarbonIntensity = None,
    pue: Pue = None,
    lora: LoraOption = None,
    prune: Prune = None,
    low_rank: LowRankOption = None,
    distil: Distil = None,
    optimizer: OptimizerOption = None,
    require: Require = None,
) -> None:
    """Score one given plan of MODEL on a cluster.

    \b
    Example:
      planner estimate gpt-3-175b --cluster dgx-a100 --nodes 128 --global-batch 1536 \\
        --tp 8 --pp 16 --micro-batch 1 --recompute selective --sequence-parallel --zero 1
    """
    arguments = dict(locals())
    from planner.cli.inputs import read_number, read_tokens
    from planner.cli.output import check_files
    from planner.errors import InputError
    from planner.search.answer import scored_plan
    from planner.search.settings import check_settings, combinations

    wanted_files, required = check_files(files), read_required(require)
    common = Common(
        model,
        cluster,
        nodes,
        devices,
        global_batch,
        seq_length,
        precision,
        attention,
        flops_convention,
        framework,
        launch,
        gradients,
        tuple(faults or ()),
        pue,
        Chosen(lora, prune, low_rank, distil, optimizer),
    )
    numbers = {
        "tp": tp, "pp": pp, "dp": dp, "cp": cp, "ep": ep, "etp": etp, "vpp": vpp, "micro_batch": micro_batch,
    }  # fmt: skip
    given = {name: read_number(text, f"--{name.replace('_', '-')}") for name, text in numbers.items()}
    given |= {
        "zero_stage": read_number(zero, "--zero", minimum=0, maximum=3),
        "recompute": None if recompute is None else list(Recompute).index(recompute),
        "sequence_parallel": None if sequence_parallel is None else int(sequence_parallel),
    }
    codes = ("zero_stage", "recompute", "sequence_parallel")
    # what is not given has its plainest value; only the data-parallel width is what is left
    assumed = {name: 0 if name in codes else 1 for name, value in given.items() if value is None and name != "dp"}
    if given["etp"] is None and (given["ep"] or 1) == 1 and given["tp"]:
        assumed["etp"] = given["tp"]  # experts that are not dealt out are cut like the rest; a dense model has none
    pins = {name: (value,) for name, value in (given | assumed).items() if value is not None}
    options = {
        "schedule": schedule,
        "tp_overlap": tp_overlap,
        "dp_overlap": dp_overlap,
        "cp_exchange": cp_exchange,
        "communication": communication,
        "offload": offload,
        "order": order,
        "shard_group": shard_group,
        "recompute_layers": recompute_layers,
    }
    settings = read_settings(options)
    whole = read_tokens(tokens)
    batches, found, space = ask(common, {**pins}, frozenset(assumed))
    if len(batches) > 1:
        raise InputError(
            "one plan has one batch", key="--global-batch", value=global_batch, expected="a single batch"
        )
    check_settings(batches[0], settings, pins["recompute"])
    questions = list(combinations(batches[0], settings))
    if len(questions) > 1:
        several = [f"--{name.replace('_', '-')}" for name, values in settings.items() if len(values) > 1]
        raise InputError("one plan has one value of each setting", key=several[0], expected="a single value")
    reliability = read_failures(arguments, found)
    carbon = read_carbon(grid, carbon_intensity)
    document = scored_plan(
        questions[0], found, space, tokens=whole, layouts=layouts(settings)[:1], reliability=reliability, grid=carbon
    )
    write_ranks(document, hosts_to, ranks_to)
    tell(document, form, wanted_files)
    check_required(required, document)
