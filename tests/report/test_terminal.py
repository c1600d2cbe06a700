"""The answer in terminals of any width: no figure is cut, no line is longer than the terminal."""

import io
import json
import re

import msgspec
import pytest
from rich.console import Console

from planner.documents.plan import PlanDocument
from planner.report.formats.registry import build_report
from planner.report.formats.terminal import print_report
from planner.report.views import plan_words
from planner.units import format_bytes, format_seconds
from tests.cli.run import call

WIDTHS = [40, 60, 72, 80, 100, 120, 200]


@pytest.fixture(scope="module")
def document() -> PlanDocument:
    arguments = ("mixtral-8x7b", "-c", "dgx-h100", "--nodes", "16", "-b", "512", "--tokens", "1T", "--vpp", "1..8")
    done = call("plan", *arguments, "-f", "json")
    return msgspec.convert(json.loads(done.stdout), PlanDocument)


def print_document(document: PlanDocument, width: int) -> str:
    out = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, highlight=False)
    print_report(build_report(document), out)
    assert isinstance(out.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.file.getvalue())


@pytest.mark.parametrize("width", WIDTHS)
def test_no_figure_is_cut(document: PlanDocument, width: int) -> None:
    text = print_document(document, width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for plan in document.plans:
        assert plan_words.format_step(plan).split(" (")[0] in text
        assert f"{plan.memory.total_bytes / 2**30:.1f}" in text
        assert width <= 80 or f"{plan.mfu:.1%}" in text  # a column too many for a table of that width
    best = document.plans[0]
    assert format_bytes(best.memory.weights_bytes) in text
    assert format_seconds(best.terms["backward"]) in text
    assert "Bottleneck:" in text


def test_a_narrow_terminal_gets_a_line_for_each_figure(document: PlanDocument) -> None:
    text = print_document(document, 40)
    assert len(re.findall(r"^  tokens/s +", text, re.MULTILINE)) == len(document.plans)
    rate = plan_words.format_throughput(document.model, document.plans[0])
    assert rate in text and rate.endswith(")")


def test_a_wide_terminal_gets_every_column_and_both_tables_side_by_side(document: PlanDocument) -> None:
    lines = print_document(document, 130).splitlines()
    assert any("tokens/s" in line and "HFU" in line and "recompute" in line for line in lines)
    assert any("Step of the best plan" in line and "Peak memory" in line for line in lines)
    assert not any("Step of the best plan" in line and "Peak memory" in line for line in print_document(document, 80))
