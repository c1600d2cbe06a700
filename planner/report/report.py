"""The answer of a command as every format shows it: facts, records, tables, charts, sentences and test cases.

A view turns each kind of document into one `Report`; a format turns a `Report` into text. Texts may come from the
user's files: every format escapes them in its own way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from planner.documents.figures import RecordValue as RecordValue

ReportRecord = Mapping[str, RecordValue]


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading and a cell for each row; `is_text` sets it to the left.

    A narrow terminal takes `short_heading`, then prints columns with `moves_below` below their rows, then leaves
    columns out, the highest `drop_rank` first and those of 0 never, then wraps columns of text.
    """

    heading: str
    cells: Sequence[str]
    is_text: bool = False
    short_heading: str = ""
    drop_rank: int = 0
    moves_below: bool = False


@dataclass(frozen=True)
class ReportTable:
    """Columns of equal length under a title.

    Only the terminal has the others: `bars`, for each row (share of the width, sign) after each other, with
    `bar_legend` above them; `bold_row`; `max_rows`, beyond which rows between the first and the last are left out.
    """

    title: str
    columns: Sequence[Column]
    bars: Sequence[Sequence[tuple[float, str]]] = ()
    bar_legend: str = ""
    bold_row: int | None = None
    max_rows: int | None = None

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The cells row by row."""
        return list(zip(*(column.cells for column in self.columns), strict=True))


def build_columns(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    text_columns: Collection[int] = (0,),
    drop_order: Sequence[str] = (),
    headings_below: Collection[str] = (),
) -> list[Column]:
    """Columns of rows; in a narrow terminal the first heading of `drop_order` is left out first, and the cells of
    `headings_below` stand below their rows.
    """
    ranks = {heading: len(drop_order) - number for number, heading in enumerate(drop_order)}
    return [
        Column(
            heading,
            [row[number] for row in rows],
            number in text_columns,
            drop_rank=ranks.get(heading, 0),
            moves_below=heading in headings_below,
        )
        for number, heading in enumerate(headings)
    ]


@dataclass(frozen=True)
class ChartAxis:
    """What an axis measures. `unit` is that of the values: `s` and `B` are drawn with the prefix that suits (ms,
    GiB), a `share` in percent, FLOP/s and B/s with T or P. `categories`: names side by side, the first at 0, the
    next at 1.
    """

    title: str
    unit: str = ""
    categories: Sequence[str] = ()


@dataclass(frozen=True)
class ReferenceLine:
    """A line across a chart, as a deadline or a budget is, at a value of x or of y."""

    axis: Literal["x", "y"]
    value: float
    label: str


@dataclass(frozen=True)
class BarSegment:
    """One piece of a bar: `value` is its length, `tooltip` is shown when it is pointed at."""

    name: str
    value: float
    tooltip: str


@dataclass(frozen=True)
class StackedBar:
    """One bar. `end_label` stands at its right; `limit`, in the unit of its segments, is a line across it."""

    label: str
    end_label: str
    segments: Sequence[BarSegment]
    limit: float | None = None


@dataclass(frozen=True)
class BarChart:
    """Stacked bars on one scale from zero. `bar_title`: what a bar stands for; `limit_title`: what the limits are."""

    title: str
    x: ChartAxis
    bars: Sequence[StackedBar]
    bar_title: str = ""
    limit_title: str = "limit"


@dataclass(frozen=True)
class ChartPoint:
    """One value over two axes; `is_highlighted` is drawn larger."""

    x: float
    y: float
    tooltip: str
    is_highlighted: bool = False


@dataclass(frozen=True)
class PointSeries:
    """Points that belong together, in the order of x; `is_joined`: whether a line leads from each to the next."""

    name: str
    points: Sequence[ChartPoint]
    is_joined: bool = False


@dataclass(frozen=True)
class PointChart:
    """Series over two axes: a scatter, or curves. Axes are logarithmic where their values span more than two decades.

    `has_diagonal`: both axes have the same scale, and a line shows where both figures are equal.
    """

    title: str
    x: ChartAxis
    y: ChartAxis
    series: Sequence[PointSeries]
    references: Sequence[ReferenceLine] = ()
    has_diagonal: bool = False


@dataclass(frozen=True)
class WaterfallChart:
    """Parts that add up to a whole, each from where the ones before it end; a part may be below zero.

    Each part is a bar of one segment, whose name decides its colour; `total` is the last bar.
    """

    title: str
    x: ChartAxis
    parts: Sequence[StackedBar]
    total: StackedBar


@dataclass(frozen=True)
class RooflinePoint:
    """One operator. `weight`: its share of the time, the area of its circle; `bound`: what limits it."""

    name: str
    flops_per_byte: float
    flops_per_s: float
    weight: float
    bound: str
    tooltip: str


@dataclass(frozen=True)
class RooflineChart:
    """Achieved FLOP/s over arithmetic intensity, on logarithmic axes, under the device's two ceilings."""

    title: str
    points: Sequence[RooflinePoint]
    peak_flops_per_s: float
    bandwidth_bytes_per_s: float


Chart = BarChart | PointChart | WaterfallChart | RooflineChart


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
    """The answer of `command`. `facts`: pairs of a name and a text, printed first.

    All records have the same keys in the same order; `keys`: these, where there may be no record.
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
