"""`planner plan`: search the whole space and tell the best plans."""

from __future__ import annotations

from typing import Annotated

import typer

from planner.cli.openings import (
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
    FlopsConvention,
    Form,
    FrameworkName,
    LaunchMode,
    Model,
    Nodes,
    Output,
    Precision,
    SeqLength,
    Tokens,
    ask,
    tell,
)

_NUMBERS = ("tp", "pp", "dp", "cp", "ep", "etp", "vpp", "micro_batch")
_VALUES = "a value, list or range: 8 | 4,8 | 4..8"


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
        str,
        typer.Option(
            "--objective",
            help="step-time, tokens-per-s-per-device, cost, energy, or memory-headroom orders the plans.",
        ),
    ] = "step-time",
    pareto: Annotated[
        str | None, typer.Option("--pareto", help="Two or three objectives, with commas: tell their Pareto front.")
    ] = None,
    critical_batch: Annotated[
        str | None,
        typer.Option("--critical-batch", help="Tokens of a step above which larger batches help less: '4M tokens'."),
    ] = None,
    diverse: Annotated[bool, typer.Option("--diverse", help="Tell plans of different degrees only.")] = False,
    top: Annotated[int, typer.Option("--top", min=1, max=1000, help="How many plans to tell.")] = 5,
    form: Form = Output.TABLE,
    tp: Annotated[str | None, typer.Option("--tp", help=f"Tensor parallel degree, {_VALUES}.")] = None,
    pp: Annotated[str | None, typer.Option("--pp", help="Pipeline stages.")] = None,
    dp: Annotated[str | None, typer.Option("--dp", help="Data-parallel width.")] = None,
    cp: Annotated[str | None, typer.Option("--cp", help="Context parallel degree.")] = None,
    ep: Annotated[str | None, typer.Option("--ep", help="Expert parallel degree.")] = None,
    etp: Etp = None,
    vpp: Annotated[str | None, typer.Option("--vpp", help="Virtual pipeline stages a device.")] = None,
    micro_batch: Annotated[str | None, typer.Option("--micro-batch", help="Sequences of a micro-batch.")] = None,
    zero: Annotated[str | None, typer.Option("--zero", help="ZeRO stage, 0 to 3.")] = None,
    recompute: Annotated[str | None, typer.Option("--recompute", help="none, selective, full.")] = None,
    sequence_parallel: Annotated[
        bool | None,
        typer.Option("--sequence-parallel/--no-sequence-parallel", help="Cut norms and residuals over tp ranks."),
    ] = None,
    schedule: ScheduleOption = None,
    tp_overlap: TpOverlap = None,
    dp_overlap: DpOverlap = None,
    cp_exchange: CpExchangeOption = None,
    gradients: GradientsOption = None,
    offload: OffloadOption = None,
    order: OrderOption = None,
    shard_group: ShardGroup = None,
    recompute_layers: RecomputeLayers = None,
    space_file: SpaceFile = None,
) -> None:
    """Find the best way to train MODEL on a cluster.

    \b
    Examples:
      plan llama-3-70b --cluster dgx-h100 --nodes 64 --global-batch 1024 --tokens 15T
      plan 13B --cluster dgx-a100 --nodes 4 --global-batch '4M tokens' --tp 4..8
      plan path/to/config.json --cluster cluster.toml --global-batch 512 --format json
      plan 70B --cluster dgx-a100 --nodes 16 --global-batch 512 --offload none,optimizer --schedule 1f1b,zero-bubble
    """
    from planner.cli.inputs import listed_values, read_names, read_tokens, read_values
    from planner.cli.output import warn
    from planner.cost.strategies import RECOMPUTE
    from planner.search.answer import best_plans
    from planner.search.fault import unusable
    from planner.search.objective import check_known
    from planner.search.search import Wanted
    from planner.search.settings import SETTINGS, combinations

    texts = read_space(
        space_file,
        {
            "tp": tp,
            "pp": pp,
            "dp": dp,
            "cp": cp,
            "ep": ep,
            "etp": etp,
            "vpp": vpp,
            "micro_batch": micro_batch,
            "zero": zero,
            "recompute": recompute,
            "sequence_parallel": None if sequence_parallel is None else ("yes" if sequence_parallel else "no"),
            "schedule": schedule,
            "tp_overlap": tp_overlap,
            "dp_overlap": dp_overlap,
            "cp_exchange": cp_exchange,
            "gradients": gradients,
            "offload": offload,
            "order": order,
            "shard_group": shard_group,
            "recompute_layers": recompute_layers,
        },
    )
    numbers = {name: texts[name] for name in _NUMBERS}
    allowed = {name: read_values(text, f"--{name.replace('_', '-')}") for name, text in numbers.items()}
    allowed |= {
        "zero_stage": read_values(texts["zero"], "--zero", minimum=0, maximum=3),
        "recompute": read_names(texts["recompute"], "--recompute", RECOMPUTE),
        "sequence_parallel": read_names(texts["sequence_parallel"], "--sequence-parallel", ("no", "yes")),
    }
    settings = read_settings({name: texts[name] for name in SETTINGS})
    whole = read_tokens(tokens)
    common = Common(
        model=model,
        cluster=cluster,
        nodes=nodes,
        devices=devices,
        global_batch=global_batch,
        seq_length=seq_length,
        precision=precision,
        attention=attention,
        flops_convention=flops_convention,
        framework=framework,
        launch=launch,
        gradients=None,
    )
    batches, found, space = ask(common, allowed)
    objectives = read_objectives(objective, pareto, critical_batch, batches=len(batches))
    check_known(objectives, batches[0])
    questions = [one for batch in batches for one in combinations(batch, settings)]
    document = best_plans(questions, found, space, Wanted(objectives, top, diverse), tokens=whole)
    listed = {name: values for name, text in numbers.items() if (values := listed_values(text))}
    for sentence in unusable(batches[0], space, listed):
        warn(sentence)
    tell(document, form)
