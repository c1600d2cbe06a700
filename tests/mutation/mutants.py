"""Every mutant of a file of Python: mutmut's operators, each applied to one function at a time."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import libcst as cst


@dataclass(frozen=True)
class Mutant:
    """A change of a function. `number`: its place among the function's; `lines`: those of the statement that is
    changed; `text`: the function, changed.
    """

    file: str
    function: str
    number: int
    lines: range
    was: str
    now: str
    text: str

    @property
    def name(self) -> str:
        """The value of `--only`."""
        return f"{self.file}:{self.function}:{self.number}"

    def code(self) -> CodeType:
        """The changed function's code. Raises SyntaxError where the change is not valid Python."""
        inner = self.function.split(".")
        text = self.text
        for owner in reversed(inner[:-1]):
            text = f"class {owner}:\n{textwrap.indent(text, '    ')}"
        code = compile(f"from __future__ import annotations\n{text}", self.file, "exec", dont_inherit=True)
        for name in inner:
            code = next(
                constant for constant in code.co_consts if isinstance(constant, CodeType) and constant.co_name == name
            )
        return code


def generate_mutants(root: Path, file: str) -> Iterator[Mutant]:
    """The mutants of all functions and methods of a file, in its order, without duplicates."""
    import libcst as cst
    from mutmut.mutation.file_mutation import create_mutations

    source = (root / file).read_text("utf-8")
    module, mutations, _, _ = create_mutations(file, source)

    def plain(function: cst.FunctionDef) -> str:
        return module.code_for_node(function.with_changes(decorators=[], leading_lines=[]))

    names = {id(node): (name, plain(node)) for name, node in _iterate_functions(module.body, "")}
    statements = _find_statements(source)
    numbers: dict[str, int] = {}
    seen: set[tuple[str, str]] = set()
    for mutation in mutations:
        function = mutation.contained_by_top_level_function
        if function is None or id(function) not in names:
            continue  # constants and types of a module: they are evaluated before any test runs
        name, old = names[id(function)]
        changed = function.deep_replace(mutation.original_node, mutation.mutated_node)
        assert isinstance(changed, cst.FunctionDef)
        text = plain(changed)
        if (name, text) in seen:
            continue
        seen.add((name, text))
        numbers[name] = numbers.get(name, 0) + 1
        was, now = (module.code_for_node(node).strip() for node in (mutation.original_node, mutation.mutated_node))
        start, headers = statements[name]
        at = start + _first_changed(old, text)
        lines = min((header for header in headers if at in header), key=len, default=range(at, at + 1))
        yield Mutant(file, name, numbers[name], lines, was, now, text)


def _first_changed(old: str, new: str) -> int:
    """The first line in which two texts differ, from 0; a text that begins with the other differs where that ends."""
    lines = zip([*old.split("\n"), ""], [*new.split("\n"), ""], strict=False)
    return next(place for place, (was, now) in enumerate(lines) if was != now)


def _find_statements(source: str) -> dict[str, tuple[int, list[range]]]:
    """Of each function: the line of its `def`, and the lines of each of its statements but for nested ones."""
    statements: dict[str, tuple[int, list[range]]] = {}

    def visit(body: list[ast.stmt], owner: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{owner}{node.name}.")
            elif isinstance(node, ast.FunctionDef):
                statements[owner + node.name] = (
                    node.lineno,
                    [_find_header(statement) for statement in ast.walk(node) if isinstance(statement, ast.stmt)],
                )

    visit(ast.parse(source).body, "")
    return statements


def _find_header(node: ast.stmt) -> range:
    inner = getattr(node, "body", None)
    end = inner[0].lineno if isinstance(inner, list) else (node.end_lineno or node.lineno) + 1
    if isinstance(node, ast.FunctionDef):
        # defaults are evaluated with the definition: tests that run the body depend on them
        end = (node.end_lineno or node.lineno) + 1
    return range(node.lineno, max(end, node.lineno + 1))


def _iterate_functions(body: object, owner: str) -> Iterator[tuple[str, cst.FunctionDef]]:
    """The functions of a module and the methods of its classes, by qualified name."""
    import libcst as cst

    assert isinstance(body, (list, tuple))
    for node in body:
        if isinstance(node, cst.FunctionDef):
            yield owner + node.name.value, node
        elif isinstance(node, cst.ClassDef) and isinstance(node.body, cst.IndentedBlock):
            yield from _iterate_functions(node.body.body, f"{owner}{node.name.value}.")
