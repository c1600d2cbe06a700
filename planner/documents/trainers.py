"""The trainers document: what each trainer and program can run, its defaults, its version and the sources."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, get_args

from planner.cost.settings import SETTINGS, list_own_values
from planner.documents.schema import Document, DocumentPart, NonNegativeFloat
from planner.errors import build_unknown_name_error
from planner.hardware import database
from planner.trainers.names import CpCommType, ExportName, GradientDtype, LaunchMode, TrainerChoiceName
from planner.trainers.program import Program, ProgramVersion, apply_version
from planner.trainers.recompute import SelectiveRecompute
from planner.trainers.registry import (
    PROGRAMS_BY_NAME,
    TRAINERS_BY_NAME,
    is_newest_version,
    list_trainers_of_program,
    parse_trainer_version,
)
from planner.trainers.rules import Rule
from planner.trainers.run_defaults import find_run_defaults
from planner.trainers.trainer import Trainer, find_calibration_name

SCHEMA_VERSION: Literal["1.0"] = "1.0"


class TrainerDefaultsPart(DocumentPart, frozen=True, kw_only=True):
    """What plans of a trainer have where the options leave it open, and the bytes that it holds."""

    launch: LaunchMode
    """How kernels are launched."""
    zero_stage: Literal[0, 1, 2, 3]
    """Of `planner estimate`, where there is more than one rank to shard over."""
    cp_exchange: CpCommType
    gradients: GradientDtype
    """Number format of accumulated gradients."""
    communication: GradientDtype
    """Number format of gradients in communication."""
    unsharded_communication: GradientDtype
    """The same without ZeRO."""
    weight_bytes: NonNegativeFloat
    """Bytes per parameter: weights as the kernels read them; under ZeRO 3 while they are gathered."""
    sharded_weight_bytes: NonNegativeFloat
    """Bytes per parameter under ZeRO 3: a rank's shard of these; 0 where the master weights are what is sharded."""
    gradient_bytes: NonNegativeFloat
    """Bytes per parameter: accumulated gradients, and 16-bit ones beside them."""
    gradient_copy_bytes: NonNegativeFloat
    """Of these the 16-bit ones."""
    optimizer_bytes: NonNegativeFloat
    """Bytes per parameter: the optimizer's state, with master weights."""
    loss_bytes_per_logit: NonNegativeFloat
    """Bytes per logit at the peak of a plain loss."""
    selective_recompute: SelectiveRecompute
    """What selective recomputation repeats: norms and activations, or every second multiply too."""
    keeps_embedding_gathered: bool
    """Whether embedding and head stay gathered under ZeRO 3."""


class SupportRulePart(DocumentPart, frozen=True, kw_only=True):
    """One rule of a program."""

    setting: str
    """The option or the key of the model that it is about."""
    supported: str
    """What the program runs."""
    source: str
    """The file of the program that states it, with the function or the option; or that it is a limit of the exported
    files (`not written by planner export`) or of the cost model (`not modelled`), with the file that has more."""


class TrainerVersionPart(DocumentPart, frozen=True, kw_only=True):
    """A version of a program that behaves otherwise than the one before: a VERSION of `--trainer NAME@VERSION`."""

    name: str
    since: str
    """The month from which on it is in force."""
    behaviour: str
    """What is other than in the version after it."""
    rules: list[SupportRulePart]
    """What it does not run yet, beside the rules of the newest."""
    source: str


class TrainerPart(DocumentPart, frozen=True, kw_only=True):
    """A value of `--trainer`: a program, or a kind of plans that several programs run."""

    name: TrainerChoiceName
    kind: Literal["program", "plans"]
    version: str
    """The program's version whose rules these are; empty for a kind of plans."""
    runs: list[str]
    """Of a program the kinds of plans that it runs; of a kind of plans the programs that run it."""
    calibration: str
    """The kind of plans whose fitted efficiencies it has; empty: no run of it was fitted, the default's hold."""
    is_exported: bool
    """Whether `planner export --to` writes its files, or those of a program that runs such plans."""
    defaults: TrainerDefaultsPart
    run_defaults: dict[str, str]
    """By column of runs files what a program's runs have where nobody says it, and an estimate without such options;
    `tp`: as that degree, of `seq_parallel` wherever it is above 1."""
    versions: list[TrainerVersionPart]
    """Of a program, the newest first."""
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
    """The trainer of this name, NAME or NAME@VERSION; None: all. Raises InputError for an unknown name or version."""
    plain_name, _, version_text = (name or "").casefold().partition("@")
    if name is not None and is_newest_version(plain_name, version_text):
        name = plain_name
    if name is not None and "@" in name:
        program, version = parse_trainer_version(name.casefold(), "NAME")
        return TrainersDocument(schema_version=SCHEMA_VERSION, trainers=[_build_program_part(program, version)])
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


def _build_program_part(program: Program, version: ProgramVersion | None = None) -> TrainerPart:
    """A program, at a version; None: the newest."""
    trainers = (version and version.trainers) or list_trainers_of_program(program.name)
    trainer = TRAINERS_BY_NAME[trainers[0]]
    applied = version or program.newest_version
    if applied is not None:
        trainer = apply_version(trainer, program, applied, None)
    return TrainerPart(
        name=program.name,
        kind="program",
        version=program.version if version is None else version.name,
        runs=list(trainers),
        is_exported=program.name in get_args(ExportName),
        **_describe_trainer(trainer, (program,)),
        run_defaults=dict(program.defaults),
        versions=[
            TrainerVersionPart(
                name=known.name,
                since=known.since,
                behaviour=known.behaviour,
                rules=_build_rule_parts(known.rules),
                source=known.source,
            )
            for known in program.versions
        ],
        rules=_build_rule_parts((*program.rules, *(version.rules if version else ()))),
        source=program.source,
    )


def _build_plans_part(trainer: Trainer) -> TrainerPart:
    return TrainerPart(
        name=trainer.name,
        kind="plans",
        version="",
        runs=list(trainer.programs),
        is_exported=any(program in get_args(ExportName) for program in trainer.programs),
        **_describe_trainer(trainer, [PROGRAMS_BY_NAME[name] for name in trainer.programs]),
        run_defaults={},
        versions=[],
        rules=[],
        source="",
    )


def _build_rule_parts(rules: Iterable[Rule]) -> list[SupportRulePart]:
    return [
        SupportRulePart(setting=rule.setting, supported=rule.supported_text, source=rule.source) for rule in rules
    ]


def _find_fitted_calibration(trainer: Trainer) -> str:
    name = find_calibration_name(trainer)
    return name if name in database.list_database_names("calibration/frameworks") else ""


def _describe_trainer(trainer: Trainer, programs: Sequence[Program]) -> dict[str, Any]:
    """The fields of a part that are the trainer's, and what the programs can be given beside."""
    own_values = list_own_values(trainer, "bf16")
    return {
        "calibration": _find_fitted_calibration(trainer),
        "defaults": _build_defaults_part(trainer, programs),
        "own_values": {name: SETTINGS[name].format_value(value) for name, value in own_values.items()},
        "written_settings": [
            name for name in own_values if any(name in program.written_settings for program in programs)
        ],
        "rank_orders": list(trainer.rank_orders),
        "has_expert_axis": trainer.has_expert_axis,
    }


def _build_defaults_part(trainer: Trainer, programs: Sequence[Program]) -> TrainerDefaultsPart:
    run_defaults = find_run_defaults(trainer, [program.name for program in programs])
    return TrainerDefaultsPart(
        launch=trainer.launch_mode,
        cp_exchange=trainer.cp_comm_type,
        gradients="bf16" if trainer.gradient_bytes == 2.0 else "fp32",
        communication="bf16" if trainer.grad_reduce_bytes == 2.0 else "fp32",
        unsharded_communication=(
            "bf16" if (trainer.unsharded_reduce_bytes or trainer.grad_reduce_bytes) == 2.0 else "fp32"
        ),
        zero_stage=run_defaults.zero_stage,  # type: ignore[arg-type]
        weight_bytes=trainer.weight_bytes,
        sharded_weight_bytes=trainer.sharded_weight_bytes,
        gradient_bytes=trainer.gradient_bytes,
        gradient_copy_bytes=trainer.gradient_copy_bytes,
        optimizer_bytes=trainer.optimizer_bytes,
        loss_bytes_per_logit=trainer.held_logit_bytes or trainer.loss_bytes_per_logit,
        selective_recompute=trainer.selective_recompute,
        keeps_embedding_gathered=trainer.keeps_embedding_gathered,
    )
