"""The trainers that a plan is exported to, by name."""

from planner.export.trainer import TrainerExport
from planner.export.trainers import (
    accelerate,
    deepspeed,
    fsdp2,
    maxtext,
    megatron_bridge,
    megatron_lm,
    nemo,
    torchtitan,
)

TRAINERS: dict[str, TrainerExport] = {
    trainer.name: trainer
    for trainer in (
        megatron_lm.TRAINER,
        megatron_bridge.TRAINER,
        deepspeed.TRAINER,
        torchtitan.TRAINER,
        fsdp2.TRAINER,
        maxtext.TRAINER,
        nemo.TRAINER,
        accelerate.TRAINER,
    )
}
