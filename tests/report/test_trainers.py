"""The rules of a trainer in a narrow terminal: no word is cut, no setting stands twice in its row."""

from __future__ import annotations

import io
import re
from typing import get_args

import msgspec
import pytest
from rich.console import Console

from planner.documents.trainers import TrainersDocument
from planner.report.formats.terminal import print_report
from planner.report.views.trainers_report import build_trainers_report
from planner.trainers.names import ProgramName
from tests.cli.run import call


@pytest.mark.parametrize("name", get_args(ProgramName))
def test_every_rule_is_readable_at_80_columns(name: ProgramName) -> None:
    text = call("planner", "trainers", "show", name, "-f", "json").stdout
    document = msgspec.json.decode(text, type=TrainersDocument)
    out = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None, highlight=False)
    print_report(build_trainers_report(document), out)
    assert isinstance(out.file, io.StringIO)
    lines = out.file.getvalue().splitlines()
    words = re.sub(r"\s", "", "".join(lines))
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if re.match(r"(\S+) +\1 ", line)]
    for rule in document.trainers[0].rules:
        assert "{" not in rule.supported
        supported = rule.supported.removeprefix(f"{rule.setting} ")
        assert re.sub(r"\s", "", supported) in words, rule
        assert rule.setting.removeprefix("model.") in words, rule
        assert re.sub(r"\s", "", rule.source) in words, rule
