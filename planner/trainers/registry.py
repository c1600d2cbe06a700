"""All trainers by name, the default one, and those that a program of `planner export` runs."""

from __future__ import annotations

from collections.abc import Sequence

from planner.hardware.accelerator import Accelerator
from planner.trainers.ddp import DDP
from planner.trainers.deepspeed import DEEPSPEED
from planner.trainers.fsdp1 import FSDP1
from planner.trainers.fsdp2 import FSDP2
from planner.trainers.maxtext import MAXTEXT
from planner.trainers.megatron import MEGATRON, MEGATRON_CLASSIC
from planner.trainers.megatron_fsdp import MEGATRON_FSDP
from planner.trainers.names import TrainerName
from planner.trainers.trainer import Trainer
from planner.workload.operators import Workload

TRAINERS_BY_NAME: dict[TrainerName, Trainer] = {
    trainer.name: trainer
    for trainer in (MEGATRON, MEGATRON_CLASSIC, MEGATRON_FSDP, FSDP2, FSDP1, DEEPSPEED, DDP, MAXTEXT)
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


def list_trainers_of_program(program: str) -> tuple[TrainerName, ...]:
    """Names of the trainers whose plans a program of `planner export --to` runs."""
    return tuple(name for name, trainer in TRAINERS_BY_NAME.items() if program in trainer.programs)
