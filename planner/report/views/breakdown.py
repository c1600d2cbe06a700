"""What the reports of plans share: a step and its memory as bars and as tables, and bars of one figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from planner.cost.memory.moments import MEMORY_CATEGORIES, MOMENT_TITLES
from planner.report.report import (
    BarChart,
    BarSegment,
    ChartAxis,
    ReportTable,
    StackedBar,
    build_columns,
)
from planner.report.views.plan_words import format_term_name
from planner.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from planner.documents.plan import MemoryBreakdownPart


def build_stacked_bar(
    label: str,
    end_label: str,
    values: Mapping[str, float],
    whole: float,
    format_value: Callable[[float], str],
    limit: float | None = None,
    whole_name: str = "",
) -> StackedBar:
    """One bar of the values above zero; each is shown with its share of `whole` where it is pointed at."""
    segments = [
        BarSegment(name, value, f"{name}: {format_value(value)}, {value / whole:.1%}{whole_name}")
        for name, value in values.items()
        if value > 0
    ]
    return StackedBar(label, end_label, segments, limit)


def build_figure_bars(
    title: str,
    axis: ChartAxis,
    figures: Sequence[tuple[str, float | None, str]],
    bar_title: str,
    segment_name: str = "figure",
    limit: float | None = None,
    limit_title: str = "limit",
) -> BarChart:
    """One figure of several things, a bar each: (label, value in the axis' unit or None, text at its right)."""
    bars = [
        StackedBar(
            label,
            text,
            [] if value is None else [BarSegment(segment_name, value, f"{label}: {text}")],
            limit,
        )
        for label, value, text in figures
    ]
    return BarChart(title, axis, bars, bar_title=bar_title, limit_title=limit_title)


def build_step_bars(title: str, steps: Sequence[tuple[str, Mapping[str, float]]]) -> BarChart:
    """Steps below each other, one bar each: (label, seconds by term)."""
    bars = []
    for label, terms in steps:
        step_time_s = math.fsum(terms.values())
        values = {format_term_name(name): seconds for name, seconds in terms.items()}
        bars.append(build_stacked_bar(label, format_seconds(step_time_s), values, step_time_s, format_seconds))
    return BarChart(title, ChartAxis("step time", "s"), bars, bar_title="plan")


def build_memory_bars(
    title: str, memories: Sequence[tuple[str, MemoryBreakdownPart]], bar_title: str = "plan"
) -> BarChart:
    """Peak memory per device, one bar each, with the capacity as a line."""
    bars = []
    for label, memory in memories:
        capacity = memory.capacity_bytes
        end_label, sizes = f"{memory.total_bytes / capacity:.1%}", _collect_category_bytes(memory)
        bars.append(
            build_stacked_bar(label, end_label, sizes, capacity, format_bytes, capacity, whole_name=" of the device")
        )
    axis = ChartAxis("memory per device", "B")
    return BarChart(title, axis, bars, bar_title=bar_title, limit_title="capacity")


def build_step_table(
    title: str, terms: Mapping[str, float], overlapped: Mapping[str, float], step_time_s: float
) -> ReportTable:
    """Terms of a step in seconds: exposed, which add up to `step_time_s`, and overlapped with other work."""
    rows = [
        (
            format_term_name(name),
            format_seconds(seconds),
            f"{seconds / step_time_s:.1%}",
            format_seconds(overlapped[name]) if overlapped.get(name) else "",
        )
        for name, seconds in terms.items()
        if seconds or overlapped.get(name)
    ]
    rows.append(("total", format_seconds(step_time_s), "", ""))
    return ReportTable(
        title, build_columns(("term", "time", "share", "overlapped"), rows, drop_order=("overlapped",))
    )


def format_moment(memory: MemoryBreakdownPart) -> str:
    """When memory is fullest, in words; empty where it is not known."""
    return "" if memory.moment is None else MOMENT_TITLES[memory.moment]


def build_memory_table(title: str, memory: MemoryBreakdownPart) -> ReportTable:
    """Peak memory of a device by category."""
    sizes = _collect_category_bytes(memory) | {"total": memory.total_bytes, "capacity": memory.capacity_bytes}
    rows = [
        (category, format_bytes(size), f"{size / memory.capacity_bytes:.1%}")
        for category, size in sizes.items()
        if size
    ]
    return ReportTable(title, build_columns(("category", "memory", "share"), rows))


def _collect_category_bytes(memory: MemoryBreakdownPart) -> dict[str, float]:
    return {category: float(getattr(memory, f"{category}_bytes")) for category in MEMORY_CATEGORIES}
