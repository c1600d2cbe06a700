"""All trainers and programs by name, the default trainer, and the trainers whose plans a program runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
from planner.trainers.names import AttentionKernel, ProgramName, TrainerChoiceName, TrainerName
from planner.trainers.rules import Program, is_older_than_ampere
from planner.trainers.torchtitan import TORCHTITAN
from planner.trainers.trainer import Trainer
from planner.workload.operators import Workload

TRAINERS_BY_NAME: dict[TrainerName, Trainer] = {
    trainer.name: trainer
    for trainer in (MEGATRON, MEGATRON_CLASSIC, MEGATRON_FSDP, FSDP2, FSDP1, DEEPSPEED, DDP, MAXTEXT)
}
PROGRAMS_BY_NAME: dict[ProgramName, Program] = {
    program.name: program
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


@dataclass(frozen=True)
class TrainerChoice:
    """A trainer, and the programs of which one at least has to run its plans."""

    trainer: TrainerName
    programs: tuple[ProgramName, ...]


def choose_trainer(
    name: TrainerChoiceName | None, accelerator: Accelerator, workload: Workload, zero_stages: Sequence[int] = ()
) -> TrainerChoice:
    """The trainer of this name, or of the program of this name; None: the default.

    `zero_stages`: the stages that plans may have, where they are given. They decide between a program's trainers, and
    between the default trainers: Megatron, or Megatron-FSDP for stages 2 and 3; plain replicas of models without
    tokens, or DeepSpeed and FSDP2, which shard them.
    """
    program = next((program for program in PROGRAMS_BY_NAME if program == name), None)
    if program is not None:
        trainers = list_trainers_of_program(program)
        trainer = _find_sharding_trainer(find_default_trainer(accelerator, workload), zero_stages)
        if trainer not in trainers:
            trainer = _find_sharding_trainer(trainers[0], zero_stages)
        return TrainerChoice(trainer if trainer in trainers else trainers[0], (program,))
    default = _find_sharding_trainer(find_default_trainer(accelerator, workload), zero_stages)
    named_trainer = next((trainer for trainer in TRAINERS_BY_NAME if trainer == name), default)
    return TrainerChoice(named_trainer, TRAINERS_BY_NAME[named_trainer].programs)


def _find_sharding_trainer(trainer: TrainerName, zero_stages: Sequence[int]) -> TrainerName:
    """The trainer that shards as these stages do, of those that are used in the place of `trainer`."""
    if trainer in ("fsdp2", "fsdp") and zero_stages and max(zero_stages) < 2:
        return "deepspeed" if min(zero_stages) == 1 else "ddp"
    if not zero_stages or min(zero_stages) == 0:
        return trainer
    if trainer in ("megatron", "megatron-classic") and min(zero_stages) > 1:
        return "megatron-fsdp"
    if trainer == "ddp":
        return "fsdp2" if min(zero_stages) > 1 else "deepspeed"
    return trainer


def find_common_trainer(
    accelerators: Sequence[Accelerator], workload: Workload, zero_stages: Sequence[int] = ()
) -> TrainerName:
    """One trainer for pools of several accelerators: their default where it is the same, else Megatron without whole
    steps as one graph where it is the default of one of them, else the default of the first; `zero_stages` as in
    `choose_trainer`.
    """
    defaults = [find_default_trainer(accelerator, workload) for accelerator in accelerators]
    default: TrainerName = "megatron-classic" if "megatron-classic" in defaults else defaults[0]
    return _find_sharding_trainer(default, zero_stages)


def find_default_attention(accelerator: Accelerator) -> AttentionKernel:
    """FlashAttention, where it runs on the accelerator."""
    return "unfused" if is_older_than_ampere(accelerator.architecture) else "flash"


def list_trainers_of_program(program: ProgramName) -> tuple[TrainerName, ...]:
    """Names of the trainers whose plans a program of `planner export --to` runs."""
    return tuple(name for name, trainer in TRAINERS_BY_NAME.items() if program in trainer.programs)
