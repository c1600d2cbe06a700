"""The common parts of `size` and `compare`: the run, and clusters by name and size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from planner.cli.lazy import import_lazily
from planner.cli.options.command import OptionValues
from planner.errors import InputError
from planner.request.files import is_existing_path
from planner.request.options import SCENARIO_FIELDS
from planner.request.values import GlobalBatch, parse_number
from planner.units import DAY_S

with import_lazily():
    from planner.request import inputs, plan_request, resolve
    from planner.studies import compare, run_estimate
    from planner.workload import operators

_LARGE_MODEL_PARAMETERS = 200e9
"""Parameters from which a model's default batch is that of the largest models."""
_DEFAULT_STEP_TOKENS, _LARGE_MODEL_STEP_TOKENS = 4_194_304, 16_777_216
"""Tokens of a default batch: of most published runs, of the largest models (Llama 3, arXiv 2407.21783, table 4)."""


@dataclass(frozen=True)
class RunRequest:
    """The run of the options; None: not given. `deadline` in s, `budget` in dollars."""

    model: str
    cluster: str = ""
    tokens: int | None = None
    deadline: float | None = None
    budget: float | None = None
    global_batch: GlobalBatch | None = None
    seq_length: int | None = None
    mtp_layers: int | None = None
    precision: str | None = None
    grid: str | None = None
    carbon_intensity: str | None = None
    scenario_fields: Mapping[str, object] = field(default_factory=dict)
    """Values of fields of the scenario, from options."""

    @property
    def deadline_days(self) -> float | None:
        """The deadline in days."""
        return None if self.deadline is None else self.deadline / DAY_S

    def read_carbon_g_per_kwh(self) -> float | None:
        """Grams of CO2e per kWh of the grid; None where no grid is given. Raises InputError."""
        grid = resolve.resolve_grid(self.grid, self.carbon_intensity)
        return None if grid is None else grid.intensity_g_per_kwh


def build_run_request(values: OptionValues, command: str) -> RunRequest:
    """The run of these options. Raises InputError."""
    parsed = plan_request.parse_option_values(values, command)
    fields = {field: parsed.pop(name) for name, field in SCENARIO_FIELDS.items() if name in parsed}
    return RunRequest(scenario_fields=resolve.add_search_defaults(fields), **parsed)  # type: ignore[arg-type]


def resolve_run_batch(workload: operators.Workload, batch: GlobalBatch | None) -> tuple[int, str]:
    """Sequences per step, and a note where a default is used. Raises InputError."""
    if batch is not None:
        batches = batch.count_sequences(workload.seq_length)
        if len(batches) > 1:
            raise InputError(
                "a run has a single batch", key="--global-batch", value=batch.text, expected="a single batch"
            )
        return batches[0], ""
    tokens = _LARGE_MODEL_STEP_TOKENS if workload.parameters >= _LARGE_MODEL_PARAMETERS else _DEFAULT_STEP_TOKENS
    sequences = 1
    while 2 * sequences * workload.seq_length <= tokens:
        sequences *= 2
    if workload.sample_name != "sequence":
        sequences = 4096
    return sequences, f"a step of {sequences:,} {workload.sample_name}s was assumed: --global-batch sets another"


def resolve_run(request: RunRequest, tokens: int) -> tuple[run_estimate.TrainingRun, list[str]]:
    """The run, and notes on defaults. Raises InputError."""
    workload = inputs.read_model(request.model, request.seq_length, request.mtp_layers)
    batch, note = resolve_run_batch(workload, request.global_batch)
    notes = [text for text in (workload.note, note) if text]
    if request.tokens is not None:
        resolve.warn_of_short_run(request.tokens, batch * workload.seq_length)
    precision = inputs.check_precision(request.precision)
    return run_estimate.TrainingRun(workload, batch, tokens, precision, request.scenario_fields), notes


def read_cluster_option(name: str) -> run_estimate.ClusterOffer:
    """A homogeneous cluster by name or file. Raises InputError."""
    spec, origin = inputs.read_cluster_spec(name)
    if spec.pools:
        raise InputError(
            "the cluster is heterogeneous", key="--cluster", value=name, expected="a cluster of equal nodes"
        )
    return run_estimate.ClusterOffer(spec.name, spec, origin)


def read_cluster_candidate(text: str) -> compare.ClusterCandidate:
    """The cluster and its nodes from `NAME` or `NAME:NODES`. Raises InputError."""
    name, colon, count = text.rpartition(":")
    has_node_count = bool(colon) and (
        count.strip().isdecimal() or inputs.is_preset_name("cluster", name) or is_existing_path(name)
    )
    nodes = parse_number(count, "--on") if has_node_count else None
    try:
        return compare.ClusterCandidate(read_cluster_option(name if has_node_count else text), nodes)
    except InputError as error:
        if error.key != "--cluster":
            raise
        reported_value = text if inputs.is_joined_presets(text) else error.value
        raise InputError(
            error.problem, key="--on", value=reported_value, expected=error.expected, suggestion=error.suggestion
        ) from None
