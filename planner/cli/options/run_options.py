"""What `size` and `compare` share: the run that is asked about, and clusters by name and size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options.carbon import CarbonIntensityOption, GridOption, resolve_grid
from planner.cli.options.question import ModelArgument, PrecisionOption, SeqLengthOption
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.studies.compare import Asked
    from planner.studies.run_estimate import Offer, Run
    from planner.workload.operators import Workload

DeadlineOption = Annotated[
    str | None, typer.Option("--deadline", help="In how long the run has to end, failures included: 30d, 6w.")
]
BudgetOption = Annotated[
    str | None, typer.Option("--budget", help="What the rent of all devices may come to: 2MUSD.")
]
RunTokensOption = Annotated[str | None, typer.Option("--tokens", help="Tokens of the whole run: 15T.")]
RunBatchOption = Annotated[
    str | None,
    typer.Option(
        "--global-batch", "-b", help="Sequences of one step, or tokens: '4M tokens'; else by the model's size."
    ),
]

_LARGE_MODEL_PARAMETERS = 200e9
"""Parameters from which a step is one of the largest models'."""
_DEFAULT_STEP_TOKENS, _LARGE_MODEL_STEP_TOKENS = 4_194_304, 16_777_216
"""Tokens of a step: of most published runs, and of the largest models (Llama 3, arXiv 2407.21783, table 4)."""


@dataclass(frozen=True)
class RunOptions:
    """The run that is asked about, as the user gave it."""

    model: ModelArgument
    tokens: RunTokensOption = None
    deadline: DeadlineOption = None
    budget: BudgetOption = None
    global_batch: RunBatchOption = None
    seq_length: SeqLengthOption = None
    precision: PrecisionOption = None
    grid: GridOption = None
    carbon_intensity: CarbonIntensityOption = None

    @property
    def input_files(self) -> tuple[tuple[str, str], ...]:
        """Where the model is read from, if it is a file."""
        from planner.cli.io.files import list_model_files

        return list_model_files("MODEL", self.model)

    def read_carbon_g_per_kwh(self) -> float | None:
        """Grams of CO2e for each kWh of the grid; None where none is told. Raises InputError."""
        grid = resolve_grid(self.grid, self.carbon_intensity)
        return None if grid is None else grid.intensity_g_per_kwh


def read_deadline_days(text: str | None) -> float | None:
    """The deadline in days. Raises InputError."""
    from planner.units import DAY_S, YEAR_S, parse_quantity

    if text is None:
        return None
    seconds = parse_quantity(text, "duration", key="--deadline", allow_bare=False)
    if not 3600 <= seconds <= 100 * YEAR_S:
        raise InputError("out of range", key="--deadline", value=text, expected="from 1h to 100y")
    return seconds / DAY_S


def read_budget_usd(text: str | None) -> float | None:
    """The budget in dollars. Raises InputError."""
    from planner.units import parse_quantity

    if text is None:
        return None
    usd = parse_quantity(text, "usd", key="--budget")
    if not 1 <= usd <= 1e13:
        raise InputError("out of range", key="--budget", value=text, expected="from 1USD to 10TUSD")
    return usd


def resolve_run_batch(workload: Workload, text: str | None) -> tuple[int, str]:
    """Sequences of one step, and a note where the number was chosen for the user. Raises InputError."""
    from planner.cli.input.inputs import read_global_batch

    if text is not None:
        return read_global_batch(text, workload.seq_length), ""
    tokens = _LARGE_MODEL_STEP_TOKENS if workload.parameters >= _LARGE_MODEL_PARAMETERS else _DEFAULT_STEP_TOKENS
    sequences = 1
    while 2 * sequences * workload.seq_length <= tokens:
        sequences *= 2
    if workload.sample != "sequence":
        sequences = 4096
    return sequences, f"a step of {sequences:,} {workload.sample}s was chosen: --global-batch says another"


def resolve_run(options: RunOptions, tokens: int) -> tuple[Run, list[str]]:
    """The run, and notes of what was chosen for the user. Raises InputError."""
    from planner.cli.input.inputs import TRAINING_PRECISIONS, read_model, read_seq_length
    from planner.errors import find_nearest_name
    from planner.studies.run_estimate import Run

    workload = read_model(options.model, read_seq_length(options.seq_length))
    batch, note = resolve_run_batch(workload, options.global_batch)
    precision = None if options.precision is None else options.precision.casefold()
    if precision is not None and precision not in TRAINING_PRECISIONS:
        raise InputError(
            "models are not trained in this precision",
            key="--precision",
            value=options.precision,
            expected=f"one of {', '.join(TRAINING_PRECISIONS)}",
            suggestion=find_nearest_name(precision, TRAINING_PRECISIONS),
        )
    notes = [text for text in (workload.note, note) if text]
    return Run(workload, batch, tokens, precision), notes


def read_cluster_option(name: str) -> Offer:
    """A cluster by name or file. Raises InputError."""
    from planner.cli.input.inputs import read_cluster_spec
    from planner.studies.run_estimate import Offer

    spec, origin = read_cluster_spec(name)
    if spec.pools:
        raise InputError("has several kinds of nodes", key="--cluster", value=name, expected="a cluster of one kind")
    return Offer(spec.name, spec, origin)


def read_cluster_candidate(text: str) -> Asked:
    """`NAME` or `NAME:NODES`. Raises InputError."""
    from planner.cli.input.inputs import is_cluster_name, is_joined_presets, read_whole_number
    from planner.studies.compare import Asked

    name, colon, count = text.rpartition(":")
    has_node_count = bool(colon) and (count.strip().isdecimal() or is_cluster_name(name))
    nodes = read_whole_number(count, "--on") if has_node_count else None
    try:
        return Asked(read_cluster_option(name if has_node_count else text), nodes)
    except InputError as error:
        if error.key != "--cluster":
            raise
        reported_value = text if is_joined_presets(text) else error.value
        raise InputError(
            error.problem, key="--on", value=reported_value, expected=error.expected, suggestion=error.suggestion
        ) from None
