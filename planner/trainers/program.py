"""A program that runs plans: its rules, what its runs have by default, and its versions where behaviour changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from planner.errors import InputError, find_nearest_name
from planner.trainers.names import ExportName, ProgramName, TrainerName
from planner.trainers.rules import PlanValues, Rule, accept_own_value
from planner.trainers.trainer import Trainer

KNOWN_UNTIL = "2026-08"
"""The month up to which the histories of the programs were read: of later ones nothing is known."""
_RELEASE = re.compile(r"(?P<scale>.*?)v?(?P<numbers>\d+(?:\.\d+)+)(?:(?:rc|\.?dev|\.post)\d*)?")
NO_MODEL_PARALLELISM = {"tp": "1", "pp": "1", "vpp": "1", "cp": "1", "ep": "1", "seq_parallel": "no"}
"""Defaults of programs that shard parameters alone."""


@dataclass(frozen=True, kw_only=True)
class ProgramVersion:
    """A version of a program from which on it behaves otherwise than before; the newest is what its name stands for.

    A version is in force from its month up to that of the next one.
    """

    name: str
    since: str
    """The month of the first release or commit that behaves so: 2025-04."""
    behaviour: str
    """What is other than in the version after it, in a few words; of the newest: what is new in it."""
    source: str
    """Where that is stated: files, commits, release notes."""
    changes: Mapping[str, object] = field(default_factory=dict)
    """Fields of the trainer's record with other values."""
    trainer_changes: Mapping[TrainerName, Mapping[str, object]] = field(default_factory=dict)
    """The same of one of the kinds of plans."""
    compiled_changes: Mapping[str, object] = field(default_factory=dict)
    """The same, where kernels are compiled."""
    trainers: tuple[TrainerName, ...] = ()
    """The kinds of plans that it runs, the usual one first; none: all of the program."""
    rules: tuple[Rule, ...] = ()
    """What it does not run yet, beside the program's rules."""


@dataclass(frozen=True)
class Program:
    """A program that runs plans of one trainer or several: a value of `--trainer`, and mostly `--to` of `export`."""

    name: ProgramName
    version: str
    """The version whose configuration is written, and whose rules these are."""
    rules: tuple[Rule, ...]
    written_settings: tuple[str, ...] = ()
    """Of the settings with a trainer's own value those that its files may change."""
    source: str = ""
    """Where its code is."""
    nearest_exports: tuple[ExportName, ...] = ()
    """Of a program for which no files are written: those whose files are nearest to its own."""
    defaults: Mapping[str, str] = field(default_factory=dict)
    """What its runs have where nobody says it, by the columns of runs files; `tp`: as that degree, of seq_parallel
    wherever it is above 1. Of degrees, recompute, seq_parallel, zero_stage and settings those that are stated in its
    sources."""
    versions: tuple[ProgramVersion, ...] = ()
    """The versions where behaviour changed, newest first."""
    logged_rank: Literal["max", "first", "last"] = "max"
    """Whose memory it logs."""
    narrow_weight_precisions: tuple[str, ...] = ()
    """Precisions whose recipes hold weights in 8 bit alone."""

    @property
    def newest_version(self) -> ProgramVersion | None:
        """The newest version, where it is other than the record of the trainer; else None."""
        newest = self.versions[0] if self.versions else None
        if newest is None or not (newest.changes or newest.trainer_changes or newest.compiled_changes):
            return None
        return newest

    def list_rules(self, plan: PlanValues) -> tuple[Rule, ...]:
        """The rules, in order: those of the plan's version too; last those of settings that the files of the program
        leave to the trainer.
        """
        own_values = (accept_own_value(name) for name in plan.own_values if name not in self.written_settings)
        version_rules = (
            rule
            for version in self.versions
            if f"{self.name}@{version.name}" == plan.version
            for rule in version.rules
        )
        return (*self.rules, *version_rules, *own_values)

    def find_broken_rules(self, plan: PlanValues) -> Iterator[Rule]:
        """The rules that one plan breaks, in order."""
        return (rule for rule in self.list_rules(plan) if rule.is_broken(plan))

    def find_version(self, text: str, key: str = "--trainer") -> ProgramVersion:
        """The version of this name or of this release, or in force in this month (2025-04). Raises InputError
        for any other.
        """
        version = self.find_version_of_release(text) or self.find_version_of_date(text)
        if version is not None:
            return version
        known = list(dict.fromkeys((self.version, *(version.name for version in self.versions))))
        raise InputError(
            f"unknown version of {self.name}",
            key=key,
            value=f"{self.name}@{text}",
            expected=(
                f"one of {', '.join(known)}, or a month from {self.versions[-1].since} on"
                if self.versions
                else f"{self.name} or {self.name}@{self.version}: no version is known in which it behaved otherwise"
            ),
            suggestion=find_nearest_name(text, known),
        )

    def is_newest_release(self, text: str) -> bool:
        """Whether the text is the version whose files are written, or a release of it (0.3.1 of 0.3), which no
        `ProgramVersion` names.
        """
        is_release = text == self.version or text.removeprefix("v").startswith(f"{self.version}.")
        return is_release and all(version.name != self.version for version in self.versions)

    def find_version_of_release(self, text: str) -> ProgramVersion | None:
        """The version of this name; or that in force at a release of numbers (0.2.1, core_v0.13.1) up to that whose
        files are written; None for a later one, one before the first known version, and what is no release.
        """
        for version in self.versions:
            if version.name == text:
                return version
        release, newest = _parse_release(text), _parse_release(self.version)
        if release is None:
            return None
        known = [(_parse_release(version.name), version) for version in self.versions]
        numbered = [named[1] for named, _ in known if named and newest and named[0] == newest[0]]
        if newest is None or not numbered or min(numbered) > newest[1]:
            # containers, which are named by year and month
            month = f"20{release[1][0]:02}-{release[1][1]:02}"
            return None if is_after_known(month) else self.find_version_of_date(month)
        scales = {named[0] for named, _ in known if named}
        scale = next(iter(scales)) if not release[0] and len(scales) == 1 else release[0]
        earlier = [version for named, version in known if named and named[0] == scale and named[1] <= release[1]]
        is_later = release[1][: len(newest[1])] > newest[1]
        return earlier[0] if earlier and not is_later else None

    def find_version_of_date(self, date: str) -> ProgramVersion | None:
        """The version in force in a month (2025-04), or on a day of it; None before the first, or for no date."""
        month = date[:7]
        if len(month) != 7 or month[4] != "-" or not (month[:4] + month[5:]).isdecimal():
            return None
        return next((version for version in self.versions if version.since <= month), None)


def is_after_known(text: str) -> bool:
    """Whether a month (2027-02) or a day is after all that is known."""
    return re.fullmatch(r"\d{4}-\d\d(-\d\d)?", text) is not None and text[:7] > KNOWN_UNTIL


def _parse_release(text: str) -> tuple[str, tuple[int, ...]] | None:
    """What stands before the numbers of a release, and these; None for a date or a word."""
    match = _RELEASE.fullmatch(text)
    return match and (match["scale"], tuple(map(int, match["numbers"].split("."))))


def apply_version(trainer: Trainer, program: Program, version: ProgramVersion, launch: str | None) -> Trainer:
    """The trainer as of a version of the program."""
    changes = {**version.changes, **version.trainer_changes.get(trainer.name, {})}
    trainer = replace(trainer, version=f"{program.name}@{version.name}", **changes)  # type: ignore[arg-type]
    if (launch or trainer.launch_mode) == "compiled":
        trainer = replace(trainer, **version.compiled_changes)  # type: ignore[arg-type]
    return trainer
