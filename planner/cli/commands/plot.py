"""`planner plot`: a chart of the table of a sweep, in the terminal or as a file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from planner.cli.io.files import write_file_atomically
from planner.cli.io.output import write_stdout
from planner.cli.lazy import import_lazily
from planner.cli.options.command import declare_command
from planner.cli.options.output import declare_choice, declare_file_argument
from planner.request.notices import warn
from planner.request.options import Completion, Option
from planner.request.values import parse_texts

with import_lazily():
    from planner.cli.sweeps import results as sweep_results
    from planner.report import console, report
    from planner.report.charts import chart_svg, plot_of_table, plot_text
    from planner.report.formats import html_page


@declare_command(
    declare_file_argument(
        "results", "RESULTS", "The table of `planner sweep`: .parquet, .csv or .jsonl.", ".parquet", ".csv", ".jsonl"
    ),
    Option("x", "Chart", "Column of the x axis. Default: the first swept number.", metavar="COLUMN"),
    Option("y", "Chart", "Column of the y axis. Default: mfu.", metavar="COLUMN"),
    Option(
        "by", "Chart", "Column whose values are the series. Default: model and cluster.", metavar="COLUMN[,COLUMN]"
    ),
    Option(
        "where", "Chart",
        "Rows to draw: 'nodes >= 4 and cluster == dgx-h100'. If given several times, all must be met.",
        parse_texts, metavar="CONDITION", is_repeatable=True,
    ),
    declare_choice(
        "take", "Chart", "Rows to draw of those with the same x and series: all, or the least or most y.",
        "all", "least", "most", default="all",
    ),
    Option(
        "output", "Output", "Also write a file: .svg, .html or .txt. May be given several times.", parse_texts,
        ("--output", "-o"), "FILE", is_repeatable=True, is_path=True, in_answer=False,
        completion=Completion(endings=(".svg", ".html", ".txt")),
    ),
)  # fmt: skip
def plot(
    results: Path,
    x: str | None,
    y: str | None,
    by: str | None,
    where: Sequence[str],
    take: plot_of_table.RowSelectionMode,
    output: Sequence[Path],
) -> None:
    """Draw the results of a sweep.

    \b
    Examples:
      planner plot results.parquet
      planner plot results.parquet --x nodes --y mfu --by model --where 'cluster == dgx-h100'
      planner plot results.csv --x nodes --y step_time_s --take least -o plot.svg
    """
    table = sweep_results.read_results(results)
    for condition in where:
        table = table.select_rows(sweep_results.select_rows_where(condition, table.columns))
    series_columns = None if by is None else [part.strip() for part in by.split(",") if part.strip()]
    plot_spec = plot_of_table.resolve_plot_spec(table.columns, x, y, series_columns, take)
    chart, missing_rows = plot_of_table.build_plot(table.columns, plot_spec)
    if missing_rows:
        warn(f"{missing_rows:,} of {len(table):,} rows have no number to draw and are left out")
    for path in output:
        write_file_atomically(path, _render_plot_file(chart, path.suffix.casefold(), results.name))
    write_stdout(plot_text.render_plot_text(chart))


def _render_plot_file(chart: report.PointChart, ending: str, name: str) -> str:
    if ending == ".svg":
        return chart_svg.render_svg_file(chart.title, [chart])
    if ending == ".txt":
        return console.render_for_file(partial(plot_text.render_plot_text, chart))
    return html_page.render_html_page(report.Report("plot", name, (), (), charts=[chart]))
