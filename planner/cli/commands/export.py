"""`planner export`: the files that run a plan, for a trainer and a launcher."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.input.plan_file import ModelAgain, Number, PlanFile
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.export.run import PlannedRun
    from planner.export.trainer import FileTexts


class To(StrEnum):
    """Trainers."""

    MEGATRON_LM = "megatron-lm"
    MEGATRON_BRIDGE = "megatron-bridge"
    DEEPSPEED = "deepspeed"
    TORCHTITAN = "torchtitan"
    FSDP2 = "fsdp2"
    MAXTEXT = "maxtext"
    NEMO = "nemo"
    ACCELERATE = "accelerate"


class LauncherName(StrEnum):
    """Launchers."""

    SLURM = "slurm"
    TORCHRUN = "torchrun"
    KUBERNETES = "kubernetes"
    SKYPILOT = "skypilot"
    SAGEMAKER = "sagemaker"
    AZUREML = "azureml"
    GCP_TPU = "gcp-tpu"


Target = Annotated[To, typer.Option("--to", case_sensitive=False, help="The trainer.")]
By = Annotated[
    LauncherName | None,
    typer.Option(
        "--launcher", case_sensitive=False, help="What starts it on all nodes; else the trainer's files alone."
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Write the files into a folder; else they are told."),
]
Force = Annotated[bool, typer.Option("--force", help="Write over files that are there.")]
Passed = Annotated[
    str | None,
    typer.Option("--arguments", help="What train.sh passes on: 'train.py --lr 1e-4' for your own script."),
]
Variables = Annotated[
    list[str] | None,
    typer.Option(
        "--env", metavar="NAME=VALUE", help="An environment variable of the run. May be given several times."
    ),
]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="NAME=VALUE",
        help="What the launcher needs beside the plan: image, partition, account, role, bucket, ... "
        "May be given several times.",
    ),
]


def export(
    plan_file: PlanFile,
    to: Target,
    launcher: By = None,
    number: Number = 1,
    folder: Folder = None,
    force: Force = False,
    model: ModelAgain = None,
    arguments: Passed = None,
    variables: Variables = None,
    fields: With = None,
) -> None:
    """Write the files that run a plan: a trainer's, a launcher's.

    A setting that the trainer cannot be told is refused; what it does otherwise than planned is told.

    \b
    Examples:
      plan llama-3-70b --cluster dgx-h100 --nodes 16 --global-batch 512 --format json > plan.json
      planner export plan.json --to megatron-lm --launcher slurm -o launch
      planner export plan.json --to megatron-bridge --launcher kubernetes --with image=my/bridge:1
      plan 8B --cluster dgx-h100 --nodes 2 --global-batch 512 --framework fsdp2 --zero 3 --format json > fsdp.json
      planner export fsdp.json --to torchtitan --launcher skypilot
      planner export fsdp.json --to fsdp2 --arguments 'train.py --epochs 1'
    """
    from planner.cli.io.output import warn, write
    from planner.export.exported import export_plan
    from planner.export.trainer import UserExtras

    own = UserExtras(_words(arguments), _pairs(variables, "--env"))
    by = None if launcher is None else launcher.value
    found = export_plan(_run(plan_file, number, model), to.value, own, by, _pairs(fields, "--with"))
    if folder is None:
        write(_one_text(found.files), for_machines=True)
    else:
        _write_all(folder, found.files, force)
    for note in found.notes:
        warn(note)


def _run(plan_file: Path, number: int, model: str | None) -> PlannedRun:
    from planner.cli.input.plan_file import read_plan_document, read_plan_model, read_plan_spec
    from planner.export.run import build_planned_run

    document = read_plan_document(plan_file, number)
    workload = read_plan_model(document, model, plan_file)
    try:
        return build_planned_run(document, number, read_plan_spec(document, model, plan_file), workload)
    except InputError as error:
        raise error if error.origin else error.relocate(str(plan_file)) from None


def _words(text: str | None) -> tuple[str, ...]:
    """Raises InputError for quotes without an end."""
    try:
        return tuple(shlex.split(text or ""))
    except ValueError as error:
        expected = "words as in a shell"
        raise InputError(f"not words: {error}", key="--arguments", value=text, expected=expected) from None


def _pairs(texts: list[str] | None, key: str) -> dict[str, str]:
    """NAME=VALUE, each name once. Raises InputError."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, sign, value = text.partition("=")
        good = name.replace("_", "a").replace("-", "a" if key == "--with" else "=").isalnum() and name.isascii()
        if not sign or not good or name[:1].isdigit() or not value.isprintable():
            raise InputError("not a name with a value", key=key, value=text, expected="NAME=VALUE on one line")
        if name in found:
            raise InputError("is given twice", key=f"{key} {name}", value=value, expected="each name once")
        found[name] = value
    return found


def _one_text(files: FileTexts) -> str:
    """A single file as it is; several each below its name."""
    if len(files) == 1:
        return next(iter(files.values()))
    return "\n".join(f"==> {name} <==\n{text}" for name, text in files.items())


def _write_all(folder: Path, files: FileTexts, force: bool) -> None:
    """Raises InputError for files that are there, before one is written."""
    from planner.cli.io.files import make_folder, write_file

    there = [name for name in files if (folder / name).exists()]
    if there and not force:
        expected = "another folder, or --force"
        raise InputError("is there already", key="--output", value=str(folder / there[0]), expected=expected)
    make_folder(folder, "--output")
    for name, text in files.items():
        write_file(folder / name, text)
