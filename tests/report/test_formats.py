"""Plans as files: what each form holds, and that no name of the user's escapes from it.

`tests/report/golden/` holds one answer in each form. After a change that is meant:
`REFRESH_GOLDEN=1 python -m pytest tests/report/test_formats.py -n 0`, then read the difference.
"""

import csv
import io
import json
import os
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest

from planner.report.formats import rendered
from planner.report.markdown import escaped
from tests.cli.run import call

GOLDEN = Path(__file__).parent / "golden"
FORMS = {"csv": ".csv", "jsonl": ".jsonl", "markdown": ".md", "html": ".html", "junit": ".xml", "json": ".json"}
ESTIMATE = ("estimate", "llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "64", "--tp", "8", "--no-failures")
HOSTILE = (
    "=1+1 <script>alert(1)</script> | `x` \x1b[31m \u202e \n # \x07 &amp; " + '"quoted" [a](https://evil.example)'
)


class Page(HTMLParser):
    """Which tags are open, and what was seen."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("src", "href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("form", ["csv", "jsonl", "markdown", "html", "junit"])
def test_an_answer_is_told_as_before(form: str) -> None:
    done = call("planner", *ESTIMATE, "--format", form)
    assert done.returncode == 0, done.stderr
    golden = GOLDEN / f"estimate{FORMS[form]}"
    if os.environ.get("REFRESH_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        golden.write_text(done.stdout)
    assert done.stdout == golden.read_text()


def test_several_files_beside_the_table(tmp_path: Path) -> None:
    question = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "64", "--tp", "4,8", "--vpp", "1")
    files = {form: tmp_path / f"plan{ending}" for form, ending in (FORMS | {"table": ".txt"}).items()}
    done = call("plan", *question, *(part for file in files.values() for part in ("-o", str(file))))
    assert done.returncode == 0, done.stderr
    assert files["table"].read_text() == done.stdout
    plans = json.loads(files["json"].read_text())["plans"]
    rows = list(csv.DictReader(io.StringIO(files["csv"].read_text())))
    lines = [json.loads(line) for line in files["jsonl"].read_text().splitlines()]
    cases = ElementTree.fromstring(files["junit"].read_text()).findall(".//testcase")
    assert len(plans) == len(rows) == len(lines) == len(cases) == 5
    for plan, row, line in zip(plans, rows, lines, strict=True):
        assert list(row) == list(line)
        assert float(row["step_time_s"]) == line["step_time_s"] == plan["step_time_s"]
        terms = sum(value for key, value in line.items() if key.startswith("term_"))
        assert terms == pytest.approx(plan["step_time_s"])
    assert {path.name for path in tmp_path.iterdir()} == {file.name for file in files.values()}


def test_the_page_stands_alone(tmp_path: Path) -> None:
    file = tmp_path / "plan.html"
    question = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "64", "--tp", "8", "--vpp", "1")
    assert call("plan", *question, "-o", str(file)).returncode == 0
    text = file.read_text()
    page = Page()
    page.feed(text)
    assert not page.open
    assert page.tags.count("svg") == 3
    assert {"rect", "circle", "title"} <= set(page.tags)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "//" not in text
    assert 'name="viewport"' in text
    assert "@media print" in text
    assert "prefers-color-scheme: dark" in text
    assert not [width for width in re.findall(r"[^-]width: ?(\d+)px", text) if int(width) > 390]


@pytest.mark.parametrize("form", ["csv", "jsonl", "markdown", "html", "junit"])
def test_hostile_names_are_only_names(form: str) -> None:
    import msgspec

    from planner.search.document import Document

    done = call("planner", *ESTIMATE, "--format", "json")
    document = msgspec.json.decode(done.stdout, type=Document)
    name = HOSTILE
    change = msgspec.structs.replace
    hostile = change(
        document,
        model=change(document.model, name=name, title=name),
        cluster=change(document.cluster, name=name, title=name, accelerator=name),
    )
    text = rendered(hostile, form)
    assert all(character.isprintable() or character == "\n" for character in text)
    if form in ("html", "junit", "markdown"):
        assert "<script" not in text
    if form == "html":
        page = Page()
        page.feed(text)
        assert not page.open
        assert "script" not in page.tags
    if form == "junit":
        assert len(ElementTree.fromstring(text).findall(".//testcase")) == 1
    if form == "markdown":
        assert text.count("\n") == rendered(document, form).count("\n")
        assert "://" not in text
    if form == "csv":
        (row,) = csv.DictReader(io.StringIO(text))
        assert row["model"].startswith("'=1+1 <script>")
    if form == "jsonl":
        assert json.loads(text)["model"].startswith("=1+1 <script>")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a|b", "a\\|b"),
        ("`a` *b* _c_ d_e", "\\`a\\` \\*b\\* \\_c\\_ d_e"),
        ("a\nb\x1b[1m", "a b \\[1m"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("www.a.b", "www\\.a.b"),
    ],
)
def test_markdown_is_text(text: str, told: str) -> None:
    assert escaped(text) == told


def test_two_kinds_have_files_too(tmp_path: Path) -> None:
    file, table = tmp_path / "ways.html", tmp_path / "ways.csv"
    cluster = ("-c", "dgx-h100:2+dgx-a100:2", "-b", "128", "--tp", "2", "--cp", "1", "--pp", "1,2")
    done = call("plan", "llama-3-8b", *cluster, "-o", str(file), "-o", str(table), "-f", "json")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [row["way"] for row in rows] == [way["way"] for way in json.loads(done.stdout)["ways"]]
    page = Page()
    page.feed(file.read_text())
    assert not page.open


@pytest.mark.parametrize(
    ("file", "told"), [("plan.pdf", "ending in .html"), ("no/such/plan.csv", "cannot be written")]
)
def test_a_wrong_file_is_told(file: str, told: str) -> None:
    done = call("planner", *ESTIMATE, "-o", file)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stdout == ""
