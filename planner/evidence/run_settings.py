"""How a measured run was set up, put into its scenario; what the model has no term for is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

from planner.cost.scenario import Scenario
from planner.cost.setting_values import apply_setting
from planner.cost.settings import SETTINGS, Setting
from planner.cost.techniques import apply_lora
from planner.errors import InputError
from planner.evidence.run_trainers import find_run_program
from planner.evidence.runs import MeasuredRun
from planner.trainers.launch import parse_launch
from planner.trainers.recompute import GRAPH_POLICY
from planner.trainers.trainer import replace_weight_format
from planner.workload.techniques import LoraModules

_DEGREES_OF_SETTINGS = {
    "ep_overlap": ("ep", "etp"),
    "ep_exchange": ("ep", "etp"),
    "router": ("ep",),
    "pp_overlap": ("pp",),
    "schedule": ("pp",),
    "layout": ("pp",),
    "cp_exchange": ("cp",),
    "tp_overlap": ("tp",),
}
"""Columns that say nothing where all of these are 1 or empty: no communication of that dimension."""
_TRAINER_FIELDS = {
    "weights_bytes": "weight_bytes",
    "gradient_bytes": "gradient_bytes",
    "optimizer_bytes": "optimizer_bytes",
    "reduce_bytes": "grad_reduce_bytes",
    "gather_bytes": "gather_bytes",
}
"""Fields of a trainer's record by the columns that state them."""
_ADAPTING_ATTENTION = ("nemo", "deepspeed")
"""Programs whose adapters are on the projections of attention, with dropout before them, where the row does not say:
in NeMo's script for speed (nemo_toolkit 2.5.3, scripts/performance/llm/mlperf_lora_llama2_70b.py), and in that of
MLPerf for DeepSpeed (mlcommons/training, llama2_70b_lora/README.md), which has no adapters of its own."""


@dataclass(frozen=True)
class RunScenario:
    """The scenario of a run, and what its row states beyond the model, as `column=value`, with the reason if any."""

    scenario: Scenario
    not_modelled: tuple[str, ...]


def apply_run_settings(scenario: Scenario, run: MeasuredRun) -> RunScenario:
    """The scenario with all that a row states of the run's setup. Raises InputError for an impossible combination."""
    scenario = _apply_stated_bytes(scenario, run)
    scenario = _apply_lora(scenario, run)
    not_modelled = []
    for name, setting in SETTINGS.items():
        text = run.get_text(name)
        if name == "gather_overlap" and not text and run.get_text("dp_overlap") == "grad":
            text = "no"
        if not text:
            continue
        value_name = translate_value(setting, text, run)
        problem = ""
        if value_name is not None:
            try:
                scenario = apply_setting(scenario, setting, setting.parse_name(value_name))
                continue
            except InputError as error:
                problem = f" ({error.problem})"
            except ValueError:
                problem = " (not a number)"
        if _matters(name, run):
            not_modelled.append(f"{name}={text}{problem}")
    if scenario.recompute_modules == GRAPH_POLICY and not run.get_text("loss"):
        # a policy of the graph needs `compile.enable`, which compiles the loss too (torchtitan/config/configs.py,
        # CompileConfig.components)
        scenario = apply_setting(scenario, SETTINGS["loss"], "compiled")
    not_modelled += _enumerate_unused(run)
    return RunScenario(scenario, tuple(not_modelled))


def translate_value(setting: Setting, text: str, run: MeasuredRun) -> str | None:
    """The name of a setting's value for a cell; None where the setting has no such value."""
    if setting.kind == "switch":
        # the reduction alone overlaps: the gather is a setting of its own
        return {"yes": "yes", "no": "no", "grad": "yes"}.get(text)
    if setting.kind == "count":
        return _translate_count(text, run)
    if text in setting.values or not setting.choices:
        return text
    if setting.name == "order":
        # the place of ep among the dimensions: experts take the innermost ranks of tp, cp and dp
        stated = [name for name in text.split("-") if name != "ep"]
        return next((order for order in setting.values if _is_suborder(stated, order.split("-"))), None)
    return None


def _translate_count(text: str, run: MeasuredRun) -> str | None:
    """`n/all` layers as layers of each virtual stage, `all` for all of them."""
    number, _, whole = text.partition("/")
    if not whole:
        return text
    if number == whole:
        return "all"
    stages = (run.get_count("pp") or 1) * (run.get_count("vpp") or 1)
    return str(int(number) // stages) if int(number) % stages == 0 and int(number) else None


def _is_suborder(stated: list[str], order: list[str]) -> bool:
    return [name for name in order if name in stated] == stated


def _matters(column: str, run: MeasuredRun) -> bool:
    """Whether what a column says can make a difference to the run."""
    degrees = _DEGREES_OF_SETTINGS.get(column)
    return degrees is None or any((run.get_count(name) or 1) > 1 for name in degrees)


def _apply_stated_bytes(scenario: Scenario, run: MeasuredRun) -> Scenario:
    """The trainer with the bytes per parameter that the row states, of those that trainers have."""
    stated = {
        field: value for column, field in _TRAINER_FIELDS.items() if (value := run.get_number(column)) is not None
    }
    trainer, program = scenario.trainer, find_run_program(run)
    if program is not None and run.get_text("precision") in program.narrow_weight_precisions:
        trainer = replace_weight_format(trainer, "fp8", scenario.fp8_recipe)
        # of each value a byte in each direction, but for their scales
        if stated.get("weight_bytes") == round(trainer.weight_bytes):
            del stated["weight_bytes"]
    trainer = replace(trainer, **stated)  # type: ignore[arg-type]
    if "weight_bytes" in stated and trainer.sharded_weight_bytes:
        trainer = replace(trainer, sharded_weight_bytes=stated["weight_bytes"])
    return replace(scenario, trainer=trainer)


def _apply_lora(scenario: Scenario, run: MeasuredRun) -> Scenario:
    """Adapters beside a frozen base, where the row states their rank."""
    rank = run.get_count("lora_rank")
    if rank is None:
        return scenario
    base_bytes = run.get_number("base_bytes")
    bits = 4 if base_bytes is not None and base_bytes < 1 else 16
    stated, assumed = run.get_text("lora_modules"), _find_assumed_modules(run)
    modules = cast(LoraModules, stated or assumed)
    scenario = apply_lora(scenario, rank, bits, modules=modules, dropout=assumed == modules == "attention")
    lora = scenario.techniques.lora
    if base_bytes is None or lora is None:
        return scenario
    return replace(scenario, techniques=replace(scenario.techniques, lora=replace(lora, frozen_bytes=base_bytes)))


def _find_assumed_modules(run: MeasuredRun) -> LoraModules:
    program = find_run_program(run)
    return "attention" if program is not None and program.name in _ADAPTING_ATTENTION else "all"


def describe_assumed_modules(run: MeasuredRun) -> str:
    """Which matrices have adapters where the row states their rank alone; else empty."""
    is_assumed = run.get_count("lora_rank") is not None and not run.get_text("lora_modules")
    return f"lora_modules={_find_assumed_modules(run)}" if is_assumed else ""


def _enumerate_unused(run: MeasuredRun) -> Iterator[str]:
    """What the row states and no term of the model reads."""
    if run.get_text("packing") == "unpadded":
        yield "packing=unpadded (as full sequences)"
    if has_unknown_scopes(run):
        yield f"launch={run.get_text('launch')} (as fused)"
    if run.get_number("base_bytes") is not None and run.get_count("lora_rank") is None:
        yield f"base_bytes={run.get_number('base_bytes'):g}"
    if run.get_text("lora_modules") and run.get_count("lora_rank") is None:
        yield f"lora_modules={run.get_text('lora_modules')}"


def has_unknown_scopes(run: MeasuredRun) -> bool:
    """Whether the row's graphs are of parts that no layer of the model has."""
    launch = run.get_text("launch")
    try:
        return bool(launch) and not parse_launch(launch, "launch")
    except InputError:
        return True
