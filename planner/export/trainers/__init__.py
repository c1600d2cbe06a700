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
    module.TRAINER.name: module.TRAINER
    for module in (megatron_lm, megatron_bridge, deepspeed, torchtitan, fsdp2, maxtext, nemo, accelerate)
}
