"""Output options that commands share: the format, the files, the requirements on a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from typer.models import OptionInfo

from planner.cli.options.parameters import OptionValues
from planner.request.options import find_option

if TYPE_CHECKING:
    from planner.documents.heterogeneous import HeterogeneousDocument
    from planner.documents.plan import PlanDocument
    from planner.studies.conditions.parse import Condition


class OutputFormat(StrEnum):
    """Output formats."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    MARKDOWN = "markdown"
    HTML = "html"
    JUNIT = "junit"


FormatOption = Annotated[
    OutputFormat, typer.Option("--format", "-f", case_sensitive=False, help=find_option("format").help)
]


def build_files_option(*names: str, extra_suffixes: str = "") -> OptionInfo:
    """The option `-o`, also by other names. `extra_suffixes`: endings in addition to the usual ones."""
    suffixes = f"{extra_suffixes}.html, .md, .csv, .jsonl, .json, .xml (JUnit) or .txt"
    help_text = f"Also write a file, in the format of its ending: {suffixes}. May be given several times."
    option: OptionInfo = typer.Option("--output", *names, "-o", metavar="FILE", help=help_text)
    return option


FilesOption = Annotated[list[Path] | None, build_files_option()]
RequireOption = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        metavar="CONDITION",
        help=find_option("require").help,
    ),
]


@dataclass(frozen=True)
class PlanOutput:
    """The outputs of a plan document, and the requirements on its best plan."""

    format_name: str
    files: tuple[Path, ...]
    hostfile: Path | None
    rankfile: Path | None
    conditions: tuple[Condition, ...]

    def write(self, document: PlanDocument | HeterogeneousDocument) -> None:
        """Write the files, print the document, check the conditions.

        Raises InputError for a file that cannot be written, RequirementNotMet.
        """
        self._write_rank_files(document)
        write_plan_document(document, self.format_name, self.files)
        check_conditions(self.conditions, document)

    def _write_rank_files(self, document: PlanDocument | HeterogeneousDocument) -> None:
        if self.hostfile is None and self.rankfile is None:
            return
        from planner.cli.io.files import write_file_atomically
        from planner.documents.plan import PlanDocument
        from planner.export.ranks import render_hostfile, render_rankfile
        from planner.request.answer import refuse_for_pools

        if not isinstance(document, PlanDocument):
            refuse_for_pools("--rankfile" if self.hostfile is None else "--hostfile")
        for path, render in ((self.hostfile, render_hostfile), (self.rankfile, render_rankfile)):
            if path is not None:
                write_file_atomically(path, render(document))


def read_plan_output(values: OptionValues, more_inputs: Sequence[tuple[str, str]] = ()) -> PlanOutput:
    """The output options of a command, checked before anything is computed. Raises InputError.

    `more_inputs`: further files that the command reads, each with the option that names it.
    """
    from planner.cli.io.output import check_output_files
    from planner.request.plan_request import list_input_files

    hostfile, rankfile = (cast("Path | None", values.get(name)) for name in ("hostfile", "rankfile"))
    files = check_output_files(
        cast("list[Path] | None", values["output"]),
        other_outputs=[("--hostfile", hostfile), ("--rankfile", rankfile)],
        input_files=[*list_input_files(values), *more_inputs],
    )
    output_format = find_option("format")
    format_name = output_format.read_value(cast(str, values["format"] or output_format.default))
    conditions = read_conditions(cast("list[str] | None", values.get("require")))
    return PlanOutput(str(format_name), files, hostfile, rankfile, conditions)


def read_conditions(texts: Sequence[str] | None) -> tuple[Condition, ...]:
    """The conditions of `--require`. Raises InputError."""
    if not texts:
        return ()
    from planner.studies.conditions.parse import parse_condition

    return tuple(map(parse_condition, texts))


def check_conditions(conditions: Sequence[Condition], document: PlanDocument | HeterogeneousDocument) -> None:
    """Raise RequirementNotMet that names each condition that the best plan does not meet."""
    if not conditions:
        return
    from planner.documents.figures import read_figure_values
    from planner.errors import RequirementNotMet
    from planner.studies.conditions.evaluate import evaluate_condition, format_unmet_condition

    values = read_figure_values(document)
    evaluated = [evaluate_condition(condition, values) for condition in conditions]
    unmet = [format_unmet_condition(item.condition, item.explanation) for item in evaluated if not item.is_met]
    if unmet:
        raise RequirementNotMet("\n".join(unmet))


def write_plan_document(
    document: PlanDocument | HeterogeneousDocument, format_name: str, files: Sequence[Path] = ()
) -> None:
    """Write the document to the files and print it."""
    from planner.cli.io.output import write_document

    write_document(document, format_name, files)
