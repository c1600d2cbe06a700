"""What a trainer does not run of the pinned values: every obstacle at once, and the nearest plan that it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from planner.cost.arrays import Bools, Floats, Ints, sum_in_order
from planner.cost.memory.peak import compute_peak_memory_bytes
from planner.cost.scenario import Scenario
from planner.cost.setting_values import apply_setting, read_settings
from planner.cost.settings import SETTINGS, AttentionKernel
from planner.cost.strategies import RECOMPUTE_MODES, STRATEGY_FIELDS, Strategies, join_strategies
from planner.errors import InputError
from planner.search.diagnosis.option_conflicts import DIMENSION_OPTIONS
from planner.search.program_rules import (
    build_plan_values,
    choose_programs,
    find_accepted_candidates,
    find_rules_broken_by_scenario,
)
from planner.search.space import SearchStats, Space, enumerate_parallel_layouts, is_valid_zero_stage
from planner.trainers.names import TrainerChoiceName
from planner.trainers.program import Program
from planner.trainers.registry import (
    PROGRAMS_BY_NAME,
    adapt_to_accelerator,
    find_default_attention,
    find_trainer,
)
from planner.trainers.rules import PlanValues, Rule
from planner.trainers.trainer import widen_trainer_state

_OTHER_OPTIONS = {"model": "MODEL", "model.mtp_layers": "--mtp-layers", "accelerator": "--cluster"}
_MAX_BLOCKS = 5
"""Blocks of layouts that are looked through for the plan with the fewest obstacles, and for the nearest one."""
_OPEN_WEIGHT = 2.0**-10
"""What a rule counts more that is broken by a value that nobody pinned; its sums are exact."""
_MAX_NEAR_PLANS = 256
"""Of the nearest plans of a block so many are tried for one that fits into the memory."""


@dataclass(frozen=True)
class Obstacle:
    """A rule that a plan breaks: the option of its value, the value, and what is supported."""

    option: str
    setting: str
    value: str
    supported: str
    source: str

    def format_supported(self) -> str:
        """The supported values, with the setting in front where they do not name it, and the source of the rule."""
        is_named = self.supported.startswith(f"{self.setting} ")
        source = f" ({self.source})" if self.source else ""
        return f"{'' if is_named else f'{self.setting}: '}{self.supported}{source}"


def has_runnable_candidates(scenarios: Sequence[Scenario], space: Space) -> bool:
    """Whether a program runs some candidate of the space, or there is no candidate at all, so that no program is the
    reason.
    """
    simple_values: dict[str, tuple[int, ...]] = {"vpp": (1,), "micro_batch": (1,)}
    has_candidates = False
    # simple values first: they are nearly always enough, and few
    for allowed in ({**simple_values, **space.allowed}, space.allowed):
        for scenario in scenarios:
            for candidates in _iterate_candidates(scenario, replace(space, allowed=allowed)):
                has_candidates = True
                if _find_runnable(scenario, scenario.programs, candidates).any():
                    return True
    return not has_candidates


def build_unsupported_error(scenario: Scenario, space: Space) -> InputError:
    """The error for pinned values that no program of the scenario's trainer runs."""
    program, obstacles = find_obstacles(scenario, space)
    nearest = _describe_nearest_plan(scenario, space, program, obstacles)
    alternatives = [
        "; ".join(dict.fromkeys(_explain_obstacle(scenario, program, obstacle) for obstacle in obstacles)),
        f"the nearest plan that it runs: {nearest}" if nearest else "",
        suggest_trainers(scenario, space),
    ]
    pinned = [o for o in obstacles if o.setting not in DIMENSION_OPTIONS or o.setting in space.allowed]
    more = f" (of {', '.join(scenario.programs)} the nearest)" if len(scenario.programs) > 1 else ""
    return InputError(
        f"unsupported by {format_program(scenario, program)}{more}",
        key=", ".join(dict.fromkeys(obstacle.option for obstacle in pinned or obstacles)),
        value=", ".join(dict.fromkeys(f"{obstacle.setting} {obstacle.value}" for obstacle in obstacles)),
        expected="; or ".join(filter(None, alternatives)),
    )


def find_obstacles(scenario: Scenario, space: Space) -> tuple[Program, list[Obstacle]]:
    """The program of the scenario with the fewest obstacles, and these."""
    return min(
        (
            (program, list(_list_obstacles(scenario, space, program)))
            for program in map(PROGRAMS_BY_NAME.__getitem__, scenario.programs)
        ),
        key=lambda found: len(found[1]),
    )


def format_program(scenario: Scenario, program: Program) -> str:
    """`torchtitan 0.3`: the program, at the version of the scenario; of the newest that whose files are written."""
    _, _, version = scenario.trainer.version.partition("@")
    is_newest = not version or version == program.versions[0].name
    return f"{program.name} {program.version if is_newest else version}"


def suggest_trainers(scenario: Scenario, space: Space) -> str:
    """`--trainer A, B`: the other programs that run a candidate; where none does, those that do with the usual
    attention of the accelerator. Empty where none is known.
    """
    others = [name for name in _list_trainer_names(scenario) if _runs_candidates(scenario, space, name)]
    if others:
        return f"--trainer {', '.join(others)}"
    kernel = find_default_attention(scenario.accelerator)
    if kernel == scenario.attention_kernel:
        return ""
    other_scenario = replace(scenario, attention_kernel=kernel)
    others = [name for name in _list_trainer_names(scenario) if _runs_candidates(other_scenario, space, name)]
    return f"--attention {kernel} --trainer {', '.join(others)}" if others else ""


def _explain_obstacle(scenario: Scenario, program: Program, obstacle: Obstacle) -> str:
    """The supported values of an obstacle; where the program runs no value of the setting here, what is against each
    of them.
    """
    reasons = []
    for value, candidate in _vary_setting(scenario, obstacle.setting):
        rules = [
            rule for rule in find_rules_broken_by_scenario(candidate, program) if rule.setting == obstacle.setting
        ]
        if not rules:
            return obstacle.format_supported()
        plan = _build_single_plan_values(candidate, None)
        reasons.append(
            f"{value}: " + "; ".join(f"{rule.supported.format(plan=plan)} ({rule.source})" for rule in rules)
        )
    if len(reasons) < 2:
        return obstacle.format_supported()
    return f"no value of {obstacle.option} runs on {scenario.accelerator.name}: {', and '.join(reasons)}"


def _vary_setting(scenario: Scenario, name: str) -> Iterator[tuple[str, Scenario]]:
    """The scenario with each value of a setting that the hardware has; nothing for what has no list of values."""
    if name == "attention":
        for kernel in get_args(AttentionKernel):
            yield kernel, replace(scenario, attention_kernel=kernel)
    elif name == "precision":
        for precision in scenario.accelerator.peak_flops:
            yield precision, replace(scenario, precision=precision)
    elif name in SETTINGS:
        for value in SETTINGS[name].values:
            try:
                yield value, apply_setting(scenario, SETTINGS[name], SETTINGS[name].parse_name(value))
            except InputError:
                continue  # another precision's, or one that the hardware lacks


def _iterate_candidates(scenario: Scenario, space: Space) -> Iterator[tuple[Strategies, Space, Bools]]:
    """Blocks of layouts, with the narrowed space and which ZeRO stages and modes each allows."""
    narrowed = space.narrow_to_scenario(scenario)
    values = narrowed.enumerate_values(scenario.workload)
    for layouts in enumerate_parallel_layouts(narrowed, scenario.workload, SearchStats()):
        allowed = is_valid_zero_stage(layouts, values["zero_stage"], narrowed.shard_group)
        if allowed.any():
            yield layouts, narrowed, np.repeat(allowed[:, :, None], len(values["recompute"]), axis=2)


def _find_runnable(scenario: Scenario, programs: Sequence[str], candidates: tuple[Strategies, Space, Bools]) -> Bools:
    """Whether one of the programs runs each candidate, shape [layouts, ZeRO stages, recompute modes]."""
    layouts, space, allowed = candidates
    values = space.enumerate_values(scenario.workload)
    plan_values = build_plan_values(scenario, layouts, values["zero_stage"], values["recompute"])
    runnable: Bools = allowed & find_accepted_candidates(
        [PROGRAMS_BY_NAME[name] for name in programs],  # type: ignore[index]
        plan_values,
        allowed.ndim,
    )
    return runnable


def _list_obstacles(scenario: Scenario, space: Space, program: Program) -> Iterator[Obstacle]:
    """The obstacles of the candidate that breaks the fewest rules of the program; of several such candidates, of that
    whose obstacles the user has pinned.
    """
    pinned = {name for name in space.allowed if name not in space.defaulted}
    rules: Sequence[Rule] = find_rules_broken_by_scenario(scenario, program)
    fewest, best = np.inf, None
    for block_number, (layouts, narrowed, allowed) in enumerate(_iterate_candidates(scenario, space)):
        values = narrowed.enumerate_values(scenario.workload)
        plan_values = build_plan_values(scenario, layouts, values["zero_stage"], values["recompute"])
        broken_counts: Floats = np.where(allowed, 0.0, np.inf)
        for rule in program.list_rules(plan_values):
            is_open = rule.setting in DIMENSION_OPTIONS and rule.setting not in pinned
            weight = 1 + _OPEN_WEIGHT if is_open else 1.0
            broken_counts += weight * np.asarray(rule.is_broken(plan_values), dtype=bool)
        if broken_counts.min() < fewest:
            fewest = float(broken_counts.min())
            row, stage, mode = np.argwhere(broken_counts == fewest)[0]
            best = replace(
                layouts.take(np.array([row])),
                zero_stage=values["zero_stage"][[stage]],
                recompute=values["recompute"][[mode]],
            )
        if block_number + 1 == _MAX_BLOCKS:
            break
    plan = _build_single_plan_values(scenario, best)
    if best is not None:
        rules = list(program.find_broken_rules(plan))
    for rule in rules:
        name = rule.setting if rule.setting in _OTHER_OPTIONS else rule.setting.partition(".")[0]
        option = DIMENSION_OPTIONS.get(name) or _OTHER_OPTIONS.get(name) or f"--{name.replace('_', '-')}"
        yield Obstacle(
            option, rule.setting, str(rule.read_value(plan)), rule.supported.format(plan=plan), rule.source
        )


def _build_single_plan_values(scenario: Scenario, plan: Strategies | None) -> PlanValues:
    """A single plan as rules read it, of plain numbers; None: the simplest plan."""
    ones = Strategies(**{name: np.ones(1, dtype=np.int64) for name in STRATEGY_FIELDS})
    chosen = plan or replace(ones, zero_stage=np.zeros(1, dtype=np.int64), recompute=np.zeros(1, dtype=np.int64))
    row: dict[str, Any] = dict(chosen.get_row(0))
    row["recompute"] = RECOMPUTE_MODES[row["recompute"]]
    row["sequence_parallel"] = bool(row["sequence_parallel"])
    return replace(build_plan_values(scenario, chosen), **row)


def _describe_nearest_plan(scenario: Scenario, space: Space, program: Program, obstacles: Sequence[Obstacle]) -> str:
    """The options in which the nearest plan that the program runs differs from the pinned ones: of those that fit
    into the memory, where one is known to. Empty where none is known.
    """
    # what no degrees make possible has to change; other settings may, where the degrees stay then
    hopeless = {rule.setting for rule in find_rules_broken_by_scenario(scenario, program)}
    changes = [
        _list_nearest_changes(scenario, space, program, changeable)
        for changeable in (obstacles, [obstacle for obstacle in obstacles if obstacle.setting in hopeless])
    ]
    known = [options for options in changes if options]
    fewest: list[str] = min(known, key=len, default=[])
    return " ".join(fewest)


def _list_nearest_changes(
    scenario: Scenario, space: Space, program: Program, obstacles: Sequence[Obstacle]
) -> list[str]:
    """Options of the nearest plan that differ from the pinned ones, with the settings of these obstacles replaced."""
    scenario, changed_settings = _replace_settings(scenario, program, obstacles)
    if find_rules_broken_by_scenario(scenario, program):
        return []
    pinned = {name: values for name, values in space.allowed.items() if name not in space.defaulted}
    # degrees are open; of the many values of the others the pinned and the simplest
    allowed = {name: tuple({1, *space.allowed.get(name, ())}) for name in ("vpp", "micro_batch")}
    relaxed = replace(space, allowed=allowed, defaulted=frozenset())
    near_distances, near_plans = [], []
    for block_number, candidates in enumerate(_iterate_candidates(scenario, relaxed)):
        layouts, narrowed, _ = candidates
        values = narrowed.enumerate_values(scenario.workload)
        columns = {name: getattr(layouts, name)[:, None, None] for name in STRATEGY_FIELDS} | {
            "zero_stage": values["zero_stage"][None, :, None],
            "recompute": values["recompute"][None, None, :],
        }
        runnable = _find_runnable(scenario, [program.name], candidates)
        runnable &= _keeps_trainer(scenario, space, program, values["zero_stage"])[None, :, None]
        distance: Floats = np.where(runnable, 0.0, np.inf)
        for name, weight in (*((name, 1.0) for name in pinned), *((name, 0.01) for name in space.defaulted)):
            distance += weight * _measure_distance(columns[name], space.allowed[name])
        # of equally near plans the one that is most like a simple one
        distance += 1e-4 * sum(_measure_distance(columns[name], (1,)) for name in ("tp", "pp", "cp", "ep"))
        order = np.argsort(distance, axis=None, kind="stable")[:_MAX_NEAR_PLANS]
        order = order[np.isfinite(distance.ravel()[order])]
        rows, stages, modes = np.unravel_index(order, distance.shape)
        near_distances.append(distance.ravel()[order])
        near_plans.append(
            replace(
                layouts.take(rows),
                zero_stage=values["zero_stage"][stages],
                recompute=values["recompute"][modes],
            )
        )
        if block_number + 1 == _MAX_BLOCKS:
            break
    if not sum(map(len, near_plans)):
        return []
    best = _choose_nearest_plan(scenario, np.concatenate(near_distances), join_strategies(near_plans))
    changed = [_format_dimension(name, best[name]) for name in space.allowed if best[name] not in space.allowed[name]]
    return [*changed_settings, *changed]


def _keeps_trainer(scenario: Scenario, space: Space, program: Program, zero_stages: Ints) -> Bools:
    """Whether plans of the program with each ZeRO stage, pinned in the place of the given ones, are for the trainer
    of the scenario: a program may have another for each, which has other rules.
    """
    pinned = space.allowed.get("zero_stage", ())
    trainers = [choose_programs(scenario, program.name, (int(stage),)).trainer for stage in zero_stages]
    if not pinned or scenario.trainer.name not in trainers:
        return np.ones(len(zero_stages), dtype=bool)
    return np.array([trainer == scenario.trainer.name for trainer in trainers]) | np.isin(zero_stages, pinned)


def _choose_nearest_plan(scenario: Scenario, distances: Floats, plans: Strategies) -> Mapping[str, int]:
    """The nearest plan that fits into the memory; where none does, the nearest."""
    memory_bytes = sum_in_order(compute_peak_memory_bytes(scenario, plans).values())
    does_not_fit = memory_bytes > scenario.usable_memory_bytes
    return plans.get_row(int(np.lexsort((distances, does_not_fit))[0]))


def _measure_distance(column: np.ndarray, wanted: Sequence[int]) -> Floats:
    """0 for wanted values, else 1 and a little more for each doubling, of an array of any shape."""
    distances = [
        np.where(column == value, 0.0, 1.0 + 0.05 * np.abs(np.log2((column + 1.0) / (value + 1.0))))
        for value in wanted
    ]
    nearest: Floats = np.min(distances, axis=0)
    return nearest


def _format_dimension(name: str, value: int) -> str:
    if name == "sequence_parallel":
        return "--sequence-parallel" if value else "--no-sequence-parallel"
    return f"{DIMENSION_OPTIONS[name]} {RECOMPUTE_MODES[value] if name == 'recompute' else value}"


def _replace_settings(
    scenario: Scenario, program: Program, obstacles: Sequence[Obstacle]
) -> tuple[Scenario, list[str]]:
    """The scenario with the first supported value of each setting that is an obstacle, and these as options."""
    changed = []
    for name in dict.fromkeys(obstacle.setting for obstacle in obstacles if obstacle.setting in SETTINGS):
        setting, broken = SETTINGS[name], len(find_rules_broken_by_scenario(scenario, program))
        for value_name in setting.values:
            try:
                candidate = apply_setting(scenario, setting, setting.parse_name(value_name))
            except InputError:
                continue  # another precision's, or one that the hardware lacks
            rules = find_rules_broken_by_scenario(candidate, program)
            if len(rules) < broken or (
                not any(rule.setting == name for rule in rules) and broken == len(rules) and candidate != scenario
            ):
                scenario = candidate
                changed.append(f"--{name.replace('_', '-')} {value_name}")
                break
    if any(obstacle.setting == "precision" for obstacle in obstacles):
        # 16 bits first: the nearest to any other that is trained in
        known = [name for name in ("bf16", "fp16", "fp32") if name in scenario.accelerator.peak_flops]
        candidates = [replace(scenario, precision=name) for name in known]
        for candidate in candidates:
            if not any(rule.setting == "precision" for rule in find_rules_broken_by_scenario(candidate, program)):
                scenario = candidate
                changed.append(f"--precision {candidate.precision}")
                break
    if any(obstacle.setting == "attention" for obstacle in obstacles):
        kernel: AttentionKernel = "unfused" if scenario.attention_kernel == "flash" else "flash"
        scenario = replace(scenario, attention_kernel=kernel)
        changed.append(f"--attention {kernel}")
    return scenario, changed


def _list_trainer_names(scenario: Scenario) -> Iterator[TrainerChoiceName]:
    """The programs beside the scenario's."""
    yield from (name for name in PROGRAMS_BY_NAME if name not in scenario.programs)


def _runs_candidates(scenario: Scenario, space: Space, name: TrainerChoiceName) -> bool:
    """Whether another trainer runs one of the candidates, with the settings of the scenario."""
    choice = choose_programs(scenario, name, space.allowed.get("zero_stage", ()))
    own, other = (
        replace(
            scenario,
            trainer=widen_trainer_state(
                adapt_to_accelerator(
                    find_trainer(trainer, version, scenario.launch_mode),
                    scenario.accelerator.name,
                    scenario.accelerator.architecture,
                ),
                scenario.precision,
            ),
        )
        for trainer, version in ((scenario.trainer.name, scenario.trainer.version), (choice.trainer, ""))
    )
    own_settings = read_settings(own)
    for setting_name, value in read_settings(scenario).items():
        if value != own_settings[setting_name]:
            try:
                other = apply_setting(other, SETTINGS[setting_name], value)
            except InputError:
                return False
    other = replace(other, programs=choice.programs)
    blocks = (block for _, block in zip(range(_MAX_BLOCKS), _iterate_candidates(other, space), strict=False))
    return any(_find_runnable(other, other.programs, block).any() for block in blocks)
