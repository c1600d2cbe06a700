"""`planner plot`: a chart of the table of a sweep, in the terminal or as a file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from planner.report.report import PointChart

_PLOT_SUFFIXES = (".svg", ".html", ".txt")


class RowSelection(StrEnum):
    """The choice among rows with the same x in a series."""

    ALL = "all"
    LEAST = "least"
    MOST = "most"


ResultsFileArgument = Annotated[
    Path, typer.Argument(metavar="RESULTS", help="The table of `planner sweep`: .parquet, .csv or .jsonl.")
]
PlotFilesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Also write a file: .svg, .html or .txt. May be given several times."
    ),
]
XColumnOption = Annotated[
    str | None, typer.Option("--x", metavar="COLUMN", help="Column of the x axis. Default: the first swept number.")
]
YColumnOption = Annotated[
    str | None, typer.Option("--y", metavar="COLUMN", help="Column of the y axis. Default: mfu.")
]
SeriesColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--by", metavar="COLUMN[,COLUMN]", help="Column whose values are the series. Default: model and cluster."
    ),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="Rows to draw: 'nodes >= 4 and cluster == dgx-h100'. If given several times, all must be met.",
    ),
]
RowSelectionOption = Annotated[
    RowSelection,
    typer.Option(
        "--take",
        case_sensitive=False,
        help="Rows to draw of those with the same x and series: all, or the least or most y.",
    ),
]


def plot(
    results: ResultsFileArgument,
    files: PlotFilesOption = None,
    x: XColumnOption = None,
    y: YColumnOption = None,
    by: SeriesColumnsOption = None,
    where: WhereOption = None,
    take: RowSelectionOption = RowSelection.ALL,
) -> None:
    """Draw the results of a sweep.

    \b
    Examples:
      planner plot results.parquet
      planner plot results.parquet --x nodes --y mfu --by model --where 'cluster == dgx-h100'
      planner plot results.csv --x nodes --y step_time_s --take least -o plot.svg
    """
    from planner.cli.io.files import check_distinct_files, check_suffix, write_file_atomically
    from planner.cli.io.output import write_stdout
    from planner.cli.sweeps.results import read_results
    from planner.cli.sweeps.where import select_rows_where
    from planner.report.charts.plot_of_table import build_plot, resolve_plot_spec
    from planner.report.charts.plot_text import render_plot_text
    from planner.request.notices import warn

    for path in files or ():
        check_suffix(path, _PLOT_SUFFIXES)
    check_distinct_files([("--output", path) for path in files or ()], [("RESULTS", results)])
    table = read_results(results)
    for condition in where or ():
        table = table.select_rows(select_rows_where(condition, table.columns))
    series_columns = None if by is None else [part.strip() for part in by.split(",") if part.strip()]
    chart, missing_rows = build_plot(
        table.columns, resolve_plot_spec(table.columns, x, y, series_columns, take.value)
    )
    if missing_rows:
        warn(f"{missing_rows:,} of {len(table):,} rows have no number to draw and are left out")
    for path in files or ():
        write_file_atomically(path, _render_plot_file(chart, path.suffix.casefold(), results.name))
    write_stdout(render_plot_text(chart))


def _render_plot_file(chart: PointChart, suffix: str, name: str) -> str:
    if suffix == ".svg":
        from planner.report.charts.chart_svg import render_svg_file

        return render_svg_file(chart.title, [chart])
    if suffix == ".txt":
        from planner.report.charts.plot_text import render_plot_text
        from planner.report.console import render_for_file

        return render_for_file(lambda: render_plot_text(chart))
    from planner.report.formats.html_page import render_html_page
    from planner.report.report import Report

    return render_html_page(Report("plot", name, (), (), charts=[chart]))
