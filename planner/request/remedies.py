"""What would make an estimate fit: every change of its options is tried, those that work are listed by their cost.

A change is an option with another value, so that what is advised is what a user can type, under the rules of the
trainer that would run it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

from planner.cluster.model.cluster import Cluster
from planner.cost.setting_values import read_settings
from planner.cost.settings import SETTINGS
from planner.cost.step import compute_step_costs
from planner.cost.strategies import RECOMPUTE_MODES
from planner.errors import InputError, NothingFits
from planner.request.inputs import read_cluster
from planner.request.notices import collect_warnings
from planner.request.options import find_option
from planner.request.plan_request import PlanRequest
from planner.request.resolve import ResolvedRequest, choose_request_trainer, resolve_request
from planner.search.diagnosis.infeasible import suggest_memory_limit
from planner.search.search import SearchResult, SearchTarget, search_plans
from planner.search.space import Space
from planner.units import format_seconds
from planner.workload.operators import Workload

_FACTORS = (2, 4, 8, 16, 32, 64)
"""By which a degree, or the number of nodes, is multiplied."""
_SETTINGS = ("loss", "gradients", "moments", "master", "offload", "reshard", "shard_group", "recompute_layers")
"""Settings of which other values hold less; none of them changes the model or its precision."""
_MAX_PAIRS = 5
"""Of pairs of changes the fastest so many are listed."""
_MAX_PAIR_FACTORS = {"tp": 4, "pp": 4, "cp": 4, "ep": 4, "nodes": 16}
"""By which a degree, or the number of nodes, is multiplied at most together with another change."""
_SAME_TIME = 5e-4
"""Of a step's time a difference that is not printed."""
_SPACE_VALUES = {"micro_batch": (1,), "vpp": (1,), "zero_stage": (0, 1, 3)}
"""The part of the space that is searched to know whether `plan` finds a plan."""

_Texts = Mapping[str, str]
"""Options by name, with the texts of their values."""


@dataclass(frozen=True)
class Remedy:
    """A change of options with which the plan fits: the step's time on `devices` devices."""

    text: str
    step_time_s: float
    devices: int

    @property
    def device_s(self) -> float:
        """Seconds of a step times devices."""
        return self.step_time_s * self.devices


def add_remedies(error: NothingFits, request: PlanRequest, resolved: ResolvedRequest) -> NothingFits:
    """The error of an estimate that does not fit, with all remedies that work, the fastest first."""
    base = _search(resolved)
    base_s = _compute_base_s(base)
    remedies = find_remedies(request, resolved, base)
    lines = [_format_remedy(remedy, base_s, resolved.cluster.devices) for remedy in remedies]
    lines += _list_open_plans(resolved)
    if not lines:
        return NothingFits(f"{error}\n  what would make it fit: no option that was tried, alone or with another")
    rows = "".join(f"\n    {line}" for line in lines)
    tried = f"each tried, the fastest first (this plan would take {format_seconds(base_s)} a step)"
    return NothingFits(f"{error}\n  what would make it fit, {tried}:{rows}")


def find_remedies(request: PlanRequest, resolved: ResolvedRequest, base: SearchResult) -> list[Remedy]:
    """The changes of one option with which the plan fits, and of two options what is faster than any single one; the
    fastest first. Of several values of an option, the fastest. `base`: the search of the plan itself.
    """
    try_change = _ChangeTester(request, resolved)
    tried = [(texts, try_change(texts)) for texts in _enumerate_changes(request, resolved, base)]
    single = _keep_fastest((tuple(texts), remedy) for texts, remedy in tried) + _list_limits(base)
    best_single_s = min((remedy.device_s for remedy in single), default=math.inf)
    nodes = resolved.cluster.nodes
    failed = [texts for texts, remedy in tried if remedy is None and _is_small_change(texts, base, nodes)]
    pairs = _keep_fastest(
        ((*first, *second), try_change({**first, **second}))
        for first, second in combinations(failed, 2)
        if not set(first) & set(second)
    )
    faster = [remedy for remedy in pairs if remedy.device_s < best_single_s]
    by_cost = sorted(faster, key=lambda remedy: remedy.device_s)[:_MAX_PAIRS]
    return sorted(single + by_cost, key=lambda remedy: remedy.device_s)


def _is_small_change(texts: _Texts, base: SearchResult, nodes: int) -> bool:
    """Whether a change is tried together with another: not where a degree or the nodes are many times as large."""
    sizes = base.nearest_miss.get_row(0) | {"nodes": nodes}
    return all(
        int(text) <= largest * sizes[name] for name, text in texts.items() if (largest := _MAX_PAIR_FACTORS.get(name))
    )


def _keep_fastest(tried: Iterable[tuple[tuple[str, ...], Remedy | None]]) -> list[Remedy]:
    """Of all that fit, the fastest of each set of options."""
    fastest: dict[tuple[str, ...], Remedy] = {}
    for names, remedy in tried:
        if remedy is not None and (names not in fastest or remedy.device_s < fastest[names].device_s):
            fastest[names] = remedy
    return list(fastest.values())


@dataclass(frozen=True)
class _ChangeTester:
    request: PlanRequest
    resolved: ResolvedRequest

    def __call__(self, texts: _Texts) -> Remedy | None:
        """The plan with these options; None where it does not fit, or breaks a rule."""
        with collect_warnings():
            try:
                changed = self.request.replace_values({**texts, **({"devices": None} if "nodes" in texts else {})})
                resolved = resolve_request(self._name_trainer(changed), self._read_inputs)
                result = _search(resolved)
            except InputError:
                return None
        if not result.stats.feasible:
            return None
        text = " ".join(_format_option(name, value) for name, value in texts.items())
        return Remedy(text, float(result.figures[0, 0]), resolved.cluster.devices)

    def _name_trainer(self, request: PlanRequest) -> PlanRequest:
        """The request with its default trainer by name, whose rules are never dropped."""
        scenario = self.resolved.scenarios[0]
        if request.trainer is not None or not scenario.programs:
            return request
        choice = choose_request_trainer(request, scenario.accelerator, scenario.workload)
        return replace(request, trainer=choice.trainer)

    def _read_inputs(self, request: PlanRequest) -> tuple[Workload, Cluster]:
        workload, cluster = self.resolved.scenarios[0].workload, self.resolved.cluster
        if request.nodes != self.request.nodes:
            cluster = read_cluster(request.cluster, request.nodes, request.devices, request.fault)
        return workload, cluster


def _search(resolved: ResolvedRequest) -> SearchResult:
    """The single plan, with the ranks of a wired cluster in the order of its file."""
    return search_plans(resolved.scenarios[0], resolved.space, SearchTarget(top=1))


def _list_open_plans(resolved: ResolvedRequest) -> Iterator[str]:
    """What `plan` finds on the same devices, or else on the least multiple of them on which it finds anything."""
    devices, scenario = resolved.cluster.devices, resolved.scenarios[0]
    for factor in (1, *_FACTORS):
        space = Space(devices * factor, resolved.space.global_batch, dict(_SPACE_VALUES))
        # the network decides the time alone, not the memory: on more devices no time is said
        result = search_plans(replace(scenario, devices=devices * factor), space, SearchTarget(top=1))
        if result.stats.feasible:
            found = f"finds {format_seconds(float(result.figures[0, 0]))} a step or less"
            where = found if factor == 1 else f"needs {devices * factor:,} devices"
            yield f"`plan` in place of `estimate`, which {where}"
            return


def _enumerate_changes(request: PlanRequest, resolved: ResolvedRequest, base: SearchResult) -> Iterator[_Texts]:
    """Every change of one option that may hold less; where dp is given, it follows the other degrees."""
    row, scenario = base.nearest_miss.get_row(0), base.nearest_miss_scenario
    settings, dp = read_settings(scenario), row["dp"] if "dp" in request.dimensions else None
    if row["tp"] > 1 and not row["sequence_parallel"]:
        yield {"sequence_parallel": "yes"}
    yield from ({"zero": str(stage)} for stage in range(row["zero_stage"] + 1, 4))
    yield from ({"recompute": mode} for mode in RECOMPUTE_MODES[row["recompute"] + 1 :])
    for name in ("micro_batch", "vpp"):
        yield from ({name: str(row[name] // by)} for by in (*_FACTORS, row[name]) if row[name] % by == 0 and by > 1)
    for name in ("tp", "pp", "cp"):
        for factor in _FACTORS:
            if dp is None or dp % factor == 0:
                yield {name: str(row[name] * factor)} | ({} if dp is None else {"dp": str(dp // factor)})
    if scenario.workload.experts:
        yield from ({"ep": str(row["ep"] * factor)} for factor in _FACTORS)
    for name in _SETTINGS:
        value = SETTINGS[name].format_value(settings[name])
        yield from ({name: other} for other in SETTINGS[name].values if other != value)
    if scenario.attention_kernel != "flash":
        yield {"attention": "flash"}
    for factor in _FACTORS:
        yield {"nodes": str(resolved.cluster.nodes * factor)} | ({} if dp is None else {"dp": str(dp * factor)})


def _list_limits(base: SearchResult) -> list[Remedy]:
    """The tightest memory limit with which the plan fits, where one was given with which it does not."""
    scenario = base.nearest_miss_scenario
    limit = suggest_memory_limit(scenario, base.nearest_miss)
    return [Remedy(limit, _compute_base_s(base), scenario.devices)] if limit else []


def _compute_base_s(base: SearchResult) -> float:
    """What a step of the plan that does not fit would take."""
    return float(compute_step_costs(base.nearest_miss_scenario, base.nearest_miss).step_time_s[0])


def _format_option(name: str, text: str) -> str:
    option = find_option(name, "estimate")
    return option.key if name == "sequence_parallel" else f"{option.key} {text}"


def _format_remedy(remedy: Remedy, base_s: float, devices: int) -> str:
    step, ratio = format_seconds(remedy.step_time_s), remedy.device_s / (base_s * devices)
    if remedy.devices == devices:
        change = "as now" if abs(ratio - 1) < _SAME_TIME else f"{ratio - 1:+.1%}"
        return f"{remedy.text}: {step} a step ({change})"
    return f"{remedy.text}: {step} a step on {remedy.devices:,} devices ({ratio:.2f} times the device-seconds)"
