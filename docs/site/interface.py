"""The reference of `import planner`: its functions by autodoc, their options, and the types of their values."""

from __future__ import annotations

import ast
import inspect
import itertools
from collections.abc import Collection, Iterator

from docs.site.structs import collect_notes
from docs.site.words import escape_text, format_block, format_code, format_page, format_table
from planner import api
from planner.cli.completion.command_reference import describe_commands

_CLASSES = (api.EstimateOptions, api.PlanOptions)
_ANSWER_PAGES = {"PlanDocument": "documents/plan", "HeterogeneousDocument": "documents/mixed"}
"""The types of answers, and the pages that describe them."""


def build_pages() -> dict[str, str]:
    """Every page by its path."""
    intro = "\n\n".join(_split_paragraphs(api.__doc__ or ""))
    return {
        "python.md": format_page(
            "Python",
            intro,
            "## Functions",
            _format_directives("", [f".. autofunction:: {name}" for name in ("plan", "estimate")]),
            "## Options",
            "Both functions have these options; their own options are listed with each.",
            _format_options({}, api.SharedOptions),
            "Only `plan`:",
            _format_options(api.SharedOptions.__annotations__, api.PlanOptions),
            _format_directives(
                "", [f".. py:class:: {options.__name__}\n\n   {options.__doc__}" for options in _CLASSES]
            ),
            "## Answers",
            _format_directives(
                "", [f".. py:class:: {name}\n\n   :doc:`{where}`" for name, where in _ANSWER_PAGES.items()]
            ),
            "## Values",
            _format_directives("", [f".. py:type:: {name}\n\n   {what}" for name, what in _list_aliases()]),
            "## Errors",
            _format_directives(
                "planner.errors",
                [f".. autoexception:: {name}" for name in ("PlannerError", "InputError", "NothingFits")],
            ),
        )
    }


def _format_directives(module: str, lines: list[str]) -> str:
    """Sphinx directives in reStructuredText, for a module."""
    return format_block(
        "{eval-rst}", [f".. py:currentmodule:: {module or 'planner.api'}", "", *"\n\n".join(lines).split("\n")]
    )


def _format_options(before: Collection[str], options: type) -> str:
    """The keys of a class of options, without those in `before`."""
    effects = {name: option.description for option in describe_commands()["plan"].options for name in option.names}
    rows = [
        (
            format_code(key),
            format_code(kind.__forward_arg__),
            escape_text(effects.get(f"--{key.replace('_', '-')}", "")),
        )
        for key, kind in inspect.get_annotations(options).items()
        if key not in before
    ]
    return format_table(("option", "type", "effect"), rows)


def _list_aliases() -> Iterator[tuple[str, str]]:
    """The type aliases, each with its docstring."""
    return iter(collect_notes(ast.parse(inspect.getsource(api)).body).items())


def _split_paragraphs(text: str) -> Iterator[str]:
    """A docstring in Markdown: indented text is code."""
    for is_code, paragraphs in itertools.groupby(
        inspect.cleandoc(text).split("\n\n"), lambda part: part.startswith(" ")
    ):
        if is_code:
            yield format_block("python", inspect.cleandoc("\n\n".join(paragraphs)).split("\n")).strip()
        else:
            yield from map(escape_text, paragraphs)
