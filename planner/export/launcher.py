"""The interface of a launcher: unsupported plans, the fields that a user sets, and its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from planner.errors import InputError, find_nearest_name
from planner.export.run import PlannedRun
from planner.export.trainer import FileTexts, UnsupportedSetting
from planner.units import DAY_S

_TIME_LIMIT_FACTOR = 1.25
"""Factor of a time limit over the training time, for checkpoints and failures,"""
_STARTUP_TIME_S = 1800
"""and the seconds that are added for the start."""


@dataclass(frozen=True)
class LauncherField:
    """A value of a launcher's files that the plan does not determine. `default`: an empty value is left out; a value
    in capitals is a placeholder that the user fills in.
    """

    name: str
    default: str
    help: str

    @property
    def is_required(self) -> bool:
        """Whether the files need a value."""
        return self.default.isupper() or (self.name == "image" and self.default != "")


@dataclass(frozen=True)
class LaunchJob:
    """The input of a launcher: a plan, the trainer's name and files, and the fields."""

    run: PlannedRun
    trainer_name: str
    files: FileTexts
    field_values: Mapping[str, str]


@dataclass(frozen=True)
class Launcher:
    """A launcher. `find_unsupported(run, trainer)`: the properties of a plan that it does not support;
    `build_notes(run)`: deviations from the plan.
    """

    name: str
    list_fields: Callable[[PlannedRun], tuple[LauncherField, ...]]
    find_unsupported: Callable[[PlannedRun, str], Iterator[UnsupportedSetting]]
    build_notes: Callable[[PlannedRun], Iterator[str]]
    build_files: Callable[[LaunchJob], FileTexts]


def check_launcher_support(
    run: PlannedRun, launcher: Launcher, trainer_name: str, launchers: Mapping[str, Launcher]
) -> None:
    """Raise InputError for the first unsupported property, with the `launchers` that support the plan."""
    unsupported = next(launcher.find_unsupported(run, trainer_name), None)
    if unsupported is None:
        return
    capable_launchers = [
        name
        for name, candidate in launchers.items()
        if next(candidate.find_unsupported(run, trainer_name), None) is None
    ]
    expected = "; or ".join(
        part
        for part in (unsupported.supported, f"--launcher {', '.join(capable_launchers)}" if capable_launchers else "")
        if part
    )
    raise InputError(
        f"{launcher.name} does not support this", key=unsupported.setting, value=unsupported.value, expected=expected
    )


def fill_launcher_fields(run: PlannedRun, launcher: Launcher, given_values: Mapping[str, str]) -> dict[str, str]:
    """The fields' values. Raises InputError for an unknown field, with the known ones, and for an empty value."""
    fields = {field.name: field for field in launcher.list_fields(run)}
    for name in given_values:
        if name not in fields:
            known = "; ".join(f"{field.name}: {field.help}" for field in fields.values())
            raise InputError(
                f"{launcher.name} has no such field",
                key="--with",
                value=name,
                expected=known or "left out",
                suggestion=find_nearest_name(name, fields),
            )
        if not given_values[name] and fields[name].is_required:
            raise InputError("is empty", key=f"--with {name}", value="", expected=fields[name].help)
    return {name: given_values.get(name, field.default) for name, field in fields.items()}


def build_field_notes(run: PlannedRun, launcher: Launcher, given_values: Mapping[str, str]) -> Iterator[str]:
    """Notes on placeholders to fill in, and on defaults, a line each."""
    for field in launcher.list_fields(run):
        if field.name in given_values:
            continue
        if field.default.isupper():
            yield f"{field.default} is a placeholder: edit the files, or set --with {field.name}=... ({field.help})"
        elif field.name == "image" and field.default:
            yield f"the image is {field.default}: it may lack the trainer; --with image=... sets another"


def compute_time_limit_s(run: PlannedRun) -> int | None:
    """A time limit for all steps, in whole minutes; None where the plan has no tokens."""
    if run.tokens is None:
        return None
    time_limit_s = run.training_time_s * _TIME_LIMIT_FACTOR + _STARTUP_TIME_S
    return int(-(-time_limit_s // 60) * 60)


def format_slurm_time(time_s: int) -> str:
    """The time in Slurm's form, D-HH:MM:SS."""
    days, remainder_s = divmod(time_s, int(DAY_S))
    return f"{days}-{remainder_s // 3600:02}:{remainder_s % 3600 // 60:02}:{remainder_s % 60:02}"


def find_none_unsupported(run: PlannedRun, trainer_name: str) -> Iterator[UnsupportedSetting]:
    """Nothing, for a launcher that supports every trainer and node."""
    return iter(())


def build_host_order_note(run: PlannedRun) -> Iterator[str]:
    """The note of a launcher that cannot put ranks on hosts."""
    if run.hosts:
        yield "the launcher chooses the hosts of ranks: the plan's order of hosts (hosts.txt) is not kept"


def build_hosts_file(run: PlannedRun) -> FileTexts:
    """`hosts.txt`: the hosts in the order of the ranks, where the plan has such an order."""
    return {"hosts.txt": "".join(f"{host}\n" for host in run.hosts)} if run.hosts else {}
