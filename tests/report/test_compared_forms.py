"""The check and the diff document in every form, to the byte; hostile words get nowhere.

The golden files are made anew with `python -m tests.report.test_compared_forms`; read the difference before it is
committed.
"""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from planner.documents.diff import DiffDocument
from planner.report.formats.ci_findings import (
    format_github_annotation,
    render_check_annotations,
    render_code_quality_report,
)
from planner.report.formats.diff_markdown import render_diff_markdown
from planner.report.formats.json_text import render_json
from planner.report.formats.registry import render_document
from planner.report.views.diff_report import format_cause_sentence
from planner.studies.diff import compare_documents
from tests.report.compared import base, check_document, diff_document, head
from tests.report.test_formats import HOSTILE, Page

GOLDEN = Path(__file__).parent / "golden"
CHECK, DIFF = check_document(), diff_document()
FORMS: dict[str, Callable[[], str]] = {
    "check.txt": lambda: render_document(CHECK, "table"),
    "check.json": lambda: render_json(CHECK),
    "check.csv": lambda: render_document(CHECK, "csv"),
    "check.jsonl": lambda: render_document(CHECK, "jsonl"),
    "check.md": lambda: render_document(CHECK, "markdown"),
    "check.html": lambda: render_document(CHECK, "html"),
    "check.xml": lambda: render_document(CHECK, "junit"),
    "check.annotations": lambda: render_check_annotations(CHECK, "plans/plan.toml"),
    "check.code-quality.json": lambda: render_code_quality_report(CHECK, "plans/plan.toml"),
    "diff.txt": lambda: render_document(DIFF, "table"),
    "diff.json": lambda: render_json(DIFF),
    "diff.csv": lambda: render_document(DIFF, "csv"),
    "diff.jsonl": lambda: render_document(DIFF, "jsonl"),
    "diff.md": lambda: render_diff_markdown(DIFF),
    "diff.html": lambda: render_document(DIFF, "html"),
    "diff.xml": lambda: render_document(DIFF, "junit"),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_document_is_rendered_to_the_byte(name: str) -> None:
    assert FORMS[name]() == (GOLDEN / name).read_text("utf-8")


def describe_changed_degrees() -> str:
    """Those of the stored plan, and of the one with eight stages."""
    degrees = base().plans[0].strategy
    return f"pp {degrees.pp} → 8, dp {degrees.dp} → {degrees.dp * degrees.pp // 8}"


def test_the_difference_names_the_term_that_changed_most() -> None:
    part = next(difference for difference in DIFF.differences if difference.name == "small")
    assert part.why is not None
    assert part.why.term == part.terms[0].term == "pipeline_bubble"
    assert part.why.change_s == pytest.approx(0.8)
    assert part.why.because == ["strategy.pp", "strategy.dp"]
    changes = f"with {describe_changed_degrees()}."
    assert format_cause_sentence(part).endswith(f"+800 ms of +900 ms is pipeline bubble, {changes}")


def test_a_plan_without_any_gain_from_its_changes_says_so() -> None:
    plan = head().plans[0]
    terms = {**plan.terms, "backward": plan.terms["backward"] - 1.0}
    faster = replace(plan, terms=terms, step_time_s=sum(terms.values()))
    document = compare_documents(base(), replace(head(), plans=[faster]), ("a", "b"), 0.0)
    sentence = format_cause_sentence(document.differences[0])
    assert "-1.00 s" in sentence
    assert " is backward, " not in sentence
    assert f"backward changed most, -1.00 s, with {describe_changed_degrees()}" in sentence
    assert sentence.endswith("other terms went the other way.")


def test_the_same_plan_twice_is_no_difference() -> None:
    document = compare_documents(base(), base(), ("a", "b"), 0.0)
    part = document.differences[0]
    assert (part.status, part.why, part.figures, part.strategy) == ("unchanged", None, [], [])
    assert "1 plan unchanged" in render_diff_markdown(document)


@given(st.floats(0, 0.5))
def test_no_change_below_the_threshold_is_reported(threshold: float) -> None:
    part = compare_documents(base(), head(), ("a", "b"), threshold).differences[0]
    assert all(
        figure.relative is None or abs(figure.relative) >= threshold for figure in (*part.figures, *part.memory)
    )
    assert ("step_time_s" in [figure.name for figure in part.figures]) == (
        threshold <= head().plans[0].step_time_s / base().plans[0].step_time_s - 1
    )
    assert [figure.name for figure in part.strategy] == ["strategy.pp", "strategy.dp"]


def test_terms_are_ordered_by_their_change_and_add_up() -> None:
    for difference in DIFF.differences:
        sizes = [abs(term.change_s) for term in difference.terms]
        assert sizes == sorted(sizes, reverse=True)
        if difference.why is not None:
            step = next(figure for figure in difference.figures if figure.name == "step_time_s")
            assert sum(term.change_s for term in difference.terms) == pytest.approx(step.change)


def build_hostile_document() -> DiffDocument:
    title = replace(base().model, title=HOSTILE, name=HOSTILE)
    return compare_documents(base(), replace(head(), model=title), (HOSTILE, HOSTILE), 0.0)


def test_hostile_words_have_no_effect() -> None:
    texts = {name: render_document(build_hostile_document(), name) for name in ("csv", "jsonl", "html", "junit")}
    texts |= {
        "markdown": render_diff_markdown(build_hostile_document()),
        "text": render_document(build_hostile_document(), "table"),
    }
    for name, text in texts.items():
        assert not any(character < " " and character not in "\n\t" for character in text), name
    assert "<script>" not in texts["markdown"]
    assert "\n# h" not in texts["markdown"]
    assert not Page(texts["html"]).open
    assert len(list(ElementTree.fromstring(texts["junit"]).iter("testcase"))) == 1
    assert {len(row) for row in csv.reader(io.StringIO(texts["csv"]))} == {8}


@given(st.text(), st.text(), st.text())
def test_an_annotation_is_a_single_command_on_a_single_line(file: str, title: str, message: str) -> None:
    annotation = format_github_annotation(file, 3, title, message)
    match = re.fullmatch(r"::error file=([^:,\n]*),line=3,title=([^:,\n]*)::([^\n\r]*)\n", annotation)
    assert match is not None
    assert len(annotation.splitlines()) == 1


def test_fingerprints_are_unique_and_outlast_figures_and_lines() -> None:
    plan = CHECK.checked[0]
    twice = [*plan.requirements, *plan.requirements]
    moved = [replace(part, line=99, reason="another figure") for part in twice]
    prints = [
        [part["fingerprint"] for part in json.loads(render_code_quality_report(_with(requirements), "plan.toml"))]
        for requirements in (twice, moved)
    ]
    assert prints[0] == prints[1]
    assert len(set(prints[0])) == len(prints[0]) == 3


def _with(requirements: list) -> object:
    return replace(CHECK, checked=[replace(CHECK.checked[0], requirements=requirements), *CHECK.checked[1:]])


def test_a_requirement_that_is_met_makes_no_finding() -> None:
    met = replace(CHECK, checked=[CHECK.checked[1]])
    assert render_code_quality_report(met, "plan.toml") == "[]\n"
    assert render_check_annotations(met, "plan.toml") == ""


if __name__ == "__main__":
    for golden, made in FORMS.items():
        (GOLDEN / golden).write_text(made(), "utf-8")
