"""Every test can fail."""

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
def parse_file(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def list_functions(path: Path) -> dict[str, Function]:
    """The functions of a module by name, those of classes and of functions too."""
    return {node.name: node for node in ast.walk(parse_file(path)) if isinstance(node, Function)}


@cache
def list_imported_names(path: Path) -> dict[str, tuple[Path, str]]:
    """Names that a module imports from modules of the tests: the file and the name there."""
    names = {}
    for node in ast.walk(parse_file(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tests":
            file = ROOT / f"{(node.module or '').replace('.', '/')}.py"
            names |= {alias.asname or alias.name: (file, alias.name) for alias in node.names if file.exists()}
    return names


def is_asserting(path: Path, function: Function, depth: int = DEPTH) -> bool:
    """Whether a function asserts (or numpy does for it), expects an exception, or calls a function that does."""
    called = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                called.add(node.func.id)
            elif isinstance(node.func, ast.Attribute) and re.fullmatch(r"raises|warns|assert_\w+", node.func.attr):
                return True
    return depth > 0 and any(
        is_asserting(*definitions, depth - 1) for name in called for definitions in find_functions(path, name)
    )


def find_functions(path: Path, name: str) -> Iterator[tuple[Path, Function]]:
    """The function of the tests that a name refers to in a module."""
    file, name = list_imported_names(path).get(name, (path, name))
    if name in list_functions(file):
        yield file, list_functions(file)[name]


def format_path(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_test_asserts_something() -> None:
    silent = [
        f"{format_path(path)}::{name}"
        for path in TESTS
        for name, function in list_functions(path).items()
        if name.startswith("test_") and not is_asserting(path, function)
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("def test_one():\n    assert compute()", True),
        ("def test_one():\n    with pytest.raises(ValueError):\n        compute()", True),
        ("def test_one():\n    compute()", False),
        ("def test_one():\n    helper()\ndef helper():\n    other()\ndef other():\n    assert 1", True),
        ("def test_one():\n    helper()\ndef helper():\n    other()\ndef other():\n    pass", False),
        ("from tests.examples import lab\ndef test_one():\n    lab()", False),
        ("from tests.export.plans import export_plan\ndef test_one():\n    export_plan(1)", True),
    ],
)
def test_assertions_are_recognised(text: str, wanted: bool, tmp_path: Path) -> None:
    path = tmp_path / "test_some.py"
    path.write_text(text)
    assert is_asserting(path, list_functions(path)["test_one"]) is wanted
