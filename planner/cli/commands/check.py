"""`planner check`: compute every plan of a checked-in file and compare it with its requirements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options.output import FilesOption, FormatOption, OutputFormat, RequireOption, read_conditions
from planner.errors import InputError, NothingFits, RequirementNotMet

if TYPE_CHECKING:
    from planner.cli.input.plan_list import PlanEntry
    from planner.documents.check import CheckDocument, PlanCheckPart
    from planner.documents.heterogeneous import HeterogeneousDocument
    from planner.documents.plan import PlanDocument
    from planner.request.values import OptionValue
    from planner.studies.conditions.parse import Condition

PlansFileArgument = Annotated[Path, typer.Argument(metavar="PLANS.toml", help="A file with [[plans]] tables.")]
OutDirOption = Annotated[
    Path | None,
    typer.Option("--out-dir", metavar="FOLDER", help="Also write each plan's document to this folder, as NAME.json."),
]
CodeQualityOption = Annotated[
    Path | None,
    typer.Option(
        "--code-quality",
        metavar="FILE",
        help="Also write unmet requirements as a GitLab code quality report. Default: in GitLab CI only.",
    ),
]
CiOption = Annotated[bool, typer.Option("--ci/--no-ci", help="Report to GitHub Actions or GitLab CI when run there.")]


def check(
    plans_file: PlansFileArgument,
    require: RequireOption = None,
    form: FormatOption = OutputFormat.TABLE,
    files: FilesOption = None,
    out_dir: OutDirOption = None,
    code_quality: CodeQualityOption = None,
    ci: CiOption = True,
) -> None:
    """Compute the plans of a file and check each against its requirements.

    \b
    Examples:
      planner check plan.toml
      planner check plan.toml --require 'mfu >= 40%' --require 'memory.headroom >= 5GiB'
      planner check plan.toml -o check.json -o check.xml --out-dir plans
    """
    from planner.cli.input.plan_list import read_plan_list
    from planner.cli.io.ci import (
        annotate_input_errors,
        find_code_quality_file,
        report_check_to_github,
        write_code_quality_report,
    )
    from planner.cli.io.output import check_output_files, write_document, write_stderr

    common_conditions, plan_entries = read_conditions(require), read_plan_list(plans_file)
    plan_outputs = (
        [("--out-dir", out_dir / _format_plan_file_name(plan_entry.name)) for plan_entry in plan_entries]
        if out_dir is not None
        else []
    )
    code_quality_file = find_code_quality_file(code_quality, ci=ci)
    output_files = check_output_files(
        files,
        other_outputs=[*plan_outputs, ("--code-quality", code_quality_file)],
        input_files=_list_read_files(plan_entries),
    )
    checked_parts, input_errors = _check_plans(plan_entries, common_conditions, str(plans_file))
    if input_errors:
        if ci:
            annotate_input_errors(
                str(plans_file), [(plan_entries[number].line, error) for number, error in input_errors]
            )
        for _, error in input_errors[:-1]:
            write_stderr(f"error: {error}\n")
        raise input_errors[-1][1]
    document = _build_check_document(str(plans_file), checked_parts)

    if out_dir is not None:
        _write_plan_documents(out_dir, document)
    write_code_quality_report(document, code_quality_file)
    write_document(document, form.value, output_files)
    if ci:
        report_check_to_github(document)
    _raise_failed_checks(document)


def _list_read_files(plan_entries: Sequence[PlanEntry]) -> list[tuple[str, str]]:
    """The files that the plans name, each with its key."""
    from planner.request.files import list_model_files
    from planner.request.options import FILE_KEYS
    from planner.request.values import format_option_value

    file_options = [
        (f"{plan_entry.key_path}.{key}", format_option_value(plan_entry.options[key]))
        for plan_entry in plan_entries
        for key in FILE_KEYS
        if key in plan_entry.options
    ]
    return [file for key_path, name in file_options for file in list_model_files(key_path, name)]


def _format_plan_file_name(plan_name: str) -> str:
    """The name of a plan's document in the folder of `--out-dir`."""
    return f"{plan_name}.json"


def _check_plans(
    plan_entries: Sequence[PlanEntry], common_conditions: Sequence[Condition], origin: str
) -> tuple[list[PlanCheckPart], list[tuple[int, InputError]]]:
    """Every checked plan, and the input error of a plan by its number."""
    checked_parts, input_errors = [], []
    for number, plan_entry in enumerate(plan_entries):
        try:
            checked_parts.append(_check_plan(plan_entry, common_conditions, origin))
        except InputError as error:
            input_errors.append((number, error))
    return checked_parts, input_errors


def _check_plan(plan_entry: PlanEntry, common_conditions: Sequence[Condition], origin: str) -> PlanCheckPart:
    """A plan compared with its requirements. Raises InputError that names the file and the key."""
    from planner.documents.check import PlanCheckPart
    from planner.documents.figures import read_figure_values
    from planner.documents.heterogeneous import HeterogeneousDocument
    from planner.documents.plan import PlanDocument
    from planner.studies.conditions.evaluate import build_condition_part, evaluate_condition

    line_conditions = [(item.condition, item.line) for item in plan_entry.conditions]
    line_conditions += [(item, plan_entry.line) for item in common_conditions]
    try:
        plan_document = _compute_entry_document(plan_entry, origin)
    except NothingFits as error:
        return PlanCheckPart(
            name=plan_entry.name,
            line=plan_entry.line,
            outcome="nothing fits",
            obstacle=str(error),
            requirements=[],
            plan=None,
            heterogeneous=None,
        )
    values = read_figure_values(plan_document)
    parts = [build_condition_part(evaluate_condition(item, values), line) for item, line in line_conditions]
    return PlanCheckPart(
        name=plan_entry.name,
        line=plan_entry.line,
        outcome="met" if all(item.met for item in parts) else "not met",
        obstacle="",
        requirements=parts,
        plan=plan_document if isinstance(plan_document, PlanDocument) else None,
        heterogeneous=plan_document if isinstance(plan_document, HeterogeneousDocument) else None,
    )


def _compute_entry_document(plan_entry: PlanEntry, origin: str) -> PlanDocument | HeterogeneousDocument:
    """The answer of `plan` to a table's options; its warnings are printed with the plan's name."""
    from planner.request.answer import compute_answer
    from planner.request.notices import collect_warnings, warn
    from planner.request.plan_request import build_plan_request

    with collect_warnings() as collected:
        try:
            plan_document = compute_answer(build_plan_request(plan_entry.options))
        except InputError as error:
            raise _relocate_to_entry(error, plan_entry, origin) from None
    for line in collected:
        warn(f"{plan_entry.name}: {line}")
    return _keep_best_plan(plan_document, plan_entry.options)


def _keep_best_plan(
    document: PlanDocument | HeterogeneousDocument, options: Mapping[str, OptionValue]
) -> PlanDocument | HeterogeneousDocument:
    """The answer with its best plan alone, unless the options ask for more."""
    from msgspec.structs import replace

    from planner.documents.plan import PlanDocument

    if not isinstance(document, PlanDocument) or "top" in options or "pareto" in options:
        return document
    return replace(document, plans=document.plans[:1])


def _relocate_to_entry(error: InputError, plan_entry: PlanEntry, origin: str) -> InputError:
    """The error of an option, located at its key in the file; an error in a file of the plan names both files."""
    keys = [key.strip().removeprefix("--").replace("-", "_") for key in error.key.split(", ") if key]
    if error.origin:
        return error.relocate(f"{origin}: {plan_entry.key_path}: {error.origin}")
    names = ["model" if key == "MODEL" else key for key in keys]
    key_paths = [
        f"defaults.{name} (of {plan_entry.key_path})"
        if name in plan_entry.inherited_keys
        else f"{plan_entry.key_path}.{name}"
        for name in names
    ]
    return error.relocate(origin, ", ".join(key_paths) or plan_entry.key_path)


def _build_check_document(plans_file: str, checked_parts: list[PlanCheckPart]) -> CheckDocument:
    from planner.documents.check import SCHEMA_VERSION, CheckDocument, find_worst_outcome

    outcome = find_worst_outcome([part.outcome for part in checked_parts])
    return CheckDocument(schema_version=SCHEMA_VERSION, file=plans_file, outcome=outcome, checked=checked_parts)


def _write_plan_documents(folder: Path, document: CheckDocument) -> None:
    """Write every answer as a separate document. Raises InputError where the folder cannot be made."""
    from planner.cli.io.files import make_folder, write_file_atomically
    from planner.documents.check import get_checked_answer
    from planner.report.formats.json_text import render_json

    make_folder(folder, "--out-dir")
    for part in document.checked:
        plan_document = get_checked_answer(part)
        if plan_document is not None:
            write_file_atomically(folder / _format_plan_file_name(part.name), render_json(plan_document))


def _raise_failed_checks(document: CheckDocument) -> None:
    """Raise NothingFits or RequirementNotMet that names every plan that fails."""
    from planner.report.console import strip_nonprintable
    from planner.studies.conditions.evaluate import list_unmet_conditions

    infeasible_plans = [
        f"{part.name}: {part.obstacle}" for part in document.checked if part.outcome == "nothing fits"
    ]
    unmet_conditions = [
        sentence for part in document.checked for sentence in list_unmet_conditions(part.name, part.requirements)
    ]
    if infeasible_plans:
        # an obstacle may contain texts of the user's files
        raise NothingFits(
            "\n".join(map(strip_nonprintable, "\n".join([*infeasible_plans, *unmet_conditions]).split("\n")))
        )
    if unmet_conditions:
        raise RequirementNotMet("\n".join(unmet_conditions))
