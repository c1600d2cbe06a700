"""`planner export`: the files that run a plan, for a trainer and a launcher."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from planner.cli.input import plan_file as plan_files
from planner.cli.io.files import make_folder, write_file_atomically
from planner.cli.io.output import write_stdout
from planner.cli.lazy import import_lazily
from planner.cli.options.command import declare_command
from planner.cli.options.output import MODEL_OVERRIDE, PLAN_FILE, PLAN_NUMBER, declare_choice, declare_switch
from planner.errors import InputError
from planner.request.notices import warn
from planner.request.options import Completion, Option
from planner.request.values import OptionValue, parse_choice, parse_texts
from planner.trainers.names import ExportName, PlannedProgramName

with import_lazily():
    from planner.export import exported
    from planner.export import run as planned_runs
    from planner.export import trainer as trainers
    from planner.trainers import registry

LauncherName = Literal["slurm", "torchrun", "kubernetes", "skypilot", "sagemaker", "azureml", "gcp-tpu"]


def _parse_exported_trainer(value: OptionValue, key: str) -> str:
    """The name of a trainer that files are written for. Raises InputError for any other: for a trainer that plans are
    made for, with those whose files are nearest to its own.
    """
    name = str(value).casefold()
    if name in get_args(PlannedProgramName):
        program = registry.PROGRAMS_BY_NAME[name]  # type: ignore[index]
        nearest = program.nearest_exports
        words = "its files are" if len(nearest) == 1 else "their files are"
        expected = f"{' or '.join(nearest)}: {words} nearest to those of {name}"
        raise InputError(f"no files are written for {name}", key=key, value=value, expected=expected)
    return parse_choice(value, key, get_args(ExportName))


def _split_words(value: OptionValue, key: str) -> tuple[str, ...]:
    """Split into words as a shell does. Raises InputError for quotes without an end."""
    try:
        return tuple(shlex.split(str(value)))
    except ValueError as error:
        expected = "words as in a shell"
        raise InputError(f"invalid quotes: {error}", key=key, value=value, expected=expected) from None


@declare_command(
    PLAN_FILE,
    PLAN_NUMBER,
    MODEL_OVERRIDE,
    Option(
        "to", "Trainer and launcher", "The trainer that runs the plan.", _parse_exported_trainer,
        choices=get_args(ExportName), is_required=True,
    ),
    declare_choice(
        "launcher", "Trainer and launcher",
        "The launcher that starts it on all nodes. Default: write the trainer's files only.", *get_args(LauncherName),
    ),
    Option(
        "arguments", "Trainer and launcher",
        "Arguments that train.sh passes on: 'train.py --lr 1e-4' for your own script.", _split_words,
    ),
    Option(
        "env", "Trainer and launcher", "An environment variable of the run. May be given several times.", parse_texts,
        metavar="NAME=VALUE", is_repeatable=True,
    ),
    Option(
        "fields", "Trainer and launcher",
        "A field of the launcher that the plan does not determine: image, partition, account, role, bucket, ... "
        "May be given several times.",
        parse_texts, ("--with",), "NAME=VALUE", is_repeatable=True,
    ),
    declare_choice(
        "without", "Trainer and launcher",
        "Train without a part of the model that the trainer has not: aux-loss, the loss that balances experts.",
        "aux-loss",
    ),
    Option(
        "folder", "Output", "Write the files into a folder. Default: print them.", flags=("--output", "-o"),
        metavar="DIR", in_answer=False, completion=Completion(endings=()),
    ),
    declare_switch("force", "Output", "Overwrite existing files."),
)  # fmt: skip
def export(
    plan_file: Path,
    number: int,
    model: str | None,
    to: ExportName,
    launcher: LauncherName | None,
    arguments: tuple[str, ...] | None,
    env: Sequence[str],
    fields: Sequence[str],
    without: Literal["aux-loss"] | None,
    folder: str | None,
    force: bool,
) -> None:
    """Write the files that run a plan: a trainer's, a launcher's.

    A setting that the trainer does not support is refused; deviations from the plan are reported.

    \b
    Examples:
      plan llama-3-70b --cluster dgx-h100 --nodes 16 --global-batch 512 --format json > plan.json
      planner export plan.json --to megatron-lm --launcher slurm -o launch
      planner export plan.json --to megatron-bridge --launcher kubernetes --with image=my/bridge:1
      plan 8B --cluster dgx-h100 --nodes 2 --global-batch 512 --trainer fsdp2 --zero 3 --format json > fsdp.json
      planner export fsdp.json --to torchtitan --launcher skypilot
      planner export fsdp.json --to fsdp2 --arguments 'train.py --epochs 1'
    """
    variables, launcher_fields = _parse_name_value_pairs(env, "--env"), _parse_name_value_pairs(fields, "--with")
    exported_plan = exported.export_plan(
        _read_planned_run(plan_file, number, model),
        to,
        trainers.UserExtras(arguments or (), variables, leaves_out_aux_loss=without == "aux-loss"),
        launcher,
        launcher_fields,
    )
    if folder is None:
        write_stdout(_join_files(exported_plan.files), is_machine_readable=True)
    else:
        _write_files(Path(folder), exported_plan.files, force)
    for note in exported_plan.notes:
        warn(note)


def _read_planned_run(path: Path, number: int, model: str | None) -> planned_runs.PlannedRun:
    document = plan_files.read_plan_document(path, number)
    workload = plan_files.read_plan_model(document, model, path)
    model_spec = plan_files.read_plan_model_spec(document, model, path)
    try:
        return planned_runs.build_planned_run(document, number, model_spec, workload)
    except InputError as error:
        raise error if error.origin else error.relocate(str(path)) from None


def _parse_name_value_pairs(texts: Sequence[str], key: str) -> dict[str, str]:
    """The values by name, from NAME=VALUE. Raises InputError for another form, or a repeated name."""
    pairs: dict[str, str] = {}
    for text in texts:
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


def _join_files(texts_by_name: Mapping[str, str]) -> str:
    """A single file unchanged; several files, each below its name."""
    if len(texts_by_name) == 1:
        return next(iter(texts_by_name.values()))
    return "\n".join(f"==> {name} <==\n{text}" for name, text in texts_by_name.items())


def _write_files(folder: Path, texts_by_name: Mapping[str, str], overwrite: bool) -> None:
    """Raise InputError for files that exist, before any is written."""
    existing_names = [name for name in texts_by_name if (folder / name).exists()]
    if existing_names and not overwrite:
        expected = "another folder, or --force"
        raise InputError("exists already", key="--output", value=str(folder / existing_names[0]), expected=expected)
    make_folder(folder, "--output")
    for name, text in texts_by_name.items():
        write_file_atomically(folder / name, text)
