"""An exported plan: the files of a trainer and a launcher, and notes for the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.errors import InputError
from planner.export.launcher import (
    LaunchJob,
    build_field_notes,
    fill_launcher_fields,
    limit_checkpoint_interval,
)
from planner.export.launchers import LAUNCHERS
from planner.export.run import PlannedRun
from planner.export.trainer import FileTexts, TrainerExport, UnsupportedSetting, UserExtras
from planner.export.trainers import TRAINERS
from planner.trainers.registry import list_trainers_of_program


@dataclass(frozen=True)
class ExportedPlan:
    """Texts by the names of their files, and notes for the user."""

    files: FileTexts
    notes: tuple[str, ...]


def export_plan(
    run: PlannedRun, trainer_name: str, extras: UserExtras, launcher_name: str | None, field_values: Mapping[str, str]
) -> ExportedPlan:
    """The files that run a plan by the trainer `trainer_name`, started by `launcher_name` if given; `field_values`:
    the user's values for the launcher. Raises InputError for a setting that trainer or launcher does not support.
    """
    trainer = TRAINERS[trainer_name]
    _check_trainer_support(run, trainer)
    _check_aux_loss(run, trainer, leaves_out=extras.leaves_out_aux_loss)
    notes = _collect_trainer_notes(run, trainer)
    if trainer.needs_script and not extras.arguments:
        notes.append(f"{trainer_name} runs a script of yours: `bash train.sh SCRIPT ...`, or --arguments")
    if launcher_name is None:
        if field_values:
            key, value = "--with", next(iter(field_values))
            raise InputError("needs a launcher", key=key, value=value, expected="also --launcher")
        return ExportedPlan(trainer.build_files(run, extras), tuple(notes))
    launcher = LAUNCHERS[launcher_name]
    _check_launcher_support(run, launcher_name, trainer_name)
    fields = fill_launcher_fields(run, launcher, field_values)
    job_s = launcher.compute_job_s(run, fields)
    if job_s is not None and not trainer.saves_before_end:
        planned_steps, run = run.checkpoint_steps, limit_checkpoint_interval(run, job_s)
        if run.checkpoint_steps < planned_steps:
            notes.append(
                f"a checkpoint every {run.checkpoint_steps:,} steps, where the plan has {planned_steps:,}: "
                f"{trainer_name} saves none at the end of a job of {job_s // 3600} h"
            )
    files = trainer.build_files(run, extras)
    notes += [*launcher.build_notes(run), *build_field_notes(run, launcher, field_values)]
    return ExportedPlan(files | launcher.build_files(LaunchJob(run, trainer_name, files, fields)), tuple(notes))


def _check_trainer_support(run: PlannedRun, trainer: TrainerExport) -> None:
    """Raise InputError for all settings that the trainer does not support, with the trainers that run the plan."""
    unsupported = list(trainer.find_unsupported(run))
    if unsupported:
        capable_trainers = [
            name for name, candidate in TRAINERS.items() if next(candidate.find_unsupported(run), None) is None
        ]
        message = f"{trainer.name} does not support {'this setting' if len(unsupported) == 1 else 'these settings'}"
        raise _build_support_error(
            message,
            _join_unsupported(unsupported),
            "--to",
            capable_trainers,
            "another plan: no trainer runs this one",
        )


def _check_aux_loss(run: PlannedRun, trainer: TrainerExport, *, leaves_out: bool) -> None:
    """Raise InputError for a loss that balances the experts where the trainer has none and the user does not allow to
    leave it out; and where nothing is to be left out.
    """
    coefficient = run.model.moe.aux_loss if run.model is not None and run.model.moe is not None else 0.0
    is_lost = coefficient > 0 and trainer.aux_loss_source != ""
    if leaves_out and not is_lost:
        problem = f"{trainer.name} leaves out no loss that balances experts"
        raise InputError(problem, key="--without", value="aux-loss", expected="no --without")
    if not is_lost or leaves_out:
        return
    capable_trainers = [
        name
        for name, candidate in TRAINERS.items()
        if not candidate.aux_loss_source and next(candidate.find_unsupported(run), None) is None
    ]
    message = f"{trainer.name} has no loss that balances experts ({trainer.aux_loss_source})"
    unsupported = UnsupportedSetting(
        "model.moe.aux_loss", f"{coefficient:g}", "0; or --without aux-loss, to train without it"
    )
    raise _build_support_error(message, unsupported, "--to", capable_trainers)


def _join_unsupported(unsupported: Sequence[UnsupportedSetting]) -> UnsupportedSetting:
    """Several unsupported settings as one, each value with its name; a single one as it is."""
    if len(unsupported) == 1:
        return unsupported[0]
    values = dict.fromkeys(f"{setting} {value}" for setting, value, _ in unsupported)
    return UnsupportedSetting(
        ", ".join(dict.fromkeys(setting for setting, _, _ in unsupported)),
        ", ".join(values),
        "; ".join(
            supported if setting in supported else f"{setting}: {supported}" for setting, _, supported in unsupported
        ),
    )


def _check_launcher_support(run: PlannedRun, launcher_name: str, trainer_name: str) -> None:
    """Raise InputError for the first unsupported property, with the launchers that support the plan."""
    unsupported_by_launcher = {
        name: next(iter(launcher.find_unsupported(run, trainer_name)), None) for name, launcher in LAUNCHERS.items()
    }
    unsupported = unsupported_by_launcher[launcher_name]
    if unsupported is not None:
        capable_launchers = [name for name, other in unsupported_by_launcher.items() if other is None]
        message = f"{launcher_name} does not support this"
        raise _build_support_error(message, unsupported, "--launcher", capable_launchers)


def _build_support_error(
    message: str, unsupported: UnsupportedSetting, option: str, capable_names: Sequence[str], default: str = ""
) -> InputError:
    setting, value, supported = unsupported
    alternatives = [supported, f"{option} {', '.join(capable_names)}" if capable_names else ""]
    expected = "; or ".join(filter(None, alternatives)) or default
    return InputError(message, key=setting, value=value, expected=expected)


def _collect_trainer_notes(run: PlannedRun, trainer: TrainerExport) -> list[str]:
    """Notes for the user on a supported plan."""
    notes = list(trainer.build_notes(run))
    if run.framework not in list_trainers_of_program(trainer.name):
        replan_hint = f"plan with --trainer {trainer.name}"
        notes.append(f"the plan's times and bytes are of {run.framework}, not of {trainer.name}: {replan_hint}")
    program = trainer.program
    newest = {program.version, *(version.name for version in program.versions[:1])}
    if run.trainer_version and run.trainer_version not in {f"{program.name}@{name}" for name in newest}:
        notes.append(f"the plan is for {run.trainer_version}, the files are for {program.name} {program.version}")
    if run.tokens is None:
        notes.append(f"the plan has no --tokens: {run.steps} steps are trained")
    return notes
