"""The plan document for people: tables in a terminal, plain text where stdout is not one.

Nothing is cut: in a narrow terminal columns are shortened or left out, tables stand below each other, and below
that the plans are told one line a figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.report.console import console, first_that_fits, natural_width, plain_table, text_of
from planner.search.document import Document, PlanPart, StrategyPart, UncertaintyPart
from planner.units import format_bytes, format_parameters, format_seconds, format_si

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_NARROW = 60
"""Columns below which plans are told one line a figure."""
_GAP = 4
TERM_NAMES = {
    "tensor_parallel": "tensor parallel",
    "context_parallel": "context parallel",
    "expert_parallel": "expert parallel",
    "pipeline_send": "pipeline sends",
    "pipeline_bubble": "pipeline bubble",
    "data_parallel": "data parallel",
}


@dataclass(frozen=True)
class _Column:
    """One column of the plans' table: `rank` says which are left out first (the highest), 0 never."""

    heading: str
    cells: list[str]
    right: bool = True
    rank: int = 0


def document_text(document: Document) -> str:
    """The whole answer as text for stdout."""
    out = console()
    print_document(document, out)
    return text_of(out)


def print_document(document: Document, out: Console) -> None:
    """Print the whole answer on a console."""
    # a pipe gets each sentence on one line, a terminal has it wrapped at words
    unwrapped = not out.is_terminal
    for line in _heading(document):
        out.print(line, markup=False, soft_wrap=unwrapped)
    out.print()
    _print_plans(document, out)
    _print_best(document.plans[0], out)
    out.print(f"Bottleneck: {document.plans[0].bottleneck}", markup=False, soft_wrap=unwrapped)
    if document.run is not None:
        run = document.run
        text = f"{format_si(run.tokens)} tokens: {run.steps:,} steps, {run.days:,.1f} days."
        out.print(text, markup=False, soft_wrap=unwrapped)
    if document.uncertainty is not None:
        out.print(_uncertainty_text(document.uncertainty), markup=False, soft_wrap=unwrapped)


def _uncertainty_text(part: UncertaintyPart) -> str:
    """How long the first plan takes, how often it is first, and what having chosen it costs."""
    low, middle, high = (
        format_seconds(value) for value in (part.step_time_s.p10, part.step_time_s.p50, part.step_time_s.p90)
    )
    text = (
        f"Uncertainty: over {part.samples:,} samples of the fitted parameters plan 1 takes {low} to {high} a step "
        f"(10 % to 90 %, median {middle}) and is first of {part.plans} plans in {part.first_share:.1%}; having "
        f"chosen it costs {part.regret.mean:.1%} on average, at most {part.regret.p90:.1%} in 90 % of them."
    )
    if not part.rivals:
        return text
    rivals = ", ".join(f"{_split(rival.strategy)} in {rival.share:.1%}" for rival in part.rivals)
    return f"{text} Others that are first: {rivals}."


def _split(strategy: StrategyPart) -> str:
    """A plan in a few words."""
    degrees = {"tp": strategy.tp, "pp": strategy.pp, "dp": strategy.dp, "cp": strategy.cp, "ep": strategy.ep}
    words = [f"{name} {degree}" for name, degree in degrees.items() if degree > 1 or name == "tp"]
    words += [f"vpp {strategy.vpp}"] if strategy.vpp > 1 else []
    return " ".join([*words, f"mbs {strategy.micro_batch}"])


def _heading(document: Document) -> list[str]:
    model, cluster, training, search = document.model, document.cluster, document.training, document.search
    size = format_parameters(model.parameters)
    if model.active_parameters != model.parameters:
        size += f", {format_parameters(model.active_parameters)} active"
    nodes = "1 node" if cluster.nodes == 1 else f"{cluster.nodes:,} nodes"
    lines = [
        f"Model     {printable(model.title)}: {size} parameters, {model.layers} layers, "
        f"sequence {model.seq_length:,}",
        f"Cluster   {printable(cluster.title)}: {nodes} x {cluster.devices_per_node} "
        f"{printable(cluster.accelerator)} = {cluster.devices:,} devices",
        f"Step      {training.global_batch:,} sequences, {training.tokens_per_step:,} tokens, "
        f"{training.precision}, {training.attention} attention, {training.framework} ({training.launch})",
    ]
    if search.candidates > 1:
        lines.append(f"Search    {search.candidates:,} candidates, {search.feasible:,} fit; every one considered")
    if model.note:
        lines.append(f"Note      {printable(model.note)}")
    return lines


def _print_plans(document: Document, out: Console) -> None:
    """The plans as a table as wide as fits, or one line a figure."""
    full, short = _columns(document.plans, short=False), _columns(document.plans, short=True)
    ranks = sorted({column.rank for column in short}, reverse=True)
    forms = [full] + [[column for column in short if column.rank < limit] for limit in (ranks[0] + 1, *ranks[:-1])]
    table = None
    if out.width >= _NARROW:
        table = first_that_fits(out, [lambda form=form: _plans_table(form) for form in forms])  # type: ignore[misc]
    if table is not None:
        out.print(table)
        return
    for number in range(len(document.plans)):
        out.print("\n".join(_record(full, number)), markup=False)
        out.print()


def _columns(plans: Sequence[PlanPart], *, short: bool) -> list[_Column]:
    """All columns; in short form with abbreviated words and the device's memory told once."""
    split = [plan.strategy for plan in plans]
    modes = {"none": "no", "selective": "sel", "full": "full"} if short else {}
    capacity = plans[0].memory.capacity_bytes / 2**30
    used = [plan.memory.total_bytes / 2**30 for plan in plans]
    experts = [_Column("ep", [str(s.ep) for s in split])] if any(s.ep > 1 for s in split) else []
    memory = (
        _Column(f"GiB of {capacity:.1f}", [f"{size:.1f}" for size in used])
        if short
        else _Column("memory", [f"{size:.1f}/{capacity:.1f} GiB" for size in used])
    )
    return [
        _Column("#", [str(number) for number in range(1, len(plans) + 1)]),
        _Column("tp", [str(s.tp) for s in split]),
        _Column("pp", [str(s.pp) for s in split]),
        _Column("dp", [str(s.dp) for s in split]),
        _Column("cp", [str(s.cp) for s in split]),
        *experts,
        _Column("vpp", [str(s.vpp) for s in split]),
        _Column("mbs", [str(s.micro_batch) for s in split]),
        _Column("Z" if short else "ZeRO", [str(s.zero_stage) for s in split]),
        _Column("rec" if short else "recompute", [modes.get(s.recompute, s.recompute) for s in split], right=False),
        _Column("SP", ["yes" if s.sequence_parallel else "no" for s in split], right=False),
        _Column("step", [format_seconds(plan.step_time_s) for plan in plans]),
        _Column("tokens/s", [format_si(plan.tokens_per_s) for plan in plans], rank=2),
        _Column("MFU", [f"{plan.mfu:.1%}" for plan in plans], rank=1),
        _Column("HFU", [f"{plan.hfu:.1%}" for plan in plans], rank=3),
        memory,
    ]


def _plans_table(columns: Sequence[_Column]) -> Table:
    """The plans, best first, one a row."""
    table = plain_table()
    for column in columns:
        table.add_column(column.heading, justify="right" if column.right else "left", no_wrap=True)
    for number, row in enumerate(zip(*(column.cells for column in columns), strict=True)):
        table.add_row(*row, style="bold" if number == 0 else "")
    return table


def _record(columns: Sequence[_Column], number: int) -> list[str]:
    """One plan, one line a figure."""
    widest = max(len(column.heading) for column in columns)
    lines = [f"  {column.heading:{widest}}  {column.cells[number]}" for column in columns[1:]]
    return [f"plan {columns[0].cells[number]}", *lines]


def _print_best(plan: PlanPart, out: Console) -> None:
    """The best plan's step and memory: beside each other where that fits, else one below the other."""
    from rich.table import Table

    terms, memory = _terms_table(plan), _memory_table(plan)
    if natural_width(out, terms) + _GAP + natural_width(out, memory) <= out.width:
        beside = Table.grid(padding=(0, _GAP, 0, 0))
        beside.add_row(terms, memory)
        out.print(beside)
        return
    short = first_that_fits(out, [lambda: terms, lambda: _terms_table(plan, short=True)])
    out.print(short or _terms_table(plan, short=True, hidden=False))
    out.print(memory)


def _terms_table(plan: PlanPart, *, short: bool = False, hidden: bool = True) -> Table:
    """Where the step goes; what runs beside other work is told as hidden."""
    table = plain_table(footer=True)
    table.add_column("step" if short else "step of the best plan", "total", no_wrap=True)
    table.add_column("time", format_seconds(plan.step_time_s), justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    if hidden:
        table.add_column("hidden", justify="right", no_wrap=True)
    for name, seconds in plan.terms.items():
        beside = plan.hidden.get(name, 0.0)
        if seconds == 0 and beside == 0:
            continue
        cells = [TERM_NAMES.get(name, name), format_seconds(seconds), f"{seconds / plan.step_time_s:.1%}"]
        table.add_row(*cells, *([format_seconds(beside) if beside else ""] if hidden else []))
    return table


def _memory_table(plan: PlanPart) -> Table:
    """What the fullest device holds."""
    memory = plan.memory
    table = plain_table(footer=True)
    table.add_column("fullest device", f"total of {format_bytes(memory.capacity_bytes)}", no_wrap=True)
    table.add_column("memory", format_bytes(memory.total_bytes), justify="right", no_wrap=True)
    table.add_column("share", f"{memory.total_bytes / memory.capacity_bytes:.1%}", justify="right", no_wrap=True)
    kinds = ("weights", "gradients", "optimizer", "activations", "logits", "buffers", "reserve")
    for kind in kinds:
        size = float(getattr(memory, f"{kind}_bytes"))
        if size:
            table.add_row(kind, format_bytes(size), f"{size / memory.capacity_bytes:.1%}")
    return table


def printable(text: str) -> str:
    """Names come from files: no control character reaches the terminal."""
    return "".join(character for character in text if character.isprintable())
