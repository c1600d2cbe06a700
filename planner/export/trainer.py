"""The interface of a trainer: unsupported settings of a plan, deviations from it, and its files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from planner.errors import InputError
from planner.export.run import PlannedRun
from planner.trainers.registry import list_trainers_of_program
from planner.workload.spec import ModelSpec

FileTexts = dict[str, str]
"""Texts by the names of their files."""


@dataclass(frozen=True)
class UnsupportedSetting:
    """A setting of a plan that a trainer does not support; `supported`: the supported values, if any."""

    setting: str
    value: object
    supported: str = ""


@dataclass(frozen=True)
class UserExtras:
    """The user's additions: arguments that `train.sh` passes on unless it gets others, and environment variables."""

    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainerExport:
    """A trainer. `build_files(run, own)`: `train.sh` and the files that it reads.

    `build_notes`: deviations from the plan that do not change the result of training.
    `needs_script`: it runs a training script of the user's.
    """

    name: str
    find_unsupported: Callable[[PlannedRun], Iterator[UnsupportedSetting]]
    build_notes: Callable[[PlannedRun], Iterator[str]]
    build_files: Callable[[PlannedRun, UserExtras], FileTexts]
    needs_script: bool = False


def check_trainer_support(run: PlannedRun, trainer: TrainerExport, trainers: Sequence[TrainerExport]) -> None:
    """Raise InputError for the first setting that the trainer does not support, with the `trainers` that do."""
    unsupported = next(trainer.find_unsupported(run), None)
    if unsupported is None:
        return
    capable_trainers = [
        candidate.name
        for candidate in trainers
        if all(unsupported.setting != other.setting for other in candidate.find_unsupported(run))
    ]
    alternatives = [unsupported.supported] if unsupported.supported else []
    if capable_trainers:
        alternatives.append(f"--to {', '.join(capable_trainers)}")
    raise InputError(
        f"{trainer.name} does not support this setting",
        key=unsupported.setting,
        value=unsupported.value,
        expected="; or ".join(alternatives) or "another plan: no exported trainer supports it",
    )


def collect_trainer_notes(run: PlannedRun, trainer: TrainerExport) -> list[str]:
    """Notes for the user on a supported plan."""
    note_lines = list(trainer.build_notes(run))
    trainer_names = list_trainers_of_program(trainer.name)
    if run.framework not in trainer_names:
        replan_hint = f"plan with --framework {' or '.join(trainer_names)}"
        note_lines.append(f"the plan's times and bytes are of {run.framework}, not of {trainer.name}: {replan_hint}")
    if run.tokens is None:
        note_lines.append(f"the plan has no --tokens: {run.steps} steps are trained")
    return note_lines


def find_unsupported_degrees(run: PlannedRun, supported_degrees: Collection[str]) -> Iterator[UnsupportedSetting]:
    """Degrees above 1 of dimensions that are not in `supported_degrees`."""
    for degree_name in ("tp", "pp", "cp", "ep", "vpp"):
        degree = getattr(run.strategy, degree_name)
        if degree > 1 and degree_name not in supported_degrees:
            yield UnsupportedSetting(degree_name, degree, f"{degree_name} 1")


def find_unsupported_value(
    setting: str, value: object, supported_values: Collection[object]
) -> Iterator[UnsupportedSetting]:
    """The setting, where its value is not in `supported_values`."""
    if value not in supported_values:
        yield UnsupportedSetting(
            setting, value, f"{setting} {' or '.join(str(supported_value) for supported_value in supported_values)}"
        )


def find_unsupported_order(run: PlannedRun, supported_orders: Collection[str]) -> Iterator[UnsupportedSetting]:
    """The order of ranks, where it differs from all in `supported_orders`; dimensions of degree 1 do not count."""

    def drop_unit_degrees(order: str) -> list[str]:
        return [name for name in order.split("-") if getattr(run.strategy, name) > 1]

    if drop_unit_degrees(run.settings.order) not in [drop_unit_degrees(order) for order in supported_orders]:
        yield UnsupportedSetting("order", run.settings.order, f"order {' or '.join(supported_orders)}")


def find_unsupported_offload(run: PlannedRun, supported_offloads: Collection[str]) -> Iterator[UnsupportedSetting]:
    """The offload, where it is not in `supported_offloads`."""
    for name in run.settings.offload:
        if name not in supported_offloads:
            yield UnsupportedSetting("offload", name, f"offload {' or '.join(['none', *supported_offloads])}")


def find_unsupported_accelerator(run: PlannedRun, supported_types: Collection[str]) -> Iterator[UnsupportedSetting]:
    """The accelerator, where the trainer does not support it; `supported_types`: vendors, device types, or both."""
    accelerator = run.accelerator
    if accelerator.device_type and not {
        accelerator.vendor,
        accelerator.device_type,
        f"{accelerator.vendor} {accelerator.device_type}",
    } & set(supported_types):
        yield UnsupportedSetting("accelerator", run.accelerator.name, f"one of {', '.join(supported_types)}")


def find_unsupported_architecture(run: PlannedRun) -> Iterator[UnsupportedSetting]:
    """The model, where it is not a decoder of a language model."""
    if run.model is None or run.model.architecture != "decoder" or run.model.vision is not None:
        yield UnsupportedSetting("model", run.title, "a decoder")


def find_unsupported_model_parts(model: ModelSpec, part_names: Collection[str]) -> Iterator[UnsupportedSetting]:
    """The parts `part_names` of this model, which the trainer's model does not have."""
    for name in part_names:
        value = getattr(model, name)
        if value not in (None, 0, False, "none"):
            yield UnsupportedSetting(
                f"model.{name}", value if isinstance(value, (int, str)) else "present", "left out"
            )
