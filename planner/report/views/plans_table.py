"""The plans of a document as a table as wide as the terminal allows; what all of them share is told once above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from planner.documents.plan import Document, PlanPart, SettingsPart
from planner.report.console import first_that_fits, plain_table, thinned
from planner.report.views.plan_words import per_second, unit_of
from planner.units import format_seconds, format_si

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_MOST_OF_A_FRONT = 25
_NARROW = 60
"""Columns below which plans are told one line a figure."""
_USUAL = ("1f1b", "no tp overlap", "dp overlap", "cp by ring", "fp32 gradients", "sent in fp32", "no offload")
_USUAL_LAYOUT = ("order tp-cp-dp-pp", "shard over all", "recompute all layers")
"""Settings that go without saying where all plans have them."""


@dataclass(frozen=True)
class Column:
    """One column of the plans' table: `rank` says which are left out first (the highest), 0 never."""

    heading: str
    cells: list[str]
    right: bool = True
    rank: int = 0


def print_plans(document: Document, out: Console) -> None:
    """The plans as a table as wide as fits, or one line a figure."""
    shown = _thinned(document)
    full, short = columns(shown, short=False), columns(shown, short=True)
    ranks = sorted({column.rank for column in short}, reverse=True)
    forms = [full] + [[column for column in short if column.rank < limit] for limit in (ranks[0] + 1, *ranks[:-1])]
    table = None
    if out.width >= _NARROW:
        table = first_that_fits(out, column_table, forms)
    if table is not None:
        out.print(table)
        if len(shown.plans) < len(document.plans):
            rest = len(document.plans) - len(shown.plans)
            out.print(f"{rest} plans of the front between these are in --format json, or with --top.", markup=False)
        return
    for number in range(len(shown.plans)):
        out.print("\n".join(_record(full, number)), markup=False)
        out.print()


def _thinned(document: Document) -> Document:
    """Of a long front as many plans as are read, from end to end; all plans else."""
    if len(document.search.objectives) < 2:
        return document
    return msgspec.structs.replace(document, plans=thinned(document.plans, _MOST_OF_A_FRONT))


def common_settings(plans: Sequence[PlanPart], precision: str) -> str:
    """The settings that all plans share, where they are not the usual ones; maybe empty. `precision` of training."""
    words = [_words(plan.settings, precision) for plan in plans]
    shared = [word for word in words[0] if all(word in other for other in words)]
    return ", ".join(word for word in shared if word not in (*_USUAL, *_USUAL_LAYOUT))


def half_of(name: str, precision: str) -> str:
    """A number format of gradients by its own name: bf16 stands for 16 bits, which are fp16 where training is."""
    return precision if (name, precision) == ("bf16", "fp16") else name


def _words(settings: SettingsPart, precision: str) -> list[str]:
    """Every setting in a few words."""
    layers = "all" if settings.recompute_layers is None else str(settings.recompute_layers)
    return [
        settings.schedule,
        "tp overlap" if settings.tp_overlap else "no tp overlap",
        "dp overlap" if settings.dp_overlap else "no dp overlap",
        f"cp by {settings.cp_exchange}",
        f"{half_of(settings.gradients, precision)} gradients",
        f"sent in {half_of(settings.communication, precision)}",
        f"offload {'+'.join(settings.offload)}" if settings.offload else "no offload",
        f"order {settings.order}",
        f"shard over {settings.shard_group or 'all'}",
        f"recompute {layers} layers",
    ]


def columns(document: Document, *, short: bool = False) -> list[Column]:
    """All columns; in short form with abbreviated words and the device's memory told once."""
    plans, told = document.plans, unit_of(document.model)
    split = [plan.strategy for plan in plans]
    modes = {"none": "no", "selective": "sel", "full": "full"} if short else {}
    capacity = plans[0].memory.capacity_bytes / 2**30
    used = [plan.memory.total_bytes / 2**30 for plan in plans]
    memory = (
        Column(f"GiB of {capacity:.1f}", [f"{size:.1f}" for size in used])
        if short
        else Column("memory", [f"{size:.1f}/{capacity:.1f} GiB" for size in used])
    )
    return [
        Column("#", [str(number) for number in range(1, len(plans) + 1)]),
        *_batches(plans),
        Column("tp", [str(s.tp) for s in split]),
        Column("pp", [str(s.pp) for s in split]),
        Column("dp", [str(s.dp) for s in split]),
        Column("cp", [str(s.cp) for s in split]),
        *([Column("ep", [str(s.ep) for s in split])] if any(s.ep > 1 for s in split) else []),
        *([Column("etp", [str(s.etp) for s in split])] if any(s.etp > 1 for s in split) else []),
        Column("vpp", [str(s.vpp) for s in split]),
        Column("mbs", [str(s.micro_batch) for s in split]),
        Column("Z" if short else "ZeRO", [str(s.zero_stage) for s in split]),
        Column("rec" if short else "recompute", [modes.get(s.recompute, s.recompute) for s in split], right=False),
        Column("SP", ["yes" if s.sequence_parallel else "no" for s in split], right=False),
        *_differing_settings(plans, document.training.precision),
        Column("step", [format_seconds(plan.step_time_s) for plan in plans]),
        Column(f"{told}s/s", [format_si(per_second(document.model, plan)[0]) for plan in plans], rank=2),
        Column("MFU", [f"{plan.mfu:.1%}" for plan in plans], rank=1),
        Column("HFU", [f"{plan.hfu:.1%}" for plan in plans], rank=3),
        *_objectives(document),
        memory,
    ]


def _batches(plans: Sequence[PlanPart]) -> list[Column]:
    """The global batch, where plans of several were told."""
    batches = [plan.global_batch for plan in plans]
    return [Column("batch", [f"{batch:,}" for batch in batches])] if len(set(batches)) > 1 else []


def _differing_settings(plans: Sequence[PlanPart], precision: str) -> list[Column]:
    """Of every plan the settings in which plans differ."""
    words = [_words(plan.settings, precision) for plan in plans]
    differ = [i for i, column in enumerate(zip(*words, strict=True)) if len(set(column)) > 1]
    return [Column("settings", [", ".join(row[i] for i in differ) for row in words], right=False)] if differ else []


def _objectives(document: Document) -> list[Column]:
    """What the plans are ordered by, where no other column tells it."""
    wanted = [name for name in document.search.objectives if name not in ("step-time", "memory-headroom")]
    if not wanted:
        return []
    from planner.report.views.objectives import figure_of

    figures = [figure_of(name, document) for name in wanted]
    return [Column(one.heading, [one.written(one.of(plan)) for plan in document.plans]) for one in figures]


def column_table(columns: Sequence[Column]) -> Table:
    """The columns as a table: the best first, in bold."""
    table = plain_table()
    for column in columns:
        table.add_column(column.heading, justify="right" if column.right else "left", no_wrap=True)
    for number, row in enumerate(zip(*(column.cells for column in columns), strict=True)):
        table.add_row(*row, style="bold" if number == 0 else "")
    return table


def _record(columns: Sequence[Column], number: int) -> list[str]:
    """One plan, one line a figure."""
    widest = max(len(column.heading) for column in columns)
    lines = [f"  {column.heading:{widest}}  {column.cells[number]}" for column in columns[1:]]
    return [f"plan {columns[0].cells[number]}", *lines]
