"""What would explain a step that was measured: each suspect is the plan scored again with one thing otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from planner.cost.calibration import compute_calibration_spreads
from planner.cost.flops import compute_required_flops
from planner.cost.memory.peak import compute_peak_memory_bytes
from planner.cost.scenario import Scenario
from planner.cost.setting_values import apply_setting, read_settings
from planner.cost.settings import ROUTERS, SETTINGS, AttentionKernel
from planner.cost.step import compute_step_costs
from planner.cost.strategies import RECOMPUTE_MODES, Strategies
from planner.cost.uncertainty import NORMAL_Z90, perturb_scenario
from planner.cost.uncertainty.posterior import PARAMETER_GROUPS, compute_slowdown_factors
from planner.documents.explain import ExplainDocument, LoggedStepsPart, MeasuredPart, SuspectPart
from planner.errors import InputError
from planner.trainers.trainer import find_calibration_name
from planner.units import parse_quantity

_NEGLIGIBLE_SHARE = 0.02
"""Of the residual what is not listed."""
_SLOW_NODE_SHARE = 0.9
"""Of its clocks what a throttled node has left."""
_SLOW_LINK_SHARE = 0.5
"""Of its bandwidth what a link has left that has come up in half of its width."""
_SWITCH_TITLES = {
    "dp_overlap": "gradient communication",
    "tp_overlap": "tensor-parallel communication",
    "ep_overlap": "the all-to-all of experts",
}
_GROUP_TITLES = {
    "multiplies": "multiplies",
    "attention": "attention kernels",
    "memory": "memory-bound kernels",
    "launches": "launches of kernels",
    "network": "links",
    "overlap": "overlap of communication",
}


@dataclass(frozen=True)
class Suspect:
    """One thing that may be otherwise than the plan says, and the step's time with it."""

    name: str
    title: str
    step_time_s: float


@dataclass(frozen=True)
class _Change:
    name: str
    title: str
    scenario: Scenario
    strategies: Strategies


def find_suspects(scenario: Scenario, strategies: Strategies) -> list[Suspect]:
    """The step's time with each thing that may be otherwise, the plan scored again, of those with which it fits in
    memory; `strategies`: of length one.
    """
    return [
        Suspect(
            change.name,
            change.title,
            float(compute_step_costs(change.scenario, change.strategies).step_time_s[0]),
        )
        for change in _enumerate_changes(scenario, strategies)
        if _fits(change)
    ]


def _fits(change: _Change) -> bool:
    sizes = compute_peak_memory_bytes(change.scenario, change.strategies)
    return math.fsum(float(size[0]) for size in sizes.values()) <= change.scenario.accelerator.memory_bytes


def _enumerate_changes(scenario: Scenario, s: Strategies) -> Iterator[_Change]:
    row = s.get_row(0)
    for name, title in _SWITCH_TITLES.items():
        if _is_setting_heeded(name, row):
            value = bool(read_settings(scenario)[name])
            text = f"{title} is not overlapped" if value else f"{title} is overlapped"
            yield from _change_setting(scenario, s, name, not value, text)
    if row["pp"] > 1 and scenario.pp_overlap != "no":
        yield from _change_setting(scenario, s, "pp_overlap", "no", "sends between stages are not overlapped")
    for mode in range(len(RECOMPUTE_MODES)):
        if mode != row["recompute"]:
            text = f"recomputation is {RECOMPUTE_MODES[mode]}, not {RECOMPUTE_MODES[row['recompute']]}"
            yield _Change(
                f"recompute_{RECOMPUTE_MODES[mode]}", text, scenario, replace(s, recompute=np.array([mode]))
            )
    if row["tp"] > 1 and scenario.workload.seq_length % row["tp"] == 0:
        is_on = bool(row["sequence_parallel"])
        other = replace(s, sequence_parallel=np.array([int(not is_on)]))
        yield _Change("sequence_parallel", f"sequence parallelism is {'off' if is_on else 'on'}", scenario, other)
    kernel: AttentionKernel = "unfused" if scenario.attention_kernel == "flash" else "flash"
    yield _Change(f"attention_{kernel}", f"attention is {kernel}", replace(scenario, attention_kernel=kernel), s)
    if scenario.launch_mode != "eager":
        yield _Change("launch_eager", "kernels are launched eagerly", replace(scenario, launch_mode="eager"), s)
    if row["ep"] > 1 and scenario.router == "balanced":
        text = f"the router fills one rank {ROUTERS['real']:g} times as much as the mean"
        yield _Change("router", text, replace(scenario, router="real"), s)
    yield from _enumerate_slow_parts(scenario, s)
    yield from _enumerate_posterior_ends(scenario, s)


def _is_setting_heeded(name: str, row: dict[str, int]) -> bool:
    """Whether the plan communicates what the setting overlaps."""
    return {"dp_overlap": row["dp"] * row["cp"], "tp_overlap": row["tp"], "ep_overlap": row["ep"]}[name] > 1


def _change_setting(scenario: Scenario, s: Strategies, name: str, value: object, text: str) -> Iterator[_Change]:
    """The change of a setting; none where the cluster does not support it."""
    try:
        yield _Change(name, text, apply_setting(scenario, SETTINGS[name], value), s)  # type: ignore[arg-type]
    except InputError:
        return


def _enumerate_slow_parts(scenario: Scenario, s: Strategies) -> Iterator[_Change]:
    """One slow part, for which all ranks of its groups wait."""
    network, accelerator = scenario.network, scenario.accelerator
    kinds: tuple[tuple[str, str, Callable[[np.ndarray], np.ndarray]], ...] = (
        ("slow_nic", "one NIC or cable of the fabric has half of its bandwidth", lambda through_nic: through_nic),
        ("slow_link", "one link inside a node has half of its bandwidth", lambda through_nic: ~through_nic),
    )
    for name, text, select in kinds:
        is_slow = select(np.asarray(network.through_nic, dtype=bool))
        if is_slow.any():
            slow = network.bandwidth_bytes_per_s * np.where(is_slow, _SLOW_LINK_SHARE, 1.0)
            yield _Change(name, text, replace(scenario, network=replace(network, bandwidth_bytes_per_s=slow)), s)
    throttled = replace(
        accelerator,
        peak_flops={name: peak * _SLOW_NODE_SHARE for name, peak in accelerator.peak_flops.items()},
        memory_bandwidth_bytes_per_s=accelerator.memory_bandwidth_bytes_per_s * _SLOW_NODE_SHARE,
    )
    text = f"one node runs at {_SLOW_NODE_SHARE:.0%} of its clocks, and all others wait for it"
    yield _Change("slow_node", text, replace(scenario, accelerator=throttled), s)


def _enumerate_posterior_ends(scenario: Scenario, s: Strategies) -> Iterator[_Change]:
    """Fitted numbers at the ends of what the fit leaves open: 10 % of cases are beyond each."""
    spreads = compute_calibration_spreads(scenario.accelerator.architecture, find_calibration_name(scenario.trainer))
    wide = {name: NORMAL_Z90 * spread for name, spread in spreads.items()}
    for group in PARAMETER_GROUPS:
        slow = compute_slowdown_factors(wide, group)
        fast = {name: 1 / factor for name, factor in slow.items()}
        title = _GROUP_TITLES[group]
        for name, factors in (("slow", slow), ("fast", fast)):
            text = f"{title}: at the {name} end (10 %) of what the fit leaves open"
            yield _Change(f"{group}_{name}", text, perturb_scenario(scenario, factors), s)


@dataclass(frozen=True)
class MeasuredStep:
    """A measured step, as it was given; `log`: the iterations that it is the median of."""

    given: str
    step_time_s: float
    log: LoggedStepsPart | None = None


def parse_measured(text: str, scenario: Scenario, key: str = "--measured") -> MeasuredStep:
    """A measured step time (14.2s), or MFU (38%), which is against the peak of the plan's precision.

    Raises InputError, with both readings for a bare number.
    """
    stripped = text.strip()
    try:
        if stripped.endswith("%"):
            share = parse_quantity(stripped, "ratio", key=key)
            if 0.0 < share <= 1.0:
                return MeasuredStep(text, compute_ideal_step_s(scenario) / share)
        else:
            seconds = parse_quantity(stripped, "duration", key=key, allow_bare=False)
            if seconds > 0.0:
                return MeasuredStep(text, seconds)
    except InputError:
        pass
    expected = "a step time such as 14.2s, or an MFU such as 38%"
    raise InputError("no step time and no MFU", key=key, value=text, expected=expected)


def compute_ideal_step_s(scenario: Scenario) -> float:
    """What a step would take at an MFU of 1, by the scenario's convention of FLOPs."""
    peak_flops_per_s = scenario.devices * scenario.accelerator.get_peak_flops(scenario.precision)
    return compute_required_flops(scenario) / peak_flops_per_s


def add_measured_step(
    scenario: Scenario, strategies: Strategies, document: ExplainDocument, measured: MeasuredStep
) -> ExplainDocument:
    """The document with a measured step, and the suspects that would explain its difference to the predicted one."""
    return msgspec.structs.replace(document, measured=_build_measured_part(scenario, strategies, document, measured))


def _build_measured_part(
    scenario: Scenario, strategies: Strategies, document: ExplainDocument, measured: MeasuredStep
) -> MeasuredPart:
    residual_s = measured.step_time_s - document.step_time_s
    suspects = []
    for suspect in find_suspects(scenario, strategies):
        seconds = suspect.step_time_s - document.step_time_s
        share = seconds / residual_s if residual_s else 0.0
        if share >= _NEGLIGIBLE_SHARE:
            suspects.append(
                SuspectPart(
                    name=suspect.name,
                    title=suspect.title,
                    step_time_s=suspect.step_time_s,
                    seconds=seconds,
                    residual_share=share,
                )
            )
    return MeasuredPart(
        given=measured.given,
        step_time_s=measured.step_time_s,
        mfu=compute_ideal_step_s(scenario) / measured.step_time_s,
        residual_s=residual_s,
        residual_share=residual_s / document.step_time_s,
        is_in_interval=document.step_time_p10_s <= measured.step_time_s <= document.step_time_p90_s,
        log=measured.log,
        suspects=sorted(suspects, key=lambda suspect: abs(suspect.residual_share - 1.0)),
    )
