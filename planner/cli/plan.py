"""`planner plan`: search the whole space and tell the best plans."""

from __future__ import annotations

from typing import Annotated

import typer

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
    GradientFormat,
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
    gradients: GradientFormat = None,
    tokens: Tokens = None,
    top: Annotated[int, typer.Option("--top", min=1, max=1000, help="How many plans to tell.")] = 5,
    form: Form = Output.TABLE,
    tp: Annotated[str | None, typer.Option("--tp", help=f"Tensor parallel degree, {_VALUES}.")] = None,
    pp: Annotated[str | None, typer.Option("--pp", help="Pipeline stages.")] = None,
    dp: Annotated[str | None, typer.Option("--dp", help="Data-parallel width.")] = None,
    cp: Annotated[str | None, typer.Option("--cp", help="Context parallel degree.")] = None,
    ep: Annotated[str | None, typer.Option("--ep", help="Expert parallel degree.")] = None,
    vpp: Annotated[str | None, typer.Option("--vpp", help="Virtual pipeline stages a device.")] = None,
    micro_batch: Annotated[str | None, typer.Option("--micro-batch", help="Sequences of a micro-batch.")] = None,
    zero: Annotated[str | None, typer.Option("--zero", help="ZeRO stage, 0 to 3.")] = None,
    recompute: Annotated[str | None, typer.Option("--recompute", help="none, selective, full.")] = None,
    sequence_parallel: Annotated[
        bool | None,
        typer.Option("--sequence-parallel/--no-sequence-parallel", help="Cut norms and residuals over tp ranks."),
    ] = None,
) -> None:
    """Find the best way to train MODEL on a cluster.

    \b
    Examples:
      plan llama-3-70b --cluster dgx-h100 --nodes 64 --global-batch 1024 --tokens 15T
      plan 13B --cluster dgx-a100 --nodes 4 --global-batch '4M tokens' --tp 4..8
      plan path/to/config.json --cluster cluster.toml --global-batch 512 --format json
    """
    from planner.cli.inputs import listed_values, read_names, read_tokens, read_values
    from planner.cli.output import warn
    from planner.cost.strategies import RECOMPUTE
    from planner.search.answer import best_plans
    from planner.search.fault import unusable

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
    )
    numbers = {"tp": tp, "pp": pp, "dp": dp, "cp": cp, "ep": ep, "vpp": vpp, "micro_batch": micro_batch}
    allowed = {name: read_values(text, f"--{name.replace('_', '-')}") for name, text in numbers.items()}
    allowed |= {
        "zero_stage": read_values(zero, "--zero", minimum=0, maximum=3),
        "recompute": read_names(recompute, "--recompute", RECOMPUTE),
        "sequence_parallel": None if sequence_parallel is None else (int(sequence_parallel),),
    }
    whole = read_tokens(tokens)
    training, found, space = ask(common, allowed)
    document = best_plans(training, found, space, top=top, tokens=whole)
    listed = {name: values for name, text in numbers.items() if (values := listed_values(text))}
    for sentence in unusable(training, space, listed):
        warn(sentence)
    tell(document, form)
