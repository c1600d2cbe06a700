"""The what-if document as a report: one record a plan: as it is, with the changes, and the old plan under them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from planner.cost.settings import SETTINGS
from planner.documents.figures import flatten_part
from planner.documents.plan import ModelPart, PlanPart
from planner.documents.what_if import HardwareFigureName, InputChangePart, WhatIfDocument, WhatIfSidePart
from planner.report.report import (
    BarChart,
    BarSegment,
    ChartAxis,
    RecordValue,
    Report,
    ReportCase,
    ReportTable,
    StackedBar,
    build_columns,
)
from planner.report.views.plan_report import (
    build_memory_bars,
    build_step_bars,
    resolve_gradient_format,
)
from planner.report.views.plan_words import (
    format_batch_sample,
    format_sample_plural,
    format_strategy,
    format_term_name,
    get_throughput_per_s,
    get_throughput_unit,
)
from planner.units import format_bytes, format_count, format_seconds, format_si

_WhatIfRow = tuple[str, str, str, str]
"""A name, the value as it is, the value with the changes, the difference."""

_WHAT_IF_HEADINGS: _WhatIfRow = ("", "as it is", "changed", "difference")
"""Of the rows."""
_HARDWARE_FIGURE_NAMES = {
    "peak": "peak FLOP/s",
    "memory_bandwidth": "memory bandwidth",
    "link_bandwidth": "link bandwidth",
    "network_bandwidth": "network bandwidth",
    "link_latency": "link latency",
    "network_latency": "network latency",
    "host_link": "link to the host",
    "host_bandwidth": "host's memory bandwidth",
}
"""Figures of hardware as people read them."""
_NEGLIGIBLE_ELASTICITY = 5e-4
"""An elasticity below which a figure decides nothing."""
_UNIT_FORMATS: dict[str, Callable[[float], str]] = {
    "bytes": format_bytes,
    "bytes_per_s": lambda value: format_si(value, "B/s"),
    "s": format_seconds,
    "flops": lambda value: format_si(value, "FLOP/s"),
    "w": lambda value: format_si(value, "W"),
    "usd": lambda value: f"{value:.2f} USD",
    "": lambda value: f"{value:,.0f}",
}
_LOWER_IS_BETTER: frozenset[HardwareFigureName] = frozenset({"link_latency", "network_latency"})
"""Figures of which less is better."""
_BEFORE_LABEL, _AFTER_LABEL, _KEPT_PLAN_LABEL = "as it is", "changed", "the old plan, changed"


def build_whatif_report(document: WhatIfDocument) -> Report:
    """The whole answer of `what-if`."""
    model, cluster = document.before.model, document.before.cluster
    title = f"What if: {model.title} on {cluster.title}"
    plans = list(_enumerate_named_plans(document))
    return Report(
        command="what-if",
        title=title,
        facts=list(_enumerate_facts(document)),
        records=[_build_whatif_record(document, name, plan) for name, plan in plans],
        tables=[
            ReportTable(
                "Both plans",
                build_columns(_WHAT_IF_HEADINGS, drop_order=("difference",)),
                list(_enumerate_what_if_rows(document)),
            ),
            ReportTable(
                "Percent of the step's time for each percent of",
                build_columns(("figure", *_WHAT_IF_HEADINGS[1:3])),
                _build_elasticity_rows(document),
            ),
        ],
        charts=[
            build_step_bars(
                "Where the step goes",
                [(f"{name}: {format_strategy(named_plan.strategy)}", named_plan.terms) for name, named_plan in plans],
            ),
            build_memory_bars("Peak memory (worst stage)", [(name, named_plan.memory) for name, named_plan in plans]),
            _build_gain_bars(document),
        ],
        sentences=list(_format_what_if_sentences(document)),
        cases=[
            ReportCase(title, f"{name} fits: {format_strategy(named_plan.strategy)}", named_plan.step_time_s)
            for name, named_plan in plans
        ]
        + (
            []
            if document.kept.plan
            else [ReportCase(title, f"{_KEPT_PLAN_LABEL} fits", skip_reason=document.kept.obstacle)]
        ),
    )


def _enumerate_named_plans(document: WhatIfDocument) -> Iterator[tuple[str, PlanPart]]:
    """The plans by what they are called; the old one under the changes where it can run."""
    yield _BEFORE_LABEL, document.before.plan
    yield _AFTER_LABEL, document.after.plan
    if document.kept.plan is not None:
        yield _KEPT_PLAN_LABEL, document.kept.plan


def _build_whatif_record(document: WhatIfDocument, name: str, plan: PlanPart) -> dict[str, RecordValue]:
    """One plan, flat: its speedup to the first, and percents of step time per percent of a figure where known."""
    side = document.before if name == _BEFORE_LABEL else document.after
    record: dict[str, RecordValue] = {"which": name, "model": side.model.name, "cluster": side.cluster.name}
    record |= {"accelerator": side.cluster.accelerator, "nodes": side.cluster.nodes, "devices": side.cluster.devices}
    record["changes"] = [] if name == _BEFORE_LABEL else [f"{item.key}={item.given}" for item in document.changes]
    ratios = {_BEFORE_LABEL: 1.0, _AFTER_LABEL: document.difference.speedup}
    record["speedup"] = ratios.get(name, plan.tokens_per_s / document.before.plan.tokens_per_s)
    record["regret"] = document.kept.regret if name == _KEPT_PLAN_LABEL else None
    record |= flatten_part(plan)
    for item in document.elasticities:
        slope_by_label: dict[str, RecordValue] = {_BEFORE_LABEL: item.before, _AFTER_LABEL: item.after}
        record[f"elasticity_{item.figure}"] = slope_by_label.get(name)
    return record


def _build_gain_bars(document: WhatIfDocument) -> BarChart:
    """What one percent better hardware takes off the step, figure by figure, for both plans."""
    bars = []
    for elasticity in document.elasticities:
        sign = 1.0 if elasticity.figure in _LOWER_IS_BETTER else -1.0
        gains = [(_BEFORE_LABEL, sign * elasticity.before), (_AFTER_LABEL, sign * elasticity.after)]
        if all(gain < _NEGLIGIBLE_ELASTICITY for _, gain in gains):
            continue
        for name, gain in gains:
            label, end_label = f"{_HARDWARE_FIGURE_NAMES[elasticity.figure]}, {name}", f"{gain:.3f} %"
            bars.append(
                StackedBar(
                    label, end_label, [BarSegment("percent of the step", max(gain, 0.0), f"{label}: {end_label}")]
                )
            )
    axis = ChartAxis("time taken off the step", "%")
    return BarChart("What one percent better hardware takes off the step", axis, bars, bar_title="hardware figure")


def _enumerate_facts(document: WhatIfDocument) -> Iterator[tuple[str, str]]:
    """The question and its changes."""
    before, scenario = document.before, document.before.training
    cluster = before.cluster
    model = before.model
    yield "Model", f"{model.title}: {format_batch_sample(model)}"
    yield (
        "Cluster",
        f"{cluster.title}: {cluster.devices:,} "
        f"x {cluster.accelerator}, "
        f"{scenario.global_batch:,} {format_sample_plural(model)} a step, {scenario.precision}, {scenario.framework}",
    )
    for change in document.changes:
        given = f" ({change.given})" if change.given[-1] in "xX%" else ""
        values = f"{_format_change_value(change, change.before)} -> {_format_change_value(change, change.after)}"
        yield "Change", f"{change.key}: {values}{given}"


def _format_change_value(change: InputChangePart, value: float | str | None) -> str:
    if value is None:
        return "not known"
    return value if isinstance(value, str) else _UNIT_FORMATS[change.unit](value)


def _enumerate_what_if_rows(document: WhatIfDocument) -> Iterator[_WhatIfRow]:
    """Both plans, figure by figure. Parts of a figure follow it."""
    before, after = document.before, document.after
    yield from _enumerate_choice_rows(before, after)
    old, new = before.plan, after.plan
    yield _build_time_row("step", old.step_time_s, new.step_time_s)
    for name, seconds in old.terms.items():
        if seconds or new.terms[name]:
            yield _build_time_row(f"{format_term_name(name)}", seconds, new.terms[name])
    for name, seconds in old.hidden.items():
        if seconds or new.hidden[name]:
            yield _build_time_row(f"{format_term_name(name)}, overlapped", seconds, new.hidden[name])
    yield from _enumerate_memory_rows(old, new)
    yield from _enumerate_throughput_rows(before.model, after.model, old, new)


def _enumerate_choice_rows(before: WhatIfSidePart, after: WhatIfSidePart) -> Iterator[_WhatIfRow]:
    """Devices, batch, strategy and settings of both plans, and which of them differ."""
    old, new = before.plan, after.plan
    pairs: list[tuple[str, object, object]] = [
        ("devices", f"{before.cluster.devices:,}", f"{after.cluster.devices:,}"),
        ("global batch", f"{old.global_batch:,}", f"{new.global_batch:,}"),
    ]
    for part in ("strategy", "settings"):
        old_part, new_part = getattr(old, part), getattr(new, part)
        for name in old_part.__struct_fields__:
            first, second = getattr(old_part, name), getattr(new_part, name)
            if name in SETTINGS and SETTINGS[name].kind == "dtype":
                first, second = (
                    resolve_gradient_format(first, before.training.precision),
                    resolve_gradient_format(second, after.training.precision),
                )
            pairs.append((name.replace("_", " "), first, second))
    for name, first, second in pairs:
        yield name, _format_choice(first), _format_choice(second), "" if first == second else "differs"


def _format_choice(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "+".join(value) or "none"
    return "all" if value is None else str(value)


def _enumerate_memory_rows(old: PlanPart, new: PlanPart) -> Iterator[_WhatIfRow]:
    pairs = [("memory", old.memory.total_bytes, new.memory.total_bytes)]
    memory_fields = (name for name in old.memory.__struct_fields__ if name not in ("total_bytes", "capacity_bytes"))
    for name in memory_fields:
        first, second = float(getattr(old.memory, name)), float(getattr(new.memory, name))
        if first or second:
            pairs.append((f"{name.removesuffix('_bytes')}", first, second))
    pairs.append(("capacity", old.memory.capacity_bytes, new.memory.capacity_bytes))
    for name, first, second in pairs:
        yield name, format_bytes(first), format_bytes(second), _format_percent_change(first, second)


def _enumerate_throughput_rows(
    old_model: ModelPart, new_model: ModelPart, old: PlanPart, new: PlanPart
) -> Iterator[_WhatIfRow]:
    throughputs = zip(get_throughput_per_s(old_model, old), get_throughput_per_s(new_model, new), strict=True)
    for per_device_suffix, (first, second) in zip(("", " a device"), throughputs, strict=True):
        name = f"{get_throughput_unit(old_model)}s/s{per_device_suffix}"
        yield name, format_count(first), format_count(second), _format_percent_change(first, second)
    for name, first, second in (("MFU", old.mfu, new.mfu), ("HFU", old.hfu, new.hfu)):
        yield name, f"{first:.1%}", f"{second:.1%}", f"{100 * (second - first):+.1f} points"
    for name, unit, old_value, new_value in (
        ("cost of a step", "USD", old.cost_usd_per_step, new.cost_usd_per_step),
        ("energy of a step", "J", old.energy_j_per_step, new.energy_j_per_step),
    ):
        if old_value is not None or new_value is not None:
            value_texts = [
                "not known" if value is None else format_si(value, unit) for value in (old_value, new_value)
            ]
            yield (
                name,
                value_texts[0],
                value_texts[1],
                _format_percent_change(old_value, new_value) if old_value and new_value else "",
            )


def _build_time_row(name: str, first: float, second: float) -> _WhatIfRow:
    return name, format_seconds(first), format_seconds(second), _format_percent_change(first, second)


def _format_percent_change(first: float, second: float) -> str:
    if first == second:
        return ""
    return (
        f"{second / first - 1.0:+.1%}" if first and second / first < 100 else "new" if not first else "x 100 and more"
    )


def _format_elasticity(value: float) -> str:
    return "0" if abs(value) < _NEGLIGIBLE_ELASTICITY else f"{value:+.3f}"


def _build_elasticity_rows(document: WhatIfDocument) -> list[tuple[str, str, str]]:
    """Elasticities of both plans by the name of their figure."""
    return [
        (
            _HARDWARE_FIGURE_NAMES[elasticity.figure],
            _format_elasticity(elasticity.before),
            _format_elasticity(elasticity.after),
        )
        for elasticity in document.elasticities
    ]


def _format_what_if_sentences(document: WhatIfDocument) -> Iterator[str]:
    """What became of the best plan, and of the old one."""
    kept, speedup = document.kept, document.difference.speedup
    change = (
        f"{abs(speedup - 1.0):.1%} {'more' if speedup >= 1 else 'fewer'} "
        f"{get_throughput_unit(document.before.model)}s a second"
    )
    yield f"{'The best plan stays the same' if document.same_plan else 'Another plan is the best'}: {change}."
    if kept.plan is None or kept.regret is None:
        yield f"The old plan would not run with the changes: {kept.obstacle}."
    elif not document.same_plan:
        step = format_seconds(kept.plan.step_time_s)
        width = f" with dp {kept.plan.strategy.dp}" if kept.plan.strategy != document.before.plan.strategy else ""
        yield f"The old plan{width} would take {step} a step with the changes, {kept.regret:.1%} more than the best."
