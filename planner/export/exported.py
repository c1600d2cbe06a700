"""An exported plan: the files of a trainer and a launcher, and notes for the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.errors import InputError
from planner.export.launcher import LaunchJob, build_field_notes, fill_launcher_fields
from planner.export.launcher import check_launcher_support as check_launcher
from planner.export.launchers import LAUNCHERS
from planner.export.run import PlannedRun
from planner.export.trainer import FileTexts, UserExtras, check_trainer_support, collect_trainer_notes
from planner.export.trainers import TRAINERS


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
    check_trainer_support(run, trainer, list(TRAINERS.values()))
    trainer_notes = collect_trainer_notes(run, trainer)
    if trainer.needs_script and not extras.arguments:
        trainer_notes.append(f"{trainer_name} runs a script of yours: `bash train.sh SCRIPT ...`, or --arguments")
    files = trainer.build_files(run, extras)
    if launcher_name is not None:
        launcher_export = _export_launcher(run, trainer_name, files, launcher_name, field_values)
        return ExportedPlan(files | launcher_export.files, (*trainer_notes, *launcher_export.notes))
    if field_values:
        key, value = "--with", next(iter(field_values))
        raise InputError("needs a launcher", key=key, value=value, expected="also --launcher")
    return ExportedPlan(files, tuple(trainer_notes))


def _export_launcher(
    run: PlannedRun, trainer_name: str, files: FileTexts, launcher_name: str, field_values: Mapping[str, str]
) -> ExportedPlan:
    """Add a launcher's files and notes to those of a trainer."""
    launcher = LAUNCHERS[launcher_name]
    check_launcher(run, launcher, trainer_name, LAUNCHERS)
    job_values = fill_launcher_fields(run, launcher, field_values)
    launcher_notes = (*launcher.build_notes(run), *build_field_notes(run, launcher, field_values))
    return ExportedPlan(launcher.build_files(LaunchJob(run, trainer_name, files, job_values)), launcher_notes)
