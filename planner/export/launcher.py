"""The interface of a launcher, and what launchers share: fields that a user sets, nodes of clouds, time limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from planner.errors import InputError, find_nearest_name
from planner.export.run import PlannedRun
from planner.export.trainer import FileTexts, UnsupportedSetting, describe_plan

NodeNames = Mapping[tuple[str, int], str]
"""Names of a cloud's nodes, by the accelerator's name in hardware_db and the number of accelerators in a node."""

_NVIDIA_PYTORCH_IMAGE = "nvcr.io/nvidia/pytorch:26.01-py3"
"""Of Megatron-LM's docs/get-started/install.md, read 2026-08; PyTorch with Transformer Engine."""
_TIME_LIMIT_FACTOR = 1.25
"""Factor of a time limit over the training time, for checkpoints and failures,"""
_STARTUP_TIME_S = 1800
"""and the seconds that are added for the start."""
_JOB_CHECKPOINTS = 24
"""Checkpoints in a job whose trainer saves none at its end."""


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

    @property
    def description(self) -> list[str]:
        """The plan, in lines for the head of files."""
        return describe_plan(self.run, self.trainer_name)


@dataclass(frozen=True)
class Launcher:
    """A launcher."""

    name: str
    build_files: Callable[[LaunchJob], FileTexts]
    list_fields: Callable[[PlannedRun], tuple[LauncherField, ...]] = lambda run: ()
    find_unsupported: Callable[[PlannedRun, str], Iterable[UnsupportedSetting]] = lambda run, trainer_name: ()
    """The properties of a plan, with the trainer's name, that it does not support."""
    build_notes: Callable[[PlannedRun], Iterable[str]] = lambda run: ()
    """Deviations from the plan."""
    compute_job_s: Callable[[PlannedRun, Mapping[str, str]], int | None] = lambda run, field_values: None
    """Seconds of one of the jobs that the run is split into, by the fields; None where one job is the whole run."""


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


def limit_checkpoint_interval(run: PlannedRun, job_s: int) -> PlannedRun:
    """The run with a checkpoint at least once in a 24th of a job, hourly in a job of a day: at the end of a job the
    steps since its last checkpoint are lost.
    """
    steps = max(1, int(job_s / _JOB_CHECKPOINTS / run.step_time_s))
    return replace(run, checkpoint_steps=min(run.checkpoint_steps, steps))


def build_image_field(run: PlannedRun) -> LauncherField:
    """The container image: NVIDIA's PyTorch on its GPUs, else for the user to choose."""
    default = _NVIDIA_PYTORCH_IMAGE if run.is_nvidia_gpu else "IMAGE"
    return LauncherField("image", default, "container image with the trainer")


def find_unlisted_node(run: PlannedRun, node_names: NodeNames) -> Iterator[UnsupportedSetting]:
    """The plan's node, where a cloud has none like it."""
    if run.node not in node_names:
        listed = ", ".join(f"{count} x {name}" for name, count in node_names)
        node_text = f"{run.devices_per_node} x {run.accelerator.name}"
        yield UnsupportedSetting("accelerator", node_text, f"a node of {listed}")


def build_host_order_note(run: PlannedRun) -> Iterator[str]:
    """The note of a launcher that cannot put ranks on hosts."""
    if run.hosts:
        yield "the launcher chooses the hosts of ranks: the plan's order of hosts (hosts.txt) is not kept"


def build_hosts_file(run: PlannedRun) -> FileTexts:
    """`hosts.txt`: the hosts in the order of the ranks, where the plan has such an order."""
    return {"hosts.txt": "".join(f"{host}\n" for host in run.hosts)} if run.hosts else {}
