"""Resolves a request: reads model and cluster, and builds the scenarios and the space of the search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd, prod
from typing import get_args

from planner.cluster.build.reliability import Reliability, ReliabilityOverrides, resolve_reliability
from planner.cluster.model.cluster import Cluster
from planner.cost import techniques
from planner.cost.scenario import DEFAULT_MEMORY_LIMIT, Scenario, build_scenario, check_scenario
from planner.cost.settings import RANK_ORDERS, SETTINGS
from planner.cost.strategies import RECOMPUTE_MODES
from planner.cost.uncertainty import compute_tie_margin
from planner.errors import InputError
from planner.hardware.accelerator import Accelerator
from planner.hardware.grids import PowerGrid, parse_grid_intensity, read_grid
from planner.request.inputs import check_precision, read_cluster, read_model
from planner.request.notices import warn
from planner.request.options import SCENARIO_FIELDS
from planner.request.plan_request import PlanRequest
from planner.request.values import LoraAdapters, PruningPattern
from planner.search.objective import (
    Objective,
    check_objectives_known,
    compute_mean_critical_batch,
    list_ineffective_objectives,
)
from planner.search.program_rules import drop_unfit_programs
from planner.search.search import SearchTarget
from planner.search.settings import check_allowed_settings, enumerate_setting_scenarios
from planner.search.space import Space
from planner.trainers.names import WRITTEN_OPTIMIZER, ExportName
from planner.trainers.registry import TrainerChoice, choose_trainer
from planner.trainers.run_defaults import find_run_defaults
from planner.workload.operators import AttentionCore, Workload
from planner.workload.techniques import OptimizerName

ReadInputs = Callable[[PlanRequest], tuple[Workload, Cluster]]
"""Reads the model and the cluster of a request. Raises InputError."""

_NEAR_BATCH = 0.05
"""Largest relative difference between a batch and one that a warning suggests instead."""
_RELIABILITY_FIELDS = {
    "mtbf_device": ("device_mtbf_s",),
    "mtbf_node": ("node_mtbf_s",),
    "checkpoint_bandwidth": ("write_bytes_per_s", "read_bytes_per_s"),
    "restart_time": ("restart_s",),
    "repair_time": ("repair_s",),
}
"""Figures of the cluster that an option replaces. The time of a restart contains the detection."""


def read_inputs(request: PlanRequest) -> tuple[Workload, Cluster]:
    """The model and the cluster of a request. Raises InputError."""
    workload = read_model(request.model, request.seq_length, request.mtp_layers)
    return workload, read_cluster(request.cluster, request.nodes, request.devices, request.fault)


@dataclass(frozen=True)
class ResolvedRequest:
    """The inputs of the search. `batch_scenarios`: one for each batch, without settings; `scenarios`: each batch with
    each combination of settings; `notes`: sentences on options without effect.
    """

    batch_scenarios: tuple[Scenario, ...]
    scenarios: tuple[Scenario, ...]
    cluster: Cluster
    space: Space
    search_target: SearchTarget
    rank_orders: Sequence[str]
    reliability: Reliability | None
    grid: PowerGrid | None
    notes: tuple[str, ...]


def resolve_request(request: PlanRequest, read: ReadInputs = read_inputs) -> ResolvedRequest:
    """The resolved request for a homogeneous cluster. Raises InputError."""
    scenarios, cluster, space = resolve_scenarios(request, read)
    target = resolve_search_target(request, len(scenarios))
    check_objectives_known(target.objectives, scenarios[0])
    rank_orders = request.settings.get("order", RANK_ORDERS)
    settings = add_default_settings(request, scenarios[0], space)
    return ResolvedRequest(
        batch_scenarios=scenarios,
        scenarios=tuple(
            varied_scenario
            for scenario in scenarios
            for varied_scenario in enumerate_setting_scenarios(scenario, settings)
        ),
        cluster=cluster,
        space=space,
        search_target=target,
        rank_orders=rank_orders[:1] if request.command == "estimate" else rank_orders,
        reliability=_resolve_reliability(request, cluster),
        grid=resolve_grid(request.grid, request.carbon_intensity),
        notes=tuple(list_ineffective_objectives(target.objectives, len(scenarios))),
    )


def resolve_scenarios(
    request: PlanRequest, read: ReadInputs = read_inputs
) -> tuple[tuple[Scenario, ...], Cluster, Space]:
    """A scenario for each batch, without settings; the cluster; and the space of the first batch.

    `estimate` and `what-if` have a single batch. Raises InputError.
    """
    workload, cluster = read(request)
    if request.pue is not None:
        cluster = replace(cluster, pue=request.pue)
    check_attention_kernel(request, workload)
    batches = count_batches(request, workload, cluster.devices)
    warn_of_short_run(request.tokens, batches[0] * workload.seq_length)
    choice = choose_request_trainer(request, cluster.accelerator, workload)
    scenario = build_scenario(
        workload,
        cluster,
        global_batch=batches[0],
        precision=check_precision(request.precision, cluster.accelerator),
        attention=request.attention,
        flops_convention=request.flops_convention,
        framework=choice.trainer,
        trainer_version=choice.version,
        launch=request.launch,
    )
    scenario = replace(scenario, **read_scenario_fields(request), programs=choice.programs)  # type: ignore[arg-type]
    check_scenario(scenario)
    _check_written_techniques(request, choice)
    scenario = apply_techniques(
        scenario,
        low_rank=request.low_rank,
        optimizer=request.optimizer,
        lora=request.lora,
        prune=request.prune,
        distil=request.distil,
    )
    allowed, assumed = request.allowed_values, frozenset[str]()
    if request.command == "estimate":
        allowed, assumed = _fix_dimensions(allowed, scenario)
    check_allowed_settings(scenario, request.settings, allowed)
    space = Space(cluster.devices, batches[0], allowed, assumed)
    if request.trainer is None:
        scenario = _drop_rules_of_default_trainer(scenario, space, request.settings)
    if request.command != "what-if" and (hint := _find_batch_hint(request, batches[0], cluster.devices, allowed)):
        warn(hint)
    scenarios = tuple(replace(scenario, global_batch=batch) for batch in batches)
    return scenarios, cluster, space


def read_scenario_fields(request: PlanRequest) -> dict[str, object]:
    """The fields of the scenario that the request's options replace."""
    fields = {SCENARIO_FIELDS[name]: value for name, value in request.scenario_values.items()}
    return fields if request.command == "estimate" else add_search_defaults(fields)


def add_search_defaults(fields: Mapping[str, object]) -> dict[str, object]:
    """Fields of a scenario of which plans are searched: with the usual memory limit where none is given."""
    return {"memory_limit": DEFAULT_MEMORY_LIMIT, **fields}


def _drop_rules_of_default_trainer(
    scenario: Scenario, space: Space, settings: Mapping[str, tuple[str, ...]]
) -> Scenario:
    """The scenario without the rules of a trainer that nobody named where they would leave nothing: it does not train
    this model on this accelerator, or does not run the pinned values. A warning says so, but for a model or a kind of
    accelerator that the trainer never trains.
    """
    fitting = drop_unfit_programs(scenario)
    if not fitting.programs and not is_unfit_by_generation(scenario):
        return fitting
    scenarios = [scenario]
    if fitting.programs:
        if not (space.allowed or settings):
            return fitting
        from planner.search.diagnosis.unsupported import has_runnable_candidates

        scenarios = list(enumerate_setting_scenarios(fitting, settings))
        if has_runnable_candidates(scenarios, space):
            return fitting
    from planner.search.diagnosis.unsupported import build_unsupported_error

    error = build_unsupported_error(scenarios[0], space)
    warn(f"{error.key}: {error.problem} ({error.value}); expected {error.expected}")
    return replace(fitting, programs=())


def is_unfit_by_generation(scenario: Scenario) -> bool:
    """Whether a program would train the model on such an accelerator of another generation."""
    other = replace(scenario, accelerator=replace(scenario.accelerator, architecture=""))
    return bool(scenario.programs) and bool(drop_unfit_programs(other).programs)


def choose_request_trainer(request: PlanRequest, accelerator: Accelerator, workload: Workload) -> TrainerChoice:
    """The trainer of the request and its programs: those that it names, else the default's."""
    return choose_trainer(request.trainer, accelerator, workload, request.allowed_values.get("zero_stage", ()))


def count_batches(request: PlanRequest, workload: Workload, devices: int) -> tuple[int, ...]:
    """The batches in sequences; `plan` alone may have several. A round number is rounded to what the widths of the
    devices divide, and a warning says to what. Raises InputError.
    """
    batch = request.global_batch
    width = _compute_batch_width(request.allowed_values, devices, is_single=request.command == "estimate")
    batches = batch.count_sequences(workload.seq_length, width, workload.sample_name)
    if len(batches) > 1 and request.command != "plan":
        is_what_if = request.command == "what-if"
        problem = "what-if compares plans of a single batch" if is_what_if else "a plan has a single batch"
        raise InputError(problem, key="--global-batch", value=batch.text, expected="a single batch")
    if batch.is_rounded:
        ends = " to ".join(f"{end:,}" for end in dict.fromkeys((batches[0], batches[-1])))
        tokens = ""
        if batch.in_tokens and len(batches) == 1:
            tokens = f" of {workload.seq_length:,} = {batches[0] * workload.seq_length:,} tokens"
        warn(
            f"--global-batch {batch.text} is {ends} {workload.sample_name}s{tokens}: rounded to what the widths of "
            f"{devices:,} devices divide"
        )
    return batches


def _compute_batch_width(allowed: Mapping[str, tuple[int, ...]], devices: int, *, is_single: bool) -> int:
    """Of what a batch should be a multiple: micro-batches of all data-parallel ranks, by the stages of interleaved
    pipelines. Degrees that are given, or of a single plan, are left out or counted.
    """
    fixed = {name: values[0] for name, values in allowed.items() if len(values) == 1}
    if is_single:
        fixed = {"tp": 1, "pp": 1, "cp": 1, "micro_batch": 1, "vpp": 1} | fixed
    sharded = fixed.get("tp", 1) * fixed.get("cp", 1)
    data_parallel = fixed.get("dp")
    if data_parallel is None and {"tp", "pp", "cp"} <= fixed.keys():
        data_parallel = max(1, devices // (sharded * fixed["pp"]))
    if data_parallel is None:
        return max(1, devices // sharded)
    stages = fixed["pp"] if fixed.get("vpp", 1) > 1 and "pp" in fixed else 1
    return data_parallel * fixed.get("micro_batch", 1) * stages


def warn_of_short_run(tokens: int | None, step_tokens: int) -> None:
    """Warn where the whole run is shorter than one step: a suffix is missing."""
    if tokens is not None and tokens < step_tokens:
        warn(
            f"--tokens {tokens:,} is less than the {step_tokens:,} of one step: the run is one step; "
            "for trillions write 15T"
        )


def check_attention_kernel(request: PlanRequest, workload: Workload) -> None:
    """Raise InputError for an attention kernel where the model has no attention."""
    if request.attention in (None, "flash"):
        return

    if not any(isinstance(operator, AttentionCore) for kind in workload.layer_types for operator in kind.operators):
        problem = f"{workload.name} has no attention"
        raise InputError(problem, key="--attention", value=request.attention, expected="left out")


_TECHNIQUE_OPTIONS = ("optimizer", "lora", "prune", "low_rank", "distil")


def _check_written_techniques(request: PlanRequest, choice: TrainerChoice) -> None:
    """Of techniques that `planner export` writes for no program: raise InputError where plans are searched for a
    trainer that was named, and all of whose programs it writes files for; of estimates and of what-if warn.
    """
    given = {name: getattr(request, name) for name in _TECHNIQUE_OPTIONS if getattr(request, name) is not None}
    if given.get("optimizer") == WRITTEN_OPTIMIZER:
        del given["optimizer"]
    has_files = bool(choice.programs) and set(choice.programs) <= set(get_args(ExportName))
    if request.trainer is None or not given or not has_files:
        return
    error = InputError(
        f"not in the files that planner export writes for {', '.join(choice.programs)}",
        key=", ".join(f"--{name.replace('_', '-')}" for name in given),
        value=given.get("optimizer"),
        expected=f"optimizer {WRITTEN_OPTIMIZER} and no other technique; or no --trainer, for a script with them",
    )
    if request.command == "plan":
        raise error
    warn(f"{error.key}: {error.problem}")


def apply_techniques(
    scenario: Scenario,
    *,
    low_rank: float | None = None,
    optimizer: OptimizerName | None = None,
    lora: LoraAdapters | None = None,
    prune: PruningPattern | None = None,
    distil: str | None = None,
) -> Scenario:
    """The scenario with these techniques. Raises InputError where they exclude each other or the model."""
    if prune is not None and (lora or low_rank):
        other = "--lora" if lora else "--low-rank"
        raise InputError("no published recipe combines them", key=f"--prune, {other}", expected="one of the two")
    if low_rank is not None:
        scenario = techniques.apply_low_rank(scenario, low_rank)
    if optimizer is not None:
        scenario = techniques.apply_optimizer(scenario, optimizer)
    if lora is not None:
        scenario = techniques.apply_lora(scenario, lora.rank, lora.frozen_bits, modules=lora.modules)
    if prune is not None:
        scenario = techniques.apply_pruning(scenario, prune.zero_share)
    if distil is not None:
        try:
            teacher = read_model(distil, None)
        except InputError as error:
            raise error.relocate(error.origin, "--distil" if error.key == "MODEL" else error.key) from None
        scenario = techniques.apply_distillation(scenario, teacher)
    return scenario


def _fix_dimensions(
    given: Mapping[str, tuple[int, ...]], scenario: Scenario
) -> tuple[dict[str, tuple[int, ...]], frozenset[str]]:
    """The value of each dimension of an estimate, and the names of the dimensions that were not given. Their default
    is the trainer's; the data-parallel degree is what the other degrees leave.
    """
    defaults, workload = find_run_defaults(scenario.trainer, scenario.programs), scenario.workload
    degrees = ("tp", "pp", "cp", "ep", "etp", "vpp", "micro_batch")
    fixed = {name: (defaults.get_degree(name),) for name in degrees} | dict(given)
    tp, sharding_ranks = fixed["tp"][0], scenario.devices // max(1, fixed["tp"][0] * fixed["pp"][0])
    if workload.experts and "etp" not in given and fixed["ep"] == (1,):
        fixed["etp"] = (tp,)  # without expert parallelism, experts are sharded like the other layers
    is_sequence_parallel = defaults.is_sequence_parallel and tp > 1 and workload.seq_length % tp == 0
    codes = {
        "zero_stage": defaults.zero_stage if sharding_ranks > 1 else 0,
        "recompute": RECOMPUTE_MODES.index(defaults.recompute),
        "sequence_parallel": int(is_sequence_parallel),
    }
    fixed = {name: (code,) for name, code in codes.items()} | fixed
    return fixed, frozenset(fixed) - frozenset(given)


def add_default_settings(request: PlanRequest, scenario: Scenario, space: Space) -> dict[str, tuple[str, ...]]:
    """The settings of a request; of an estimate those with the trainer's defaults of what was not given. Sharded
    weights and gradients have no setting by default.
    """
    settings = dict(request.settings)
    if request.command == "estimate" and max(space.allowed["zero_stage"]) < 2:
        defaults = find_run_defaults(scenario.trainer, scenario.programs)
        settings = {name: (text,) for name, text in defaults.settings.items() if name in SETTINGS} | settings
    return settings


def _find_batch_hint(request: PlanRequest, batch: int, devices: int, allowed: dict[str, tuple[int, ...]]) -> str:
    """A warning where a batch in tokens limits the data-parallel degree and a batch near it does not; else ""."""
    if "dp" in allowed or not request.global_batch.in_tokens or request.global_batch.is_range:
        return ""
    if request.global_batch.is_rounded:
        return ""  # it is what most widths divide
    # dp divides both the batch and what the other dimensions leave of the devices
    left = devices // prod(min(allowed.get(name, (1,))) for name in ("tp", "pp", "cp"))
    widest, wider = gcd(batch, left), left & -left
    while wider > widest:
        near = round(batch / wider) * wider
        if abs(near - batch) <= _NEAR_BATCH * batch:
            return (
                f"--global-batch {request.global_batch.text} is {batch:,} sequences, which no data-parallel degree "
                f"above {widest:,} divides; {near:,} sequences would allow {wider:,}"
            )
        wider //= 2
    return ""


def resolve_search_target(request: PlanRequest, batch_count: int) -> SearchTarget:
    """The objective and the number of plans that the search returns. Raises InputError."""

    if request.command == "estimate":
        return SearchTarget(top=1)
    critical_tokens = 0.0
    if request.critical_batch is not None:
        critical_tokens = request.critical_batch[0][1]
        if len(request.critical_batch) > 1:
            if request.tokens is None:
                problem = "a critical batch that grows needs the length of the run"
                raise InputError(problem, key="--tokens", expected="the tokens of the run: --tokens 15T")
            critical_tokens = compute_mean_critical_batch(request.critical_batch, float(request.tokens))
    names = request.pareto or request.objective or ("step-time",)
    objectives = tuple(Objective(name, critical_tokens, batch_count > 1) for name in names)  # type: ignore[arg-type]
    if request.pareto:
        return SearchTarget(objectives, request.top)
    return SearchTarget(
        objectives, request.top or 5, request.diverse is not False, resolve_margin(request.within, objectives[0])
    )


def resolve_margin(within: float | None, objective: Objective) -> float:
    """How much worse than the best plan a simpler one may be to come first; `within`: as given. Memory has none."""
    if objective.name == "memory-headroom":
        return 0.0
    return compute_tie_margin() if within is None else within


def _resolve_reliability(request: PlanRequest, cluster: Cluster) -> Reliability | None:
    """The cluster's reliability with the options' figures; None without failures. Raises InputError."""
    if not request.failures:
        return None

    figures: dict[str, tuple[float, str]] = {}
    for name, fields in _RELIABILITY_FIELDS.items():
        value: float | None = getattr(request, name)
        if value is not None:
            figures |= dict.fromkeys(fields, (value, f"--{name.replace('_', '-')}"))
    if "restart_s" in figures:
        figures["detection_s"] = (0.0, figures["restart_s"][1])
    return resolve_reliability(
        cluster, ReliabilityOverrides(figures, request.spares, request.async_checkpoint, request.shrink)
    )


def resolve_grid(name: str | None, intensity: str | None) -> PowerGrid | None:
    """The named or described electricity grid; None without. Raises InputError."""
    if name is None and intensity is None:
        return None

    return read_grid(name) if name is not None else parse_grid_intensity(str(intensity))
