"""All trainers and programs by name, the default trainer, and the trainers whose plans a program runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from planner.errors import InputError
from planner.hardware.accelerator import Accelerator
from planner.trainers.maxtext.program import MAXTEXT, MAXTEXT_PROGRAM
from planner.trainers.megatron.megatron_deepspeed import MEGATRON_DEEPSPEED, MEGATRON_DEEPSPEED_PROGRAM
from planner.trainers.megatron.mindspeed import MINDSPEED, MINDSPEED_PROGRAM
from planner.trainers.megatron.programs import (
    MEGATRON,
    MEGATRON_BRIDGE,
    MEGATRON_CLASSIC,
    MEGATRON_FSDP,
    MEGATRON_LM,
    NEMO,
)
from planner.trainers.names import AttentionKernel, ProgramName, TrainerName
from planner.trainers.nanotron import NANOTRON, NANOTRON_PROGRAM
from planner.trainers.neuronx import NEURONX, NEURONX_PROGRAM
from planner.trainers.program import Program, ProgramVersion, apply_version
from planner.trainers.pytorch.accelerate import ACCELERATE
from planner.trainers.pytorch.composer import COMPOSER, COMPOSER_PROGRAM
from planner.trainers.pytorch.ddp import DDP
from planner.trainers.pytorch.deepspeed import DEEPSPEED, DEEPSPEED_PROGRAM
from planner.trainers.pytorch.fsdp import FSDP1, FSDP2, FSDP2_PROGRAM
from planner.trainers.pytorch.hf_trainer import HF_TRAINER, HF_TRAINER_PROGRAM
from planner.trainers.pytorch.torchtitan import TORCHTITAN
from planner.trainers.pytorch.torchtune import TORCHTUNE, TORCHTUNE_PROGRAM
from planner.trainers.rules import is_older_than_ampere
from planner.trainers.trainer import Trainer
from planner.workload.operators import Workload

TRAINERS_BY_NAME: dict[TrainerName, Trainer] = {
    trainer.name: trainer
    for trainer in (
        MEGATRON,
        MEGATRON_CLASSIC,
        MEGATRON_FSDP,
        FSDP2,
        FSDP1,
        DEEPSPEED,
        DDP,
        MAXTEXT,
        TORCHTUNE,
        NANOTRON,
        NEURONX,
        MINDSPEED,
        MEGATRON_DEEPSPEED,
        HF_TRAINER,
        COMPOSER,
    )
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
        TORCHTUNE_PROGRAM,
        NANOTRON_PROGRAM,
        NEURONX_PROGRAM,
        MINDSPEED_PROGRAM,
        MEGATRON_DEEPSPEED_PROGRAM,
        HF_TRAINER_PROGRAM,
        COMPOSER_PROGRAM,
    )
}

_DEEP_EP_ARCHITECTURES = ("hopper", "blackwell", "blackwell-ultra")


_TRAINERS_OF_VENDORS: Mapping[str, TrainerName] = {
    "trainium1": "neuronx",
    "trainium2": "neuronx",
    "davinci": "mindspeed",
}
"""By architecture of NPUs, on which no other trainer of ours runs."""


def find_default_trainer(accelerator: Accelerator, workload: Workload) -> TrainerName:
    """What large models are trained with on an accelerator.

    MaxText on TPUs, plain replicas for images, the vendors' own on Trainium and Ascend, Megatron elsewhere: with
    whole steps as one graph where NVIDIA's recipes have it, from Blackwell on (Megatron-Bridge,
    scripts/performance/configs).
    """
    if accelerator.architecture.startswith("tpu"):
        return "maxtext"
    if not workload.has_tokens:
        return "ddp"
    if accelerator.architecture in _TRAINERS_OF_VENDORS:
        return _TRAINERS_OF_VENDORS[accelerator.architecture]
    return "megatron" if accelerator.architecture.startswith("blackwell") else "megatron-classic"


@dataclass(frozen=True)
class TrainerChoice:
    """A trainer, and the programs of which one at least has to run its plans; `version`: of a single program, as
    NAME@VERSION, empty for that which the trainer's record is of.
    """

    trainer: TrainerName
    programs: tuple[ProgramName, ...]
    version: str = ""


def choose_trainer(
    name: str | None, accelerator: Accelerator, workload: Workload, zero_stages: Sequence[int] = ()
) -> TrainerChoice:
    """The trainer of this name, or of the program of this name, at its newest version or as NAME@VERSION; None: the
    default. Raises InputError for an unknown version.

    `zero_stages`: the stages that plans may have, where they are given. They decide between a program's trainers, and
    between the default trainers: Megatron, or Megatron-FSDP for stages 2 and 3; plain replicas of models without
    tokens, or DeepSpeed and FSDP2, which shard them.
    """
    plain_name, has_version, _ = (name or "").partition("@")
    program = next((program for program in PROGRAMS_BY_NAME if program == plain_name), None)
    if program is not None:
        trainers, version_text = list_trainers_of_program(program), ""
        version = parse_trainer_version(name or "")[1] if has_version else PROGRAMS_BY_NAME[program].newest_version
        if version is not None:
            trainers, version_text = version.trainers or trainers, f"{program}@{version.name}"
        trainer = _find_sharding_trainer(find_default_trainer(accelerator, workload), zero_stages)
        if trainer not in trainers:
            trainer = _find_sharding_trainer(trainers[0], zero_stages)
        return TrainerChoice(trainer if trainer in trainers else trainers[0], (program,), version_text)
    default = _find_sharding_trainer(find_default_trainer(accelerator, workload), zero_stages)
    named_trainer = next((trainer for trainer in TRAINERS_BY_NAME if trainer == plain_name), default)
    return TrainerChoice(named_trainer, TRAINERS_BY_NAME[named_trainer].programs)


def is_newest_version(name: str, version: str) -> bool:
    """Whether a program of this name has its files and rules at this version, or this release of it, which no
    `ProgramVersion` names.
    """
    program = next((program for program in PROGRAMS_BY_NAME.values() if program.name == name), None)
    return program is not None and program.is_newest_release(version)


def parse_trainer_version(text: str, key: str = "--trainer") -> tuple[Program, ProgramVersion]:
    """The program and its version of NAME@VERSION. Raises InputError for a name that is no program's, and for an
    unknown version.
    """
    name, _, version_text = text.partition("@")
    program = next((program for program in PROGRAMS_BY_NAME.values() if program.name == name), None)
    if program is not None:
        return program, program.find_version(version_text, key)
    programs = TRAINERS_BY_NAME[name].programs if name in TRAINERS_BY_NAME else tuple(PROGRAMS_BY_NAME)
    expected = f"a version of a program that runs them: {', '.join(programs)}"
    raise InputError(f"{name} is a kind of plans, which has no versions", key=key, value=text, expected=expected)


def find_trainer(name: TrainerName, version: str = "", launch: str | None = None) -> Trainer:
    """The trainer's record, at a version of a program (NAME@VERSION) that runs its plans; `launch`: the launch mode,
    None: the trainer's own. Raises InputError for an unknown version.
    """
    trainer = TRAINERS_BY_NAME[name]
    if not version:
        return trainer
    program, program_version = parse_trainer_version(version)
    return apply_version(trainer, program, program_version, launch)


def find_version_month(version: str) -> str:
    """The month of a version of a program (NAME@VERSION); empty of the newest, and where none is known."""
    if not version:
        return ""
    program, program_version = parse_trainer_version(version)
    is_newest = not program.versions or program_version is program.versions[0]
    return "" if is_newest else program_version.since


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


def adapt_to_accelerator(trainer: Trainer, accelerator: str, architecture: str) -> Trainer:
    """The trainer as it is used on an accelerator of this name: where DeepEP has no kernels for all links, the
    all-to-all of experts is NCCL's, and on GB200 and GB300 what the trainer has there. Between nodes DeepEP needs a
    compute capability of 9.0 (deepseek-ai/DeepEP, README.md, Requirements: Hopper, or the PTX of SM90; setup.py of
    v1.2.1, DISABLE_SM90_FEATURES: on Ampere kernels within a node alone); an accelerator without an architecture is
    taken to have it.
    """
    if trainer.ep_exchange == "nccl":
        return trainer
    if accelerator.startswith("gb"):
        return replace(trainer, ep_exchange=trainer.nvl72_ep_exchange)
    if architecture in ("", *_DEEP_EP_ARCHITECTURES):
        return trainer
    return replace(trainer, ep_exchange="nccl")


def list_trainers_of_program(program: ProgramName) -> tuple[TrainerName, ...]:
    """Names of the trainers whose plans a program of `planner export --to` runs."""
    return tuple(name for name, trainer in TRAINERS_BY_NAME.items() if program in trainer.programs)
