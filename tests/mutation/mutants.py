"""Every mutant of a file of Python: mutmut's operators, each applied to one function at a time."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType


@dataclass(frozen=True)
class Mutant:
    """One change of one function. `number`: its place among the function's; `text`: the function, changed."""

    file: str
    function: str
    number: int
    was: str
    now: str
    text: str

    @property
    def name(self) -> str:
        """By which `--only` finds it."""
        return f"{self.file}:{self.function}:{self.number}"

    def code(self) -> CodeType:
        """The changed function's code. Raises SyntaxError where the change is no Python."""
        inner = self.function.split(".")
        text = self.text
        for owner in reversed(inner[:-1]):
            text = f"class {owner}:\n{textwrap.indent(text, '    ')}"
        code = compile(f"from __future__ import annotations\n{text}", self.file, "exec", dont_inherit=True)
        for name in inner:
            code = next(one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == name)
        return code


def mutants_of(root: Path, file: str) -> Iterator[Mutant]:
    """Those of all functions and methods of a file, in its order; two with the same text are one."""
    import libcst as cst
    from mutmut.mutation.file_mutation import create_mutations

    module, mutations, _, _ = create_mutations(file, (root / file).read_text("utf-8"))
    names = {id(node): name for name, node in _functions(module.body, "")}
    numbers: dict[str, int] = {}
    seen: set[tuple[str, str]] = set()
    for one in mutations:
        function = one.contained_by_top_level_function
        if function is None or id(function) not in names:
            continue  # constants and types of a module: they are made before any test runs
        name = names[id(function)]
        changed = function.deep_replace(one.original_node, one.mutated_node)
        assert isinstance(changed, cst.FunctionDef)
        text = module.code_for_node(changed.with_changes(decorators=[], leading_lines=[]))
        if (name, text) in seen:
            continue
        seen.add((name, text))
        numbers[name] = numbers.get(name, 0) + 1
        was, now = (module.code_for_node(node).strip() for node in (one.original_node, one.mutated_node))
        yield Mutant(file, name, numbers[name], was, now, text)


def _functions(body: object, owner: str) -> Iterator[tuple[str, object]]:
    """The functions of a module and the methods of its classes, by qualified name."""
    import libcst as cst

    assert isinstance(body, (list, tuple))
    for node in body:
        if isinstance(node, cst.FunctionDef):
            yield owner + node.name.value, node
        elif isinstance(node, cst.ClassDef) and isinstance(node.body, cst.IndentedBlock):
            yield from _functions(node.body.body, f"{owner}{node.name.value}.")
