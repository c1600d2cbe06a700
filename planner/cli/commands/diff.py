"""`planner diff`: the differences between two plans, or two files of plans, and their causes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from planner.cli.commands.check import CiOption
from planner.cli.options.output import FilesOption, FormatOption, OutputFormat
from planner.errors import InputError, RequirementNotMet

if TYPE_CHECKING:
    import msgspec

    from planner.documents.check import CheckDocument
    from planner.documents.diff import DiffDocument
    from planner.documents.heterogeneous import HeterogeneousDocument
    from planner.documents.plan import PlanDocument

T = TypeVar("T", bound="msgspec.Struct")

_EXPECTED_DOCUMENT = "the output of `plan`, `planner estimate` or `planner check` with --format json"
BaseDocumentArgument = Annotated[Path, typer.Argument(metavar="BASE.json", help="The document before.")]
HeadDocumentArgument = Annotated[Path, typer.Argument(metavar="HEAD.json", help="The document after.")]
ThresholdOption = Annotated[
    str, typer.Option("--threshold", help="Leave out figures that changed by a smaller share: 1%.")
]
DiffRequireOption = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        metavar="CONDITION",
        help="A requirement on base.NAME, head.NAME or change.NAME, else the exit code is 4: "
        "'change.step_time_s <= 5%'. May be given several times.",
    ),
]


def diff(
    base: BaseDocumentArgument,
    head: HeadDocumentArgument,
    form: FormatOption = OutputFormat.TABLE,
    files: FilesOption = None,
    threshold: ThresholdOption = "0.1%",
    require: DiffRequireOption = None,
    ci: CiOption = True,
) -> None:
    """Show what changed between two plans, by how much, and why.

    \b
    Examples:
      planner diff base.json head.json
      planner diff base.json head.json --format markdown --threshold 1%
      planner diff base.json head.json --require 'change.step_time_s <= 5%'
    """
    from planner.cli.io.ci import append_step_summary
    from planner.cli.io.output import check_output_files, write_document
    from planner.report.formats.diff_markdown import render_diff_markdown
    from planner.studies.conditions.figures import build_compared_figures
    from planner.studies.conditions.parse import parse_condition
    from planner.studies.diff import compare_documents
    from planner.units import parse_quantity

    output_files = check_output_files(files, input_files=[("BASE", base), ("HEAD", head)])
    min_change = parse_quantity(threshold, "ratio", key="--threshold")
    figures = build_compared_figures()
    conditions = [parse_condition(render_table, figures) for render_table in require or ()]
    base_document, head_document = _read_diff_document(base), _read_diff_document(head)
    _check_same_document_type(base_document, head_document, head)
    document = compare_documents(
        base_document, head_document, (base.as_posix(), head.as_posix()), min_change, conditions
    )

    def render_markdown() -> str:
        return render_diff_markdown(document)

    write_document(document, form.value, output_files, {".markdown": render_markdown, ".md": render_markdown})
    if ci:
        append_step_summary(render_markdown())
    _raise_unmet_conditions(document)


def _raise_unmet_conditions(document: DiffDocument) -> None:
    """Raise RequirementNotMet that names every plan and the requirements that it fails."""
    from planner.studies.conditions.evaluate import list_unmet_conditions

    unmet_conditions = [
        sentence
        for difference in document.differences
        for sentence in list_unmet_conditions(difference.name, difference.requirements)
    ]
    if unmet_conditions:
        raise RequirementNotMet("\n".join(unmet_conditions))


def _check_same_document_type(base_document: msgspec.Struct, head_document: msgspec.Struct, path: Path) -> None:
    """Raise InputError for a single plan and a file of plans."""
    from planner.documents.check import CheckDocument

    if isinstance(base_document, CheckDocument) != isinstance(head_document, CheckDocument):
        expected = "two of `planner check`, or two of `plan` or `planner estimate`; see planner check --out-dir"
        raise InputError(
            "one document has the plans of a file, the other a single plan", origin=str(path), expected=expected
        )


def _read_diff_document(path: Path) -> CheckDocument | PlanDocument | HeterogeneousDocument:
    """A document of `plan`, `estimate` or `check`. Raises InputError for another document or version."""
    from planner.decode import parse_mapping
    from planner.request.files import read_text_file

    raw = parse_mapping(read_text_file(path, (".json",), _EXPECTED_DOCUMENT), "json", str(path))
    if "checked" in raw:
        from planner.documents import check as check_document

        _check_schema_version(raw, check_document.SCHEMA_VERSION, str(path))
        _check_inner_versions(raw, str(path))
        return _convert_document(raw, check_document.CheckDocument, str(path))
    if "ways" in raw:
        from planner.documents import heterogeneous as mixed_document

        _check_schema_version(raw, mixed_document.SCHEMA_VERSION, str(path))
        return _convert_document(raw, mixed_document.HeterogeneousDocument, str(path))
    from planner.documents import plan as document

    if "plans" not in raw or "model" not in raw:
        raise InputError("not a document with plans", origin=str(path), expected=_EXPECTED_DOCUMENT)
    _check_schema_version(raw, document.SCHEMA_VERSION, str(path))
    return _convert_document(raw, document.PlanDocument, str(path))


def _check_schema_version(raw: dict[str, object], version: str, origin: str, key_prefix: str = "") -> None:
    """Raise InputError for a document of another version of planner."""
    if raw.get("schema_version") != version:
        raise InputError(
            "unsupported version of the document",
            origin=origin,
            key=f"{key_prefix}schema_version",
            value=str(raw.get("schema_version")),
            expected=f"{version}; make both documents with the same planner",
        )


def _check_inner_versions(raw: dict[str, object], origin: str) -> None:
    """The versions of the answers in a check document."""
    from planner.documents import heterogeneous as mixed_document
    from planner.documents import plan as document

    checked = raw["checked"]
    for number, checked_plan in enumerate(checked if isinstance(checked, list) else ()):
        for key, version in (("plan", document.SCHEMA_VERSION), ("mixed", mixed_document.SCHEMA_VERSION)):
            plan_document = checked_plan.get(key) if isinstance(checked_plan, dict) else None
            if isinstance(plan_document, dict):
                _check_schema_version(plan_document, version, origin, f"checked[{number}].{key}.")


def _convert_document(raw: dict[str, object], document_type: type[T], origin: str) -> T:
    from planner.decode import convert_to_type

    return convert_to_type(raw, document_type, origin)
