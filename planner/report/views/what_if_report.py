"""The what-if document as a report: one record a plan: as it is, the same with the changes, planned again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from planner.cost.memory.moments import MEMORY_CATEGORIES
from planner.cost.settings import SETTINGS
from planner.documents.figures import flatten_part, format_figure_value
from planner.documents.plan import PlanPart
from planner.documents.what_if import HardwareFigureName, InputChangePart, WhatIfDocument, WhatIfSidePart
from planner.report.report import BarChart, ChartAxis, RecordValue, Report, ReportCase, ReportTable, build_columns
from planner.report.views import breakdown, plan_words
from planner.units import format_bytes, format_count, format_seconds, format_si, format_with_interval

_WhatIfRow = tuple[str, ...]
"""A name, the value of each plan, the difference of the first two."""

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
_BEFORE_LABEL, _KEPT_PLAN_LABEL, _AFTER_LABEL = "as it is", "changed", "planned again"
"""The plan without the changes, the same plan with them, and the best plan with them."""
_RECORD_AFTER_LABEL, _RECORD_KEPT_LABEL = "changed", "the old plan, changed"
"""Of records the best plan with the changes, and the same plan with them."""


def build_whatif_report(document: WhatIfDocument) -> Report:
    """The report of `what-if`."""
    title = f"What if: {document.before.model.title} on {document.before.cluster.title}"
    plans = _list_plans(document)
    strategies = {name: plan_words.format_strategy(plan.strategy) for name, plan in plans.items()}
    cases = [ReportCase(title, f"{name} fits: {strategies[name]}", plan.step_time_s) for name, plan in plans.items()]
    if document.kept.plan is None:
        cases.append(ReportCase(title, f"{_KEPT_PLAN_LABEL} fits", skip_reason=document.kept.obstacle))
    elasticity_rows = [
        (_HARDWARE_FIGURE_NAMES[item.figure], _format_elasticity(item.before), _format_elasticity(item.after))
        for item in document.elasticities
    ]
    headings = ("", *plans)
    headings = (*headings[:3], "difference", *headings[3:])
    return Report(
        command="what-if",
        title=title,
        facts=list(_enumerate_facts(document)),
        records=[_build_record(document, name, plan) for name, plan in _list_record_plans(document).items()],
        tables=[
            ReportTable(
                "The plan as it is, with the changes, and planned again" if len(plans) > 2 else "Both plans",
                build_columns(headings, list(_enumerate_rows(document)), drop_order=("difference",)),
            ),
            ReportTable(
                "Elasticity: percent of step time per percent of a hardware figure",
                build_columns(("figure", _BEFORE_LABEL, _AFTER_LABEL), elasticity_rows),
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
        sentences=[*_enumerate_sentences(document), plan_words.FASTEST_PLANS_COUNT],
        cases=cases,
    )


def _list_plans(document: WhatIfDocument) -> dict[str, PlanPart]:
    """The plans by their headings: the one that is planned again is left out where it is the old one, and the old one
    with the changes where it would not run.
    """
    plans = {_BEFORE_LABEL: document.before.plan}
    if document.kept.plan is not None:
        plans[_KEPT_PLAN_LABEL] = document.kept.plan
    if not _is_kept_plan_best(document):
        plans[_AFTER_LABEL] = document.after.plan
    return plans


def _is_kept_plan_best(document: WhatIfDocument) -> bool:
    """Whether the old plan, of as many devices as there are, is what is planned again."""
    kept, best = document.kept.plan, document.after.plan
    return kept is not None and (kept.strategy, kept.settings) == (best.strategy, best.settings)


def _list_record_plans(document: WhatIfDocument) -> dict[str, PlanPart]:
    """The plan of each record by its name: also where the best plan is the old one."""
    plans = {_BEFORE_LABEL: document.before.plan, _RECORD_AFTER_LABEL: document.after.plan}
    return plans if document.kept.plan is None else {**plans, _RECORD_KEPT_LABEL: document.kept.plan}


def _build_record(document: WhatIfDocument, name: str, plan: PlanPart) -> dict[str, RecordValue]:
    """One plan, flat: its speedup to the first, and percents of step time per percent of a figure where known."""
    side = document.before if name == _BEFORE_LABEL else document.after
    record: dict[str, RecordValue] = {"which": name, "model": side.model.name, "cluster": side.cluster.name}
    record |= {"accelerator": side.cluster.accelerator, "nodes": side.cluster.nodes, "devices": side.cluster.devices}
    record["changes"] = [] if name == _BEFORE_LABEL else [f"{item.key}={item.given}" for item in document.changes]
    record["speedup"] = plan.tokens_per_s / document.before.plan.tokens_per_s
    record["regret"] = document.kept.regret if name == _RECORD_KEPT_LABEL else None
    record |= flatten_part(plan)
    for item in document.elasticities:
        values: dict[str, RecordValue] = {_BEFORE_LABEL: item.before, _RECORD_AFTER_LABEL: item.after}
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
    """All plans, figure by figure; parts of a figure follow it."""
    plans = [*_list_plans(document).values()]
    sides = [document.before, *[document.after] * (len(plans) - 1)]
    yield from _enumerate_choice_rows(sides, plans)
    steps = [plan_words.format_step(plan) for plan in plans]
    yield _insert_difference(
        "step (10-90 %)", steps, _format_percent_change(*_take_first([plan.step_time_s for plan in plans]))
    )
    for suffix, terms in (
        ("", [plan.terms for plan in plans]),
        (", overlapped", [plan.overlapped for plan in plans]),
    ):
        for name in terms[0]:
            seconds = [item[name] for item in terms]
            if any(seconds):
                yield _build_row(f"{plan_words.format_term_name(name)}{suffix}", seconds, format_seconds)
    yield _build_row("memory", [plan.memory.total_bytes for plan in plans], format_bytes)
    for name in (*MEMORY_CATEGORIES, "capacity"):
        sizes = [getattr(plan.memory, f"{name}_bytes") for plan in plans]
        if any(sizes):
            yield _build_row(name, sizes, format_bytes)
    unit = f"{plan_words.get_throughput_unit(document.before.model)}s/s"
    rates = [plan_words.get_throughput_per_s(side.model, plan) for side, plan in zip(sides, plans, strict=True)]
    for suffix, values in zip(("", " a device"), zip(*rates, strict=True), strict=True):
        texts = [
            format_with_interval(rate, *plan_words.scale_rate_bounds(plan, rate), format_count)
            for rate, plan in zip(values, plans, strict=True)
        ]
        yield _insert_difference(f"{unit}{suffix}", texts, _format_percent_change(*_take_first(values)))
    peaks = [side.scenario.precision for side in sides]
    for name in ("mfu", "hfu"):
        shares = [getattr(plan, name) for plan in plans]
        yield _build_share_row(name.upper(), shares, peaks)
    if any(plan_words.is_narrow(plan.mfu, plan.mfu_bf16) for plan in plans):
        yield _build_share_row("MFU", [plan.mfu_bf16 or 0.0 for plan in plans], ["bf16"] * len(plans))
    yield from _build_optional_row(
        "cost of a step", [plan.cost_usd_per_step for plan in plans], [_format_step_cost(plan) for plan in plans]
    )
    energies = [plan.energy_j_per_step for plan in plans]
    yield from _build_optional_row(
        "energy of a step", energies, [format_figure_value(energy_j, "j") for energy_j in energies]
    )


def _take_first(values: Sequence[float]) -> tuple[float, float]:
    return values[0], values[1]


def _insert_difference(name: str, texts: Sequence[str], difference: str) -> _WhatIfRow:
    """A row with the difference of the first two plans after these."""
    return name, *texts[:2], difference, *texts[2:]


def _enumerate_choice_rows(sides: Sequence[WhatIfSidePart], plans: Sequence[PlanPart]) -> Iterator[_WhatIfRow]:
    """Devices, batch, degrees and settings of all plans, and which of the first two differ."""
    columns = []
    for side, plan in zip(sides, plans, strict=True):
        choices = {"devices": f"{side.cluster.devices:,}", "global batch": f"{plan.global_batch:,}"}
        for part in (plan.strategy, plan.settings):
            for field in part.__struct_fields__:
                value = getattr(part, field)
                if field in SETTINGS and SETTINGS[field].kind == "dtype":
                    value = plan_words.resolve_gradient_format(value, side.scenario.precision)
                choices[field.replace("_", " ")] = _format_choice(value)
        columns.append(choices)
    for name in columns[0]:
        texts = [column[name] for column in columns]
        yield _insert_difference(name, texts, "" if texts[0] == texts[1] else "differs")


def _format_choice(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "+".join(value) or "none"
    return "all" if value is None else str(value)


def _build_share_row(name: str, shares: Sequence[float], peaks: Sequence[str]) -> _WhatIfRow:
    """Shares of peaks; where all are of the same precision, its name is that of the row."""
    is_same = len(set(peaks)) == 1
    texts = [f"{share:.1%}" + ("" if is_same else f" of {peak}") for share, peak in zip(shares, peaks, strict=True)]
    points = f"{100 * (shares[1] - shares[0]):+.1f} points" if peaks[0] == peaks[1] else ""
    return _insert_difference(f"{name} {peaks[0]}" if is_same else name, texts, points)


def _build_row(name: str, values: Sequence[float], format_value: Callable[[float], str]) -> _WhatIfRow:
    texts = [format_value(value) for value in values]
    return _insert_difference(name, texts, _format_percent_change(*_take_first(values)))


def _format_step_cost(plan: PlanPart) -> str:
    """The rental cost of a step with its interval, in four digits at most."""
    ends = (plan.cost_usd_per_step, plan.cost_usd_per_step_p10, plan.cost_usd_per_step_p90)
    if None in ends:
        return format_figure_value(plan.cost_usd_per_step, "usd")
    text, low, high = (format_figure_value(end, "usd") for end in ends)
    return f"{text} ({low.partition(' ')[0]}-{high.partition(' ')[0]})"


def _build_optional_row(name: str, values: Sequence[float | None], texts: Sequence[str]) -> Iterator[_WhatIfRow]:
    """A row of a figure that may not be known; none where no plan has it."""
    if any(value is not None for value in values):
        old, new = values[:2]
        change = _format_percent_change(old, new) if old and new else ""
        yield _insert_difference(name, texts, change)


def _format_percent_change(old: float, new: float) -> str:
    if old == new:
        return ""
    if not old:
        return "new"
    return f"{new / old - 1.0:+.1%}" if new / old < 100 else "x 100 and more"


def _format_elasticity(value: float) -> str:
    return "0" if abs(value) < _NEGLIGIBLE_ELASTICITY else f"{value:+.3f}"


def _enumerate_sentences(document: WhatIfDocument) -> Iterator[str]:
    """What the changes do to the plan as it is; then what planning again with them brings."""
    kept = document.kept
    if kept.plan is None or kept.speedup is None:
        yield f"The plan as it is would not run with the changes: {kept.obstacle}."
        strategy = plan_words.format_strategy(document.after.plan.strategy)
        more = _format_more(document, document.difference.speedup)
        yield f"Planned again, the best is {strategy}: {more} than before."
        return
    step = plan_words.format_step(kept.plan)
    width = f" with dp {kept.plan.strategy.dp}" if kept.plan.strategy != document.before.plan.strategy else ""
    yield f"With the changes the plan as it is{width} takes {step} a step: {_format_more(document, kept.speedup)}."
    if _is_kept_plan_best(document):
        yield "Planned again, the same plan is the best."
        return
    strategy = plan_words.format_strategy(document.after.plan.strategy)
    gain = f"{kept.regret or 0.0:.1%}"
    if kept.best_told_apart:
        new_step = plan_words.format_step(document.after.plan)
        yield f"Planned again, another plan is the best: {strategy}, {new_step} a step, {gain} faster."
    else:
        yield (
            f"Planned again, {strategy} is {gain} faster, which is less than the error of such a comparison: "
            "no reason to change the plan."
        )


def _format_more(document: WhatIfDocument, speedup: float) -> str:
    """`5.2% more tokens a second`."""
    more = "more" if speedup >= 1 else "fewer"
    return f"{abs(speedup - 1.0):.1%} {more} {plan_words.get_throughput_unit(document.before.model)}s a second"
