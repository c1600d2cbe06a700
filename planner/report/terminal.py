"""The plan document for people: tables in a terminal, plain text where stdout is not one."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from planner.search.document import Document, PlanPart
from planner.units import format_bytes, format_parameters, format_seconds, format_si

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_PLAIN_WIDTH = 110
_TERM_NAMES = {
    "tensor_parallel": "tensor parallel",
    "context_parallel": "context parallel",
    "expert_parallel": "expert parallel",
    "pipeline_send": "pipeline sends",
    "pipeline_bubble": "pipeline bubble",
    "data_parallel": "data parallel",
}


def console() -> Console:
    """A console on stdout: colour and the terminal's width only where it is a terminal."""
    from rich.console import Console

    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        return Console(highlight=False)
    width = None if sys.stdout.isatty() else _PLAIN_WIDTH
    return Console(width=width, color_system=None, highlight=False, force_terminal=False)


def print_document(document: Document, out: Console | None = None) -> None:
    """Print the whole answer, on stdout where no console is given."""
    from rich.table import Table

    out = out or console()
    # a pipe gets each sentence on one line, a terminal has it wrapped at words
    unwrapped = not out.is_terminal
    for line in _heading(document):
        out.print(line, markup=False, soft_wrap=unwrapped)
    out.print()
    out.print(plans_table(document))
    best = document.plans[0]
    beside = Table.grid(padding=(0, 4, 0, 0))
    beside.add_row(_terms_table(best), _memory_table(best))
    out.print(beside)
    out.print(f"Bottleneck: {best.bottleneck}", markup=False, soft_wrap=unwrapped)
    if document.run is not None:
        run = document.run
        text = f"{format_si(run.tokens)} tokens: {run.steps:,} steps, {run.days:,.1f} days."
        out.print(text, markup=False, soft_wrap=unwrapped)


def _heading(document: Document) -> list[str]:
    model, cluster, training, search = document.model, document.cluster, document.training, document.search
    size = format_parameters(model.parameters)
    if model.active_parameters != model.parameters:
        size += f", {format_parameters(model.active_parameters)} active"
    lines = [
        f"Model     {_printable(model.title)}: {size} parameters, {model.layers} layers, "
        f"sequence {model.seq_length:,}",
        f"Cluster   {_printable(cluster.title)}: {cluster.nodes:,} nodes x {cluster.devices_per_node} "
        f"{_printable(cluster.accelerator)} = {cluster.devices:,} devices",
        f"Step      {training.global_batch:,} sequences, {training.tokens_per_step:,} tokens, "
        f"{training.precision}, {training.attention} attention",
    ]
    if search.candidates > 1:
        lines.append(f"Search    {search.candidates:,} candidates, {search.feasible:,} fit; every one considered")
    if model.note:
        lines.append(f"Note      {_printable(model.note)}")
    return lines


def plans_table(document: Document) -> Table:
    """The plans, best first, one a row."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    experts = any(plan.strategy.ep > 1 for plan in document.plans)
    names = ["#", "tp", "pp", "dp", "cp", *(["ep"] if experts else []), "vpp", "mbs", "ZeRO"]
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("recompute", no_wrap=True)
    table.add_column("SP", no_wrap=True)
    for name in ("step", "tokens/s", "MFU", "HFU", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    for number, plan in enumerate(document.plans, start=1):
        table.add_row(str(number), *_row(plan, experts), style="bold" if number == 1 else "")
    return table


def _row(plan: PlanPart, experts: bool) -> list[str]:
    s = plan.strategy
    degrees = [s.tp, s.pp, s.dp, s.cp, *([s.ep] if experts else []), s.vpp, s.micro_batch, s.zero_stage]
    return [
        *(str(degree) for degree in degrees),
        s.recompute,
        "yes" if s.sequence_parallel else "no",
        format_seconds(plan.step_time_s),
        format_si(plan.tokens_per_s),
        f"{plan.mfu:.1%}",
        f"{plan.hfu:.1%}",
        f"{plan.memory.total_bytes / 2**30:.1f}/{plan.memory.capacity_bytes / 2**30:.1f} GiB",
    ]


def _terms_table(plan: PlanPart) -> RenderableType:
    """Where the step goes; what runs beside other work is told as hidden."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_footer=True)
    table.add_column("step of the best plan", "total", no_wrap=True)
    table.add_column("time", format_seconds(plan.step_time_s), justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("hidden", justify="right", no_wrap=True)
    for name, seconds in plan.terms.items():
        hidden = plan.hidden.get(name, 0.0)
        if seconds == 0 and hidden == 0:
            continue
        share = f"{seconds / plan.step_time_s:.1%}"
        beside = format_seconds(hidden) if hidden else ""
        table.add_row(_TERM_NAMES.get(name, name), format_seconds(seconds), share, beside)
    return table


def _memory_table(plan: PlanPart) -> RenderableType:
    """What the fullest device holds."""
    from rich import box
    from rich.table import Table

    memory = plan.memory
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_footer=True)
    table.add_column("fullest device", f"total of {format_bytes(memory.capacity_bytes)}", no_wrap=True)
    table.add_column("memory", format_bytes(memory.total_bytes), justify="right", no_wrap=True)
    table.add_column("share", f"{memory.total_bytes / memory.capacity_bytes:.1%}", justify="right", no_wrap=True)
    kinds = ("weights", "gradients", "optimizer", "activations", "logits", "buffers", "reserve")
    for kind in kinds:
        size = float(getattr(memory, f"{kind}_bytes"))
        if size:
            table.add_row(kind, format_bytes(size), f"{size / memory.capacity_bytes:.1%}")
    return table


def _printable(text: str) -> str:
    """Names come from files: no control character reaches the terminal."""
    return "".join(character for character in text if character.isprintable())
