"""The request for a plan: model, cluster, search space, objective and requirements.

The command line, TOML files and Python all build it with `build_plan_request`, from the same values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from planner.cost.settings import SETTINGS, AttentionKernel, FlopsConvention
from planner.errors import InputError, find_nearest_name
from planner.request.options import OPTIONS, SCENARIO_FIELDS, Option, find_option, list_options
from planner.request.values import (
    AllowedValues,
    GlobalBatch,
    LoraAdapters,
    OptionValue,
    PruningPattern,
    check_option_value,
)
from planner.workload.techniques import OptimizerName

if TYPE_CHECKING:
    from planner.hardware.figures import Assumption

RequestCommand = Literal["plan", "estimate", "what-if"]
_DEGREES = ("tp", "pp", "dp", "cp", "ep", "etp", "vpp", "micro_batch")
_DIMENSIONS = {name: name for name in (*_DEGREES, "zero", "recompute", "sequence_parallel")} | {"zero": "zero_stage"}
"""Options that are dimensions of the space, with their names in the space."""
_GROUPED_OPTIONS = {"dimensions": _DIMENSIONS, "settings": SETTINGS, "scenario_values": SCENARIO_FIELDS}
"""Fields of a request with the values of several options, by name."""
_FAILURE_OPTIONS = [option for option in OPTIONS if option.group == "Reliability" and option.name != "failures"]


@dataclass(frozen=True)
class PlanRequest:
    """A request whose values were checked, each alone and together. None: not given.

    Each field is the option of its name; `dimensions` of the space, `settings` and `scenario_values` (which replace a
    field of the scenario) have those that were given, by option. Times in s, sizes in bytes, rates in bytes/s.
    """

    model: str
    cluster: str
    global_batch: GlobalBatch
    command: RequestCommand = "plan"
    seq_length: int | None = None
    mtp_layers: int | None = None
    nodes: int | None = None
    devices: int | None = None
    fault: tuple[str, ...] = ()
    tokens: int | None = None
    dimensions: Mapping[str, AllowedValues] = field(default_factory=dict)
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    space: str | None = None
    scenario_values: Mapping[str, object] = field(default_factory=dict)
    precision: str | None = None
    attention: AttentionKernel | None = None
    flops_convention: FlopsConvention = "full"
    trainer: str | None = None
    """NAME or NAME@VERSION: a `TrainerChoiceName`, and one of its versions."""
    launch: str | None = None
    objective: tuple[str, ...] | None = None
    pareto: tuple[str, ...] | None = None
    top: int | None = None
    diverse: bool | None = None
    """None: yes, but of a Pareto front."""
    within: float | None = None
    critical_batch: tuple[tuple[float, float], ...] | None = None
    uncertainty: int | None = None
    failures: bool = True
    mtbf_device: float | None = None
    mtbf_node: float | None = None
    checkpoint_bandwidth: float | None = None
    restart_time: float | None = None
    repair_time: float | None = None
    spares: int | None = None
    async_checkpoint: bool | None = None
    shrink: bool = False
    grid: str | None = None
    carbon_intensity: str | None = None
    pue: Assumption | None = None
    lora: LoraAdapters | None = None
    prune: PruningPattern | None = None
    low_rank: float | None = None
    distil: str | None = None
    optimizer: OptimizerName | None = None

    def __post_init__(self) -> None:
        """Raise InputError for conflicting options, and for several values where the command takes a single plan."""
        if self.uncertainty is not None and self.pareto is not None:
            raise InputError("needs a single best plan", key="--uncertainty", expected="--objective, not --pareto")
        if self.diverse and self.pareto is not None:
            raise InputError(
                "a Pareto front is always printed whole", key="--diverse, --pareto", expected="one of the two"
            )
        given = [option.key for option in _FAILURE_OPTIONS if getattr(self, option.name) not in (None, False)]
        if not self.failures and given:
            raise InputError("conflicting options", key=f"--no-failures, {given[0]}", expected="one of the two")
        if self.command == "estimate":
            values = {name: allowed.values for name, allowed in self.dimensions.items()} | {**self.settings}
            _check_single_values(values)

    @property
    def allowed_values(self) -> dict[str, tuple[int, ...]]:
        """Values of each dimension of the space that an option restricts."""
        given = self.dimensions
        return {dimension: given[name].values for name, dimension in _DIMENSIONS.items() if name in given}

    @property
    def listed_values(self) -> dict[str, tuple[int, ...]]:
        """Values of a dimension that were listed, for dimensions with several values."""
        given = self.dimensions
        return {name: given[name].listed for name in _DEGREES if name in given and given[name].listed}

    def replace_values(self, values: Mapping[str, OptionValue | None]) -> PlanRequest:
        """The request with other values of options; None: not given. Raises InputError."""
        parsed = {
            name: None if value is None else find_option(name).read_value(value) for name, value in values.items()
        }
        grouped: dict[str, dict[str, object]] = {}
        for group, names in _GROUPED_OPTIONS.items():
            changed = {name: parsed.pop(name) for name in values if name in names}
            known = {**getattr(self, group), **changed}
            grouped[group] = {name: value for name, value in known.items() if value is not None}
        return replace(self, **grouped, **parsed)  # type: ignore[arg-type]


def _check_single_values(values: Mapping[str, Sequence[object]]) -> None:
    """Raise InputError for the first option with several values."""
    for name, several in values.items():
        if len(several) > 1:
            problem, text = "a single plan has a single value of each option", ",".join(map(str, several[:20]))
            raise InputError(problem, key=find_option(name).key, value=text, expected="a single value")


def build_plan_request(
    values: Mapping[str, object], command: RequestCommand = "plan", origin: str = ""
) -> PlanRequest:
    """The request with these values, by the options' names; None: not given. `origin`: the file of the values.

    Raises InputError for an invalid value, and for conflicting ones.
    """
    parsed = parse_option_values(values, command, origin)
    if "space" in parsed:
        in_space = {option.name: option for option in list_options(command) if option.in_space}
        parsed = {**_read_space_file(Path(str(parsed["space"])), in_space), **parsed}
    groups = {
        field: {name: parsed.pop(name) for name in names if name in parsed}
        for field, names in _GROUPED_OPTIONS.items()
    }
    return PlanRequest(command=command, **groups, **parsed)  # type: ignore[arg-type]


def parse_option_values(values: Mapping[str, object], command: str, origin: str = "") -> dict[str, object]:
    """The parsed values of a command's given options that can change its answer.

    Raises InputError, also for two options that exclude each other.
    """
    options = {option.name: option for option in list_options(command) if option.in_answer}
    given = {name: value for name, value in values.items() if value is not None and name in options}
    for option in options.values():
        if option.is_required and option.name not in given:
            expected = f"a value such as `plan` takes for {option.name}"
            raise InputError("is missing", origin=origin, key=option.name, expected=expected)
    parsed = {
        name: options[name].read_value(check_option_value(value, origin, name)) for name, value in given.items()
    }
    for option in options.values():
        other = option.excludes or option.alias_of
        if option.name in given and other in given:
            key = f"{option.key}, {options[other].key}"
            raise InputError("conflicting options", key=key, expected="one of the two")
    return {options[name].alias_of or name: value for name, value in parsed.items()}


def _read_space_file(path: Path, options: Mapping[str, Option]) -> dict[str, object]:
    """The options of the space in a TOML file. Raises InputError that names the file and the key."""
    from planner.decode import parse_mapping
    from planner.request.files import read_text_file

    text = read_text_file(path, (".toml",), "a TOML file with options of the space")
    parsed: dict[str, object] = {}
    for key, value in parse_mapping(text, "toml", str(path)).items():
        name = key.replace("-", "_")
        if name not in options:
            known = [known.replace("_", "-") for known in options]
            expected, suggestion = f"one of {', '.join(known)}", find_nearest_name(key, known)
            raise InputError("unknown key", origin=str(path), key=key, expected=expected, suggestion=suggestion)
        if name in parsed:
            raise InputError("set twice", origin=str(path), key=key, expected="each option once")
        checked = check_option_value(value, str(path), key)
        try:
            parsed[name] = options[name].read_value(checked)
        except InputError as error:
            raise error.relocate(str(path), name.replace("_", "-")) from None
    return parsed
