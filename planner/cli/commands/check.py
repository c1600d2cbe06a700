"""`planner check`: compute every plan of a checked-in file and compare it with its requirements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from planner.cli.input.plan_list import PlanEntry, read_plan_list
from planner.cli.io import ci as ci_reports
from planner.cli.io.files import check_distinct_files, make_folder, write_file_atomically
from planner.cli.io.output import DocumentOutput, write_stderr
from planner.cli.lazy import import_lazily
from planner.cli.options.command import declare_command
from planner.cli.options.output import CI, DOCUMENT_OPTIONS, REQUIRE, declare_file_argument, parse_conditions
from planner.errors import InputError, NothingFits, RequirementNotMet
from planner.request.files import list_model_files
from planner.request.notices import collect_warnings, warn
from planner.request.options import FILE_KEYS, Completion, Option
from planner.request.values import format_option_value

with import_lazily():
    from planner.documents import check as check_documents
    from planner.documents import figures, heterogeneous, plan
    from planner.report import console
    from planner.report.formats import json_text
    from planner.request import answer, plan_request
    from planner.studies.conditions import evaluate, parse


@declare_command(
    declare_file_argument(
        "plans_file", "PLANS.toml", "A TOML file of plans: tables [[plans]] with options of `plan`.", ".toml"
    ),
    REQUIRE,
    *DOCUMENT_OPTIONS,
    Option(
        "out_dir", "Output", "Also write each plan's document to this folder, as NAME.json.", metavar="FOLDER",
        in_answer=False, completion=Completion(endings=()),
    ),
    Option(
        "code_quality", "Output",
        "Also write unmet requirements as a GitLab code quality report. Default: in GitLab CI only.", metavar="FILE",
        is_path=True, in_answer=False, completion=Completion(endings=()),
    ),
    CI,
)  # fmt: skip
def check(
    plans_file: Path,
    require: Sequence[str],
    output: DocumentOutput,
    out_dir: str | None,
    code_quality: Path | None,
    ci: bool,
) -> None:
    """Check the plans of a file against their requirements.

    \b
    Examples:
      planner check plan.toml
      planner check plan.toml --require 'mfu >= 40%' --require 'memory.headroom >= 5GiB'
      planner check plan.toml -o check.json -o check.xml --out-dir plans
    """
    common_conditions, plan_entries = parse_conditions(require), read_plan_list(plans_file)
    plan_paths = [] if out_dir is None else [Path(out_dir) / f"{plan_entry.name}.json" for plan_entry in plan_entries]
    code_quality_file = ci_reports.find_code_quality_file(code_quality, ci=ci)
    check_distinct_files(
        [
            *(("--output", path) for path in output.files),
            *(("--out-dir", path) for path in plan_paths),
            ("--code-quality", code_quality_file),
        ],
        _list_read_files(plan_entries),
    )
    checked_parts, input_errors = _check_plans(plan_entries, common_conditions, str(plans_file))
    if input_errors:
        if ci:
            ci_reports.annotate_input_errors(
                str(plans_file), [(plan_entries[number].line, error) for number, error in input_errors]
            )
        for _, error in input_errors[:-1]:
            write_stderr(f"error: {error}\n")
        raise input_errors[-1][1]
    document = check_documents.CheckDocument(
        schema_version=check_documents.SCHEMA_VERSION,
        file=str(plans_file),
        outcome=check_documents.find_worst_outcome([part.outcome for part in checked_parts]),
        checked=checked_parts,
    )
    if out_dir is not None:
        make_folder(Path(out_dir), "--out-dir")
        for part, path in zip(checked_parts, plan_paths, strict=True):
            plan_answer = check_documents.get_checked_answer(part)
            if plan_answer is not None:
                write_file_atomically(path, json_text.render_json(plan_answer))
    ci_reports.write_code_quality_report(document, code_quality_file)
    output.write(document)
    if ci:
        ci_reports.report_check_to_github(document)
    _raise_failed_checks(document)


def _list_read_files(plan_entries: Sequence[PlanEntry]) -> list[tuple[str, str]]:
    """The files that the plans name, each with its key."""
    return [
        file
        for plan_entry in plan_entries
        for key in FILE_KEYS
        if key in plan_entry.options
        for file in list_model_files(f"{plan_entry.key_path}.{key}", format_option_value(plan_entry.options[key]))
    ]


def _check_plans(
    plan_entries: Sequence[PlanEntry], common_conditions: Sequence[parse.Condition], origin: str
) -> tuple[list[check_documents.PlanCheckPart], list[tuple[int, InputError]]]:
    """Every checked plan, and the input error of a plan by its number."""
    checked_parts, input_errors = [], []
    for number, plan_entry in enumerate(plan_entries):
        try:
            checked_parts.append(_check_plan(plan_entry, common_conditions, origin))
        except InputError as error:
            input_errors.append((number, error))
    return checked_parts, input_errors


def _check_plan(
    plan_entry: PlanEntry, common_conditions: Sequence[parse.Condition], origin: str
) -> check_documents.PlanCheckPart:
    """A plan compared with its requirements. Raises InputError that names the file and the key."""
    line_conditions = [(item.condition, item.line) for item in plan_entry.conditions]
    line_conditions += [(item, plan_entry.line) for item in common_conditions]
    try:
        document = _compute_entry_document(plan_entry, origin)
    except NothingFits as error:
        return check_documents.PlanCheckPart(
            name=plan_entry.name,
            line=plan_entry.line,
            outcome="nothing fits",
            obstacle=str(error),
            requirements=[],
            plan=None,
            heterogeneous=None,
        )
    figure_values = figures.read_figure_values(document)
    parts = [
        evaluate.build_condition_part(evaluate.evaluate_condition(item, figure_values), line)
        for item, line in line_conditions
    ]
    return check_documents.PlanCheckPart(
        name=plan_entry.name,
        line=plan_entry.line,
        outcome="met" if all(item.met for item in parts) else "not met",
        obstacle="",
        requirements=parts,
        plan=document if isinstance(document, plan.PlanDocument) else None,
        heterogeneous=document if isinstance(document, heterogeneous.HeterogeneousDocument) else None,
    )


def _compute_entry_document(
    plan_entry: PlanEntry, origin: str
) -> plan.PlanDocument | heterogeneous.HeterogeneousDocument:
    """The answer of `plan` to a table's options, its best plan alone unless they ask for more.

    Warnings are printed with the plan's name.
    """
    with collect_warnings() as collected:
        try:
            document = answer.compute_answer(plan_request.build_plan_request(plan_entry.options))
        except InputError as error:
            raise _relocate_to_entry(error, plan_entry, origin) from None
    for line in collected:
        warn(f"{plan_entry.name}: {line}")
    if not isinstance(document, plan.PlanDocument) or "top" in plan_entry.options or "pareto" in plan_entry.options:
        return document
    from msgspec.structs import replace

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


def _raise_failed_checks(document: check_documents.CheckDocument) -> None:
    """Raise NothingFits or RequirementNotMet that names every plan that fails."""
    infeasible_plans = [
        f"{part.name}: {part.obstacle}" for part in document.checked if part.outcome == "nothing fits"
    ]
    unmet_conditions = [
        sentence
        for part in document.checked
        for sentence in evaluate.list_unmet_conditions(part.name, part.requirements)
    ]
    if infeasible_plans:
        # an obstacle may contain texts of the user's files
        raise NothingFits(
            "\n".join(map(console.strip_nonprintable, "\n".join([*infeasible_plans, *unmet_conditions]).split("\n")))
        )
    if unmet_conditions:
        raise RequirementNotMet("\n".join(unmet_conditions))
