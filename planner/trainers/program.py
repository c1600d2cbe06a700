"""A program that runs plans: its rules, what its runs have by default, and its versions where behaviour changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from planner.errors import InputError, find_nearest_name
from planner.trainers.names import ExportName, ProgramName, TrainerName
from planner.trainers.rules import NOT_WRITTEN, PlanValues, Rule, accept_own_value
from planner.trainers.trainer import Trainer

ACCEPT_WHOLE_SEQUENCES = Rule(
    "packing",
    "packing no, yes or unpadded",
    lambda plan: str(plan.settings.get("packing", "no")).isdecimal(),
    source=NOT_WRITTEN,
)
"""Of programs whose files leave it to the data whether documents attend to themselves alone."""
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
    """What its runs have where nobody says it, by the columns of runs files; `tp`: as that degree. Of degrees,
    recompute, seq_parallel, zero_stage and settings those that are stated in its sources."""
    versions: tuple[ProgramVersion, ...] = ()
    """The versions where behaviour changed, newest first."""

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
        packing = () if "packing" in self.written_settings else (ACCEPT_WHOLE_SEQUENCES,)
        return (*self.rules, *version_rules, *own_values, *packing)

    def find_broken_rules(self, plan: PlanValues) -> Iterator[Rule]:
        """The rules that one plan breaks, in order."""
        return (rule for rule in self.list_rules(plan) if rule.is_broken(plan))

    def find_version(self, text: str, key: str = "--trainer") -> ProgramVersion:
        """The version of this name, or in force in this month (2025-04). Raises InputError for any other."""
        for version in self.versions:
            if version.name == text:
                return version
        dated = self.find_version_of_date(text)
        if dated is not None:
            return dated
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

    def find_version_of_date(self, date: str) -> ProgramVersion | None:
        """The version in force in a month (2025-04), or on a day of it; None before the first, or for no date."""
        month = date[:7]
        if len(month) != 7 or month[4] != "-" or not (month[:4] + month[5:]).isdecimal():
            return None
        return next((version for version in self.versions if version.since <= month), None)


def apply_version(trainer: Trainer, program: Program, version: ProgramVersion, launch: str | None) -> Trainer:
    """The trainer as of a version of the program."""
    changes = {**version.changes, **version.trainer_changes.get(trainer.name, {})}
    trainer = replace(trainer, version=f"{program.name}@{version.name}", **changes)  # type: ignore[arg-type]
    if (launch or trainer.launch_mode) == "compiled":
        trainer = replace(trainer, **version.compiled_changes)  # type: ignore[arg-type]
    return trainer
