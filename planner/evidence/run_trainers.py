"""Which trainer a table's word for one is, its version, and what it does where a row does not say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import get_args

from planner.errors import find_nearest_name
from planner.evidence.runs import MeasuredRun, RowError
from planner.trainers.names import ProgramName, TrainerName
from planner.trainers.program import KNOWN_UNTIL, Program, ProgramVersion, is_after_known
from planner.trainers.registry import PROGRAMS_BY_NAME, TRAINERS_BY_NAME, list_trainers_of_program

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
    needs_fsdp = (find_zero_stage(run) or 0) > 1
    if not word:
        default: TrainerName = "megatron-fsdp" if needs_fsdp else "megatron-classic"
        return "maxtext" if run.accelerator.startswith("tpu") else sharding_trainer or default
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
    if needs_fsdp and "megatron-fsdp" in trainers:
        return "megatron-fsdp"
    # whole steps as one graph are the trainer's only where its recipes have them, and the row says so
    has_whole_graphs = program.name == "megatron-bridge" and run.get_text("launch").startswith("graph")
    return next((name for name in trainers if name != "megatron" or has_whole_graphs), trainers[0])


def find_zero_stage(run: MeasuredRun) -> int | None:
    """The column `zero_stage`; where it is empty, the stage that the word in `sharding` determines, if it does."""
    stated = run.get_count("zero_stage")
    return SHARDING_WORDS.get(run.get_text("sharding").lower(), (None, None))[1] if stated is None else stated


def list_unused_trainer_words(run: MeasuredRun) -> list[str]:
    """What the row states of its trainer, and is not read, as `column=value`."""
    unused = []
    if run.get_text("framework") and run.get_text("trainer"):
        unused.append(f"trainer={run.get_text('trainer')} (as framework={run.get_text('framework')})")
    if run.get_text("trainer_version") and find_run_program(run) is None:
        unused.append(f"trainer_version={run.get_text('trainer_version')} (of no program)")
    return unused


def get_trainer_defaults(run: MeasuredRun) -> Mapping[str, str]:
    """What the row's trainer does where the row does not say, by column; nothing for one named by `framework`."""
    program = find_run_program(run)
    return {} if program is None or run.get_text("framework") else program.defaults


def find_run_version(run: MeasuredRun) -> ProgramVersion | None:
    """The version of the row's program: of the words of `trainer_version` that which names one, or a release of one
    (26.02.01 of 26.02); else that in force at the row's date, of a year at its end, and before the first known
    version that; without a date the newest. None: that which the trainer's record is of.
    """
    program = find_run_program(run)
    return None if program is None else _find_version(program, run)[0]


def describe_assumed_version(run: MeasuredRun) -> str:
    """The version of the row's program where the row names no known one, and why it is this one; else empty."""
    program = find_run_program(run)
    if program is None:
        return ""
    version, reason = _find_version(program, run)
    return f"trainer_version={version.name if version else program.version} ({reason})" if reason else ""


def _find_version(program: Program, run: MeasuredRun) -> tuple[ProgramVersion | None, str]:
    """See `find_run_version`, and where the row does not say so, why it is this version."""
    text, date = run.get_text("trainer_version"), run.get_text("date")
    if not program.versions:
        is_known = (
            not text or program.is_newest_release(text) or any(map(program.is_newest_release, _list_words(text)))
        )
        return program.newest_version, "" if is_known else "the only one known"
    named = next(filter(None, map(program.find_version_of_release, _list_releases(program, text))), None)
    if named is not None:
        return named, ""
    if any(map(program.is_newest_release, _list_words(text))):
        return program.newest_version, ""
    month = date if "-" in date else date and f"{date}-12"
    dated = program.find_version_of_date(month)
    if dated is not None:
        is_late = is_after_known(month[:7])
        return dated, f"the newest known, of {KNOWN_UNTIL}" if is_late else "by the date" if text else ""
    return (program.versions[-1], "the oldest known") if date else (program.newest_version, "the newest known")


def _list_words(text: str) -> list[str]:
    """The words of a cell of the column `trainer_version`, without signs of comparison."""
    return [word.lstrip("<>=~") for word in re.split(r"[\s,()]+", text.replace("/", "-")) if word]


def _list_releases(program: Program, text: str) -> list[str]:
    """The words that name a version, and releases of the program itself: alone, or after its name or `container`."""
    words = _list_words(text)
    names = [version.name for version in program.versions]
    named = [word for word in words if any(word == name or word.startswith(f"{name}.") for name in names)]
    before = ["", *words]
    own = ("", "container", "nemo", "neuron", program.name)
    return named + [word for word, last in zip(words, before, strict=False) if last.lower() in own]


def names_program(run: MeasuredRun) -> bool:
    """Whether the column `trainer` names a program."""
    return find_run_program(run) is not None


def list_run_programs(run: MeasuredRun) -> tuple[ProgramName, ...]:
    """The programs of which one has to run what is filled in: that of the column `trainer`; where it is empty, those
    that run the plans of the trainer that the sharding, or nothing, stands for; none for a kind of plans.
    """
    program = find_run_program(run)
    if program is not None:
        return (program.name,)
    return () if run.trainer_word else TRAINERS_BY_NAME[find_trainer_name(run)].programs


def describe_assumed_trainer(run: MeasuredRun) -> str:
    """The trainer that stands for the row's where the row names none; else empty."""
    if run.trainer_word:
        return ""
    word = run.get_text("sharding")
    is_decided = SHARDING_WORDS.get(word.lower(), (None, None))[0] is not None and not run.accelerator.startswith(
        "tpu"
    )
    return f"trainer={find_trainer_name(run)}" + (f" (of sharding={word})" if is_decided else "")


def find_version_name(run: MeasuredRun) -> str:
    """The version of the row's program as NAME@VERSION; empty where none is known."""
    program, version = find_run_program(run), find_run_version(run)
    return "" if program is None or version is None else f"{program.name}@{version.name}"


def find_run_program(run: MeasuredRun) -> Program | None:
    """The program of the column `trainer`."""
    return None if run.get_text("framework") else _find_program(run.get_text("trainer").lower())


def _find_program(word: str) -> Program | None:
    """The program of this name, or whose defaults a trainer of this name has."""
    name = _OTHER_WORDS[word][1] if word in _OTHER_WORDS else word
    return next((program for program in PROGRAMS_BY_NAME.values() if program.name == name), None)
