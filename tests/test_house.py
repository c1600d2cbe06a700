"""No test that cannot fail."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path for folder in ("planner", "tests", "benchmarks", "docs") for path in (ROOT / folder).rglob("*.py")
)
TESTS = [path for path in FILES if path.name.startswith("test_")]
DEPTH = 2
"""How many calls lie between a test and the helper that asserts."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def functions(path: Path) -> dict[str, Function]:
    """The functions of a module by name, those of classes and of functions too."""
    return {node.name: node for node in ast.walk(tree(path)) if isinstance(node, Function)}


@cache
def imported(path: Path) -> dict[str, tuple[Path, str]]:
    """What a module takes from the tests' own modules: the file and the name there."""
    found = {}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tests":
            file = ROOT / f"{(node.module or '').replace('.', '/')}.py"
            found |= {one.asname or one.name: (file, one.name) for one in node.names if file.exists()}
    return found


def asserts(path: Path, function: Function, depth: int = DEPTH) -> bool:
    """Whether a function asserts (or numpy does for it), expects an exception, or calls one by name that does."""
    called = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            if re.search(r"(pytest\.(raises|warns)|\.assert_\w+)$", ast.unparse(node.func)):
                return True
            if isinstance(node.func, ast.Name):
                called.add(node.func.id)
    return depth > 0 and any(asserts(*found, depth - 1) for name in called for found in meant(path, name))


def meant(path: Path, name: str) -> Iterator[tuple[Path, Function]]:
    """The function of the tests that a module means by a name."""
    file, name = imported(path).get(name, (path, name))
    if name in functions(file):
        yield file, functions(file)[name]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_test_asserts_something() -> None:
    silent = [
        f"{named(path)}::{name}"
        for path in TESTS
        for name, function in functions(path).items()
        if name.startswith("test_") and not asserts(path, function)
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("def test_one():\n    assert told()", True),
        ("def test_one():\n    with pytest.raises(ValueError):\n        told()", True),
        ("def test_one():\n    told()", False),
        ("def test_one():\n    helper()\ndef helper():\n    other()\ndef other():\n    assert 1", True),
        ("def test_one():\n    helper()\ndef helper():\n    other()\ndef other():\n    pass", False),
        ("from tests.examples import lab\ndef test_one():\n    lab()", False),
        ("from tests.cli.test_hostile import told\ndef test_one():\n    told(1)", True),
    ],
)
def test_what_counts_as_an_assertion(text: str, wanted: bool, tmp_path: Path) -> None:
    path = tmp_path / "test_some.py"
    path.write_text(text)
    assert asserts(path, functions(path)["test_one"]) is wanted
