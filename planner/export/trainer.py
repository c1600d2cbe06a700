"""What a trainer is asked: which of a plan's settings it cannot be told, what it is told otherwise, and its files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from planner.errors import InputError
from planner.export.run import Run
from planner.workload.spec import ModelSpec

Files = dict[str, str]
"""Texts by the names of their files."""


@dataclass(frozen=True)
class Misfit:
    """A setting of a plan that a trainer cannot be told; `wanted`: what it could be told, where anything else is."""

    setting: str
    value: object
    wanted: str = ""


@dataclass(frozen=True)
class Own:
    """What the user adds: arguments that `train.sh` passes on where it is given none, and environment variables."""

    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Trainer:
    """One trainer. `files(run, own)`: `train.sh` and what it reads.

    `notes`: what is told otherwise than planned without harm to the result. `frameworks`: those of the cost model
    that are this trainer. `needs_script`: it runs a training script of the user's.
    """

    name: str
    frameworks: tuple[str, ...]
    misfits: Callable[[Run], Iterator[Misfit]]
    notes: Callable[[Run], Iterator[str]]
    files: Callable[[Run, Own], Files]
    needs_script: bool = False


def check(run: Run, trainer: Trainer, others: Sequence[Trainer]) -> None:
    """Raises InputError for the first setting that the trainer cannot be told, with those of `others` that can."""
    found = next(trainer.misfits(run), None)
    if found is None:
        return
    able = [one.name for one in others if all(found.setting != its.setting for its in one.misfits(run))]
    wanted = [found.wanted] if found.wanted else []
    if able:
        wanted.append(f"--to {', '.join(able)}")
    raise InputError(
        f"{trainer.name} cannot be told this setting",
        key=found.setting,
        value=found.value,
        expected="; or ".join(wanted) or "another plan: no trainer that is exported to can",
    )


def notes(run: Run, trainer: Trainer) -> list[str]:
    """What the user is to know, beside what was refused."""
    told = list(trainer.notes(run))
    if run.framework not in trainer.frameworks:
        again = f"`plan --framework {trainer.frameworks[0]}` plans for it"
        told.append(f"the plan's times and bytes are of {run.framework}, not of {trainer.name}: {again}")
    if run.tokens is None:
        told.append(f"the plan has no --tokens: {run.steps} steps are trained")
    return told


def above_one(run: Run, able: Collection[str]) -> Iterator[Misfit]:
    """Degrees above one of dimensions that are not in `able`."""
    for name in ("tp", "pp", "cp", "ep", "vpp"):
        size = getattr(run.strategy, name)
        if size > 1 and name not in able:
            yield Misfit(name, size, f"{name} 1")


def among(setting: str, value: object, able: Collection[object]) -> Iterator[Misfit]:
    """A value that is not in `able`."""
    if value not in able:
        yield Misfit(setting, value, f"{setting} {' or '.join(str(one) for one in able)}")


def ordered(run: Run, able: Collection[str]) -> Iterator[Misfit]:
    """An order of ranks that differs from all in `able`; dimensions of one have no place in it."""

    def seen(order: str) -> list[str]:
        return [name for name in order.split("-") if getattr(run.strategy, name) > 1]

    if seen(run.settings.order) not in [seen(order) for order in able]:
        yield Misfit("order", run.settings.order, f"order {' or '.join(able)}")


def offloaded(run: Run, able: Collection[str]) -> Iterator[Misfit]:
    """What is kept on the host and is not in `able`."""
    for name in run.settings.offload:
        if name not in able:
            yield Misfit("offload", name, f"offload {' or '.join(['none', *able])}")


def on(run: Run, kinds: Collection[str]) -> Iterator[Misfit]:
    """An accelerator that the trainer does not run on; `kinds`: vendors, kinds of parts, or both."""
    part = run.part
    if part.kind and not {part.vendor, part.kind, f"{part.vendor} {part.kind}"} & set(kinds):
        yield Misfit("accelerator", run.part.name, f"one of {', '.join(kinds)}")


def decoder(run: Run) -> Iterator[Misfit]:
    """A model that is no decoder of a language model."""
    if run.model is None or run.model.architecture != "decoder" or run.model.vision is not None:
        yield Misfit("model", run.title, "a decoder")


def odd_layers(model: ModelSpec, names: Collection[str]) -> Iterator[Misfit]:
    """Those of the parts `names` that this model has; the trainer's own model does not know them."""
    for name in names:
        value = getattr(model, name)
        if value not in (None, 0, False, "none"):
            yield Misfit(f"model.{name}", value if isinstance(value, (int, str)) else "there is one", "left out")
