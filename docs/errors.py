"""Write the error tables and the chart of docs/explanation/cost-model.md, from the document of `planner validate`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import msgspec

from planner.evidence.validation_document import ValidationDocument
from planner.report.formats.markdown import render_markdown_table
from planner.report.views.validation_report import build_error_tables

HERE = Path(__file__).with_name("explanation")
BLOCK = re.compile(r"(<!-- errors:begin.*?-->\n).*?(<!-- errors:end -->)", re.DOTALL)


def main(path: str) -> None:
    """Write the tables into the page and draw the picture."""
    document = msgspec.json.decode(Path(path).read_bytes(), type=ValidationDocument)
    page, tables = HERE / "cost-model.md", format_error_tables(document)
    page.write_text(BLOCK.sub(lambda match: f"{match[1]}\n{tables}\n{match[2]}", page.read_text("utf-8")), "utf-8")
    draw(document, HERE / "errors.svg")


def format_error_tables(document: ValidationDocument) -> str:
    """The tables of errors by source, and on runs left out of the fit, in Markdown."""
    return "\n".join(render_markdown_table(table.columns) for table in build_error_tables(document))


def draw(document: ValidationDocument, file: Path) -> None:
    """Predicted against measured, one colour a source; beside it the spread of the errors."""
    import matplotlib as mpl

    mpl.use("svg")
    # the same bytes for the same data
    mpl.rcParams.update(
        {"svg.hashsalt": "planner", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    )
    import matplotlib.pyplot as plt

    figure, (scatter, spread) = plt.subplots(1, 2, figsize=(10, 4.6), width_ratios=(1, 1))
    for number, source in enumerate(document.by_source):
        rows = [row for row in document.rows if row.source == source]
        label = source.split(" ")[0] if "/" in source.split(" ")[0] else " ".join(source.split(" ")[:3])
        if "archive" in source:
            label += " (archive)"
        colour = f"C{number}"
        # every metric has its own unit: only the ratio of the axes matters
        measured = [row.measured for row in rows]
        scatter.loglog(measured, [row.predicted for row in rows], ".", color=colour, label=label, alpha=0.7)
        off = sorted(abs(row.error_pct) for row in rows)
        spread.step(off, [(i + 1) / len(off) for i in range(len(off))], where="post", color=colour)
    ends = [min(row.measured for row in document.rows), max(row.measured for row in document.rows)]
    scatter.plot(ends, ends, color="0.6", linewidth=0.8)
    scatter.set_xlabel("measured (seconds, tokens/s or TFLOP/s, as the source states it)")
    scatter.set_ylabel("predicted")
    scatter.legend(frameon=False, fontsize=7)
    spread.set_xscale("symlog", linthresh=1)
    spread.set_xlim(0, 100)
    spread.set_xticks([0, 1, 2, 5, 10, 20, 50, 100], labels=["0", "1", "2", "5", "10", "20", "50", "100"])
    spread.set_xlabel("absolute error, %")
    spread.set_ylabel("share of the source's runs within it")
    spread.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None, "Creator": "docs/errors.py"})


if __name__ == "__main__":
    main(sys.argv[1])
