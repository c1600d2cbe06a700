"""`planner diff`: the differences between two plans, or two files of plans, and their causes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from planner.cli.io.ci import append_step_summary
from planner.cli.io.output import DocumentOutput
from planner.cli.lazy import import_lazily
from planner.cli.options.command import declare_command
from planner.cli.options.output import CI, DOCUMENT_OPTIONS, declare_file_argument
from planner.errors import InputError, RequirementNotMet
from planner.request.files import read_text_file
from planner.request.options import Option
from planner.request.values import OptionValue, parse_texts
from planner.units import parse_quantity

with import_lazily():
    from planner import decode
    from planner.documents import check as check_documents
    from planner.documents import heterogeneous, plan
    from planner.report.formats import diff_markdown
    from planner.studies import diff as diff_study
    from planner.studies import explain as explain_study
    from planner.studies.conditions import evaluate, figures
    from planner.studies.conditions import parse as conditions

_EXPECTED_DOCUMENT = "the output of `plan`, `planner estimate` or `planner check` with --format json"


def _parse_share(value: OptionValue, key: str) -> float:
    return parse_quantity(str(value), "ratio", key=key)


@declare_command(
    declare_file_argument("base", "BASE.json", "The document before.", ".json"),
    declare_file_argument("head", "HEAD.json", "The document after.", ".json"),
    Option(
        "threshold", "Comparison", "Leave out figures that changed by a smaller share: 1%.", _parse_share,
        metavar="PERCENT", default="0.1%",
    ),
    Option(
        "require", "Comparison",
        "A requirement on base.NAME, head.NAME or change.NAME, else the exit code is 4: "
        "'change.step_time_s <= 5%'. May be given several times.",
        parse_texts, metavar="CONDITION", is_repeatable=True,
    ),
    *DOCUMENT_OPTIONS,
    CI,
)  # fmt: skip
def diff(base: Path, head: Path, threshold: float, require: Sequence[str], ci: bool, output: DocumentOutput) -> None:
    """Show what changed between two plans, by how much, and why.

    \b
    Examples:
      planner diff base.json head.json
      planner diff base.json head.json --format markdown --threshold 1%
      planner diff base.json head.json --require 'change.step_time_s <= 5%'
    """
    compared_figures = figures.build_compared_figures()
    requirements = [conditions.parse_condition(text, compared_figures) for text in require]
    base_document, head_document = _read_diff_document(base), _read_diff_document(head)
    if isinstance(base_document, check_documents.CheckDocument) != isinstance(
        head_document, check_documents.CheckDocument
    ):
        expected = "two of `planner check`, or two of `plan` or `planner estimate`; see planner check --out-dir"
        problem = "one document has the plans of a file, the other a single plan"
        raise InputError(problem, origin=str(head), expected=expected)
    document = diff_study.compare_documents(
        base_document, head_document, (base.as_posix(), head.as_posix()), threshold, requirements
    )
    render_markdown = partial(diff_markdown.render_diff_markdown, document)
    output.write(document, {".markdown": render_markdown, ".md": render_markdown})
    if ci:
        append_step_summary(render_markdown())
    unmet_conditions = [
        sentence
        for difference in document.differences
        for sentence in evaluate.list_unmet_conditions(difference.name, difference.requirements)
    ]
    if unmet_conditions:
        raise RequirementNotMet("\n".join(unmet_conditions))


def _read_diff_document(
    path: Path,
) -> check_documents.CheckDocument | plan.PlanDocument | heterogeneous.HeterogeneousDocument:
    """A document of `plan`, `estimate` or `check`. Raises InputError for another document or version."""
    origin = str(path)
    raw = decode.parse_mapping(read_text_file(path, (".json",), _EXPECTED_DOCUMENT), "json", origin)
    if "checked" in raw:
        _check_schema_version(raw, check_documents.SCHEMA_VERSION, origin)
        checked = raw["checked"]
        for number, checked_plan in enumerate(checked if isinstance(checked, list) else ()):
            for key, version in (("plan", plan.SCHEMA_VERSION), ("mixed", heterogeneous.SCHEMA_VERSION)):
                answer = checked_plan.get(key) if isinstance(checked_plan, dict) else None
                if isinstance(answer, dict):
                    _check_schema_version(answer, version, origin, f"checked[{number}].{key}.")
        checked_document = decode.convert_to_type(raw, check_documents.CheckDocument, origin)
        for number, checked_plan in enumerate(checked_document.checked):
            if checked_plan.plan is not None:
                _check_plan_splits(checked_plan.plan, origin, f"checked[{number}].plan.")
        return checked_document
    if "ways" in raw:
        _check_schema_version(raw, heterogeneous.SCHEMA_VERSION, origin)
        return decode.convert_to_type(raw, heterogeneous.HeterogeneousDocument, origin)
    if "plans" not in raw or "model" not in raw:
        raise InputError("not a document with plans", origin=origin, expected=_EXPECTED_DOCUMENT)
    _check_schema_version(raw, plan.SCHEMA_VERSION, origin)
    document = decode.convert_to_type(raw, plan.PlanDocument, origin)
    _check_plan_splits(document, origin)
    return document


def _check_plan_splits(document: plan.PlanDocument, origin: str, key_prefix: str = "") -> None:
    """Raise InputError for a plan whose degrees do not match its cluster, or whose settings do not exist."""
    for number, planned in enumerate(document.plans):
        try:
            explain_study.check_plan_split(planned, document.cluster.devices, document.model.layers)
        except InputError as error:
            raise error.relocate(origin, f"{key_prefix}plans[{number}].{error.key}") from None


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
