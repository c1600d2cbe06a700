"""All trainers and programs by name, the default trainer, and the trainers whose plans a program runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.hardware.accelerator import Accelerator
from planner.trainers.accelerate import ACCELERATE
from planner.trainers.ddp import DDP
from planner.trainers.deepspeed import DEEPSPEED, DEEPSPEED_PROGRAM
from planner.trainers.fsdp import FSDP1, FSDP2, FSDP2_PROGRAM
from planner.trainers.maxtext import MAXTEXT, MAXTEXT_PROGRAM
from planner.trainers.megatron import (
    MEGATRON,
    MEGATRON_BRIDGE,
    MEGATRON_CLASSIC,
    MEGATRON_FSDP,
    MEGATRON_LM,
    NEMO,
)
from planner.trainers.names import ProgramName, TrainerName
from planner.trainers.rules import Program, accept_own_value
from planner.trainers.torchtitan import TORCHTITAN
from planner.trainers.trainer import Trainer, list_own_values
from planner.workload.operators import Workload


def _add_own_value_rules(program: Program) -> Program:
    """The program with a rule for each setting that its files do not write: the trainer's own value."""
    settings = [name for name in list_own_values(MEGATRON) if name not in program.written_settings]
    return replace(program, rules=(*program.rules, *map(accept_own_value, settings)))


TRAINERS_BY_NAME: dict[TrainerName, Trainer] = {
    trainer.name: trainer
    for trainer in (MEGATRON, MEGATRON_CLASSIC, MEGATRON_FSDP, FSDP2, FSDP1, DEEPSPEED, DDP, MAXTEXT)
}
PROGRAMS_BY_NAME: dict[ProgramName, Program] = {
    program.name: _add_own_value_rules(program)
    for program in (
        MEGATRON_LM,
        MEGATRON_BRIDGE,
        DEEPSPEED_PROGRAM,
        TORCHTITAN,
        FSDP2_PROGRAM,
        MAXTEXT_PROGRAM,
        NEMO,
        ACCELERATE,
    )
}


def find_default_trainer(accelerator: Accelerator, workload: Workload) -> TrainerName:
    """What large models are trained with on an accelerator.

    MaxText on TPUs, plain replicas for images, Megatron elsewhere: with whole steps as one graph where NVIDIA's
    recipes have it, from Blackwell on (Megatron-Bridge, scripts/performance/configs).
    """
    if accelerator.architecture.startswith("tpu"):
        return "maxtext"
    if not workload.has_tokens:
        return "ddp"
    return "megatron" if accelerator.architecture.startswith("blackwell") else "megatron-classic"


def find_common_trainer(accelerators: Sequence[Accelerator], workload: Workload) -> TrainerName:
    """One trainer for pools of several accelerators: their default where it is the same, else Megatron without whole
    steps as one graph where it is the default of one of them, else the default of the first.
    """
    defaults = [find_default_trainer(accelerator, workload) for accelerator in accelerators]
    return "megatron-classic" if "megatron-classic" in defaults else defaults[0]


def list_trainers_of_program(program: ProgramName) -> tuple[TrainerName, ...]:
    """Names of the trainers whose plans a program of `planner export --to` runs."""
    return tuple(name for name, trainer in TRAINERS_BY_NAME.items() if program in trainer.programs)
