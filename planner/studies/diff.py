"""Compare the best plans of two documents: what changed, by how much, and which term of the step changed most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from planner.cost.memory.moments import MEMORY_CATEGORIES
from planner.cost.settings import SETTINGS
from planner.cost.step import OVERLAPPABLE_TERMS, STEP_TERMS
from planner.cost.uncertainty import StepBounds, is_change_told_apart
from planner.documents.check import CheckDocument, get_checked_answer
from planner.documents.diff import (
    SCHEMA_VERSION,
    DiffDocument,
    DiffStatus,
    FigureChangePart,
    PlanDiffPart,
    StepChangeCausePart,
    TermChangePart,
)
from planner.documents.figures import FigureValue, FigureValues, read_figure_values
from planner.documents.heterogeneous import HeterogeneousDocument
from planner.documents.plan import PlanDocument
from planner.studies.conditions.evaluate import build_condition_part, evaluate_condition
from planner.studies.conditions.figures import compute_compared_values, compute_relative_change
from planner.studies.conditions.parse import Condition

_DIFF_FIGURES = (
    "step_time_s", "tokens_per_s", "tokens_per_s_per_device", "mfu", "hfu", "memory.headroom", "cost_usd_per_step",
    "cost_usd", "energy_j_per_step", "energy_j", "power_w", "carbon_kg", "days", "days_with_failures", "goodput",
)  # fmt: skip
_MEMORY_FIGURES = (*(f"memory.{category}" for category in MEMORY_CATEGORIES), "memory.total", "memory.capacity")
_INPUT_NAMES = (
    "model", "parameters", "layers", "hidden_size", "heads", "seq_length", "cluster", "accelerator", "nodes",
    "devices", "global_batch", "precision", "attention", "framework", "launch", "flops_convention", "tokens",
)  # fmt: skip
_COMPUTE_DRIVERS = ("tp", "cp", "pp", "dp", "ep", "micro_batch", "etp")
_TERM_DEGREES: dict[str, tuple[str, ...]] = {
    "forward": _COMPUTE_DRIVERS,
    "backward": _COMPUTE_DRIVERS,
    "recompute": ("recompute", *_COMPUTE_DRIVERS),
    "tensor_parallel": ("tp", "sequence_parallel", "micro_batch", "etp"),
    "context_parallel": ("cp", "micro_batch"),
    "expert_parallel": ("ep", "etp", "micro_batch"),
    "pipeline_send": ("pp", "vpp", "micro_batch", "dp"),
    "pipeline_bubble": ("pp", "vpp", "micro_batch", "dp"),
    "data_parallel": ("dp", "zero_stage", "pp"),
    "optimizer": ("zero_stage", "dp", "tp", "pp"),
    "offload": ("recompute", "pp", "tp"),
    "overhead": (),
    "input": ("dp", "tp", "cp"),
}
"""Degrees that each term depends on most, beside the settings that name the term, and all inputs."""


@dataclass(frozen=True)
class DiffSide:
    """One plan of one document: its figures, its inputs, and whether each requirement of its file is met."""

    values: FigureValues
    inputs: FigureValues
    title: str
    conditions_met: dict[str, bool]


_NO_SIDE = DiffSide({}, {}, "", {})


def compare_documents(
    base: CheckDocument | PlanDocument | HeterogeneousDocument,
    head: CheckDocument | PlanDocument | HeterogeneousDocument,
    files: tuple[str, str],
    threshold: float,
    conditions: Sequence[Condition] = (),
) -> DiffDocument:
    """Compare two documents; plans of files are matched by name. `conditions` are on `build_compared_figures`."""
    base_sides, head_sides = build_diff_sides(base), build_diff_sides(head)
    parts = []
    for name in dict.fromkeys((*head_sides, *base_sides)):
        presence = (name in base_sides, name in head_sides)
        sides = (base_sides.get(name), head_sides.get(name))
        parts.append(_build_plan_diff_part(name, presence, sides, threshold, conditions))
    return DiffDocument(
        schema_version=SCHEMA_VERSION, base=files[0], head=files[1], threshold=threshold, differences=parts
    )


def build_diff_sides(document: CheckDocument | PlanDocument | HeterogeneousDocument) -> dict[str, DiffSide | None]:
    """The plans of a document by name (`plan` for a single plan); None for a plan that does not fit."""
    if not isinstance(document, CheckDocument):
        return {"plan": _build_diff_side(document, {})}
    sides: dict[str, DiffSide | None] = {}
    for checked_plan in document.checked:
        answer = get_checked_answer(checked_plan)
        conditions_met = {part.requirement: part.met for part in checked_plan.requirements}
        sides[checked_plan.name] = None if answer is None else _build_diff_side(answer, conditions_met)
    return sides


def _build_diff_side(document: PlanDocument | HeterogeneousDocument, conditions_met: dict[str, bool]) -> DiffSide:
    values, model, scenario_part = read_figure_values(document), document.model, document.scenario
    inputs: dict[str, FigureValue] = {name: values.get(name) for name in _INPUT_NAMES}
    for part in (model, scenario_part):
        inputs |= {name: getattr(part, name) for name in part.__struct_fields__ if name in _INPUT_NAMES}
    inputs |= {"model": model.name, "global_batch": values["global_batch"]}
    if isinstance(document, HeterogeneousDocument):
        values = {"strategy.way": document.best_plan.layout, "strategy.split": document.best_plan.split, **values}
    return DiffSide(values, inputs, f"{model.title} on {document.cluster.title}", conditions_met)


def _build_plan_diff_part(
    name: str,
    presence: tuple[bool, bool],
    sides: tuple[DiffSide | None, DiffSide | None],
    threshold: float,
    conditions: Sequence[Condition],
) -> PlanDiffPart:
    base, head = (side or _NO_SIDE for side in sides)
    fits = (sides[0] is not None, sides[1] is not None)
    met_before, met_after = base.conditions_met, head.conditions_met
    settings = [key for key in {**base.values, **head.values} if key.startswith(("strategy.", "settings."))]
    figures = _list_figure_changes(_DIFF_FIGURES, base.values, head.values, threshold)
    inputs = _list_figure_changes(_INPUT_NAMES, base.inputs, head.inputs, 0.0)
    strategy = _list_figure_changes(settings, base.values, head.values, 0.0)
    memory = _list_figure_changes(_MEMORY_FIGURES, base.values, head.values, threshold)
    terms = _list_term_changes("terms", STEP_TERMS, base.values, head.values)
    values = compute_compared_values(base.values, head.values)
    compared: dict[str, Any] = {
        "inputs": inputs,
        "strategy": strategy,
        "memory": memory,
        "terms": terms,
        "overlapped": _list_term_changes("hidden", OVERLAPPABLE_TERMS, base.values, head.values),
        "requirements": [build_condition_part(evaluate_condition(item, values)) for item in conditions],
    }
    return PlanDiffPart(
        name=name,
        status=_find_diff_status(presence, fits, changed=bool(inputs or strategy or figures or memory)),
        title=head.title or base.title,
        why=_find_step_change_cause(terms, [*strategy, *inputs], base.values, threshold) if all(fits) else None,
        told_apart=_is_told_apart(base.values, head.values) if all(fits) else None,
        figures=figures,
        mfu_peaks=[str(side.inputs["precision"]) for side in (base, head) if side.inputs.get("precision")],
        no_longer_met=[item for item, met in met_before.items() if met and met_after.get(item) is False],
        now_met=[item for item, met in met_before.items() if not met and met_after.get(item)],
        **(compared if all(fits) else {key: [] for key in compared}),
    )


def _is_told_apart(base: FigureValues, head: FigureValues) -> bool:
    """Whether the throughputs of both sides differ by more than the error of such a comparison."""
    bounds = [
        StepBounds(
            *(_convert_to_seconds(values[name]) for name in ("step_time_s", "step_time_p10_s", "step_time_p90_s"))
        )
        for values in (base, head)
    ]
    ratio = _convert_to_seconds(base["tokens_per_s"]) / _convert_to_seconds(head["tokens_per_s"])
    is_same_machine = all(base.get(name) == head.get(name) for name in ("accelerator", "framework"))
    return is_change_told_apart(ratio, (bounds[0], bounds[1]), is_same_machine=is_same_machine)


def _find_diff_status(presence: tuple[bool, bool], fits: tuple[bool, bool], *, changed: bool) -> DiffStatus:
    if not all(presence):
        return "added" if presence[1] else "removed"
    if not all(fits):
        return "fits now" if fits[1] else "fits no more" if fits[0] else "fits in neither"
    return "changed" if changed else "unchanged"


def _list_figure_changes(
    names: Sequence[str], base_values: FigureValues, head_values: FigureValues, threshold: float
) -> list[FigureChangePart]:
    """The figures that differ: numbers by at least the relative threshold, and all that only one side has."""
    parts = []
    for name in names:
        base, head = base_values.get(name), head_values.get(name)
        share = compute_relative_change(base, head)
        if base == head or (share is not None and abs(share) < threshold):
            continue
        parts.append(
            FigureChangePart(name=name, base=base, head=head, change=_subtract_values(head, base), relative=share)
        )
    return parts


def _subtract_values(head: FigureValue, base: FigureValue) -> float | None:
    if base is None or head is None or isinstance(base, str | bool) or isinstance(head, str | bool):
        return None
    return head - base


def _list_term_changes(
    prefix: str, names: Sequence[str], base_values: FigureValues, head_values: FigureValues
) -> list[TermChangePart]:
    """The terms of both steps, the largest change first; ties keep the order of the terms."""
    parts = []
    for name in names:
        base, head = (_convert_to_seconds(values.get(f"{prefix}.{name}")) for values in (base_values, head_values))
        parts.append(TermChangePart(term=name, base_s=base, head_s=head, change_s=head - base))
    return sorted(parts, key=lambda part: -abs(part.change_s))


def _convert_to_seconds(value: FigureValue) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _find_step_change_cause(
    terms: Sequence[TermChangePart], changes: Sequence[FigureChangePart], base_values: FigureValues, threshold: float
) -> StepChangeCausePart | None:
    """The term that changed most; None where its change is below the threshold, relative to the step time."""
    term, change_s = terms[0].term, terms[0].change_s
    if not change_s or abs(change_s) < threshold * _convert_to_seconds(base_values.get("step_time_s")):
        return None
    names = {change.name for change in changes}
    depends = [f"strategy.{name}" for name in _TERM_DEGREES[term]]
    depends += [f"settings.{name}" for name, setting in SETTINGS.items() if term in setting.terms]
    because = [name for name in (*depends, "strategy.way", "strategy.split", *_INPUT_NAMES) if name in names]
    step_change_s = math.fsum(part.change_s for part in terms)
    return StepChangeCausePart(term=term, change_s=change_s, step_change_s=step_change_s, because=because)
