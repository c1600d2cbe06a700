"""`planner diff`: what changed between two plans, or two files of plans, by how much, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from planner.cli.commands.check import Ci
from planner.cli.options.question import Files, Form, Output
from planner.errors import InputError, RequirementNotMet

if TYPE_CHECKING:
    import msgspec

    from planner.documents.check import CheckDocument
    from planner.documents.diff import DiffDocument
    from planner.documents.heterogeneous import HeterogeneousDocument
    from planner.documents.plan import Document

T = TypeVar("T", bound="msgspec.Struct")

_WHAT = "what `plan`, `planner estimate` or `planner check` printed with --format json"
Base = Annotated[Path, typer.Argument(metavar="BASE.json", help="The document before.")]
Head = Annotated[Path, typer.Argument(metavar="HEAD.json", help="The document after.")]
Threshold = Annotated[
    str, typer.Option("--threshold", help="Figures that changed by a smaller share are not told: 1%.")
]
Require = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        metavar="CONDITION",
        help="What has to hold of base.NAME, head.NAME and change.NAME, else the exit code is 4: "
        "'change.step_time_s <= 5%'. May be given several times.",
    ),
]


def diff(
    base: Base,
    head: Head,
    form: Form = Output.TABLE,
    files: Files = None,
    threshold: Threshold = "0.1%",
    require: Require = None,
    ci: Ci = True,
) -> None:
    """Tell what changed between two plans, by how much, and why.

    \b
    Examples:
      planner diff base.json head.json
      planner diff base.json head.json --format markdown --threshold 1%
      planner diff base.json head.json --require 'change.step_time_s <= 5%'
    """
    from planner.cli.io.ci import append_summary
    from planner.cli.io.output import check_files, tell
    from planner.report.formats.diff_markdown import diff_markdown
    from planner.studies.conditions.figures import build_compared_figures
    from planner.studies.conditions.parse import parse_condition
    from planner.studies.diff import compared
    from planner.units import parse_quantity

    wanted = check_files(files, read=[("BASE", base), ("HEAD", head)])
    least = parse_quantity(threshold, "ratio", key="--threshold")
    figures = build_compared_figures()
    required = [parse_condition(text, figures) for text in require or ()]
    before, after = _read(base), _read(head)
    _refuse_unlike(before, after, head)
    document = compared(before, after, (base.as_posix(), head.as_posix()), least, required)

    def text() -> str:
        from planner.report.views.diff_text import diff_text

        return diff_text(document)

    def markdown() -> str:
        return diff_markdown(document)

    tell(document, form.value, wanted, text, {".markdown": markdown, ".md": markdown})
    if ci:
        append_summary(markdown())
    _end(document)


def _end(document: DiffDocument) -> None:
    """Raises RequirementNotMet that names every plan and requirement at fault."""
    from planner.studies.requirement_part import unmet

    missed = [said for one in document.differences for said in unmet(one.name, one.requirements)]
    if missed:
        raise RequirementNotMet("\n".join(missed))


def _refuse_unlike(base: msgspec.Struct, head: msgspec.Struct, path: Path) -> None:
    """Raises InputError for a single plan beside a file of plans."""
    from planner.documents.check import CheckDocument

    if isinstance(base, CheckDocument) != isinstance(head, CheckDocument):
        expected = "two of `planner check`, or two of `plan` or `planner estimate`; see planner check --out-dir"
        raise InputError("one is of a file of plans, the other of a single one", origin=str(path), expected=expected)


def _read(path: Path) -> CheckDocument | Document | HeterogeneousDocument:
    """A document of `plan`, `estimate` or `check`. Raises InputError for another one, or another version of one."""
    from planner.cli.io.files import read_text
    from planner.decode import parse_mapping

    raw = parse_mapping(read_text(path, (".json",), _WHAT), "json", str(path))
    if "checked" in raw:
        from planner.documents import check as check_document

        _check_version(raw, check_document.SCHEMA_VERSION, str(path))
        _check_inner(raw, str(path))
        return _typed(raw, check_document.CheckDocument, str(path))
    if "ways" in raw:
        from planner.documents import heterogeneous as mixed_document

        _check_version(raw, mixed_document.SCHEMA_VERSION, str(path))
        return _typed(raw, mixed_document.HeterogeneousDocument, str(path))
    from planner.documents import plan as document

    if "plans" not in raw or "model" not in raw:
        raise InputError("is no document with plans", origin=str(path), expected=_WHAT)
    _check_version(raw, document.SCHEMA_VERSION, str(path))
    return _typed(raw, document.Document, str(path))


def _check_version(raw: dict[str, object], version: str, origin: str, at: str = "") -> None:
    """Raises InputError for a document that another version of the planner has written."""
    if raw.get("schema_version") != version:
        raise InputError(
            "another version of the document",
            origin=origin,
            key=f"{at}schema_version",
            value=str(raw.get("schema_version")),
            expected=f"{version}; make both documents with the same planner",
        )


def _check_inner(raw: dict[str, object], origin: str) -> None:
    """The versions of the answers in a check document."""
    from planner.documents import heterogeneous as mixed_document
    from planner.documents import plan as document

    checked = raw["checked"]
    for number, one in enumerate(checked if isinstance(checked, list) else ()):
        for key, version in (("plan", document.SCHEMA_VERSION), ("mixed", mixed_document.SCHEMA_VERSION)):
            answer = one.get(key) if isinstance(one, dict) else None
            if isinstance(answer, dict):
                _check_version(answer, version, origin, f"checked[{number}].{key}.")


def _typed(raw: dict[str, object], into: type[T], origin: str) -> T:
    from planner.decode import convert_to_type

    return convert_to_type(raw, into, origin)
