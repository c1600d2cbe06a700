"""The mixed document for people: the ways as a table, the best one's kinds, step and memory, and what follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.documents.heterogeneous import HeterogeneousDocument, HeteroPlanPart, PoolPlanPart
from planner.documents.plan import ModelPart
from planner.report.console import console, first_that_fits, print_lines, printable, text_of
from planner.report.views.plan_text import terms_table
from planner.report.views.plan_words import in_units, model_line, run_text, step_line, unit_of
from planner.report.views.plans_table import Column, column_table
from planner.units import format_bytes, format_seconds, format_si

if TYPE_CHECKING:
    from rich.console import Console

NAMES = {"shares": "uneven shares", "stages": "uneven stages", "even": "all alike", "only": "one kind"}
"""What the ways are called."""
_WIDTH = 150


def mixed_text(document: HeterogeneousDocument) -> str:
    """The whole answer as text for stdout."""
    out = console(_WIDTH)
    print_mixed(document, out)
    return text_of(out)


def print_mixed(document: HeterogeneousDocument, out: Console) -> None:
    """Print the whole answer on a console."""
    print_lines(out, heading(document))
    out.print()
    _print(out, way_columns(document.model, document.ways))
    best = document.ways[0]
    _print(out, kind_columns(best.kinds))
    form = first_that_fits(out, lambda title: terms_table(best, title), ("step of the best way", "step"))
    out.print(form or terms_table(best, "step", hidden=False))
    print_lines(out, map(printable, document.answer.sentences))
    if document.run is not None:
        run = document.run
        print_lines(out, [run_text(document.model, run.tokens, run.steps, run.days)])


def heading(document: HeterogeneousDocument) -> list[str]:
    """What was understood, a line each: a word, then from the eleventh column on what is said of it."""
    model, cluster = document.model, document.cluster
    pools = " + ".join(
        f"{pool.nodes:,} {printable(pool.name)} x {pool.devices_per_node} {printable(pool.accelerator)}"
        for pool in cluster.pools
    )
    lines = [
        model_line(model),
        f"Cluster   {printable(cluster.title)}: {pools} = {cluster.devices:,} devices",
        step_line(model, document.training),
    ]
    notes = [printable(note) for note in (cluster.note, model.note) if note]
    lines += [f"Note      {note}" for note in notes]
    if document.left_out:
        lines.append(f"Left out  {', '.join(printable(name) for name in document.left_out)}: nothing fits")
    return lines


def _print(out: Console, columns: Sequence[Column]) -> None:
    """The columns as a table; one line a figure where it does not fit."""
    table = first_that_fits(out, column_table, [columns])
    if table is not None:
        out.print(table)
        return
    widest = max(len(column.heading) for column in columns)
    for number in range(len(columns[0].cells)):
        lines = [f"{column.heading:{widest}}  {column.cells[number]}" for column in columns]
        out.print("\n".join(lines), markup=False)
        out.print()


def way_columns(model: ModelPart, ways: Sequence[HeteroPlanPart]) -> list[Column]:
    """The ways, the fastest first."""
    return [
        Column("#", [str(number) for number in range(1, len(ways) + 1)]),
        Column("way", [NAMES[way.way] for way in ways], right=False),
        Column("split", [printable(way.split) for way in ways], right=False),
        Column("plan", [_plan(way) for way in ways], right=False),
        Column("step", [format_seconds(way.step_time_s) for way in ways]),
        Column(f"{unit_of(model)}s/s", [format_si(in_units(model, way.tokens_per_s)) for way in ways]),
        Column("MFU", [f"{way.mfu:.1%}" for way in ways]),
    ]


def _plan(way: HeteroPlanPart) -> str:
    """What both kinds have in common, in a few words."""
    split = way.kinds[0].strategy
    degrees = {"tp": split.tp, "pp": split.pp, "cp": split.cp, "ep": split.ep, "vpp": split.vpp}
    words = [f"{name} {degree}" for name, degree in degrees.items() if degree > 1]
    return " ".join([*words, f"dp {split.dp}", f"ZeRO {split.zero_stage}"])


def kind_columns(kinds: Sequence[PoolPlanPart]) -> list[Column]:
    """What each kind does in the best way."""
    memory = [
        f"{format_bytes(kind.memory.total_bytes)} of {format_bytes(kind.memory.capacity_bytes)}" for kind in kinds
    ]
    return [
        Column("best way", [printable(kind.pool) for kind in kinds], right=False),
        Column("replicas", [str(kind.replicas) for kind in kinds]),
        Column("stages", [str(kind.stages) for kind in kinds]),
        Column("layers", [_layers(kind.layers) for kind in kinds], right=False),
        Column("micro-batches", [f"{kind.micro_batches} x {kind.strategy.micro_batch}" for kind in kinds]),
        Column("recompute", [kind.strategy.recompute for kind in kinds], right=False),
        Column("waits", [format_seconds(kind.wait_s) for kind in kinds]),
        Column("fullest device", memory),
    ]


def _layers(layers: Sequence[int]) -> str:
    """`2x15 1x14`: how many stages have how many layers, in order."""
    runs: list[list[int]] = []
    for one in layers:
        if runs and runs[-1][1] == one:
            runs[-1][0] += 1
        else:
            runs.append([1, one])
    return " ".join(f"{many}x{one}" for many, one in runs[:6]) + (" ..." if len(runs) > 6 else "")
