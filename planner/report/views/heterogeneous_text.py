"""The mixed document for people: the ways as a table, the best one's kinds, step and memory, and what follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.documents.heterogeneous import HeterogeneousDocument, HeteroPlanPart, PoolPlanPart
from planner.documents.plan import ModelPart
from planner.report.console import (
    build_console,
    find_fitting_table,
    get_console_text,
    print_lines,
    strip_nonprintable,
)
from planner.report.views.plan_text import build_terms_table
from planner.report.views.plan_words import (
    convert_to_throughput_units,
    format_model_line,
    format_run_sentence,
    format_step_line,
    get_throughput_unit,
)
from planner.report.views.plans_table import PlanColumn, build_column_table
from planner.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from rich.console import Console

HETERO_PLAN_NAMES = {"shares": "uneven shares", "stages": "uneven stages", "even": "all alike", "only": "one kind"}
"""What the ways are called."""
_PLAIN_WIDTH = 150


def render_hetero_text(document: HeterogeneousDocument) -> str:
    """The whole answer as text for stdout."""
    out = build_console(_PLAIN_WIDTH)
    print_hetero_document(document, out)
    return get_console_text(out)


def print_hetero_document(document: HeterogeneousDocument, out: Console) -> None:
    """Print the whole answer on a console."""
    print_lines(out, format_hetero_heading(document))
    out.print()
    _print_columns(out, build_hetero_columns(document.model, document.ways))
    best_plan = document.ways[0]
    _print_columns(out, build_pool_columns(best_plan.kinds))
    terms = find_fitting_table(
        out, lambda title: build_terms_table(best_plan, title), ("step of the best way", "step")
    )
    out.print(terms or build_terms_table(best_plan, "step", with_overlapped=False))
    print_lines(out, map(strip_nonprintable, document.answer.sentences))
    if document.run is not None:
        run = document.run
        print_lines(out, [format_run_sentence(document.model, run.tokens, run.steps, run.days)])


def format_hetero_heading(document: HeterogeneousDocument) -> list[str]:
    """What was understood, a line each: a word, then from the eleventh column on what is said of it."""
    model, cluster = document.model, document.cluster
    pools = " + ".join(
        f"{pool.nodes:,} {strip_nonprintable(pool.name)} x {pool.devices_per_node} "
        f"{strip_nonprintable(pool.accelerator)}"
        for pool in cluster.pools
    )
    lines = [
        format_model_line(model),
        f"Cluster   {strip_nonprintable(cluster.title)}: {pools} = {cluster.devices:,} devices",
        format_step_line(model, document.training),
    ]
    notes = [strip_nonprintable(note) for note in (cluster.note, model.note) if note]
    lines += [f"Note      {note}" for note in notes]
    if document.left_out:
        lines.append(f"Left out  {', '.join(strip_nonprintable(name) for name in document.left_out)}: nothing fits")
    return lines


def _print_columns(out: Console, columns: Sequence[PlanColumn]) -> None:
    """The columns as a table; one line a figure where it does not fit."""
    table = find_fitting_table(out, build_column_table, [columns])
    if table is not None:
        out.print(table)
        return
    heading_width = max(len(column.heading) for column in columns)
    for number in range(len(columns[0].cells)):
        lines = [f"{column.heading:{heading_width}}  {column.cells[number]}" for column in columns]
        out.print("\n".join(lines), markup=False)
        out.print()


def build_hetero_columns(model: ModelPart, hetero_plans: Sequence[HeteroPlanPart]) -> list[PlanColumn]:
    """The ways, the fastest first."""
    return [
        PlanColumn("#", [str(number) for number in range(1, len(hetero_plans) + 1)]),
        PlanColumn(
            "way", [HETERO_PLAN_NAMES[hetero_plan.way] for hetero_plan in hetero_plans], is_right_aligned=False
        ),
        PlanColumn(
            "split", [strip_nonprintable(hetero_plan.split) for hetero_plan in hetero_plans], is_right_aligned=False
        ),
        PlanColumn(
            "plan", [_format_common_strategy(hetero_plan) for hetero_plan in hetero_plans], is_right_aligned=False
        ),
        PlanColumn("step", [format_seconds(hetero_plan.step_time_s) for hetero_plan in hetero_plans]),
        PlanColumn(
            f"{get_throughput_unit(model)}s/s",
            [
                format_count(convert_to_throughput_units(model, hetero_plan.tokens_per_s))
                for hetero_plan in hetero_plans
            ],
        ),
        PlanColumn("MFU", [f"{hetero_plan.mfu:.1%}" for hetero_plan in hetero_plans]),
    ]


def _format_common_strategy(hetero_plan: HeteroPlanPart) -> str:
    """What both kinds have in common, in a few words."""
    split = hetero_plan.kinds[0].strategy
    degrees = {"tp": split.tp, "pp": split.pp, "cp": split.cp, "ep": split.ep, "vpp": split.vpp}
    words = [f"{name} {degree}" for name, degree in degrees.items() if degree > 1]
    return " ".join([*words, f"dp {split.dp}", f"ZeRO {split.zero_stage}"])


def build_pool_columns(pool_plans: Sequence[PoolPlanPart]) -> list[PlanColumn]:
    """What each kind does in the best way."""
    memory = [
        f"{format_bytes(pool_plan.memory.total_bytes)} of {format_bytes(pool_plan.memory.capacity_bytes)}"
        for pool_plan in pool_plans
    ]
    return [
        PlanColumn(
            "best way", [strip_nonprintable(pool_plan.pool) for pool_plan in pool_plans], is_right_aligned=False
        ),
        PlanColumn("replicas", [str(pool_plan.replicas) for pool_plan in pool_plans]),
        PlanColumn("stages", [str(pool_plan.stages) for pool_plan in pool_plans]),
        PlanColumn(
            "layers", [_format_layer_runs(pool_plan.layers) for pool_plan in pool_plans], is_right_aligned=False
        ),
        PlanColumn(
            "micro-batches",
            [f"{pool_plan.micro_batches} x {pool_plan.strategy.micro_batch}" for pool_plan in pool_plans],
        ),
        PlanColumn("recompute", [pool_plan.strategy.recompute for pool_plan in pool_plans], is_right_aligned=False),
        PlanColumn("waits", [format_seconds(pool_plan.wait_s) for pool_plan in pool_plans]),
        PlanColumn("peak memory", memory),
    ]


def _format_layer_runs(layers: Sequence[int]) -> str:
    """`2x15 1x14`: how many stages have how many layers, in order."""
    runs: list[list[int]] = []
    for layer_count in layers:
        if runs and runs[-1][1] == layer_count:
            runs[-1][0] += 1
        else:
            runs.append([1, layer_count])
    return " ".join(f"{stage_count}x{layer_count}" for stage_count, layer_count in runs[:6]) + (
        " ..." if len(runs) > 6 else ""
    )
