"""Which trainer a table's word for one is, its version, and what it does where a row does not say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import get_args

from planner.errors import find_nearest_name
from planner.evidence.runs import MeasuredRun, RowError
from planner.trainers.names import ProgramName, TrainerName
from planner.trainers.program import Program, ProgramVersion
from planner.trainers.registry import PROGRAMS_BY_NAME, list_trainers_of_program

SHARDING_WORDS: dict[str, tuple[TrainerName | None, int | None]] = {
    # Megatron-LM: --data-parallel-sharding-strategy, --use-distributed-optimizer
    "fsdp": ("megatron-fsdp", 3),
    "distributed-optimizer": (None, 1),
    # PyTorch: torch.distributed.fsdp.fully_shard; the members of ShardingStrategy of FullyShardedDataParallel
    "fsdp2": ("fsdp2", 3),
    "full_shard": ("fsdp", 3),
    "shard_grad_op": ("fsdp", 2),
    "hybrid_shard": ("fsdp", 3),
    "no_shard": (None, 0),
    # DeepSpeed: zero_optimization.stage
    "zero-3": ("deepspeed", 3),
    "zero-2": ("deepspeed", 2),
    # a ZeRO stage without a trainer
    "zero3": (None, 3),
    "zero2": (None, 2),
    "zero-1": (None, 1),
    "zero1": (None, 1),
    "ddp": (None, 0),
    "none": (None, 0),
}
"""By the value of the column `sharding`, in lower case: the trainer that uses this word, where it is the word of one
trainer, and the ZeRO stage (arXiv 1910.02054), where the word determines it."""


_OTHER_WORDS: Mapping[str, tuple[TrainerName, ProgramName]] = {"fms-fsdp": ("fsdp", "fsdp2")}
"""Words for trainers that are no program's name: the trainer, and the program whose defaults it has."""


def find_trainer_name(run: MeasuredRun) -> TrainerName:
    """The column `framework` or `trainer`; where both are empty, MaxText on TPUs, else the trainer of the sharding or
    Megatron. Raises RowError for an unknown trainer.
    """
    sharding_trainer, _ = SHARDING_WORDS.get(run.get_text("sharding").lower(), (None, None))
    word = run.trainer_word
    for name in get_args(TrainerName):
        if word == name:
            return name  # type: ignore[no-any-return]
    if not word:
        return "maxtext" if run.accelerator.startswith("tpu") else sharding_trainer or "megatron-classic"
    if word in _OTHER_WORDS:
        return _OTHER_WORDS[word][0]
    program = _find_program(word)
    if program is None:
        known = dict.fromkeys((*get_args(TrainerName), *PROGRAMS_BY_NAME, *_OTHER_WORDS))
        nearest = find_nearest_name(word, known)
        hint = f"; did you mean {nearest}?" if nearest else ""
        raise RowError(f"trainer {word[:40]!r} is not one of {', '.join(known)}{hint}")
    version = find_run_version(run)
    trainers = (version and version.trainers) or list_trainers_of_program(program.name)
    if sharding_trainer == "megatron-fsdp" and sharding_trainer in list_trainers_of_program(program.name):
        return sharding_trainer
    # whole steps as one graph are the trainer's only where its recipes have them, and the row says so
    has_whole_graphs = program.name == "megatron-bridge" and run.get_text("launch").startswith("graph")
    return next((name for name in trainers if name != "megatron" or has_whole_graphs), trainers[0])


def get_trainer_defaults(run: MeasuredRun) -> Mapping[str, str]:
    """What the row's trainer does where the row does not say, by column; nothing for one named by `framework`."""
    program = _find_run_program(run)
    return {} if program is None or run.get_text("framework") else program.defaults


def find_run_version(run: MeasuredRun) -> ProgramVersion | None:
    """The version of the row's program: of the words of `trainer_version` that which names one, or a release of one
    (26.02.01 of 26.02); else that in force at the row's date, of a year at its end, and before the first known
    version that; without a date the newest. None: that which the trainer's record is of.
    """
    program = _find_run_program(run)
    if program is None or not program.versions:
        return None
    words = re.split(r"[\s,()]+", run.get_text("trainer_version").replace("/", "-"))
    named = next(
        (
            version
            for version in program.versions
            if any(word == version.name or word.startswith(f"{version.name}.") for word in words)
        ),
        None,
    )
    date = run.get_text("date")
    date = date if "-" in date else date and f"{date}-12"
    return named or program.find_version_of_date(date) or (program.versions[-1] if date else program.newest_version)


def list_run_programs(run: MeasuredRun) -> tuple[ProgramName, ...]:
    """The program that the column `trainer` names; none where it names a kind of plans, or nothing."""
    program = _find_run_program(run)
    return () if program is None else (program.name,)


def find_version_name(run: MeasuredRun) -> str:
    """The version of the row's program as NAME@VERSION; empty where none is known."""
    program, version = _find_run_program(run), find_run_version(run)
    return "" if program is None or version is None else f"{program.name}@{version.name}"


def _find_run_program(run: MeasuredRun) -> Program | None:
    """The program of the column `trainer`."""
    return None if run.get_text("framework") else _find_program(run.get_text("trainer"))


def _find_program(word: str) -> Program | None:
    """The program of this name, or whose defaults a trainer of this name has."""
    name = _OTHER_WORDS[word][1] if word in _OTHER_WORDS else word
    return next((program for program in PROGRAMS_BY_NAME.values() if program.name == name), None)
