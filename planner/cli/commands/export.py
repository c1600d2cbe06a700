"""`planner export`: the files that run a plan, for a trainer and a launcher."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from planner.cli.input.plan_file import ModelOverrideOption, PlanFileArgument, PlanNumberOption
from planner.errors import InputError
from planner.trainers.names import ProgramName

if TYPE_CHECKING:
    from planner.export.run import PlannedRun
    from planner.export.trainer import FileTexts


LauncherName = Literal["slurm", "torchrun", "kubernetes", "skypilot", "sagemaker", "azureml", "gcp-tpu"]

ProgramOption = Annotated[ProgramName, typer.Option("--to", case_sensitive=False, help="The trainer.")]
LauncherOption = Annotated[
    LauncherName | None,
    typer.Option(
        "--launcher",
        case_sensitive=False,
        help="The launcher that starts it on all nodes. Default: write the trainer's files only.",
    ),
]
OutputFolderOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Write the files into a folder. Default: print them."),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
ScriptArgumentsOption = Annotated[
    str | None,
    typer.Option("--arguments", help="Arguments that train.sh passes on: 'train.py --lr 1e-4' for your own script."),
]
EnvironmentOption = Annotated[
    list[str] | None,
    typer.Option(
        "--env", metavar="NAME=VALUE", help="An environment variable of the run. May be given several times."
    ),
]
LauncherFieldsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="NAME=VALUE",
        help="A field of the launcher that the plan does not determine: image, partition, account, role, bucket, ... "
        "May be given several times.",
    ),
]


def export(
    plan_file: PlanFileArgument,
    to: ProgramOption,
    launcher: LauncherOption = None,
    number: PlanNumberOption = 1,
    folder: OutputFolderOption = None,
    force: ForceOption = False,
    model: ModelOverrideOption = None,
    arguments: ScriptArgumentsOption = None,
    variables: EnvironmentOption = None,
    fields: LauncherFieldsOption = None,
) -> None:
    """Write the files that run a plan: a trainer's, a launcher's.

    A setting that the trainer does not support is refused; deviations from the plan are reported.

    \b
    Examples:
      plan llama-3-70b --cluster dgx-h100 --nodes 16 --global-batch 512 --format json > plan.json
      planner export plan.json --to megatron-lm --launcher slurm -o launch
      planner export plan.json --to megatron-bridge --launcher kubernetes --with image=my/bridge:1
      plan 8B --cluster dgx-h100 --nodes 2 --global-batch 512 --framework fsdp2 --zero 3 --format json > fsdp.json
      planner export fsdp.json --to torchtitan --launcher skypilot
      planner export fsdp.json --to fsdp2 --arguments 'train.py --epochs 1'
    """
    from planner.cli.io.output import write_stdout
    from planner.export.exported import export_plan
    from planner.export.trainer import UserExtras
    from planner.request.notices import warn

    extras = UserExtras(_split_words(arguments), _parse_name_value_pairs(variables, "--env"))
    exported_plan = export_plan(
        _read_planned_run(plan_file, number, model),
        to,
        extras,
        launcher,
        _parse_name_value_pairs(fields, "--with"),
    )
    if folder is None:
        write_stdout(_join_files(exported_plan.files), is_machine_readable=True)
    else:
        _write_files(folder, exported_plan.files, force)
    for note in exported_plan.notes:
        warn(note)


def _read_planned_run(plan_file: Path, number: int, model: str | None) -> PlannedRun:
    from planner.cli.input.plan_file import read_plan_document, read_plan_model, read_plan_model_spec
    from planner.export.run import build_planned_run

    document = read_plan_document(plan_file, number)
    workload = read_plan_model(document, model, plan_file)
    try:
        return build_planned_run(document, number, read_plan_model_spec(document, model, plan_file), workload)
    except InputError as error:
        raise error if error.origin else error.relocate(str(plan_file)) from None


def _split_words(text: str | None) -> tuple[str, ...]:
    """Split into words as a shell does. Raises InputError for quotes without an end."""
    try:
        return tuple(shlex.split(text or ""))
    except ValueError as error:
        expected = "words as in a shell"
        raise InputError(f"invalid quotes: {error}", key="--arguments", value=text, expected=expected) from None


def _parse_name_value_pairs(texts: list[str] | None, key: str) -> dict[str, str]:
    """The values by name, from NAME=VALUE. Raises InputError for another form, or a repeated name."""
    pairs: dict[str, str] = {}
    for text in texts or ():
        name, separator, value = text.partition("=")
        is_valid_name = (
            name.replace("_", "a").replace("-", "a" if key == "--with" else "=").isalnum() and name.isascii()
        )
        if not separator or not is_valid_name or name[:1].isdigit() or not value.isprintable():
            raise InputError("not a name with a value", key=key, value=text, expected="NAME=VALUE on one line")
        if name in pairs:
            raise InputError("is given twice", key=f"{key} {name}", value=value, expected="each name once")
        pairs[name] = value
    return pairs


def _join_files(texts_by_name: FileTexts) -> str:
    """A single file unchanged; several files, each below its name."""
    if len(texts_by_name) == 1:
        return next(iter(texts_by_name.values()))
    return "\n".join(f"==> {name} <==\n{text}" for name, text in texts_by_name.items())


def _write_files(folder: Path, texts_by_name: FileTexts, overwrite: bool) -> None:
    """Raise InputError for files that exist, before any is written."""
    from planner.cli.io.files import make_folder, write_file_atomically

    existing_names = [name for name in texts_by_name if (folder / name).exists()]
    if existing_names and not overwrite:
        expected = "another folder, or --force"
        raise InputError("exists already", key="--output", value=str(folder / existing_names[0]), expected=expected)
    make_folder(folder, "--output")
    for name, text in texts_by_name.items():
        write_file_atomically(folder / name, text)
