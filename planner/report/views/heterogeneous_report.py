"""The mixed document as a report: one record a way to use two kinds of accelerators."""

from __future__ import annotations

from collections.abc import Sequence

from planner.documents.figures import flatten_part
from planner.documents.heterogeneous import HeterogeneousDocument, HeteroPlanPart, PoolPlanPart
from planner.documents.plan import ModelPart
from planner.report.report import RecordValue, Report, ReportCase, ReportTable, build_columns
from planner.report.views.plan_report import (
    build_memory_bars,
    build_step_bars,
    build_step_table,
)
from planner.report.views.plan_words import (
    build_model_fact,
    build_step_fact,
    convert_to_throughput_units,
    format_run_sentence,
    get_throughput_unit,
)
from planner.units import format_bytes, format_count, format_seconds

_HETERO_PLAN_NAMES = {"shares": "uneven shares", "stages": "uneven stages", "even": "all alike", "only": "one kind"}
"""What the ways are called."""


def build_hetero_report(document: HeterogeneousDocument) -> Report:
    """The whole answer of `plan` for two kinds of nodes."""
    hetero_plans, best_plan = document.ways, document.ways[0]
    title = f"{document.model.title} on {document.cluster.title}"
    head: dict[str, RecordValue] = {
        "model": document.model.name, "cluster": document.cluster.name, "devices": document.cluster.devices,
    }  # fmt: skip
    run_sentences = [
        format_run_sentence(document.model, run.tokens, run.steps, run.days) for run in [document.run] if run
    ]
    named_plans = [(_HETERO_PLAN_NAMES[hetero_plan.way], hetero_plan) for hetero_plan in hetero_plans]
    return Report(
        command="plan",
        title=title,
        facts=_build_hetero_facts(document),
        records=[
            {"rank": n, **head, **build_hetero_record(hetero_plan)} for n, hetero_plan in enumerate(hetero_plans, 1)
        ],
        tables=[
            _build_ways_table(document.model, hetero_plans),
            _build_pool_table(best_plan.kinds),
            build_step_table("Step of the best plan", best_plan.terms, best_plan.hidden, best_plan.step_time_s),
        ],
        charts=[
            build_step_bars("Where the step goes", [(name, hetero_plan.terms) for name, hetero_plan in named_plans]),
            build_memory_bars(
                "Peak memory of each pool, best way",
                [(pool_plan.pool, pool_plan.memory) for pool_plan in best_plan.kinds],
            ),
        ],
        sentences=[*document.answer.sentences, *run_sentences],
        cases=[
            ReportCase(title, f"{name} fits: {hetero_plan.split}", hetero_plan.step_time_s)
            for name, hetero_plan in named_plans
        ]
        + [ReportCase(title, name, skip_reason="nothing fits") for name in document.left_out],
    )


def build_hetero_record(hetero_plan: HeteroPlanPart) -> dict[str, RecordValue]:
    """One way, flat; what differs by kind is in JSON."""
    record: dict[str, RecordValue] = {
        "way": hetero_plan.way,
        "split": hetero_plan.split,
        "pools": [pool_plan.pool for pool_plan in hetero_plan.kinds],
    }
    return record | flatten_part(hetero_plan)


def _build_hetero_facts(document: HeterogeneousDocument) -> list[tuple[str, str]]:
    """What was understood."""
    model, cluster = document.model, document.cluster
    pools = " + ".join(
        f"{pool.nodes:,} {pool.name} x {pool.devices_per_node} {pool.accelerator}" for pool in cluster.pools
    )
    facts = [
        build_model_fact(model),
        ("Cluster", f"{cluster.title}: {pools} = {cluster.devices:,} devices"),
        build_step_fact(model, document.training),
        *(("Note", note) for note in (cluster.note, model.note) if note),
    ]
    return facts + ([("Left out", f"{', '.join(document.left_out)}: nothing fits")] if document.left_out else [])


def _build_ways_table(model: ModelPart, hetero_plans: Sequence[HeteroPlanPart]) -> ReportTable:
    headings = ("#", "way", "split", "plan", "step", f"{get_throughput_unit(model)}s/s", "MFU")
    rows = [
        (
            str(number),
            _HETERO_PLAN_NAMES[hetero_plan.way],
            hetero_plan.split,
            _format_common_strategy(hetero_plan),
            format_seconds(hetero_plan.step_time_s),
            format_count(convert_to_throughput_units(model, hetero_plan.tokens_per_s)),
            f"{hetero_plan.mfu:.1%}",
        )
        for number, hetero_plan in enumerate(hetero_plans, 1)
    ]
    return ReportTable("Ways, the fastest first", build_columns(headings, (1, 2, 3)), rows, bold_row=0)


def _build_pool_table(pool_plans: Sequence[PoolPlanPart]) -> ReportTable:
    headings = ("pool", "replicas", "stages", "layers", "micro-batches", "recompute", "waits", "peak memory")
    rows = [
        (
            pool_plan.pool,
            str(pool_plan.replicas),
            str(pool_plan.stages),
            _format_layer_runs(pool_plan.layers),
            f"{pool_plan.micro_batches} x {pool_plan.strategy.micro_batch}",
            pool_plan.strategy.recompute,
            format_seconds(pool_plan.wait_s),
            f"{format_bytes(pool_plan.memory.total_bytes)} of {format_bytes(pool_plan.memory.capacity_bytes)}",
        )
        for pool_plan in pool_plans
    ]
    return ReportTable("What each pool does in the best way", build_columns(headings, (0, 3, 5)), rows)


def _format_common_strategy(hetero_plan: HeteroPlanPart) -> str:
    """What both kinds have in common, in a few words."""
    split = hetero_plan.kinds[0].strategy
    degrees = {"tp": split.tp, "pp": split.pp, "cp": split.cp, "ep": split.ep, "vpp": split.vpp}
    words = [f"{name} {degree}" for name, degree in degrees.items() if degree > 1]
    return " ".join([*words, f"dp {split.dp}", f"ZeRO {split.zero_stage}"])


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
