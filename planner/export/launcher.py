"""What a launcher is asked: whether it fits a plan, what the user has to say beside, and its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from planner.errors import InputError, find_nearest_name
from planner.export.run import PlannedRun
from planner.export.trainer import FileTexts, UnsupportedSetting
from planner.units import DAY_S

_TIME_LIMIT_FACTOR = 1.25
"""A time limit is so many times the training time, for checkpoints and failures,"""
_STARTUP_TIME_S = 1800
"""and so much more for the start."""


@dataclass(frozen=True)
class LauncherField:
    """Something that a launcher's files hold and the plan does not know. `default`: an empty one is left out, one
    in capitals is for the user to fill in.
    """

    name: str
    default: str
    help: str

    @property
    def is_required(self) -> bool:
        """Whether the files are of no use while it is empty."""
        return self.default.isupper() or (self.name == "image" and self.default != "")


@dataclass(frozen=True)
class LaunchJob:
    """What is launched: a plan, the trainer's name, its files, and the fields."""

    run: PlannedRun
    trainer_name: str
    files: FileTexts
    field_values: Mapping[str, str]


@dataclass(frozen=True)
class Launcher:
    """One launcher. `find_unsupported(run, trainer)`: what of a plan it cannot do; `build_notes(run)`: what it does
    otherwise.
    """

    name: str
    list_fields: Callable[[PlannedRun], tuple[LauncherField, ...]]
    find_unsupported: Callable[[PlannedRun, str], Iterator[UnsupportedSetting]]
    build_notes: Callable[[PlannedRun], Iterator[str]]
    build_files: Callable[[LaunchJob], FileTexts]


def check_launcher_support(
    run: PlannedRun, launcher: Launcher, trainer_name: str, launchers: Mapping[str, Launcher]
) -> None:
    """Raises InputError for the first thing that the launcher cannot do, with the `launchers` that can do all."""
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
        f"{launcher.name} cannot launch this", key=unsupported.setting, value=unsupported.value, expected=expected
    )


def fill_launcher_fields(run: PlannedRun, launcher: Launcher, given_values: Mapping[str, str]) -> dict[str, str]:
    """The fields' values. Raises InputError for an unknown field, with those that there are, and for an empty one."""
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
    """What the user has to fill in, or was chosen for them, a line each."""
    for field in launcher.list_fields(run):
        if field.name in given_values:
            continue
        if field.default.isupper():
            yield f"{field.default} in the files is for you to fill in, or --with {field.name}=... ({field.help})"
        elif field.name == "image" and field.default:
            yield f"the image is {field.default}: the trainer may be missing in it; --with image=... names another"


def compute_time_limit_s(run: PlannedRun) -> int | None:
    """A time limit for all steps, in whole minutes; None where the plan's tokens are not told."""
    if run.tokens is None:
        return None
    time_limit_s = run.training_time_s * _TIME_LIMIT_FACTOR + _STARTUP_TIME_S
    return int(-(-time_limit_s // 60) * 60)


def format_slurm_time(time_s: int) -> str:
    """D-HH:MM:SS, as Slurm writes it."""
    days, remainder_s = divmod(time_s, int(DAY_S))
    return f"{days}-{remainder_s // 3600:02}:{remainder_s % 3600 // 60:02}:{remainder_s % 60:02}"


def find_none_unsupported(run: PlannedRun, trainer_name: str) -> Iterator[UnsupportedSetting]:
    """No misfit, for a launcher that starts every trainer on every node."""
    return iter(())


def build_host_order_note(run: PlannedRun) -> Iterator[str]:
    """The note of a launcher that cannot put ranks on hosts."""
    if run.hosts:
        yield "it puts ranks on hosts as it likes: the plan's order of hosts (hosts.txt) is not kept"


def build_hosts_file(run: PlannedRun) -> FileTexts:
    """`hosts.txt`: the hosts in the order of the ranks, where the plan has one."""
    return {"hosts.txt": "".join(f"{host}\n" for host in run.hosts)} if run.hosts else {}
