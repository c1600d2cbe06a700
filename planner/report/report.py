"""An answer in the shape that files are made from: what it is of, records, tables, charts and checks.

Each kind of document becomes one `Report`; each form of output is written from a `Report` alone. Texts are as they
came from the user's files: every form escapes them in its own way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.report.charts.axes import Axis

Value = str | int | float | bool | None | Sequence[str]
"""What a record holds; numbers are in SI units, which the key tells."""
Record = Mapping[str, Value]


@dataclass(frozen=True)
class Table:
    """Rows under headings, as people read them. Columns in `words` are text, the others are set to the right."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: frozenset[int] = frozenset({0})


@dataclass(frozen=True)
class Piece:
    """One piece of a bar: `value` is its length, `told` what is said when it is pointed at."""

    name: str
    value: float
    told: str


@dataclass(frozen=True)
class Bar:
    """One bar. `end` is written at its right; `limit`, in the unit of its pieces, is drawn as a line across it."""

    label: str
    end: str
    pieces: Sequence[Piece]
    limit: float | None = None


@dataclass(frozen=True)
class Bars:
    """Stacked bars on one scale from zero."""

    title: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Point:
    """One point of a scatter; `first` is drawn larger."""

    x: float
    y: float
    told: str
    first: bool = False


@dataclass(frozen=True)
class Scatter:
    """Points over two axes; `x_told` and `y_told` are what the least and the most of each axis are called.

    `logarithmic`: axes by powers of ten, for figures above zero. `diagonal`: both axes have the same scale, and a
    line tells where both figures are equal.
    """

    title: str
    x_title: str
    y_title: str
    x_told: tuple[str, str]
    y_told: tuple[str, str]
    points: Sequence[Point]
    logarithmic: bool = False
    diagonal: bool = False


@dataclass(frozen=True)
class Mark:
    """One value of a series, in the units of the axes."""

    x: float
    y: float
    told: str


@dataclass(frozen=True)
class Series:
    """Marks that belong together, in the order of x; `joined`: whether a line leads from each to the next."""

    name: str
    marks: Sequence[Mark]
    joined: bool


@dataclass(frozen=True)
class Plot:
    """Series over two axes with their ticks."""

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]


Chart = Bars | Scatter | Plot


@dataclass(frozen=True)
class Case:
    """One check for JUnit: passed, or failed or left out with what is said of it. `seconds`: what is predicted."""

    group: str
    name: str
    seconds: float = 0.0
    failure: str = ""
    skipped: str = ""


@dataclass(frozen=True)
class Report:
    """The whole answer. `command` is the one that gave it; `facts` are pairs of a name and what is said of it.

    All records have the same keys in the same order; `keys` tells them where there may be no record.
    """

    command: str
    title: str
    facts: Sequence[tuple[str, str]]
    records: Sequence[Record]
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    sentences: Sequence[str] = ()
    cases: Sequence[Case] = ()
    keys: Sequence[str] = ()
