"""Options for training with less, read and applied to a question; for `plan` and `estimate`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from planner.errors import InputError, find_nearest_name

if TYPE_CHECKING:
    from planner.cost.scenario import Training
    from planner.workload.techniques import Optimizer

LoraOption = Annotated[
    str | None,
    typer.Option("--lora", metavar="RANK[:4bit]", help="Train adapters of this rank alone; the rest frozen."),
]
PruneOption = Annotated[
    str | None, typer.Option("--prune", help="Weights of the MLPs that stay zero: 2:4, unstructured:0.5.")
]
LowRankOption = Annotated[
    str | None, typer.Option("--low-rank", help="Matrices as two thinner ones of this share of their rank: 0.25.")
]
DistilOption = Annotated[
    str | None, typer.Option("--distil", metavar="MODEL", help="A teacher, whose forward pass runs beside.")
]
OptimizerOption = Annotated[
    str | None,
    typer.Option("--optimizer", help="adamw, adam8bit, lamb, sgd, adafactor, muon; else the trainer's."),
]

_MAX_RANK = 65_536
_SHARE_PATTERN = re.compile(r"0?\.[0-9]{1,6}|[0-9]{1,2}(?:\.[0-9]{1,4})?%")
_FOUR_BIT_SUFFIX = "4bit"


@dataclass(frozen=True)
class TechniqueOptions:
    """The options as the user gave them."""

    lora: LoraOption = None
    prune: PruneOption = None
    low_rank: LowRankOption = None
    distil: DistilOption = None
    optimizer: OptimizerOption = None

    @property
    def input_files(self) -> tuple[tuple[str, str], ...]:
        """Where the teacher is read from, if it is a file, with the option that names it."""
        from planner.cli.io.files import list_model_files

        return list_model_files("--distil", self.distil)


NO_TECHNIQUES = TechniqueOptions()


def apply_techniques(scenario: Training, options: TechniqueOptions) -> Training:
    """The question with what was chosen. Raises InputError for values that make no sense, alone or together."""
    if options == NO_TECHNIQUES:
        return scenario
    from planner.cost.techniques.apply import with_lora, with_low_rank, with_optimizer, with_pruning, with_teacher

    if options.prune is not None and (options.lora or options.low_rank):
        other = "--lora" if options.lora else "--low-rank"
        raise InputError("no recipe does both", key=f"--prune, {other}", expected="one of the two")
    if options.low_rank is not None:
        scenario = with_low_rank(
            scenario, _parse_share(options.low_rank, "--low-rank", "a share of the rank such as 0.25")
        )
    if options.optimizer is not None:
        scenario = with_optimizer(scenario, _parse_optimizer(options.optimizer))
    if options.lora is not None:
        scenario = with_lora(scenario, *_parse_lora(options.lora))
    if options.prune is not None:
        scenario = with_pruning(scenario, _parse_sparsity(options.prune))
    if options.distil is not None:
        from planner.cli.input.inputs import read_model

        try:
            teacher = read_model(options.distil, None)
        except InputError as error:
            raise error.relocate(error.origin, "--distil" if error.key == "MODEL" else error.key) from None
        scenario = with_teacher(scenario, teacher)
    return scenario


def _parse_lora(text: str) -> tuple[int, int]:
    """Rank, and bits of a frozen value: `16`, `64:4bit`."""
    from planner.units import parse_count

    rank, colon, bits = text.partition(":")
    if colon and bits.casefold() != _FOUR_BIT_SUFFIX:
        raise InputError(
            "unknown format of frozen weights",
            key="--lora",
            value=text,
            expected="a rank, or a rank and 4bit: 64:4bit",
            suggestion=_FOUR_BIT_SUFFIX if find_nearest_name(bits.casefold(), [_FOUR_BIT_SUFFIX]) else "",
        )
    return parse_count(rank.strip(), key="--lora", maximum=_MAX_RANK, example="16"), 4 if colon else 16


def _parse_sparsity(text: str) -> float | None:
    """None for 2:4, else the share of zeros."""
    name, colon, share = text.casefold().partition(":")
    expected = "2:4, or unstructured and the share of zeros: unstructured:0.5"
    if text.strip() == "2:4":
        return None
    if name != "unstructured" or not colon:
        suggestion = find_nearest_name(text.casefold(), ["2:4", "unstructured:0.5"])
        raise InputError("unknown pattern", key="--prune", value=text, expected=expected, suggestion=suggestion)
    return _parse_share(share, "--prune", expected)


def _parse_share(text: str, key: str, expected: str) -> float:
    """A share above zero and below one."""
    if _SHARE_PATTERN.fullmatch(text.strip()):
        from planner.units import parse_quantity

        padded = f"0{text.strip()}" if text.strip().startswith(".") else text
        value = parse_quantity(padded, "ratio", key=key)
        if 0.0 < value < 1.0:
            return value
    raise InputError("not a share between 0 and 1", key=key, value=text, expected=expected)


def _parse_optimizer(text: str) -> Optimizer:
    """The name of an optimizer."""
    from planner.cost.techniques.apply import OPTIMIZERS

    name = text.casefold()
    for known_name in OPTIMIZERS:
        if known_name == name:
            return known_name
    expected = f"one of {', '.join(OPTIMIZERS)}"
    suggestion = find_nearest_name(name, OPTIMIZERS)
    raise InputError("unknown optimizer", key="--optimizer", value=text, expected=expected, suggestion=suggestion)
