"""The answer for two pools of nodes in terminals of any width: no figure is cut, no control character is printed."""

import io
import re

import msgspec
import pytest
from rich.console import Console

from planner.cost.heterogeneous import bind_pools
from planner.documents.heterogeneous import HeterogeneousDocument
from planner.report.formats.registry import build_report, render_document
from planner.report.formats.terminal import print_report
from planner.report.views import plan_words
from planner.search.space import Space
from planner.studies.heterogeneous_plan import search_hetero_plans
from planner.units import format_seconds
from tests.examples import pools, tiny


@pytest.fixture(scope="module")
def document() -> HeterogeneousDocument:
    cluster = pools(slow_tflops=150, devices=2)
    scenarios = bind_pools(tiny(), cluster, global_batch=32)
    return search_hetero_plans(
        cluster, scenarios, Space(cluster.devices, 32, {"cp": (1,), "vpp": (1,)}), {}, tokens=10**12
    )


def print_document(document: HeterogeneousDocument, width: int) -> str:
    out = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, highlight=False)
    print_report(build_report(document), out)
    assert isinstance(out.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.file.getvalue())


@pytest.mark.parametrize("width", [40, 60, 80, 100, 150])
def test_no_figure_is_cut(document: HeterogeneousDocument, width: int) -> None:
    text = print_document(document, width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for plan in document.plans:
        assert plan_words.format_step(plan).split(" (")[0] in text
        assert f"{plan.mfu:.1%}" in text


def test_every_term_of_the_best_plan_is_printed(document: HeterogeneousDocument) -> None:
    text = render_document(document, "table")
    for seconds in document.plans[0].terms.values():
        assert seconds == 0 or format_seconds(seconds) in text
    assert "1T tokens: " in text


def test_a_name_puts_no_control_character_on_the_terminal(document: HeterogeneousDocument) -> None:
    name = "bad\x1b[31m"
    cluster = msgspec.structs.replace(document.cluster, title=name, note=name)
    renamed_pools = [msgspec.structs.replace(pool, name=name) for pool in cluster.pools]
    plans = [
        msgspec.structs.replace(
            plan, split=name, pools=[msgspec.structs.replace(pool, pool=name) for pool in plan.pools]
        )
        for plan in document.plans
    ]
    cluster = msgspec.structs.replace(cluster, pools=renamed_pools)
    answer = msgspec.structs.replace(document.answer, sentences=[name])
    renamed = msgspec.structs.replace(document, cluster=cluster, plans=plans, answer=answer, left_out=[name])
    assert "\x1b" not in render_document(renamed, "table")
