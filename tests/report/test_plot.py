"""`planner plot`: what is drawn from a table, in all its forms."""

from __future__ import annotations

import itertools
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cli.sweeps.results import read_results
from planner.report.charts.axes import build_number_axis, choose_display_unit
from planner.report.charts.plot_of_table import build_plot, resolve_plot_spec
from tests.cli.run import call

GOLDEN = Path(__file__).parent / "golden"
ROWS = [
    {"model": model, "nodes": nodes, "tp": tp, "status": "planned", "reason": "", "mfu": mfu, "step_time_s": step}
    for model, base in (("llama", 0.5), ("<b>&mixtral", 0.4))
    for nodes, tp, mfu, step in ((1, 1, base, 20.0), (2, 1, base - 0.02, 10.5), (8, 2, base - 0.1, 0.9))
]
UNFIT = {
    "model": "llama",
    "nodes": 4,
    "tp": 1,
    "status": "nothing fits",
    "reason": "-",
    "mfu": None,
    "step_time_s": None,
}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "results.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [*ROWS, UNFIT]))
    return path


def _drawn(table: Path, *options: str) -> str:
    done = call("planner", "plot", str(table), *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _refused(table: Path, *options: str) -> str:
    done = call("planner", "plot", str(table), *options)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def test_the_terminal_gets_a_chart_of_mfu_over_the_swept_columns(table: Path) -> None:
    done = call("planner", "plot", str(table))
    assert done.stdout == (GOLDEN / "plot.txt").read_text()
    assert done.stderr == "warning: 1 of 7 rows have no number to draw and are left out\n"


def _svg(table: Path, *options: str) -> ET.Element:
    file = table.with_name("plot.svg")
    _drawn(table, *options, "-o", str(file))
    return ET.fromstring(file.read_text())


def _points(drawing: ET.Element) -> list[tuple[float, float, str]]:
    """Where each point is, and its tooltip."""
    marks = [(mark.get("transform", ""), mark.findtext(f"{SVG}title")) for mark in drawing.iter(f"{SVG}path")]
    places = [(re.findall(r"[0-9.]+", transform), words) for transform, words in marks if words]
    return [(float(place[0]), float(place[1]), words) for place, words in places]


def _lines(drawing: ET.Element) -> list[ET.Element]:
    return [mark for mark in drawing.iter(f"{SVG}path") if mark.get("fill") is None]


def test_every_row_is_a_mark_with_its_figures(table: Path) -> None:
    drawing = _svg(table, "--x", "nodes", "--y", "step_time_s", "--by", "model")
    tooltips = [words for _, _, words in _points(drawing)]
    assert tooltips[:3] == [f"llama: nodes {n}, step_time_s {s} s" for n, s in ((1, 20), (2, 10.5), (8, 0.9))]
    assert len(tooltips) == len(ROWS)
    assert len(_lines(drawing)) == 2
    words = ["".join(text.itertext()) for text in drawing.iter(f"{SVG}text")]
    assert {"llama", "<b>&mixtral", "nodes", "step_time_s, s"} <= set(words)


def test_a_higher_figure_is_drawn_higher_and_more_nodes_further_right(table: Path) -> None:
    marks = _points(_svg(table))
    for before, after in itertools.pairwise(marks[:3]):
        assert before[0] < after[0]
        assert before[1] < after[1]


def test_rows_with_the_same_x_are_marks_alone_or_the_best_of_them(table: Path) -> None:
    options = ("--x", "tp", "--y", "mfu", "--by", "model")
    every = _svg(table, *options)
    assert (len(_points(every)), len(_lines(every))) == (6, 0)
    best = _svg(table, *options, "--take", "most")
    tooltips = [words for _, _, words in _points(best)]
    assert tooltips[:2] == ["llama: tp 1, mfu 50%", "llama: tp 2, mfu 40%"]
    assert len(_lines(best)) == 2


def test_the_same_table_gives_the_same_drawing_from_every_form(table: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    parquet.write_table(arrow.Table.from_pylist([*ROWS, UNFIT]), tmp_path / "results.parquet")
    lines = [
        ",".join(ROWS[0]),
        *(",".join("" if v is None else str(v) for v in row.values()) for row in [*ROWS, UNFIT]),
    ]
    (tmp_path / "results.csv").write_text("\n".join(lines) + "\n")
    drawings = {_drawn(tmp_path / name) for name in ("results.jsonl", "results.csv", "results.parquet")}
    assert len(drawings) == 1


def test_a_page_loads_no_file_and_runs_no_script(table: Path) -> None:
    page = table.with_name("plot.html")
    _drawn(table, "-o", str(page), "--x", "model")
    text = page.read_text()
    assert "default-src 'none'" in text
    assert not re.search(r"<script|https?://(?!www\.w3\.org)|<b>", text)
    assert text.count("</title></path>") == len(ROWS)


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        ("nodes == 8", 2),
        ("nodes >= 2 and model == llama", 2),
        ("nodes>1 and nodes<8", 2),
        ("model != 'llama'", 3),
        ('model = "<b>&mixtral"', 3),
        ("mfu > 0.45", 2),
        ("status == planned AND step_time_s <= 10.5", 4),
    ],
)
def test_conditions_leave_the_rows_that_meet_them(condition: str, left: int, table: Path) -> None:
    assert len(_points(_svg(table, "--where", condition))) == left


def test_several_conditions_must_all_hold(table: Path) -> None:
    assert len(_points(_svg(table, "--where", "nodes > 1", "--where", "mfu > 0.39"))) == 2


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (("--x", "ndoes"), ["--x: unknown column", "did you mean nodes?"]),
        (("--y", "mfuu"), ["--y: unknown column", "did you mean mfu?"]),
        (("--by", "model,modle"), ["--by: unknown column", "did you mean model?"]),
        (("--y", "model"), ["--y: is no number", "one of nodes, tp, mfu, step_time_s"]),
        (("--where", "noeds == 2"), ["--where: unknown column", "did you mean nodes?"]),
        (("--where", "nodes = = 2"), ["--where: not a condition"]),
        (("--where", "nodes == 2 or nodes == 1"), ["--where: not a condition"]),
        (("--where", "nodes == 2 and "), ["--where: not a condition"]),
        (("--where", "nodes > few"), ["--where: not a number", "a number after >"]),
        (("--where", "nodes == 3"), ["--where: no row meets the condition", "1, 2, 8, 4"]),
        (("--where", "nodes == 4"), ["no row has both figures"]),
        (("-o", "plot.png"), ["unknown file format", ".svg, .html, .txt"]),
        (("-o", "plot.svg", "-o", "./plot.svg"), ["--output: is written twice"]),
    ],
)
def test_undrawable_tables_are_reported(options: tuple[str, ...], messages: list[str], table: Path) -> None:
    message = _refused(table, *options)
    for part in messages:
        assert part in message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "has no rows"),
        ("a.jsonl", b"{}\n", "has no rows"),
        ("a.jsonl", b"[1]\n", "a.jsonl: line 1: not a JSON object"),
        ("a.jsonl", b'{"x": 1}\n{"x"', "a.jsonl: line 2: not a JSON object"),
        ("a.csv", b"a,b\n1,2\n3\n", "a.csv: line 3: 1 fields"),
        ("a.csv", b"a,b\n", "has no rows"),
        ("a.csv", b"\xff\xfe", "is not UTF-8"),
        ("a.csv", b"a,b\nx,y\n", "no column is a number"),
        ("a.parquet", b"PAR1", "not valid Parquet"),
        ("a.xlsx", b"", "unknown file format"),
    ],
)
def test_a_file_that_is_no_table_is_reported(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert message in _refused(tmp_path / name)


def test_a_line_of_json_is_closed_by_a_line_feed_alone(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"x": 1, "s": "a\u2028b"}\n\n{"x": 2}\n')
    assert dict(read_results(tmp_path / "a.jsonl").columns) == {"x": [1, 2], "s": ["a\u2028b", None]}


@given(st.lists(st.floats(1e-6, 1e15), min_size=1, max_size=20), st.sampled_from(["share", "", "B", "s"]))
def test_ticks_are_on_the_axis_in_order_and_distinct(values: list[float], unit: str) -> None:
    factor = choose_display_unit(unit, values).factor
    shown = [value / factor for value in values]
    scale, ticks = build_number_axis(shown)
    assert scale.min_value <= min(shown)
    assert max(shown) <= scale.max_value
    places = [scale.locate(value) for value, _ in ticks]
    assert places == sorted(places)
    assert -1e-9 <= places[0] < places[-1] <= 1 + 1e-9
    words = [word for _, word in ticks]
    assert len(set(words)) == len(words) <= 12
    assert all(-1e-9 <= scale.locate(value) <= 1 + 1e-9 for value in shown)


@pytest.mark.parametrize(
    ("values", "base"),
    [([1, 2, 4, 8], 2), ([1, 2, 4], 0), ([3, 400], 10), ([3, 300], 0), ([0, 1000], 0), ([5], 0)],
)
def test_wide_values_and_powers_of_two_have_a_logarithmic_axis(values: list[float], base: int) -> None:
    assert build_number_axis(values)[0].base == base


def test_whole_numbers_have_whole_ticks_and_a_column_is_named_once() -> None:
    columns = {"nodes": [1, 3, 2], "mfu": [0.4, 0.3, 0.35], "model": ["a", "a", "a"]}
    plot, _ = build_plot(columns, resolve_plot_spec(columns, "nodes", "mfu", ["model", "model"], "all"))
    assert [label for _, label in build_number_axis([1, 3, 2], integers_only=True)[1]] == ["1", "2", "3"]
    assert [series.name for series in plot.series] == ["a"]
