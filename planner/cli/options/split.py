"""Options that pin the split of the work, or leave it open; with the settings they make the space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from planner.cli.options.settings import OpenSettings, read_settings, read_space_file
from planner.errors import InputError

_NUMERIC_DIMENSIONS = ("tp", "pp", "dp", "cp", "ep", "etp", "vpp", "micro_batch")
_VALUES_HELP = "a value, list or range: 8 | 4,8 | 4..8"

TpOption = Annotated[str | None, typer.Option("--tp", help=f"Tensor parallel degree, {_VALUES_HELP}.")]
PpOption = Annotated[str | None, typer.Option("--pp", help="Pipeline stages.")]
DpOption = Annotated[str | None, typer.Option("--dp", help="Data-parallel width.")]
CpOption = Annotated[str | None, typer.Option("--cp", help="Context parallel degree.")]
EpOption = Annotated[str | None, typer.Option("--ep", help="Expert parallel degree.")]
VppOption = Annotated[str | None, typer.Option("--vpp", help="Virtual pipeline stages a device.")]
EtpOption = Annotated[str | None, typer.Option("--etp", help="Expert-tensor parallel degree: 1, or as tp.")]
MicroBatchOption = Annotated[str | None, typer.Option("--micro-batch", help="Sequences of a micro-batch.")]
ZeroOption = Annotated[str | None, typer.Option("--zero", help="ZeRO stage, 0 to 3.")]
RecomputeOption = Annotated[str | None, typer.Option("--recompute", help="none, selective, full.")]
SequenceParallelOption = Annotated[
    bool | None,
    typer.Option("--sequence-parallel/--no-sequence-parallel", help="Cut norms and residuals over tp ranks."),
]


@dataclass(frozen=True)
class ParallelismOptions:
    """The options as the user gave them."""

    tp: TpOption = None
    pp: PpOption = None
    dp: DpOption = None
    cp: CpOption = None
    ep: EpOption = None
    etp: EtpOption = None
    vpp: VppOption = None
    micro_batch: MicroBatchOption = None
    zero: ZeroOption = None
    recompute: RecomputeOption = None
    sequence_parallel: SequenceParallelOption = None


@dataclass(frozen=True)
class SpacePins:
    """The space as it was pinned: allowed values by dimension, of settings, and those that were listed singly."""

    allowed: dict[str, tuple[int, ...] | None]
    settings: dict[str, tuple[str, ...]]
    listed_values_by_name: dict[str, tuple[int, ...]]


def read_space_pins(parallelism: ParallelismOptions, settings: OpenSettings, space_file: Path | None) -> SpacePins:
    """The pins among the options, and those of the file of options. Raises InputError."""
    sequence_parallel = parallelism.sequence_parallel
    sequence_parallel_text = None if sequence_parallel is None else ("yes" if sequence_parallel else "no")
    options = {**vars(parallelism), "sequence_parallel": sequence_parallel_text, **vars(settings)}
    texts = read_space_file(space_file, options)
    try:
        return _build_space_pins(texts)
    except InputError as error:
        name = error.key.removeprefix("--").replace("-", "_")
        if options.get(name) is None and texts.get(name) is not None:
            raise error.relocate(str(space_file), name.replace("_", "-")) from None
        raise


def _build_space_pins(texts: dict[str, str | None]) -> SpacePins:
    from planner.cli.input.inputs import read_allowed_values, read_listed_values, read_named_values
    from planner.cost.strategies import RECOMPUTE
    from planner.search.settings import SETTINGS

    numbers = {name: texts[name] for name in _NUMERIC_DIMENSIONS}
    allowed = {name: read_allowed_values(text, f"--{name.replace('_', '-')}") for name, text in numbers.items()}
    allowed |= {
        "zero_stage": read_allowed_values(texts["zero"], "--zero", minimum=0, maximum=3),
        "recompute": read_named_values(texts["recompute"], "--recompute", RECOMPUTE),
        "sequence_parallel": read_named_values(texts["sequence_parallel"], "--sequence-parallel", ("no", "yes")),
    }
    listed_by_name = {name: values for name, text in numbers.items() if (values := read_listed_values(text))}
    return SpacePins(allowed, read_settings({name: texts[name] for name in SETTINGS}), listed_by_name)
