"""The heterogeneous document as a report: one record a plan for two pools of nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from planner.documents.figures import flatten_part
from planner.documents.heterogeneous import HeterogeneousDocument, HeteroPlanPart, PoolPlanPart
from planner.documents.plan import ModelPart
from planner.report.report import Column, RecordValue, Report, ReportCase, ReportTable, build_columns
from planner.report.views import breakdown, plan_words
from planner.units import format_bytes, format_seconds

_PLAN_NAMES = {
    "shares": "uneven micro-batches",
    "stages": "uneven stages",
    "even": "even split",
    "only": "one pool alone",
}
"""How each plan divides the work between the pools."""
_MAX_LAYER_RUNS = 6


def build_hetero_report(document: HeterogeneousDocument) -> Report:
    """The report of `plan` for two pools of nodes."""
    plans, best = document.plans, document.plans[0]
    model, cluster = document.model, document.cluster
    title = f"{model.title} on {cluster.title}"
    head: dict[str, RecordValue] = {"model": model.name, "cluster": cluster.name, "devices": cluster.devices}
    named_plans = [(plan.split if plan.layout == "only" else _PLAN_NAMES[plan.layout], plan) for plan in plans]
    sentences = [
        plan_words.format_expectation(model, document.scenario, best),
        *plan_words.enumerate_tie_sentences(plans),
        *document.answer.sentences,
    ]
    if document.run is not None:
        run = document.run
        sentences.append(plan_words.format_run_sentence(model, run))
    return Report(
        command="plan",
        title=title,
        facts=_build_facts(document),
        records=[{"rank": n, **head, **build_hetero_record(plan)} for n, plan in enumerate(plans, 1)],
        tables=[
            _build_plans_table(model, document.scenario.precision, plans),
            _build_pool_table(best.pools),
            breakdown.build_step_table("Step of the best plan", best.terms, best.overlapped, best.step_time_s),
        ],
        charts=[
            breakdown.build_step_bars("Where the step goes", [(name, plan.terms) for name, plan in named_plans]),
            breakdown.build_memory_bars(
                "Peak memory of each pool, best plan", [(part.pool, part.memory) for part in best.pools], "pool"
            ),
        ],
        sentences=sentences,
        cases=[
            ReportCase(title, f"{_PLAN_NAMES[plan.layout]}: {plan.split} fits", plan.step_time_s) for plan in plans
        ]
        + [ReportCase(title, name, skip_reason="nothing fits") for name in document.left_out],
    )


def build_hetero_record(plan: HeteroPlanPart) -> dict[str, RecordValue]:
    """One plan, flat; what differs by pool is in JSON."""
    pools = [part.pool for part in plan.pools]
    record: dict[str, RecordValue] = {"way": plan.layout, "split": plan.split, "pools": pools}
    return record | flatten_part(plan)


def _build_facts(document: HeterogeneousDocument) -> list[tuple[str, str]]:
    """The scenario as it was understood, and the plans that do not fit."""
    model, cluster = document.model, document.cluster
    pools = " + ".join(
        f"{pool.nodes:,} {pool.name} x {pool.devices_per_node} {pool.accelerator}" for pool in cluster.pools
    )
    facts = [
        plan_words.build_model_fact(model),
        ("Cluster", f"{cluster.title}: {pools} = {cluster.devices:,} devices"),
        plan_words.build_step_fact(model, document.scenario),
        *_enumerate_memory_limit_facts(document),
        *(("Note", note) for note in (cluster.note, model.note) if note),
    ]
    return facts + ([("Left out", f"{', '.join(document.left_out)}: nothing fits")] if document.left_out else [])


def _enumerate_memory_limit_facts(document: HeterogeneousDocument) -> Iterator[tuple[str, str]]:
    """What plans may use of each device's memory, as the share that it is of the first pool's."""
    limit_bytes, first_pool = document.scenario.memory_limit_bytes, document.cluster.pools[0].name
    for part in (part for plan in document.plans for part in plan.pools):
        if limit_bytes is not None and part.pool == first_pool:
            yield "Memory limit", plan_words.format_memory_share(limit_bytes, part.memory.capacity_bytes)
            return


def _build_plans_table(model: ModelPart, precision: str, plans: Sequence[HeteroPlanPart]) -> ReportTable:
    rates = [plan_words.format_throughput(model, plan) for plan in plans]
    columns = [
        Column("#", [str(number) for number in range(1, len(plans) + 1)]),
        Column("balance", [_PLAN_NAMES[plan.layout] for plan in plans], is_text=True),
        Column("split", [plan.split for plan in plans], is_text=True),
        Column("plan", [_format_common_strategy(plan) for plan in plans], is_text=True, drop_rank=1),
        Column("step (10-90 %)", [plan_words.format_step(plan) for plan in plans]),
        Column(f"{plan_words.get_throughput_unit(model)}s/s", rates, drop_rank=2),
        *plan_words.build_mfu_columns(precision, [(plan.mfu, plan.mfu_bf16) for plan in plans]),
    ]
    return ReportTable("Plans, the fastest first", columns, bold_row=0)


def _build_pool_table(pools: Sequence[PoolPlanPart]) -> ReportTable:
    rows = [
        (
            part.pool,
            str(part.replicas),
            str(part.stages),
            _format_layer_runs(part.layers),
            f"{part.micro_batches} x {part.strategy.micro_batch}",
            part.strategy.recompute,
            format_seconds(part.wait_s),
            f"{format_bytes(part.memory.total_bytes)} of {format_bytes(part.memory.capacity_bytes)}",
        )
        for part in pools
    ]
    headings = ("pool", "replicas", "stages", "layers", "micro-batches", "recompute", "waits", "peak memory")
    columns = build_columns(headings, rows, (0, 3, 5), ("recompute", "stages"))
    return ReportTable("The pools in the best plan", columns)


def _format_common_strategy(plan: HeteroPlanPart) -> str:
    """The degrees that both pools share, in a few words."""
    split = plan.pools[0].strategy
    degrees = {"tp": split.tp, "pp": split.pp, "cp": split.cp, "ep": split.ep, "vpp": split.vpp}
    words = [f"{name} {degree}" for name, degree in degrees.items() if degree > 1]
    return " ".join([*words, f"dp {split.dp}", f"ZeRO {split.zero_stage}"])


def _format_layer_runs(layers: Sequence[int]) -> str:
    """`2x15 1x14`: how many stages have how many layers, in order."""
    runs = [f"{len(list(group))}x{layer_count}" for layer_count, group in groupby(layers)]
    return " ".join([*runs[:_MAX_LAYER_RUNS], *(["..."] if len(runs) > _MAX_LAYER_RUNS else [])])
