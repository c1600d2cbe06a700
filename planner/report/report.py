"""An answer in the shape that files are made from: what it is of, records, tables, charts and checks.

Each kind of document becomes one `Report`; each form of output is written from a `Report` alone. Texts are as they
came from the user's files: every form escapes them in its own way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.report.charts.axes import PlotAxis

RecordValue = str | int | float | bool | None | Sequence[str]
"""What a record holds; numbers are in SI units, which the key tells."""
ReportRecord = Mapping[str, RecordValue]


@dataclass(frozen=True)
class ReportTable:
    """Rows under headings, as people read them. Columns in `text_columns` are text, others are right-aligned."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: frozenset[int] = frozenset({0})


@dataclass(frozen=True)
class BarSegment:
    """One piece of a bar: `value` is its length, `tooltip` what is said when it is pointed at."""

    name: str
    value: float
    tooltip: str


@dataclass(frozen=True)
class StackedBar:
    """One bar. `end_label` stands at its right; `limit`, in the unit of its pieces, is a line across it."""

    label: str
    end_label: str
    segments: Sequence[BarSegment]
    limit: float | None = None


@dataclass(frozen=True)
class BarChart:
    """Stacked bars on one scale from zero."""

    title: str
    bars: Sequence[StackedBar]


@dataclass(frozen=True)
class ScatterPoint:
    """One point of a scatter; `is_highlighted` is drawn larger."""

    x: float
    y: float
    tooltip: str
    is_highlighted: bool = False


@dataclass(frozen=True)
class ScatterChart:
    """Points over two axes; `x_range_text` and `y_range_text` are what the least and the most of each axis are
    called.

    `is_logarithmic`: axes by powers of ten, for figures above zero. `has_diagonal`: both axes have the same scale,
    and a line tells where both figures are equal.
    """

    title: str
    x_title: str
    y_title: str
    x_range_text: tuple[str, str]
    y_range_text: tuple[str, str]
    points: Sequence[ScatterPoint]
    is_logarithmic: bool = False
    has_diagonal: bool = False


@dataclass(frozen=True)
class PlotMark:
    """One value of a series, in the units of the axes."""

    x: float
    y: float
    tooltip: str


@dataclass(frozen=True)
class PlotSeries:
    """Marks that belong together, in the order of x; `is_joined`: whether a line leads from each to the next."""

    name: str
    marks: Sequence[PlotMark]
    is_joined: bool


@dataclass(frozen=True)
class Plot:
    """Series over two axes with their ticks."""

    title: str
    x: PlotAxis
    y: PlotAxis
    series: Sequence[PlotSeries]


Chart = BarChart | ScatterChart | Plot


@dataclass(frozen=True)
class ReportCase:
    """One check for JUnit: passed, failed, or skipped with a reason. `predicted_s`: the predicted time."""

    group: str
    name: str
    predicted_s: float = 0.0
    failure: str = ""
    skip_reason: str = ""


@dataclass(frozen=True)
class Report:
    """The whole answer. `command` is the one that gave it; `facts` are pairs of a name and what is said of it.

    All records have the same keys in the same order; `keys` tells them where there may be no record.
    """

    command: str
    title: str
    facts: Sequence[tuple[str, str]]
    records: Sequence[ReportRecord]
    tables: Sequence[ReportTable] = ()
    charts: Sequence[Chart] = ()
    sentences: Sequence[str] = ()
    cases: Sequence[ReportCase] = ()
    keys: Sequence[str] = ()
