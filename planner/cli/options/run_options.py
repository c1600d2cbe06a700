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
    from planner.studies import batch_choice, compare, run_estimate
    from planner.workload import operators


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


def resolve_run(request: RunRequest, tokens: int) -> tuple[run_estimate.TrainingRun, list[str]]:
    """The run, and notes on defaults. Raises InputError."""
    workload = inputs.read_model(request.model, request.seq_length, request.mtp_layers)
    choice = resolve_batch_choice(workload, request.global_batch)
    notes = [text for text in (workload.note, choice.note) if text]
    if request.tokens is not None:
        resolve.warn_of_short_run(request.tokens, choice.low * workload.seq_length)
    precision = inputs.check_precision(request.precision)
    return run_estimate.TrainingRun(workload, choice, tokens, precision, request.scenario_fields), notes


def resolve_batch_choice(workload: operators.Workload, batch: GlobalBatch | None) -> batch_choice.BatchChoice:
    """How the batch of each size is chosen; None: around the critical batch. Raises InputError."""
    if batch is None:
        return batch_choice.choose_critical_batch(workload)
    ranges = batch.list_ranges(workload.seq_length, workload.sample_name)
    if not batch.is_range:
        note = ""
        if batch.is_rounded:
            note = (
                f"--global-batch {batch.text} is {ranges[0].low:,} to {ranges[0].high:,} {workload.sample_name}s: "
                "each size takes of them what its widths divide"
            )
        return batch_choice.BatchChoice(ranges, note=note)
    low, high = ranges[0].low, ranges[-1].high
    tried = batch.count_sequences(workload.seq_length, 1, workload.sample_name)
    return batch_choice.choose_from_range(low, high, tried)


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
