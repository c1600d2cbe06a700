"""Files of plans beyond one stored plan: text in Markdown, clusters of two pools."""

import csv
import io
import json
from pathlib import Path

import pytest

from planner.report.formats.markdown import escape_markdown
from tests.cli.run import call
from tests.report.test_formats import Page


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", "a\\|b"),
        ("`a` *b* _c_ d_e", "\\`a\\` \\*b\\* \\_c\\_ d_e"),
        ("a\nb\x1b[1m", "a b \\[1m"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("www.a.b", "www\\.a.b"),
    ],
)
def test_markdown_is_text(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped


def test_plans_of_two_pools_have_files_too(tmp_path: Path) -> None:
    file, table = tmp_path / "plans.html", tmp_path / "plans.csv"
    cluster = ("-c", "dgx-h100:2+dgx-a100:2", "-b", "128", "--tp", "2", "--cp", "1", "--pp", "1,2")
    done = call("plan", "llama-3-8b", *cluster, "-o", str(file), "-o", str(table), "-f", "json")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [row["way"] for row in rows] == [plan["way"] for plan in json.loads(done.stdout)["ways"]]
    assert not Page(file.read_text()).open
