"""Options that pin the split of the work, or leave it open; with the settings they make the space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from planner.cli.options.settings import OpenSettings, read_settings, read_space
from planner.errors import InputError

_NUMBERS = ("tp", "pp", "dp", "cp", "ep", "etp", "vpp", "micro_batch")
_VALUES = "a value, list or range: 8 | 4,8 | 4..8"

Tp = Annotated[str | None, typer.Option("--tp", help=f"Tensor parallel degree, {_VALUES}.")]
Pp = Annotated[str | None, typer.Option("--pp", help="Pipeline stages.")]
Dp = Annotated[str | None, typer.Option("--dp", help="Data-parallel width.")]
Cp = Annotated[str | None, typer.Option("--cp", help="Context parallel degree.")]
Ep = Annotated[str | None, typer.Option("--ep", help="Expert parallel degree.")]
Vpp = Annotated[str | None, typer.Option("--vpp", help="Virtual pipeline stages a device.")]
Etp = Annotated[str | None, typer.Option("--etp", help="Expert-tensor parallel degree: 1, or as tp.")]
MicroBatch = Annotated[str | None, typer.Option("--micro-batch", help="Sequences of a micro-batch.")]
Zero = Annotated[str | None, typer.Option("--zero", help="ZeRO stage, 0 to 3.")]
RecomputeModes = Annotated[str | None, typer.Option("--recompute", help="none, selective, full.")]
SequenceParallel = Annotated[
    bool | None,
    typer.Option("--sequence-parallel/--no-sequence-parallel", help="Cut norms and residuals over tp ranks."),
]


@dataclass(frozen=True)
class Split:
    """The options as the user gave them."""

    tp: Tp = None
    pp: Pp = None
    dp: Dp = None
    cp: Cp = None
    ep: Ep = None
    etp: Etp = None
    vpp: Vpp = None
    micro_batch: MicroBatch = None
    zero: Zero = None
    recompute: RecomputeModes = None
    sequence_parallel: SequenceParallel = None


@dataclass(frozen=True)
class Pins:
    """The space as it was pinned: allowed values by dimension, of settings, and those that were listed singly."""

    allowed: dict[str, tuple[int, ...] | None]
    settings: dict[str, tuple[str, ...]]
    listed: dict[str, tuple[int, ...]]


def read_pins(split: Split, settings: OpenSettings, path: Path | None) -> Pins:
    """The pins among the options, and those of the file of options. Raises InputError."""
    parallel = split.sequence_parallel
    told = None if parallel is None else ("yes" if parallel else "no")
    options = {**vars(split), "sequence_parallel": told, **vars(settings)}
    texts = read_space(path, options)
    try:
        return _pins(texts)
    except InputError as error:
        name = error.key.removeprefix("--").replace("-", "_")
        if options.get(name) is None and texts.get(name) is not None:
            raise error.relocate(str(path), name.replace("_", "-")) from None
        raise


def _pins(texts: dict[str, str | None]) -> Pins:
    from planner.cli.input.inputs import listed_values, read_names, read_values
    from planner.cost.strategies import RECOMPUTE
    from planner.search.settings import SETTINGS

    numbers = {name: texts[name] for name in _NUMBERS}
    allowed = {name: read_values(text, f"--{name.replace('_', '-')}") for name, text in numbers.items()}
    allowed |= {
        "zero_stage": read_values(texts["zero"], "--zero", minimum=0, maximum=3),
        "recompute": read_names(texts["recompute"], "--recompute", RECOMPUTE),
        "sequence_parallel": read_names(texts["sequence_parallel"], "--sequence-parallel", ("no", "yes")),
    }
    listed = {name: values for name, text in numbers.items() if (values := listed_values(text))}
    return Pins(allowed, read_settings({name: texts[name] for name in SETTINGS}), listed)
