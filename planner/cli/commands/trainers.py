"""`planner trainers`: what each trainer can run, its defaults, its version, and the sources."""

from __future__ import annotations

from planner.cli.io.output import DocumentOutput
from planner.cli.lazy import import_lazily
from planner.cli.options.command import CommandGroup, declare_command
from planner.cli.options.output import DOCUMENT_OPTIONS
from planner.request.options import TRAINER_COMPLETION, Option

with import_lazily():
    from planner.documents import trainers as trainer_documents


@declare_command(*DOCUMENT_OPTIONS)
def list_trainers(output: DocumentOutput) -> None:
    """List the trainers with their versions and defaults.

    A program is a trainer that `planner export --to` writes files for; the others are kinds of plans, which several
    programs run.

    \b
    Examples:
      planner trainers list
    """
    output.write(trainer_documents.build_trainers_document())


@declare_command(
    Option(
        "name", "Arguments", "A value of --trainer.", metavar="NAME[@VERSION]", is_argument=True, is_required=True,
        completion=TRAINER_COMPLETION,
    ),
    *DOCUMENT_OPTIONS,
)  # fmt: skip
def show_trainer(name: str, output: DocumentOutput) -> None:
    """Show what a trainer runs: its rules, each with its source, its defaults and its versions.

    \b
    Examples:
      planner trainers show torchtitan
      planner trainers show megatron-bridge@25.09
    """
    output.write(trainer_documents.build_trainers_document(name))


trainers = CommandGroup("The trainers, and what each can run.", {"list": list_trainers, "show": show_trainer})
