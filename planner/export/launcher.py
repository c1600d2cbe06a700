"""What a launcher is asked: whether it fits a plan, what the user has to say beside, and its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from planner.errors import InputError, nearest
from planner.export.run import Run
from planner.export.trainer import Files, Misfit
from planner.units import DAY_S

_SLACK = 1.25
"""A time limit is so many times the training time, for checkpoints and failures,"""
_START_S = 1800
"""and so much more for the start."""


@dataclass(frozen=True)
class Field:
    """Something that a launcher's files hold and the plan does not know. `default`: an empty one is left out, one
    in capitals is for the user to fill in.
    """

    name: str
    default: str
    help: str

    @property
    def is_needed(self) -> bool:
        """Whether the files are of no use while it is empty."""
        return self.default.isupper() or (self.name == "image" and self.default != "")


@dataclass(frozen=True)
class Job:
    """What is launched: a plan, the trainer's name, its files, and the fields."""

    run: Run
    trainer: str
    files: Files
    values: Mapping[str, str]


@dataclass(frozen=True)
class Launcher:
    """One launcher. `misfits(run, trainer)`: what of a plan it cannot do; `notes(run)`: what it does otherwise."""

    name: str
    fields: Callable[[Run], tuple[Field, ...]]
    misfits: Callable[[Run, str], Iterator[Misfit]]
    notes: Callable[[Run], Iterator[str]]
    files: Callable[[Job], Files]


def check(run: Run, launcher: Launcher, trainer: str, others: Mapping[str, Launcher]) -> None:
    """Raises InputError for the first thing that the launcher cannot do, with those of `others` that can do all."""
    found = next(launcher.misfits(run, trainer), None)
    if found is None:
        return
    able = [name for name, one in others.items() if next(one.misfits(run, trainer), None) is None]
    expected = "; or ".join(part for part in (found.wanted, f"--launcher {', '.join(able)}" if able else "") if part)
    raise InputError(f"{launcher.name} cannot launch this", key=found.setting, value=found.value, expected=expected)


def values(run: Run, launcher: Launcher, given: Mapping[str, str]) -> dict[str, str]:
    """The fields' values. Raises InputError for an unknown field, with those that there are, and for an empty one."""
    fields = {one.name: one for one in launcher.fields(run)}
    for name in given:
        if name not in fields:
            known = "; ".join(f"{one.name}: {one.help}" for one in fields.values())
            raise InputError(
                f"{launcher.name} has no such field",
                key="--with",
                value=name,
                expected=known or "left out",
                suggestion=nearest(name, fields),
            )
        if not given[name] and fields[name].is_needed:
            raise InputError("is empty", key=f"--with {name}", value="", expected=fields[name].help)
    return {name: given.get(name, one.default) for name, one in fields.items()}


def blanks(run: Run, launcher: Launcher, given: Mapping[str, str]) -> Iterator[str]:
    """What the user has to fill in, or was chosen for them, a line each."""
    for one in launcher.fields(run):
        if one.name in given:
            continue
        if one.default.isupper():
            yield f"{one.default} in the files is for you to fill in, or --with {one.name}=... ({one.help})"
        elif one.name == "image" and one.default:
            yield f"the image is {one.default}: the trainer may be missing in it; --with image=... names another"


def limit_s(run: Run) -> int | None:
    """A time limit for all steps, in whole minutes; None where the plan's tokens are not told."""
    if run.tokens is None:
        return None
    seconds = run.seconds * _SLACK + _START_S
    return int(-(-seconds // 60) * 60)


def days_and_time(seconds: int) -> str:
    """D-HH:MM:SS, as Slurm writes it."""
    days, rest = divmod(seconds, int(DAY_S))
    return f"{days}-{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"


def any_trainer(run: Run, trainer: str) -> Iterator[Misfit]:
    """No misfit, for a launcher that starts every trainer on every node."""
    return iter(())


def unordered(run: Run) -> Iterator[str]:
    """The note of a launcher that cannot put ranks on hosts."""
    if run.hosts:
        yield "it puts ranks on hosts as it likes: the plan's order of hosts (hosts.txt) is not kept"


def host_list(run: Run) -> Files:
    """`hosts.txt`: the hosts in the order of the ranks, where the plan has one."""
    return {"hosts.txt": "".join(f"{host}\n" for host in run.hosts)} if run.hosts else {}
