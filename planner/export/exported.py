"""A plan exported: the files of a trainer and of what launches it, and what is to be known beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.errors import InputError
from planner.export.launcher import Job, blanks, values
from planner.export.launcher import check as check_launcher
from planner.export.launchers import LAUNCHERS
from planner.export.run import Run
from planner.export.trainer import Files, Own, check, notes
from planner.export.trainers import TRAINERS


@dataclass(frozen=True)
class Exported:
    """Texts by the names of their files, and notes for the user."""

    files: Files
    notes: tuple[str, ...]


def exported(run: Run, to: str, own: Own, launcher: str | None, fields: Mapping[str, str]) -> Exported:
    """What runs a plan by the trainer `to`, started by `launcher` if there is one; `fields`: what the user says of
    the launcher. Raises InputError for what trainer or launcher cannot be told.
    """
    trainer = TRAINERS[to]
    check(run, trainer, list(TRAINERS.values()))
    told = notes(run, trainer)
    if trainer.needs_script and not own.arguments:
        told.append(f"{to} runs a script of yours: `bash train.sh SCRIPT ...`, or --arguments")
    files = trainer.files(run, own)
    if launcher is not None:
        launched = _launched(run, to, files, launcher, fields)
        return Exported(files | launched.files, (*told, *launched.notes))
    if fields:
        key, value = "--with", next(iter(fields))
        raise InputError("is for a launcher", key=key, value=value, expected="--launcher beside it")
    return Exported(files, tuple(told))


def _launched(run: Run, to: str, files: Files, launcher: str, fields: Mapping[str, str]) -> Exported:
    """What a launcher adds to the files of a trainer."""
    chosen = LAUNCHERS[launcher]
    check_launcher(run, chosen, to, LAUNCHERS)
    filled = values(run, chosen, fields)
    told = (*chosen.notes(run), *blanks(run, chosen, fields))
    return Exported(chosen.files(Job(run, to, files, filled)), told)
