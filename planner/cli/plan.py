"""`planner plan`: search the whole space and tell the best plans. The options that pin the space, for others too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

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
    Etp,
    GradientsOption,
    OffloadOption,
    OrderOption,
    RecomputeLayers,
    ScheduleOption,
    ShardGroup,
    SpaceFile,
    TpOverlap,
    read_objectives,
    read_settings,
    read_space,
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
    Framework,
    FrameworkName,
    Launch,
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
from planner.cli.techniques import Distil, LoraOption, LowRankOption, OptimizerOption, Prune, chosen_of
from planner.errors import InputError

SAMPLES = 200
"""Of `--uncertainty` without a number."""
_MANY_QUESTIONS = 300
_MOST_SAMPLES = 100_000
_NUMBERS = ("tp", "pp", "dp", "cp", "ep", "etp", "vpp", "micro_batch")
_VALUES = "a value, list or range: 8 | 4,8 | 4..8"

Tp = Annotated[str | None, typer.Option("--tp", help=f"Tensor parallel degree, {_VALUES}.")]
Pp = Annotated[str | None, typer.Option("--pp", help="Pipeline stages.")]
Dp = Annotated[str | None, typer.Option("--dp", help="Data-parallel width.")]
Cp = Annotated[str | None, typer.Option("--cp", help="Context parallel degree.")]
Ep = Annotated[str | None, typer.Option("--ep", help="Expert parallel degree.")]
Vpp = Annotated[str | None, typer.Option("--vpp", help="Virtual pipeline stages a device.")]
MicroBatch = Annotated[str | None, typer.Option("--micro-batch", help="Sequences of a micro-batch.")]
Zero = Annotated[str | None, typer.Option("--zero", help="ZeRO stage, 0 to 3.")]
RecomputeModes = Annotated[str | None, typer.Option("--recompute", help="none, selective, full.")]
SequenceParallel = Annotated[
    bool | None,
    typer.Option("--sequence-parallel/--no-sequence-parallel", help="Cut norms and residuals over tp ranks."),
]
Uncertainty = Annotated[
    str | None,
    typer.Option(
        "--uncertainty",
        metavar="[INTEGER]",
        help=f"Tell how sure the first plan is, by so many samples of the fitted parameters; else {SAMPLES}.",
    ),
]


@dataclass(frozen=True)
class Pins:
    """The space as it was pinned: allowed values by dimension, of settings, and those that were listed singly."""

    allowed: dict[str, tuple[int, ...] | None]
    settings: dict[str, tuple[str, ...]]
    listed: dict[str, tuple[int, ...]]


def read_pins(given: Mapping[str, object]) -> Pins:
    """The pins among a command's arguments, from its file of options as well. Raises InputError."""
    from planner.search.settings import SETTINGS

    names = (*_NUMBERS, "zero", "recompute", "sequence_parallel", *SETTINGS)
    options = {name: _text(given[name]) for name in names}
    parallel = given["sequence_parallel"]
    options["sequence_parallel"] = None if parallel is None else ("yes" if parallel else "no")
    path = _text(given["space_file"])
    texts = read_space(Path(path) if path is not None else None, options)
    try:
        return _pins(texts)
    except InputError as error:
        name = error.key.removeprefix("--").replace("-", "_")
        if options.get(name) is None and texts.get(name) is not None:
            raise error.elsewhere(str(path), name.replace("_", "-")) from None
        raise


def _pins(texts: dict[str, str | None]) -> Pins:
    from planner.cli.inputs import listed_values, read_names, read_values
    from planner.cost.strategies import RECOMPUTE
    from planner.search.settings import SETTINGS

    numbers = {name: texts[name] for name in _NUMBERS}
    allowed = {name: read_values(text, f"--{name.replace('_', '-')}") for name, text in numbers.items()}
    allowed |= {
        "zero_stage": read_values(texts["zero"], "--zero", minimum=0, maximum=3),
        "recompute": read_names(texts["recompute"], "--recompute", RECOMPUTE),
        "sequence_parallel": read_names(texts["sequence_parallel"], "--sequence-parallel", ("no", "yes")),
    }
    listed = {name: values for name, text in numbers.items() if (values := listed_values(text))}
    return Pins(allowed, read_settings({name: texts[name] for name in SETTINGS}), listed)


def common_of(given: Mapping[str, object]) -> Common:
    """The question among a command's arguments."""
    framework, launch = _text(given["framework"]), _text(given["launch"])
    return Common(
        model=str(given["model"]),
        cluster=str(given["cluster"]),
        nodes=_text(given["nodes"]),
        devices=_text(given["devices"]),
        global_batch=str(given["global_batch"]),
        seq_length=_text(given["seq_length"]),
        precision=_text(given["precision"]),
        attention=Attention(str(given["attention"])),
        flops_convention=Convention(str(given["flops_convention"])),
        framework=None if framework is None else Framework(framework),
        launch=None if launch is None else Launch(launch),
        gradients=None,
        faults=_texts(given["faults"]),
        pue=_text(given.get("pue")),
        techniques=chosen_of(given),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def plan(
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
    tokens: Tokens = None,
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective",
            help="What plans are best by: step-time, tokens-per-s-per-device, cost, energy, memory-headroom.",
        ),
    ] = None,
    pareto: Annotated[
        str | None, typer.Option("--pareto", help="Two or three objectives, with commas: tell their Pareto front.")
    ] = None,
    critical_batch: Annotated[
        str | None,
        typer.Option(
            "--critical-batch",
            help="Tokens of a step from which larger ones help less: '4M tokens', or as it grows: 1M,4M@500B.",
        ),
    ] = None,
    diverse: Annotated[bool, typer.Option("--diverse", help="Tell plans of different degrees only.")] = False,
    top: Annotated[
        int | None, typer.Option("--top", min=1, max=1000, help="How many plans to tell; else 5, of a front all.")
    ] = None,
    uncertainty: Uncertainty = None,
    form: PlanForm = PlanOutput.TABLE,
    files: Files = None,
    tp: Tp = None,
    pp: Pp = None,
    dp: Dp = None,
    cp: Cp = None,
    ep: Ep = None,
    etp: Etp = None,
    vpp: Vpp = None,
    micro_batch: MicroBatch = None,
    zero: Zero = None,
    recompute: RecomputeModes = None,
    sequence_parallel: SequenceParallel = None,
    schedule: ScheduleOption = None,
    tp_overlap: TpOverlap = None,
    dp_overlap: DpOverlap = None,
    cp_exchange: CpExchangeOption = None,
    gradients: GradientsOption = None,
    communication: CommunicationOption = None,
    offload: OffloadOption = None,
    order: OrderOption = None,
    shard_group: ShardGroup = None,
    recompute_layers: RecomputeLayers = None,
    space_file: SpaceFile = None,
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
    """Find the best way to train MODEL on a cluster.

    \b
    Examples:
      plan llama-3-70b --cluster dgx-h100 --nodes 64 --global-batch 1024 --tokens 15T
      plan 13B --cluster dgx-a100 --nodes 4 --global-batch '4M tokens' --tp 4..8
      plan path/to/config.json --cluster cluster.toml --global-batch 512 --format json
      plan 13B --cluster dgx-a100 --nodes 4 --global-batch 512 --uncertainty
      plan 70B --cluster dgx-a100 --nodes 16 --global-batch 512 --offload none,optimizer --schedule 1f1b,zero-bubble
      plan llama-3-70b --cluster dgx-h100:32+dgx-a100:32 --global-batch 1024
    """
    given = dict(locals())
    from planner.cli.inputs import read_number, read_tokens
    from planner.cli.output import check_files, warn
    from planner.cli.pools import plan_pools, read_pools

    pins, wanted_files, required = read_pins(given), check_files(files), read_required(require)
    whole = read_tokens(tokens)
    pools = read_pools(cluster)
    if pools is not None:
        check_required(required, plan_pools(pools, common_of(given), pins, given, whole))
        return
    from planner.cost.strategies import FULL
    from planner.search.answer import best_plans
    from planner.search.objective import check_known, idle_objectives
    from planner.search.search import Wanted
    from planner.search.settings import check_settings, combinations

    samples = read_number(uncertainty, "--uncertainty", minimum=2, maximum=_MOST_SAMPLES)
    if samples is not None and pareto is not None:
        raise InputError("is told of one first plan", key="--uncertainty", expected="--objective, not --pareto")
    if diverse and pareto is not None:
        raise InputError("a front is told as it is", key="--diverse, --pareto", expected="one of the two")
    batches, found, space = ask(common_of(given), pins.allowed)
    reliability = read_failures(given, found)
    carbon = read_carbon(grid, carbon_intensity)
    objectives = read_objectives(objective, pareto, critical_batch, batches=len(batches), run=whole)
    check_known(objectives, batches[0])
    check_settings(batches[0], pins.settings, pins.allowed["recompute"] or (FULL,))
    questions = [one for batch in batches for one in combinations(batch, pins.settings)]
    if len(questions) >= _MANY_QUESTIONS:
        warn(f"{len(questions):,} combinations of settings and batch are searched one after the other: minutes")
    for sentence in idle_objectives(objectives, len(batches)):
        warn(sentence)
    wanted = Wanted(objectives, top or (None if pareto else 5), diverse)
    document = best_plans(
        questions,
        found,
        space,
        wanted,
        tokens=whole,
        samples=samples,
        layouts=layouts(pins.settings),
        reliability=reliability,
        grid=carbon,
    )
    if pins.listed:
        from planner.search.fault import unusable

        for sentence in unusable(batches[0], space, pins.listed):
            warn(sentence)
    write_ranks(document, hosts_to, ranks_to)
    tell(document, form, wanted_files)
    check_required(required, document)
