"""A stored answer of every command in every form, to the byte; and an answer with hostile words, without effect.

The golden files are made anew with `python -m tests.report.test_every_form`; read the difference before it is
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
from typing import NamedTuple

import msgspec
import pytest

from planner.documents.compare import CompareDocument
from planner.documents.explain import ExplainDocument
from planner.documents.hardware import HardwareDocument
from planner.documents.listing import ListingDocument
from planner.documents.model import ModelDocument
from planner.documents.size import SizeDocument
from planner.documents.topology import TopologyDocument
from planner.documents.what_if import WhatIfDocument
from planner.evidence.validation_document import ValidationDocument
from planner.report.formats.registry import render_document
from tests.cli.run import call
from tests.report.test_formats import FORMS, HOSTILE, Page
from tests.sample import mark_full

ANSWERS = Path(__file__).parents[1] / "fixtures" / "answers"
GOLDEN = Path(__file__).parent / "golden"


class Answer(NamedTuple):
    """An answer: its document, how many records it has, and its keys that hold a user's words."""

    document: type
    records: Callable[..., int]
    words: tuple[str, ...] = ("title",)


ANSWER_TYPES = {
    "what-if": Answer(WhatIfDocument, lambda document: 2 + (document.kept.plan is not None), ("title", "name")),
    "size": Answer(SizeDocument, lambda document: len(document.curve), ("title", "cluster", "accelerator", "notes")),
    "compare": Answer(CompareDocument, lambda document: len(document.offers), ("title", "name", "ruled_out")),
    "validate": Answer(
        ValidationDocument, lambda document: len(document.rows) + len(document.skipped), ("id", "reason")
    ),
    "topology": Answer(TopologyDocument, lambda document: len(document.groups), ("title", "name", "level")),
    "explain": Answer(ExplainDocument, lambda document: len(document.waterfall), ("title", "bottleneck")),
    "hardware": Answer(HardwareDocument, lambda document: len(document.accelerators), ("title", "note", "vendor")),
    "model": Answer(ModelDocument, lambda document: len(document.parts), ("title", "note")),
    "list": Answer(ListingDocument, lambda document: len(document.entries), ("title", "name")),
}
CASES = [(name, form, ending) for name in ANSWER_TYPES for form, ending in FORMS.items()]


def read_stored(name: str, raw: object = None) -> msgspec.Struct:
    text = (ANSWERS / f"{name}.json").read_bytes()
    return msgspec.convert(msgspec.json.decode(text) if raw is None else raw, ANSWER_TYPES[name].document)


def build_hostile(name: str) -> msgspec.Struct:
    """The same answer, a user's words replaced by what would break out of any form."""

    def changed(value: object, key: str = "") -> object:
        if isinstance(value, dict):
            return {name: changed(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [changed(item, key) for item in value]
        return HOSTILE if isinstance(value, str) and key in ANSWER_TYPES[name].words and value else value

    return read_stored(name, changed(json.loads((ANSWERS / f"{name}.json").read_text())))


@pytest.mark.parametrize(("name", "form", "ending"), CASES)
def test_a_stored_answer_is_rendered_to_the_byte(name: str, form: str, ending: str) -> None:
    assert render_document(read_stored(name), form) == (GOLDEN / f"{name}.{ending}").read_text("utf-8")


@pytest.mark.parametrize("name", ANSWER_TYPES)
def test_records_are_as_many_in_both_forms_and_alike(name: str) -> None:
    document = read_stored(name)
    lines = [json.loads(line) for line in render_document(document, "jsonl").splitlines()]
    rows = list(csv.DictReader(io.StringIO(render_document(document, "csv"))))
    assert len(lines) == len(rows) == ANSWER_TYPES[name].records(document) > 0
    for line, row in zip(lines, rows, strict=True):
        assert list(line) == list(row)
        for key, value in line.items():
            if isinstance(value, float):
                assert float(row[key]) == value, key
            elif value is None:
                assert row[key] == "", key


@pytest.mark.parametrize("name", ANSWER_TYPES)
def test_hostile_words_have_no_effect(name: str) -> None:
    document = build_hostile(name)
    texts = {form: render_document(document, form) for form in FORMS}
    for form, text in texts.items():
        assert not any(character < " " and character not in "\n\t" for character in text), form
        assert "\u202e" not in text or form in ("csv", "jsonl"), form
    page = Page(texts["html"])
    assert page.open == []
    assert not {"script", "iframe", "object", "embed", "link", "img", "base"} & {tag for tag, _ in page.seen}
    for line in texts["markdown"].splitlines():
        assert "<script>" not in line
        assert not line.startswith("# h")
        assert not line.startswith("| ") or line.rstrip().endswith("|")
    ElementTree.fromstring(texts["junit"])
    rows = list(csv.reader(io.StringIO(texts["csv"])))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert not any(cell.startswith(("=", "@")) for row in rows for cell in row)
    assert "\x1b" not in render_document(document, "table")


@pytest.mark.parametrize("name", [name for name in ANSWER_TYPES if name not in ("list", "model")])
def test_every_answer_with_figures_has_cases(name: str) -> None:
    suite = ElementTree.fromstring(render_document(read_stored(name), "junit"))
    names = [(case.get("classname"), case.get("name")) for case in suite.iter("testcase")]
    assert names
    assert len(set(names)) == len(names)


def test_a_stage_that_is_too_full_fails() -> None:
    raw = json.loads((ANSWERS / "explain.json").read_text())
    raw["stages"][0]["memory"]["total_bytes"] = 2 * raw["stages"][0]["memory"]["capacity_bytes"]
    suite = ElementTree.fromstring(render_document(read_stored("explain", raw), "junit"))
    failed = [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
    assert failed == ["stage 0 fits"]


def test_speedups_are_of_throughput_also_where_the_batch_changes() -> None:
    arguments = ("what-if", "llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "16", "--tp", "8")
    done = call("planner", *arguments, "--set", "training.global_batch=2x", "--format", "jsonl")
    plans = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(plans) == 3
    for plan in plans:
        assert plan["speedup"] == pytest.approx(plan["tokens_per_s"] / plans[0]["tokens_per_s"])


@pytest.mark.parametrize(
    ("arguments", "unit"),
    [
        (("resnet-50", "--global-batch", "4096", "--pareto", "cost,memory-headroom"), "USD/M images"),
        (
            (
                "llama-3-8b",
                "--global-batch",
                "64..128",
                "--critical-batch",
                "1M",
                "--pareto",
                "energy,memory-headroom",
            ),
            "J/token that counts",
        ),
    ],
)
def test_a_front_is_drawn_in_the_figures_of_its_table(arguments: tuple[str, ...], unit: str) -> None:
    done = call("plan", *arguments, "--cluster", "dgx-h100", "--nodes", "1", "--tp", "1..2", "--format", "html")
    head, rows = re.findall(r"<tr>(.*?)</tr>", done.stdout)[0], re.findall(r"<tr>(<td.*?)</tr>", done.stdout)
    column = re.findall(r"<th[^>]*>([^<]*)</th>", head).index(unit)
    in_table = re.findall(r"<td[^>]*>([^<]*)</td>", rows[0])[column]
    assert re.search(rf"<title>1: tp [^<]*\b{re.escape(in_table)} {unit}", done.stdout)


ARGUMENTS = {
    "what-if": ("what-if", "llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "16", "--set", "cluster.nodes=2x"),
    "size": ("size", "llama-3-8b", "--cluster", "dgx-h100", "--tokens", "1T", "--deadline", "90d"),
    "compare": ("compare", "llama-3-8b", "--on", "dgx-h100:1", "--on", "dgx-a100:1", "--tokens", "1T"),
    "hardware list": ("hardware", "list", "--vendor", "amd"),
    "hardware show": ("hardware", "show", "h100-sxm-80gb"),
    "hardware compare": ("hardware", "compare", "a100-sxm-80gb", "h100-sxm-80gb"),
    "topology": ("topology", "dgx-h100", "--nodes", "2"),
    "models": ("models", "list"),
    "families": ("models", "families"),
    "clusters": ("cluster", "list"),
    "trainers list": ("trainers", "list"),
    "trainers show": ("trainers", "show", "torchtitan"),
}


@pytest.mark.parametrize("command", mark_full(ARGUMENTS, every=3, keep=("what-if",)))
def test_files_of_every_form_are_written_beside_the_answer(command: str, tmp_path: Path) -> None:
    endings = [*FORMS.values(), "json", "txt"]
    files = [part for ending in endings for part in ("-o", str(tmp_path / f"answer.{ending}"))]
    done = call("planner", *ARGUMENTS[command], *files, "--format", "csv")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "answer.csv").read_text() == done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"answer.{ending}" for ending in endings)
    for ending in endings:
        assert (tmp_path / f"answer.{ending}").read_text()


def test_no_accelerator_is_an_empty_table() -> None:
    arguments = ("hardware", "list", "--kind", "fpga", "--can-train")
    assert call("planner", *arguments, "--format", "csv").stdout.startswith("name,title,vendor,")
    for form in FORMS:
        assert call("planner", *arguments, "--format", form).returncode == 0


if __name__ == "__main__":
    for name_of, form_of, ending_of in CASES:
        (GOLDEN / f"{name_of}.{ending_of}").write_text(render_document(read_stored(name_of), form_of), "utf-8")
