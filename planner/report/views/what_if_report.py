"""The what-if document as a report: one record a plan: before the changes, with them, and the old plan with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from planner.cost.memory.moments import MEMORY_CATEGORIES
from planner.cost.settings import SETTINGS
from planner.documents.figures import FigureUnit, flatten_part, format_figure_value
from planner.documents.plan import PlanPart
from planner.documents.what_if import HardwareFigureName, InputChangePart, WhatIfDocument, WhatIfSidePart
from planner.report.report import BarChart, ChartAxis, RecordValue, Report, ReportCase, ReportTable, build_columns
from planner.report.views import breakdown, plan_words
from planner.units import format_bytes, format_count, format_seconds, format_si

_WhatIfRow = tuple[str, str, str, str]
"""A name, the value before the changes, the value with them, the difference."""

_HEADINGS: _WhatIfRow = ("", "as it is", "changed", "difference")
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
_LOWER_IS_BETTER: frozenset[HardwareFigureName] = frozenset({"link_latency", "network_latency"})
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
_BEFORE_LABEL, _AFTER_LABEL, _KEPT_PLAN_LABEL = "as it is", "changed", "the old plan, changed"


def build_whatif_report(document: WhatIfDocument) -> Report:
    """The report of `what-if`."""
    title = f"What if: {document.before.model.title} on {document.before.cluster.title}"
    plans = {_BEFORE_LABEL: document.before.plan, _AFTER_LABEL: document.after.plan}
    if document.kept.plan is not None:
        plans[_KEPT_PLAN_LABEL] = document.kept.plan
    strategies = {name: plan_words.format_strategy(plan.strategy) for name, plan in plans.items()}
    cases = [ReportCase(title, f"{name} fits: {strategies[name]}", plan.step_time_s) for name, plan in plans.items()]
    if document.kept.plan is None:
        cases.append(ReportCase(title, f"{_KEPT_PLAN_LABEL} fits", skip_reason=document.kept.obstacle))
    elasticity_rows = [
        (_HARDWARE_FIGURE_NAMES[item.figure], _format_elasticity(item.before), _format_elasticity(item.after))
        for item in document.elasticities
    ]
    return Report(
        command="what-if",
        title=title,
        facts=list(_enumerate_facts(document)),
        records=[_build_record(document, name, plan) for name, plan in plans.items()],
        tables=[
            ReportTable(
                "Both plans", build_columns(_HEADINGS, list(_enumerate_rows(document)), drop_order=("difference",))
            ),
            ReportTable(
                "Elasticity: percent of step time per percent of a hardware figure",
                build_columns(("figure", *_HEADINGS[1:3]), elasticity_rows),
            ),
        ],
        charts=[
            breakdown.build_step_bars(
                "Where the step goes", [(f"{name}: {strategies[name]}", plan.terms) for name, plan in plans.items()]
            ),
            breakdown.build_memory_bars(
                "Peak memory (worst stage)", [(name, plan.memory) for name, plan in plans.items()]
            ),
            _build_gain_bars(document),
        ],
        sentences=list(_enumerate_sentences(document)),
        cases=cases,
    )


def _build_record(document: WhatIfDocument, name: str, plan: PlanPart) -> dict[str, RecordValue]:
    """One plan, flat: its speedup to the first, and percents of step time per percent of a figure where known."""
    side = document.before if name == _BEFORE_LABEL else document.after
    record: dict[str, RecordValue] = {"which": name, "model": side.model.name, "cluster": side.cluster.name}
    record |= {"accelerator": side.cluster.accelerator, "nodes": side.cluster.nodes, "devices": side.cluster.devices}
    record["changes"] = [] if name == _BEFORE_LABEL else [f"{item.key}={item.given}" for item in document.changes]
    speedups = {_BEFORE_LABEL: 1.0, _AFTER_LABEL: document.difference.speedup}
    record["speedup"] = speedups.get(name, plan.tokens_per_s / document.before.plan.tokens_per_s)
    record["regret"] = document.kept.regret if name == _KEPT_PLAN_LABEL else None
    record |= flatten_part(plan)
    for item in document.elasticities:
        values: dict[str, RecordValue] = {_BEFORE_LABEL: item.before, _AFTER_LABEL: item.after}
        record[f"elasticity_{item.figure}"] = values.get(name)
    return record


def _build_gain_bars(document: WhatIfDocument) -> BarChart:
    """What one percent better hardware takes off the step, figure by figure, for both plans."""
    figures = []
    for item in document.elasticities:
        sign = 1.0 if item.figure in _LOWER_IS_BETTER else -1.0
        gains = {_BEFORE_LABEL: sign * item.before, _AFTER_LABEL: sign * item.after}
        if max(gains.values()) >= _NEGLIGIBLE_ELASTICITY:
            figures += [
                (f"{_HARDWARE_FIGURE_NAMES[item.figure]}, {name}", max(gain, 0.0), f"{gain:.3f} %")
                for name, gain in gains.items()
            ]
    title, axis = "What one percent better hardware takes off the step", ChartAxis("time taken off the step", "%")
    return breakdown.build_figure_bars(title, axis, figures, "hardware figure", "percent of the step")


def _enumerate_facts(document: WhatIfDocument) -> Iterator[tuple[str, str]]:
    """The scenario and its changes."""
    model, cluster, scenario = document.before.model, document.before.cluster, document.before.scenario
    yield "Model", f"{model.title}: {plan_words.format_batch_sample(model)}"
    devices = f"{cluster.devices:,} x {cluster.accelerator}"
    batch = f"{scenario.global_batch:,} {model.sample}s a step"
    yield "Cluster", f"{cluster.title}: {devices}, {batch}, {scenario.precision}, {scenario.framework}"
    limits = [
        dict(plan_words.build_memory_limit_facts(side.scenario, side.plan.memory.capacity_bytes)).get("Memory limit")
        for side in (document.before, document.after)
    ]
    if limits[0] is not None:
        yield "Memory limit", " -> ".join(dict.fromkeys(map(str, limits)))
    for change in document.changes:
        given = f" ({change.given})" if change.given[-1] in "xX%" else ""
        before, after = _format_change_value(change, change.before), _format_change_value(change, change.after)
        yield "Change", f"{change.key}: {before} -> {after}{given}"


def _format_change_value(change: InputChangePart, value: float | str | None) -> str:
    if value is None:
        return "not known"
    return value if isinstance(value, str) else _UNIT_FORMATS[change.unit](value)


def _enumerate_rows(document: WhatIfDocument) -> Iterator[_WhatIfRow]:
    """Both plans, figure by figure; parts of a figure follow it."""
    before, after = document.before, document.after
    old, new = before.plan, after.plan
    yield from _enumerate_choice_rows(before, after)
    steps = (plan_words.format_step(old), plan_words.format_step(new))
    yield "step (10-90 %)", *steps, _format_percent_change(old.step_time_s, new.step_time_s)
    for suffix, old_terms, new_terms in (
        ("", old.terms, new.terms),
        (", overlapped", old.overlapped, new.overlapped),
    ):
        for name, seconds in old_terms.items():
            if seconds or new_terms[name]:
                label = f"{plan_words.format_term_name(name)}{suffix}"
                yield _build_row(label, seconds, new_terms[name], format_seconds)
    yield _build_row("memory", old.memory.total_bytes, new.memory.total_bytes, format_bytes)
    for name in (*MEMORY_CATEGORIES, "capacity"):
        old_bytes, new_bytes = (getattr(memory, f"{name}_bytes") for memory in (old.memory, new.memory))
        if old_bytes or new_bytes:
            yield _build_row(name, old_bytes, new_bytes, format_bytes)
    unit = f"{plan_words.get_throughput_unit(before.model)}s/s"
    rates = (plan_words.get_throughput_per_s(side.model, side.plan) for side in (before, after))
    for suffix, old_rate, new_rate in zip(("", " a device"), *rates, strict=True):
        yield _build_row(f"{unit}{suffix}", old_rate, new_rate, format_count)
    for name, old_share, new_share in (("MFU", old.mfu, new.mfu), ("HFU", old.hfu, new.hfu)):
        yield name, f"{old_share:.1%}", f"{new_share:.1%}", f"{100 * (new_share - old_share):+.1f} points"
    yield from _build_optional_row("cost of a step", old.cost_usd_per_step, new.cost_usd_per_step, "usd")
    yield from _build_optional_row("energy of a step", old.energy_j_per_step, new.energy_j_per_step, "j")


def _enumerate_choice_rows(before: WhatIfSidePart, after: WhatIfSidePart) -> Iterator[_WhatIfRow]:
    """Devices, batch, degrees and settings of both plans, and which of them differ."""
    sides = []
    for side in (before, after):
        choices = {"devices": f"{side.cluster.devices:,}", "global batch": f"{side.plan.global_batch:,}"}
        for part in (side.plan.strategy, side.plan.settings):
            for field in part.__struct_fields__:
                value = getattr(part, field)
                if field in SETTINGS and SETTINGS[field].kind == "dtype":
                    value = plan_words.resolve_gradient_format(value, side.scenario.precision)
                choices[field.replace("_", " ")] = _format_choice(value)
        sides.append(choices)
    for name, old in sides[0].items():
        yield name, old, sides[1][name], "" if old == sides[1][name] else "differs"


def _format_choice(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "+".join(value) or "none"
    return "all" if value is None else str(value)


def _build_row(name: str, old: float, new: float, format_value: Callable[[float], str]) -> _WhatIfRow:
    return name, format_value(old), format_value(new), _format_percent_change(old, new)


def _build_optional_row(name: str, old: float | None, new: float | None, unit: FigureUnit) -> Iterator[_WhatIfRow]:
    """A row of a figure that may not be known; none where neither plan has it. `unit`: `usd` or `j`."""
    if old is not None or new is not None:
        change = _format_percent_change(old, new) if old and new else ""
        yield name, format_figure_value(old, unit), format_figure_value(new, unit), change


def _format_percent_change(old: float, new: float) -> str:
    if old == new:
        return ""
    if not old:
        return "new"
    return f"{new / old - 1.0:+.1%}" if new / old < 100 else "x 100 and more"


def _format_elasticity(value: float) -> str:
    return "0" if abs(value) < _NEGLIGIBLE_ELASTICITY else f"{value:+.3f}"


def _enumerate_sentences(document: WhatIfDocument) -> Iterator[str]:
    """Whether the best plan changed, what it gains, and how the old plan would do."""
    kept, speedup = document.kept, document.difference.speedup
    more = "more" if speedup >= 1 else "fewer"
    unit = plan_words.get_throughput_unit(document.before.model)
    verdict = "The best plan stays the same" if document.same_plan else "Another plan is the best"
    yield f"{verdict}: {abs(speedup - 1.0):.1%} {more} {unit}s a second."
    if not document.told_apart and speedup != 1:
        yield "The two cannot be told apart: they differ by less than the error of such a comparison."
    if kept.plan is None or kept.regret is None:
        yield f"The old plan would not run with the changes: {kept.obstacle}."
    elif not document.same_plan:
        step = plan_words.format_step(kept.plan)
        width = f" with dp {kept.plan.strategy.dp}" if kept.plan.strategy != document.before.plan.strategy else ""
        yield f"The old plan{width} would take {step} a step with the changes, {kept.regret:.1%} more than the best."
