"""Which candidates the programs of a scenario run: the rules of `planner/trainers/`, over arrays of candidates.

A scenario names programs; a candidate has to be run by one of them at least. Rules about the scenario alone
(schedule, order, offload, precision, accelerator, model) rule out programs, or all candidates, before any is
enumerated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, reduce
from operator import or_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.cost.arrays import Bools, Ints
from planner.cost.scenario import Scenario
from planner.cost.setting_values import read_settings
from planner.cost.settings import list_own_values
from planner.cost.strategies import RECOMPUTE_MODES, STRATEGY_FIELDS, Strategies
from planner.hardware import database
from planner.trainers.names import TrainerChoiceName, TrainerName
from planner.trainers.program import Program
from planner.trainers.registry import (
    PROGRAMS_BY_NAME,
    TrainerChoice,
    adapt_to_accelerator,
    choose_trainer,
    find_trainer,
)
from planner.trainers.rules import PlanValues, Rule
from planner.trainers.trainer import widen_trainer_state

_MODE_NAMES = np.array(RECOMPUTE_MODES)


def build_plan_values(
    scenario: Scenario, layouts: Strategies, zero_stages: Ints | None = None, recompute_modes: Ints | None = None
) -> PlanValues:
    """The candidates as rules read them.

    With `zero_stages` and `recompute_modes`: each layout with each of them, arrays of shape [layouts, ZeRO stages,
    recompute modes] when they are combined. Without: candidates with their own, arrays of shape [plans].
    """
    columns: dict[str, NDArray[Any]] = {name: getattr(layouts, name) for name in STRATEGY_FIELDS}
    if zero_stages is not None and recompute_modes is not None:
        columns = {name: column[:, None, None] for name, column in columns.items()}
        columns |= {"zero_stage": zero_stages[None, :, None], "recompute": recompute_modes[None, None, :]}
    columns["recompute"] = _MODE_NAMES[columns["recompute"]]
    workload, vendor_and_type = scenario.workload, _read_vendor_and_type(scenario.accelerator.name)
    return PlanValues.build(
        read_settings(scenario),
        **columns,
        precision=scenario.precision,
        attention=scenario.attention_kernel,
        launch=scenario.launch_mode,
        seq_length=workload.seq_length,
        global_batch=scenario.global_batch,
        framework=scenario.trainer.name,
        model=workload.spec,
        model_title=workload.title,
        accelerator=scenario.accelerator.name,
        vendor=vendor_and_type[0],
        device_type=vendor_and_type[1],
        architecture=scenario.accelerator.architecture,
        version=scenario.trainer.version,
        own_values=_list_own_values(
            scenario.trainer.name,
            scenario.trainer.version,
            scenario.launch_mode,
            scenario.precision,
            scenario.accelerator.name,
            scenario.accelerator.architecture,
        ),
    )


@cache
def _list_own_values(
    trainer: TrainerName, version: str, launch: str, precision: str, accelerator: str, architecture: str
) -> Mapping[str, object]:
    """By setting the trainer's own value."""
    adapted = adapt_to_accelerator(find_trainer(trainer, version, launch), accelerator, architecture)
    return list_own_values(widen_trainer_state(adapted, precision), precision)


@cache
def _read_vendor_and_type(name: str) -> tuple[str, str]:
    """Vendor and type of an accelerator; empty for one that is not in hardware_db."""
    if name not in database.list_database_names("accelerators"):
        return "", ""
    spec = database.load_accelerator_spec(name)
    return spec.vendor, spec.kind


def list_possible_programs(scenario: Scenario) -> tuple[Program, ...]:
    """The programs of the scenario that some plan could be for: none of their rules is broken by the scenario alone.

    A rule is evaluated on no plans at all: what is a single flag then does not depend on the plan.
    """
    no_plans, is_broken_by_rule = _build_no_plans(scenario), dict[int, bool]()

    def is_broken(rule: Rule) -> bool:
        if id(rule) not in is_broken_by_rule:  # programs share rules
            is_broken_by_rule[id(rule)] = _is_broken_by_scenario(rule, no_plans)
        return is_broken_by_rule[id(rule)]

    programs = map(PROGRAMS_BY_NAME.__getitem__, scenario.programs)
    return tuple(program for program in programs if not any(map(is_broken, program.list_rules(no_plans))))


def find_rules_broken_by_scenario(scenario: Scenario, program: Program) -> tuple[Rule, ...]:
    """The rules of the program that are broken whatever the degrees are."""
    no_plans = _build_no_plans(scenario)
    return tuple(rule for rule in program.list_rules(no_plans) if _is_broken_by_scenario(rule, no_plans))


def _build_no_plans(scenario: Scenario) -> PlanValues:
    """The values of a scenario, with no candidates."""
    return build_plan_values(scenario, Strategies(**dict.fromkeys(STRATEGY_FIELDS, np.zeros(0, dtype=np.int64))))


def _is_broken_by_scenario(rule: Rule, no_plans: PlanValues) -> bool:
    flags = rule.is_broken(no_plans)
    return np.ndim(flags) == 0 and bool(flags)


def choose_programs(
    scenario: Scenario, name: TrainerChoiceName | None, zero_stages: Sequence[int] = ()
) -> TrainerChoice:
    """The trainer of this name for the scenario, and its programs."""
    return choose_trainer(name, scenario.accelerator, scenario.workload, zero_stages)


def find_accepted_candidates(programs: Sequence[Program], values: PlanValues, dimensions: int) -> Bools:
    """Whether one of the programs runs each candidate: an array of so many dimensions, which are 1 where nothing
    depends on them.
    """
    flags_by_rule: dict[int, Bools] = {}
    accepted: Bools = np.zeros((1,) * dimensions, dtype=bool)
    for rules in _drop_stricter_programs([program.list_rules(values) for program in programs]):
        # flags of one shape first: few arrays have the shape of all candidates
        broken_by_shape: dict[tuple[int, ...], Bools] = {}
        for rule in rules:
            if id(rule) not in flags_by_rule:
                flags = np.asarray(rule.is_broken(values), dtype=bool)
                flags_by_rule[id(rule)] = flags.reshape((1,) * (dimensions - flags.ndim) + flags.shape)
            broken = flags_by_rule[id(rule)]
            if broken.any():
                known = broken_by_shape.get(broken.shape)
                broken_by_shape[broken.shape] = broken if known is None else known | broken
        accepted = accepted | ~reduce(or_, broken_by_shape.values(), np.zeros((1,) * dimensions, dtype=bool))
    return accepted


def _drop_stricter_programs(rules_by_program: Sequence[Sequence[Rule]]) -> Iterator[Sequence[Rule]]:
    """The rules of the programs without those that have all rules of another: they run nothing that it does not."""
    kept: list[frozenset[int]] = []
    for rules in sorted(rules_by_program, key=len):
        names = frozenset(map(id, rules))
        if not any(fewer <= names for fewer in kept):
            kept.append(names)
            yield rules


def drop_unfit_programs(scenario: Scenario) -> Scenario:
    """The scenario with those programs that train this model on this accelerator; where none does, without rules."""
    no_plans = _build_no_plans(scenario)
    programs = tuple(
        name
        for name in scenario.programs
        if not any(
            (rule.setting == "accelerator" or rule.setting.partition(".")[0] == "model")
            and _is_broken_by_scenario(rule, no_plans)
            for rule in PROGRAMS_BY_NAME[name].list_rules(no_plans)
        )
    )
    return replace(scenario, programs=programs)


def accepts_plan(scenario: Scenario, plan: Strategies) -> bool:
    """Whether a program of the scenario runs a single plan; True where the scenario names no programs."""
    if not scenario.programs:
        return True
    programs = list_possible_programs(scenario)
    return bool(find_accepted_candidates(programs, build_plan_values(scenario, plan), 1)[0])
