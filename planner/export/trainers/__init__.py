"""The trainers that a plan is exported to, by name."""

from planner.export.trainer import Trainer
from planner.export.trainers import megatron_lm

TRAINERS: dict[str, Trainer] = {one.name: one for one in (megatron_lm.TRAINER,)}
