"""The trainers document: what each trainer and program can run, its defaults, its version and the sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, cast

from planner.cost.settings import SETTINGS, SettingValue
from planner.documents.schema import Document, DocumentPart, NonNegativeFloat
from planner.errors import build_unknown_name_error
from planner.trainers.names import CpCommType, GradientDtype, LaunchMode, TrainerChoiceName
from planner.trainers.registry import PROGRAMS_BY_NAME, TRAINERS_BY_NAME, list_trainers_of_program
from planner.trainers.program import Program
from planner.trainers.trainer import Trainer, list_own_values

SCHEMA_VERSION: Literal["1.0"] = "1.0"


class TrainerDefaultsPart(DocumentPart, frozen=True, kw_only=True):
    """What plans of a trainer have where the options leave it open, and the bytes that it holds."""

    launch: LaunchMode
    """How kernels are launched."""
    cp_exchange: CpCommType
    gradients: GradientDtype
    """Number format of accumulated gradients."""
    communication: GradientDtype
    """Number format of gradients in communication."""
    weight_bytes: NonNegativeFloat
    """Bytes per parameter: weights as the kernels read them."""
    optimizer_bytes: NonNegativeFloat
    """Bytes per parameter: the optimizer's state, with 32-bit master weights."""


class SupportRulePart(DocumentPart, frozen=True, kw_only=True):
    """One rule of a program."""

    setting: str
    """The option or the key of the model that it is about."""
    supported: str
    """What the program runs."""
    source: str
    """The file of the program that states it, where it is known; else empty."""


class TrainerPart(DocumentPart, frozen=True, kw_only=True):
    """A value of `--trainer`: a program, or a kind of plans that several programs run."""

    name: TrainerChoiceName
    kind: Literal["program", "plans"]
    version: str
    """The program's version whose rules these are; empty for a kind of plans."""
    runs: list[str]
    """Of a program the kinds of plans that it runs; of a kind of plans the programs that run it."""
    defaults: TrainerDefaultsPart
    own_values: dict[str, str]
    """By setting what the trainer has by itself, of settings that not every program can be given in another value."""
    written_settings: list[str]
    """Of these settings those that it can be given in other values; of a kind of plans those of one of its programs
    at least."""
    rank_orders: list[str]
    """Orders of the dimensions in which it numbers ranks, innermost first: its own, then those that an option has."""
    has_expert_axis: bool
    """Whether ep is a mesh axis of its own inside tp, or experts are shared by neighbours in the numbering of a
    stage's ranks."""
    rules: list[SupportRulePart]
    """What the program runs; empty for a kind of plans, which one of its programs has to run."""
    source: str
    """Where the program's code is; empty for a kind of plans."""


class TrainersDocument(Document, frozen=True, kw_only=True):
    """All trainers, or one: programs first."""

    NAME: ClassVar[str] = "trainers"

    schema_version: Literal["1.0"]
    trainers: list[TrainerPart]


def build_trainers_document(name: str | None = None) -> TrainersDocument:
    """The trainer of this name; None: all. Raises InputError for an unknown name."""
    parts = [*map(_build_program_part, PROGRAMS_BY_NAME.values())]
    names = {part.name for part in parts}
    parts += [_build_plans_part(trainer) for trainer in TRAINERS_BY_NAME.values() if trainer.name not in names]
    if name is not None:
        parts = _select_part(parts, name)
    return TrainersDocument(schema_version=SCHEMA_VERSION, trainers=parts)


def _select_part(parts: Sequence[TrainerPart], name: str) -> list[TrainerPart]:
    selected = [part for part in parts if part.name == name.casefold()]
    if not selected:
        raise build_unknown_name_error("trainer", name, [part.name for part in parts], key="NAME")
    return selected


def _build_program_part(program: Program) -> TrainerPart:
    trainers = list_trainers_of_program(program.name)
    return TrainerPart(
        name=program.name,
        kind="program",
        version=program.version,
        runs=list(trainers),
        **_describe_trainer(TRAINERS_BY_NAME[trainers[0]], (program,)),
        rules=[
            SupportRulePart(setting=rule.setting, supported=rule.supported_text, source=rule.source)
            for rule in program.rules
        ],
        source=program.source,
    )


def _build_plans_part(trainer: Trainer) -> TrainerPart:
    return TrainerPart(
        name=trainer.name,
        kind="plans",
        version="",
        runs=list(trainer.programs),
        **_describe_trainer(trainer, [PROGRAMS_BY_NAME[name] for name in trainer.programs]),
        rules=[],
        source="",
    )


def _describe_trainer(trainer: Trainer, programs: Sequence[Program]) -> dict[str, Any]:
    """The fields of a part that are the trainer's, and what the programs can be given beside."""
    own_values = list_own_values(trainer)
    return {
        "defaults": _build_defaults_part(trainer),
        "own_values": {
            name: SETTINGS[name].format_value(cast("SettingValue", value)) for name, value in own_values.items()
        },
        "written_settings": [
            name for name in own_values if any(name in program.written_settings for program in programs)
        ],
        "rank_orders": list(trainer.rank_orders),
        "has_expert_axis": trainer.has_expert_axis,
    }


def _build_defaults_part(trainer: Trainer) -> TrainerDefaultsPart:
    return TrainerDefaultsPart(
        launch=trainer.launch_mode,
        cp_exchange=trainer.cp_comm_type,
        gradients="bf16" if trainer.gradient_bytes == 2.0 else "fp32",
        communication="bf16" if trainer.grad_reduce_bytes == 2.0 else "fp32",
        weight_bytes=trainer.weight_bytes,
        optimizer_bytes=trainer.optimizer_bytes,
    )
