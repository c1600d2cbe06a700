"""`planner check`: run every plan that a checked-in file lists and hold each against its requirements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options.question import Files, Form, Output, Require, read_required
from planner.errors import InputError, NothingFits, RequirementNotMet

if TYPE_CHECKING:
    from planner.cli.input.arguments import Entry
    from planner.cli.input.plan_list import Listed
    from planner.documents.check import CheckDocument, CheckedPart
    from planner.documents.heterogeneous import HeterogeneousDocument
    from planner.documents.plan import Document
    from planner.studies.conditions.parse import Condition

PlansFile = Annotated[Path, typer.Argument(metavar="PLANS.toml", help="A file with [[plans]] tables.")]
OutDir = Annotated[
    Path | None,
    typer.Option("--out-dir", metavar="FOLDER", help="Also write each plan's document there, as NAME.json."),
]
CodeQuality = Annotated[
    Path | None,
    typer.Option(
        "--code-quality",
        metavar="FILE",
        help="Also write what is not met as a GitLab code quality report; in GitLab CI by itself.",
    ),
]
Ci = Annotated[
    bool, typer.Option("--ci/--no-ci", help="Tell GitHub Actions and GitLab CI what they show, where they run this.")
]


def check(
    plans_file: PlansFile,
    require: Require = None,
    form: Form = Output.TABLE,
    files: Files = None,
    out_dir: OutDir = None,
    code_quality: CodeQuality = None,
    ci: Ci = True,
) -> None:
    """Run the plans of a file and hold each to its requirements.

    \b
    Examples:
      planner check plan.toml
      planner check plan.toml --require 'mfu >= 40%' --require 'memory.headroom >= 5GiB'
      planner check plan.toml -o check.json -o check.xml --out-dir plans
    """
    from planner.cli.input.plan_list import read_list
    from planner.cli.io.ci import place_of_findings, told_of_check, told_of_faults, write_findings
    from planner.cli.io.output import check_files, complain, tell

    everywhere, listed = read_required(require), read_list(plans_file)
    written = [("--out-dir", out_dir / _file_of(one.name)) for one in listed] if out_dir is not None else []
    findings = place_of_findings(code_quality, ci=ci)
    wanted = check_files(files, beside=[*written, ("--code-quality", findings)], read=_read_by(listed))
    checked, faults = _run_all(listed, everywhere, str(plans_file))
    if faults:
        if ci:
            told_of_faults(str(plans_file), [(listed[number].line, error) for number, error in faults])
        for _, error in faults[:-1]:
            complain(f"error: {error}\n")
        raise faults[-1][1]
    document = _document(str(plans_file), checked)

    def text() -> str:
        from planner.report.views.check_text import check_text

        return check_text(document)

    if out_dir is not None:
        _write_plans(out_dir, document)
    write_findings(document, findings)
    tell(document, form.value, wanted, text)
    if ci:
        told_of_check(document)
    _end(document)


def _read_by(listed: Sequence[Listed]) -> list[tuple[str, str]]:
    """The files that plans name, each with its key."""
    from planner.cli.input.arguments import FILES, text_of
    from planner.cli.io.files import of_model

    named = [(f"{one.at}.{key}", text_of(one.options[key])) for one in listed for key in FILES if key in one.options]
    return [file for at, name in named for file in of_model(at, name)]


def _file_of(name: str) -> str:
    """What the document of a plan is called in the folder of `--out-dir`."""
    return f"{name}.json"


def _run_all(
    listed: Sequence[Listed], everywhere: Sequence[Condition], origin: str
) -> tuple[list[CheckedPart], list[tuple[int, InputError]]]:
    """Every plan, and what is wrong with the input of each, by its number."""
    checked, faults = [], []
    for number, one in enumerate(listed):
        try:
            checked.append(_checked(one, everywhere, origin))
        except InputError as error:
            faults.append((number, error))
    return checked, faults


def _checked(listed: Listed, everywhere: Sequence[Condition], origin: str) -> CheckedPart:
    """One plan, held against its requirements. Raises InputError that names the file and the key."""
    from planner.documents.check import CheckedPart
    from planner.documents.heterogeneous import HeterogeneousDocument
    from planner.documents.plan import Document
    from planner.studies.conditions.evaluate import evaluate_condition
    from planner.studies.conditions.values import compute_figure_values
    from planner.studies.requirement_part import requirement_part

    required = [(one.requirement, one.line) for one in listed.required]
    required += [(one, listed.line) for one in everywhere]
    try:
        answer = _planned(listed, origin)
    except NothingFits as error:
        return CheckedPart(
            name=listed.name,
            line=listed.line,
            outcome="nothing fits",
            obstacle=str(error),
            requirements=[],
            plan=None,
            mixed=None,
        )
    values = compute_figure_values(answer)
    parts = [requirement_part(evaluate_condition(one, values), line) for one, line in required]
    return CheckedPart(
        name=listed.name,
        line=listed.line,
        outcome="met" if all(one.met for one in parts) else "not met",
        obstacle="",
        requirements=parts,
        plan=answer if isinstance(answer, Document) else None,
        mixed=answer if isinstance(answer, HeterogeneousDocument) else None,
    )


def _planned(listed: Listed, origin: str) -> Document | HeterogeneousDocument:
    """The answer of `plan` to a table's options; its warnings are told with the plan's name."""
    from planner.cli.input.answers import document, options_of
    from planner.cli.input.arguments import arguments_of
    from planner.cli.io.output import kept_warnings, warn

    with kept_warnings() as said:
        try:
            answer = document(options_of(arguments_of(listed.options, "")))
        except InputError as error:
            raise _of_table(error, listed, origin) from None
    for line in said:
        warn(f"{listed.name}: {line}")
    return _first_only(answer, listed.options)


def _first_only(
    answer: Document | HeterogeneousDocument, options: Mapping[str, Entry]
) -> Document | HeterogeneousDocument:
    """The answer with its best plan alone, unless more were asked for."""
    from msgspec.structs import replace

    from planner.documents.plan import Document

    if not isinstance(answer, Document) or "top" in options or "pareto" in options:
        return answer
    return replace(answer, plans=answer.plans[:1])


def _of_table(error: InputError, listed: Listed, origin: str) -> InputError:
    """The fault of an option, as one of its key in the file; a fault in a file that the plan names has both files."""
    keys = [key.strip().removeprefix("--").replace("-", "_") for key in error.key.split(", ") if key]
    if error.origin:
        return error.relocate(f"{origin}: {listed.at}: {error.origin}")
    names = ["model" if key == "MODEL" else key for key in keys]
    at = [
        f"defaults.{name} (of {listed.at})" if name in listed.inherited else f"{listed.at}.{name}" for name in names
    ]
    return error.relocate(origin, ", ".join(at) or listed.at)


def _document(file: str, checked: list[CheckedPart]) -> CheckDocument:
    from planner.documents.check import SCHEMA_VERSION, CheckDocument, worst

    outcome = worst([one.outcome for one in checked])
    return CheckDocument(schema_version=SCHEMA_VERSION, file=file, outcome=outcome, checked=checked)


def _write_plans(folder: Path, document: CheckDocument) -> None:
    """Every answer as a document of its own. Raises InputError where the folder cannot be made."""
    from planner.cli.io.files import make_folder, write_file
    from planner.documents.check import answer_of
    from planner.report.formats.json_text import to_json

    make_folder(folder, "--out-dir")
    for one in document.checked:
        answer = answer_of(one)
        if answer is not None:
            write_file(folder / _file_of(one.name), to_json(answer))


def _end(document: CheckDocument) -> None:
    """Raises NothingFits or RequirementNotMet that names every plan at fault."""
    from planner.report.console import printable
    from planner.studies.requirement_part import unmet

    unfit = [f"{one.name}: {one.obstacle}" for one in document.checked if one.outcome == "nothing fits"]
    missed = [said for one in document.checked for said in unmet(one.name, one.requirements)]
    if unfit:
        # an obstacle names what is from the user's files
        raise NothingFits("\n".join(map(printable, "\n".join([*unfit, *missed]).split("\n"))))
    if missed:
        raise RequirementNotMet("\n".join(missed))
