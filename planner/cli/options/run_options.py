"""What `size` and `compare` share: the run that is asked about, and clusters by name and size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options.carbon import CarbonIntensity, GridOption, read_carbon
from planner.cli.options.question import Model, Precision, SeqLength
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.studies.compare import Asked
    from planner.studies.run_estimate import Offer, Run
    from planner.workload.operators import Workload

Deadline = Annotated[
    str | None, typer.Option("--deadline", help="In how long the run has to end, failures included: 30d, 6w.")
]
Budget = Annotated[str | None, typer.Option("--budget", help="What the rent of all devices may come to: 2MUSD.")]
RunTokens = Annotated[str | None, typer.Option("--tokens", help="Tokens of the whole run: 15T.")]
RunBatch = Annotated[
    str | None,
    typer.Option(
        "--global-batch", "-b", help="Sequences of one step, or tokens: '4M tokens'; else by the model's size."
    ),
]

_LARGE = 200e9
"""Parameters from which a step is one of the largest models'."""
_USUAL_TOKENS, _LARGE_TOKENS = 4_194_304, 16_777_216
"""Tokens of a step: of most published runs, and of the largest models (Llama 3, arXiv 2407.21783, table 4)."""


@dataclass(frozen=True)
class RunOptions:
    """The run that is asked about, as the user gave it."""

    model: Model
    tokens: RunTokens = None
    deadline: Deadline = None
    budget: Budget = None
    global_batch: RunBatch = None
    seq_length: SeqLength = None
    precision: Precision = None
    grid: GridOption = None
    carbon_intensity: CarbonIntensity = None

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """Where the model is read from, if it is a file."""
        from planner.cli.io.files import of_model

        return of_model("MODEL", self.model)

    def grams(self) -> float | None:
        """Grams of CO2e for each kWh of the grid; None where none is told. Raises InputError."""
        grid = read_carbon(self.grid, self.carbon_intensity)
        return None if grid is None else grid.intensity_g_per_kwh


def read_days(text: str | None) -> float | None:
    """The deadline in days. Raises InputError."""
    from planner.units import DAY_S, YEAR_S, parse_quantity

    if text is None:
        return None
    seconds = parse_quantity(text, "duration", key="--deadline", allow_bare=False)
    if not 3600 <= seconds <= 100 * YEAR_S:
        raise InputError("out of range", key="--deadline", value=text, expected="from 1h to 100y")
    return seconds / DAY_S


def read_budget(text: str | None) -> float | None:
    """The budget in dollars. Raises InputError."""
    from planner.units import parse_quantity

    if text is None:
        return None
    usd = parse_quantity(text, "usd", key="--budget")
    if not 1 <= usd <= 1e13:
        raise InputError("out of range", key="--budget", value=text, expected="from 1USD to 10TUSD")
    return usd


def batch_of(workload: Workload, text: str | None) -> tuple[int, str]:
    """Sequences of one step, and a note where the number was chosen for the user. Raises InputError."""
    from planner.cli.input.inputs import read_batch

    if text is not None:
        return read_batch(text, workload.seq_length), ""
    tokens = _LARGE_TOKENS if workload.parameters >= _LARGE else _USUAL_TOKENS
    sequences = 1
    while 2 * sequences * workload.seq_length <= tokens:
        sequences *= 2
    if workload.sample != "sequence":
        sequences = 4096
    return sequences, f"a step of {sequences:,} {workload.sample}s was chosen: --global-batch says another"


def read_run(asked: RunOptions, tokens: int) -> tuple[Run, list[str]]:
    """The run, and notes of what was chosen for the user. Raises InputError."""
    from planner.cli.input.inputs import TRAINING_PRECISIONS, read_length, read_model
    from planner.errors import find_nearest_name
    from planner.studies.run_estimate import Run

    workload = read_model(asked.model, read_length(asked.seq_length))
    batch, note = batch_of(workload, asked.global_batch)
    wanted = None if asked.precision is None else asked.precision.casefold()
    if wanted is not None and wanted not in TRAINING_PRECISIONS:
        raise InputError(
            "models are not trained in this precision",
            key="--precision",
            value=asked.precision,
            expected=f"one of {', '.join(TRAINING_PRECISIONS)}",
            suggestion=find_nearest_name(wanted, TRAINING_PRECISIONS),
        )
    notes = [one for one in (workload.note, note) if one]
    return Run(workload, batch, tokens, wanted), notes


def read_offer(name: str) -> Offer:
    """A cluster by name or file. Raises InputError."""
    from planner.cli.input.inputs import read_cluster_spec
    from planner.studies.run_estimate import Offer

    spec, origin = read_cluster_spec(name)
    if spec.pools:
        raise InputError("has several kinds of nodes", key="--cluster", value=name, expected="a cluster of one kind")
    return Offer(spec.name, spec, origin)


def read_asked(text: str) -> Asked:
    """`NAME` or `NAME:NODES`. Raises InputError."""
    from planner.cli.input.inputs import are_presets, is_cluster, read_number
    from planner.studies.compare import Asked

    name, colon, count = text.rpartition(":")
    counted = bool(colon) and (count.strip().isdecimal() or is_cluster(name))
    nodes = read_number(count, "--on") if counted else None
    try:
        return Asked(read_offer(name if counted else text), nodes)
    except InputError as error:
        if error.key != "--cluster":
            raise
        told = text if are_presets(text) else error.value
        raise InputError(
            error.problem, key="--on", value=told, expected=error.expected, suggestion=error.suggestion
        ) from None
