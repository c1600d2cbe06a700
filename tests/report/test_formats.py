"""One stored plan document in every form, to the byte; and a document with hostile names, which have no effect.

The golden files are made anew with `python -m tests.report.test_formats`; read the difference before it is committed.
"""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from planner.documents.plan import PlanDocument
from planner.report.formats.registry import render_document
from tests.cli.run import call

ROOT = Path(__file__).parents[1]
STORED = ROOT / "fixtures" / "plan.json"
GOLDEN = Path(__file__).parent / "golden"
FORMS = {"csv": "csv", "jsonl": "jsonl", "markdown": "md", "html": "html", "junit": "xml"}
HOSTILE = '<script>alert(1)</script> | `x` *b* [l](http://evil) & "q" \n# h \x1b[31m \u202e \x00'
VOID = {"meta", "br", "img", "link", "hr", "input", "line", "rect", "circle", "path"}


def read_stored() -> PlanDocument:
    return msgspec.json.decode(STORED.read_bytes(), type=PlanDocument)


def build_hostile() -> PlanDocument:
    document = read_stored()
    model = msgspec.structs.replace(document.model, title=HOSTILE, name=HOSTILE, note=HOSTILE)
    cluster = msgspec.structs.replace(document.cluster, title=HOSTILE, name=HOSTILE, accelerator=HOSTILE)
    return msgspec.structs.replace(document, model=model, cluster=cluster)


class Page(HTMLParser):
    """What a browser would see: open elements, attributes, and whether all are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize(("form", "ending"), FORMS.items())
def test_a_stored_plan_is_rendered_to_the_byte(form: str, ending: str) -> None:
    assert render_document(read_stored(), form) == (GOLDEN / f"plan.{ending}").read_text("utf-8")


def test_each_record_is_a_plan_with_the_numbers_of_the_document() -> None:
    document = read_stored()
    lines = [json.loads(line) for line in render_document(document, "jsonl").splitlines()]
    rows = list(csv.DictReader(io.StringIO(render_document(document, "csv"))))
    assert len(lines) == len(rows) == len(document.plans)
    for line, row, plan in zip(lines, rows, document.plans, strict=True):
        assert line["step_time_s"] == plan.step_time_s
        assert float(row["step_time_s"]) == plan.step_time_s
        assert sum(float(row[name]) for name in row if name.startswith("term_")) == pytest.approx(plan.step_time_s)
        assert int(row["tp"]) == plan.strategy.tp


@pytest.mark.parametrize("document", [read_stored(), build_hostile()], ids=["stored", "hostile"])
def test_a_page_loads_no_other_file(document: PlanDocument) -> None:
    text = render_document(document, "html")
    page = Page(text)
    assert page.open == []
    tags = [tag for tag, _ in page.seen]
    assert tags.count("svg") >= 2
    assert "script" not in tags
    assert not {"iframe", "object", "embed", "link", "img", "base", "form"} & set(tags)
    for tag, attributes in page.seen:
        assert not {"src", "href", "onload", "onclick"} & set(attributes), tag
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.seen
    assert "default-src 'none'" in text
    assert "@media print" in text
    # every mark of a chart says what it is when it is hovered
    assert text.count("<title>") > sum(tag == "svg" for tag in tags)


def test_hostile_names_have_no_effect() -> None:
    for form in FORMS:
        text = render_document(build_hostile(), form)
        assert not any(character < " " and character not in "\n\t" for character in text), form
        assert "\u202e" not in text or form in ("csv", "jsonl"), form
    markdown = render_document(build_hostile(), "markdown")
    assert "<script>" not in markdown
    assert "\n# h" not in markdown
    for line in markdown.splitlines():
        if line.startswith("| "):
            assert line.rstrip().endswith("|")
    root = ElementTree.fromstring(render_document(build_hostile(), "junit"))
    assert len(list(root.iter("testcase"))) == len(read_stored().plans)
    assert len(list(csv.reader(io.StringIO(render_document(build_hostile(), "csv"))))) == 1 + len(read_stored().plans)


def test_files_are_written_beside_the_answer(tmp_path: Path) -> None:
    files = [tmp_path / f"plan.{ending}" for ending in (*FORMS.values(), "json", "txt")]
    arguments = ("llama-3-8b", "--cluster", "dgx-h100", "--nodes", "1", "--global-batch", "16", "--top", "1")
    outputs = [part for file in files for part in ("-o", str(file))]
    done = call("plan", *arguments, *outputs, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "plan.json").read_text() == done.stdout
    document = msgspec.json.decode(done.stdout, type=PlanDocument)
    for form, ending in FORMS.items():
        assert (tmp_path / f"plan.{ending}").read_text() == render_document(document, form)
        assert call("plan", *arguments, "--format", form).stdout == render_document(document, form)
    assert "Bottleneck" in (tmp_path / "plan.txt").read_text()


@pytest.mark.parametrize(
    ("file", "messages"),
    [("plan.pdf", ["--output", "plan.pdf", ".html"]), ("nowhere/plan.md", ["cannot be written"])],
)
def test_an_impossible_file_is_reported(tmp_path: Path, file: str, messages: list[str]) -> None:
    arguments = ("llama-3-8b", "--cluster", "dgx-h100", "--nodes", "1", "--global-batch", "16")
    done = call("plan", *arguments, "-o", str(tmp_path / file))
    assert done.returncode == 2
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
    for part in messages:
        assert part in done.stderr


if __name__ == "__main__":
    for name, suffix in FORMS.items():
        (GOLDEN / f"plan.{suffix}").write_text(render_document(read_stored(), name), "utf-8")
