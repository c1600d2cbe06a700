"""`planner estimate`: score one given plan through the functions that the search uses."""

from __future__ import annotations

from enum import StrEnum
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
    Model,
    Nodes,
    Output,
    Precision,
    SeqLength,
    Tokens,
    ask,
    read_tokens,
    tell,
)


class Recompute(StrEnum):
    """Modes of activation recomputation."""

    NONE = "none"
    SELECTIVE = "selective"
    FULL = "full"


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
    tokens: Tokens = None,
    form: Form = Output.TABLE,
    tp: Annotated[int, typer.Option("--tp", min=1, help="Tensor parallel degree.")] = 1,
    pp: Annotated[int, typer.Option("--pp", min=1, help="Pipeline stages.")] = 1,
    dp: Annotated[int | None, typer.Option("--dp", min=1, help="Data-parallel width; else what is left.")] = None,
    cp: Annotated[int, typer.Option("--cp", min=1, help="Context parallel degree.")] = 1,
    ep: Annotated[int, typer.Option("--ep", min=1, help="Expert parallel degree.")] = 1,
    vpp: Annotated[int, typer.Option("--vpp", min=1, help="Virtual pipeline stages a device.")] = 1,
    micro_batch: Annotated[int, typer.Option("--micro-batch", min=1, help="Sequences of a micro-batch.")] = 1,
    zero: Annotated[int, typer.Option("--zero", min=0, max=3, help="ZeRO stage.")] = 0,
    recompute: Annotated[Recompute, typer.Option("--recompute", help="Activation recomputation.")] = Recompute.NONE,
    sequence_parallel: Annotated[
        bool,
        typer.Option("--sequence-parallel/--no-sequence-parallel", help="Cut norms and residuals over tp ranks."),
    ] = False,
) -> None:
    """Score one given plan of MODEL on a cluster.

    \b
    Example:
      planner estimate gpt-3-175b --cluster dgx-a100 --nodes 128 --global-batch 1536 \\
        --tp 8 --pp 16 --micro-batch 1 --recompute selective --sequence-parallel --zero 1
    """
    from planner.search.answer import scored_plan

    common = Common(model, cluster, nodes, devices, global_batch, seq_length, precision, attention, flops_convention)
    given: dict[str, tuple[int, ...] | None] = {
        "tp": (tp,),
        "pp": (pp,),
        "dp": None if dp is None else (dp,),
        "cp": (cp,),
        "ep": (ep,),
        "vpp": (vpp,),
        "micro_batch": (micro_batch,),
        "zero_stage": (zero,),
        "recompute": (list(Recompute).index(recompute),),
        "sequence_parallel": (int(sequence_parallel),),
    }
    whole = read_tokens(tokens)
    training, found, space = ask(common, given)
    tell(scored_plan(training, found, space, tokens=whole), form)
