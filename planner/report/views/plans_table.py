"""The plans of a document as a table as wide as the terminal allows; what all of them share is told once above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from planner.documents.plan import PlanDocument, PlanPart, SettingsPart
from planner.report.console import build_plain_table, find_fitting_table, sample_evenly
from planner.report.views.plan_words import get_throughput_per_s, get_throughput_unit
from planner.units import format_count, format_seconds

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_MAX_FRONT_PLANS = 25
_MIN_TABLE_WIDTH = 60
"""Columns below which plans are told one line a figure."""
_DEFAULT_SETTINGS = (
    "1f1b",
    "no tp overlap",
    "dp overlap",
    "cp by ring",
    "fp32 gradients",
    "sent in fp32",
    "no offload",
)
_DEFAULT_LAYOUT_SETTINGS = ("order tp-cp-dp-pp", "shard over all", "recompute all layers")
"""Settings that go without saying where all plans have them."""


@dataclass(frozen=True)
class PlanColumn:
    """One column of the plans' table: `drop_rank` says which are left out first (the highest), 0 never."""

    heading: str
    cells: list[str]
    is_right_aligned: bool = True
    drop_rank: int = 0


def print_plan_table(document: PlanDocument, out: Console) -> None:
    """The plans as a table as wide as fits, or one line a figure."""
    sampled_document = _sample_front(document)
    full_columns, short_columns = (
        build_plan_columns(sampled_document, short=False),
        build_plan_columns(sampled_document, short=True),
    )
    ranks = sorted({column.drop_rank for column in short_columns}, reverse=True)
    variants = [full_columns] + [
        [column for column in short_columns if column.drop_rank < limit] for limit in (ranks[0] + 1, *ranks[:-1])
    ]
    table = None
    if out.width >= _MIN_TABLE_WIDTH:
        table = find_fitting_table(out, build_column_table, variants)
    if table is not None:
        out.print(table)
        if len(sampled_document.plans) < len(document.plans):
            omitted_count = len(document.plans) - len(sampled_document.plans)
            out.print(
                f"{omitted_count} plans of the front between these are in --format json, or with --top.", markup=False
            )
        return
    for number in range(len(sampled_document.plans)):
        out.print("\n".join(_format_plan_record(full_columns, number)), markup=False)
        out.print()


def _sample_front(document: PlanDocument) -> PlanDocument:
    """Of a long front as many plans as are read, from end to end; all plans else."""
    if len(document.search.objectives) < 2:
        return document
    return msgspec.structs.replace(document, plans=sample_evenly(document.plans, _MAX_FRONT_PLANS))


def format_common_settings(plans: Sequence[PlanPart], precision: str) -> str:
    """The settings that all plans share, where they are not the usual ones; maybe empty. `precision` of training."""
    words = [_format_settings(plan.settings, precision) for plan in plans]
    shared = [word for word in words[0] if all(word in other for other in words)]
    return ", ".join(word for word in shared if word not in (*_DEFAULT_SETTINGS, *_DEFAULT_LAYOUT_SETTINGS))


def resolve_gradient_format(format_name: str, precision: str) -> str:
    """A number format of gradients by its own name: bf16 stands for 16 bits, which are fp16 where training is."""
    return precision if (format_name, precision) == ("bf16", "fp16") else format_name


def _format_settings(settings: SettingsPart, precision: str) -> list[str]:
    """Every setting in a few words."""
    layers = "all" if settings.recompute_layers is None else str(settings.recompute_layers)
    return [
        settings.schedule,
        "tp overlap" if settings.tp_overlap else "no tp overlap",
        "dp overlap" if settings.dp_overlap else "no dp overlap",
        f"cp by {settings.cp_exchange}",
        f"{resolve_gradient_format(settings.gradients, precision)} gradients",
        f"sent in {resolve_gradient_format(settings.communication, precision)}",
        f"offload {'+'.join(settings.offload)}" if settings.offload else "no offload",
        f"order {settings.order}",
        f"shard over {settings.shard_group or 'all'}",
        f"recompute {layers} layers",
    ]


def build_plan_columns(document: PlanDocument, *, short: bool = False) -> list[PlanColumn]:
    """All columns; in short form with abbreviated words and the device's memory told once."""
    plans, throughput_unit = document.plans, get_throughput_unit(document.model)
    strategies = [plan.strategy for plan in plans]
    recompute_labels = {"none": "no", "selective": "sel", "full": "full"} if short else {}
    capacity_gib = plans[0].memory.capacity_bytes / 2**30
    used_gib = [plan.memory.total_bytes / 2**30 for plan in plans]
    memory = (
        PlanColumn(f"GiB of {capacity_gib:.1f}", [f"{size:.1f}" for size in used_gib])
        if short
        else PlanColumn("memory", [f"{size:.1f}/{capacity_gib:.1f} GiB" for size in used_gib])
    )
    return [
        PlanColumn("#", [str(number) for number in range(1, len(plans) + 1)]),
        *_build_batch_columns(plans),
        PlanColumn("tp", [str(s.tp) for s in strategies]),
        PlanColumn("pp", [str(s.pp) for s in strategies]),
        PlanColumn("dp", [str(s.dp) for s in strategies]),
        PlanColumn("cp", [str(s.cp) for s in strategies]),
        *([PlanColumn("ep", [str(s.ep) for s in strategies])] if any(s.ep > 1 for s in strategies) else []),
        *([PlanColumn("etp", [str(s.etp) for s in strategies])] if any(s.etp > 1 for s in strategies) else []),
        PlanColumn("vpp", [str(s.vpp) for s in strategies]),
        PlanColumn("mbs", [str(s.micro_batch) for s in strategies]),
        PlanColumn("Z" if short else "ZeRO", [str(s.zero_stage) for s in strategies]),
        PlanColumn(
            "rec" if short else "recompute",
            [recompute_labels.get(s.recompute, s.recompute) for s in strategies],
            is_right_aligned=False,
        ),
        PlanColumn("SP", ["yes" if s.sequence_parallel else "no" for s in strategies], is_right_aligned=False),
        *_build_settings_columns(plans, document.training.precision),
        PlanColumn("step", [format_seconds(plan.step_time_s) for plan in plans]),
        PlanColumn(
            f"{throughput_unit}s/s",
            [format_count(get_throughput_per_s(document.model, plan)[0]) for plan in plans],
            drop_rank=2,
        ),
        PlanColumn("MFU", [f"{plan.mfu:.1%}" for plan in plans], drop_rank=1),
        PlanColumn("HFU", [f"{plan.hfu:.1%}" for plan in plans], drop_rank=3),
        *_build_objective_columns(document),
        memory,
    ]


def _build_batch_columns(plans: Sequence[PlanPart]) -> list[PlanColumn]:
    """The global batch, where plans of several were told."""
    batches = [plan.global_batch for plan in plans]
    return [PlanColumn("batch", [f"{batch:,}" for batch in batches])] if len(set(batches)) > 1 else []


def _build_settings_columns(plans: Sequence[PlanPart], precision: str) -> list[PlanColumn]:
    """Of every plan the settings in which plans differ."""
    words = [_format_settings(plan.settings, precision) for plan in plans]
    differ = [i for i, column in enumerate(zip(*words, strict=True)) if len(set(column)) > 1]
    return (
        [PlanColumn("settings", [", ".join(row[i] for i in differ) for row in words], is_right_aligned=False)]
        if differ
        else []
    )


def _build_objective_columns(document: PlanDocument) -> list[PlanColumn]:
    """What the plans are ordered by, where no other column tells it."""
    objective_names = [name for name in document.search.objectives if name not in ("step-time", "memory-headroom")]
    if not objective_names:
        return []
    from planner.report.views.objectives import build_objective_figure

    figures = [build_objective_figure(name, document) for name in objective_names]
    return [
        PlanColumn(figure.heading, [figure.format_number(figure.compute_value(plan)) for plan in document.plans])
        for figure in figures
    ]


def build_column_table(columns: Sequence[PlanColumn]) -> Table:
    """The columns as a table: the best first, in bold."""
    table = build_plain_table()
    for column in columns:
        table.add_column(column.heading, justify="right" if column.is_right_aligned else "left", no_wrap=True)
    for number, row in enumerate(zip(*(column.cells for column in columns), strict=True)):
        table.add_row(*row, style="bold" if number == 0 else "")
    return table


def _format_plan_record(columns: Sequence[PlanColumn], number: int) -> list[str]:
    """One plan, one line a figure."""
    heading_width = max(len(column.heading) for column in columns)
    lines = [f"  {column.heading:{heading_width}}  {column.cells[number]}" for column in columns[1:]]
    return [f"plan {columns[0].cells[number]}", *lines]
