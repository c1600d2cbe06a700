"""The reference of `import planner`: its functions by autodoc, their options, and the kinds of values they take."""

from __future__ import annotations

import ast
import inspect
import itertools
from collections.abc import Collection, Iterator

from docs.site.structs import notes
from docs.site.words import block, code, page, said, table
from planner import api
from planner.cli.completion.command_reference import describe_commands

_CLASSES = (api.EstimateOptions, api.PlanOptions)
_ELSEWHERE = {"PlanDocument": "documents/plan", "HeterogeneousDocument": "documents/mixed"}
"""Types of answers, and the pages that describe them."""


def pages() -> dict[str, str]:
    """Every page by its path."""
    intro = "\n\n".join(_paragraphs(api.__doc__ or ""))
    return {
        "python.md": page(
            "Python",
            intro,
            "## Functions",
            _directives("", [f".. autofunction:: {name}" for name in ("plan", "estimate")]),
            "## Options",
            "Both functions take these; each of them says what it takes beside them.",
            _options({}, api.SharedOptions),
            "`plan` alone:",
            _options(api.SharedOptions.__annotations__, api.PlanOptions),
            _directives("", [f".. py:class:: {one.__name__}\n\n   {one.__doc__}" for one in _CLASSES]),
            "## Answers",
            _directives("", [f".. py:class:: {name}\n\n   :doc:`{where}`" for name, where in _ELSEWHERE.items()]),
            "## Values",
            _directives("", [f".. py:type:: {name}\n\n   {what}" for name, what in _aliases()]),
            "## Errors",
            _directives(
                "planner.errors",
                [f".. autoexception:: {name}" for name in ("PlannerError", "InputError", "NothingFits")],
            ),
        )
    }


def _directives(module: str, lines: list[str]) -> str:
    """Directives of Sphinx's own language, in a module."""
    return block(
        "{eval-rst}", [f".. py:currentmodule:: {module or 'planner.api'}", "", *"\n\n".join(lines).split("\n")]
    )


def _options(before: Collection[str], options: type) -> str:
    """The keys of a class of options but those told before."""
    does = {name: one.description for one in describe_commands()["plan"].options for name in one.names}
    rows = [
        (code(key), code(kind.__forward_arg__), said(does.get(f"--{key.replace('_', '-')}", "")))
        for key, kind in inspect.get_annotations(options).items()
        if key not in before
    ]
    return table(("option", "type", "what it does"), rows)


def _aliases() -> Iterator[tuple[str, str]]:
    """The kinds of values, each with what is said below it."""
    return iter(notes(ast.parse(inspect.getsource(api)).body).items())


def _paragraphs(text: str) -> Iterator[str]:
    """A docstring in Markdown: what is indented is code."""
    for is_code, some in itertools.groupby(inspect.cleandoc(text).split("\n\n"), lambda one: one.startswith(" ")):
        if is_code:
            yield block("python", inspect.cleandoc("\n\n".join(some)).split("\n")).strip()
        else:
            yield from map(said, some)
