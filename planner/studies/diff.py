"""Two plans compared, best with best: what changed, by how much, and which term of the step changed most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from planner.cost.memory import KINDS
from planner.cost.step import HIDDEN, TERMS
from planner.documents.check import CheckDocument, answer_of
from planner.documents.diff import (
    SCHEMA_VERSION,
    ChangePart,
    DiffDocument,
    DifferencePart,
    Status,
    TermPart,
    WhyPart,
)
from planner.documents.heterogeneous import HeterogeneousDocument
from planner.documents.plan import Document
from planner.studies.conditions.evaluate import evaluate_condition
from planner.studies.conditions.parse import Condition
from planner.studies.conditions.values import (
    FigureValue,
    FigureValues,
    compute_compared_values,
    compute_figure_values,
    compute_relative_change,
)
from planner.studies.requirement_part import requirement_part

_FIGURES = (
    "step_time_s", "tokens_per_s", "tokens_per_s_per_device", "mfu", "hfu", "memory.headroom", "cost_usd_per_step",
    "cost_usd", "energy_j_per_step", "energy_j", "power_w", "carbon_kg", "days", "days_with_failures", "goodput",
)  # fmt: skip
_MEMORY = (*(f"memory.{kind}" for kind in KINDS), "memory.total", "memory.capacity")
_INPUTS = (
    "model", "parameters", "layers", "hidden_size", "heads", "seq_length", "cluster", "accelerator", "nodes",
    "devices", "global_batch", "precision", "attention", "framework", "launch", "flops_convention", "tokens",
)  # fmt: skip
_COMPUTE = ("tp", "cp", "pp", "dp", "ep", "micro_batch", "etp")
_DRIVERS: dict[str, tuple[str, ...]] = {
    "forward": _COMPUTE,
    "backward": _COMPUTE,
    "recompute": ("recompute", "recompute_layers", *_COMPUTE),
    "tensor_parallel": ("tp", "sequence_parallel", "tp_overlap", "micro_batch", "order", "etp"),
    "context_parallel": ("cp", "cp_exchange", "micro_batch", "order"),
    "expert_parallel": ("ep", "etp", "micro_batch", "order"),
    "pipeline_send": ("pp", "vpp", "micro_batch", "dp", "order"),
    "pipeline_bubble": ("pp", "vpp", "schedule", "micro_batch", "dp"),
    "data_parallel": ("dp", "zero_stage", "dp_overlap", "gradients", "communication", "shard_group", "order", "pp"),
    "optimizer": ("zero_stage", "dp", "tp", "pp", "offload", "shard_group"),
    "offload": ("offload", "recompute", "pp", "tp"),
    "overhead": (),
}
"""What of the split and the settings each term depends on most; every term depends on all inputs."""


@dataclass(frozen=True)
class Side:
    """One plan of one document: its figures, its inputs, and the requirements of its file by whether they are met."""

    values: FigureValues
    inputs: FigureValues
    title: str
    met: dict[str, bool]


def compared(
    base: CheckDocument | Document | HeterogeneousDocument,
    head: CheckDocument | Document | HeterogeneousDocument,
    files: tuple[str, str],
    threshold: float,
    required: Sequence[Condition] = (),
) -> DiffDocument:
    """Both documents compared, plans of files by their names. `required`: conditions on `compared_figures`."""
    before, after = sides_of(base), sides_of(head)
    names = list(dict.fromkeys((*after, *before)))
    parts = [
        _difference(name, (name in before, name in after), (before.get(name), after.get(name)), threshold, required)
        for name in names
    ]
    return DiffDocument(
        schema_version=SCHEMA_VERSION, base=files[0], head=files[1], threshold=threshold, differences=parts
    )


def sides_of(document: CheckDocument | Document | HeterogeneousDocument) -> dict[str, Side | None]:
    """The plans of a document by name, a single one without a name; None for one that does not fit."""
    if not isinstance(document, CheckDocument):
        return {"plan": _side(document, {})}
    sides: dict[str, Side | None] = {}
    for one in document.checked:
        answer = answer_of(one)
        met = {part.requirement: part.met for part in one.requirements}
        sides[one.name] = None if answer is None else _side(answer, met)
    return sides


def _side(document: Document | HeterogeneousDocument, met: dict[str, bool]) -> Side:
    values, model, training = compute_figure_values(document), document.model, document.training
    inputs: dict[str, FigureValue] = {name: values.get(name) for name in _INPUTS}
    for part in (model, training):
        inputs |= {name: getattr(part, name) for name in part.__struct_fields__ if name in _INPUTS}
    inputs |= {"model": model.name, "global_batch": values["global_batch"]}
    if isinstance(document, HeterogeneousDocument):
        way = document.ways[0]
        values |= {"strategy.way": way.way, "strategy.split": way.split}
        values |= {f"settings.{name}": _plain(getattr(way.settings, name)) for name in way.settings.__struct_fields__}
    return Side(values, inputs, f"{model.title} on {document.cluster.title}", met)


def _plain(value: object) -> FigureValue:
    if isinstance(value, list):
        return "+".join(map(str, value)) or "none"
    return "all" if value is None else value if isinstance(value, bool | int | float | str) else str(value)


def _difference(
    name: str,
    there: tuple[bool, bool],
    sides: tuple[Side | None, Side | None],
    threshold: float,
    required: Sequence[Condition],
) -> DifferencePart:
    base, head = sides
    old, new = (side.values if side is not None else {} for side in sides)
    inputs = _changes(_INPUTS, base.inputs if base else {}, head.inputs if head else {}, 0.0)
    split = [one for one in {**old, **new} if one.startswith(("strategy.", "settings."))]
    strategy, figures = _changes(split, old, new, 0.0), _changes(_FIGURES, old, new, threshold)
    both = base is not None and head is not None
    terms, hidden = (_terms(kind, names, old, new) for kind, names in (("terms", TERMS), ("hidden", HIDDEN)))
    was, now = (side.met if side is not None else {} for side in sides)
    values = compute_compared_values(old, new)
    memory = _changes(_MEMORY, old, new, threshold)
    changed = bool(inputs or strategy or figures or memory)
    side = head or base
    return DifferencePart(
        name=name,
        status=_status(there, (base is not None, head is not None), changed),
        title=side.title if side is not None else "",
        why=_why(terms, [*strategy, *inputs], old, threshold) if both else None,
        inputs=inputs if both else [],
        strategy=strategy if both else [],
        figures=figures,
        memory=memory if both else [],
        terms=terms if both else [],
        hidden=hidden if both else [],
        no_longer_met=[one for one, met in was.items() if met and now.get(one) is False],
        now_met=[one for one, met in was.items() if not met and now.get(one)],
        requirements=[requirement_part(evaluate_condition(one, values)) for one in required] if both else [],
    )


def _status(there: tuple[bool, bool], fits: tuple[bool, bool], changed: bool) -> Status:
    if not all(there):
        return "added" if there[1] else "removed"
    if not all(fits):
        return "fits now" if fits[1] else "fits no more" if fits[0] else "fits in neither"
    return "changed" if changed else "unchanged"


def _changes(names: Sequence[str], old: FigureValues, new: FigureValues, threshold: float) -> list[ChangePart]:
    """What is not the same on both sides, numbers by more than a share; numbers that come or go always."""
    parts = []
    for name in names:
        base, head = old.get(name), new.get(name)
        share = compute_relative_change(base, head)
        if base == head or (share is not None and abs(share) < threshold):
            continue
        parts.append(ChangePart(name=name, base=base, head=head, change=_less(head, base), relative=share))
    return parts


def _less(head: FigureValue, base: FigureValue) -> float | None:
    if base is None or head is None or isinstance(base, str | bool) or isinstance(head, str | bool):
        return None
    return head - base


def _terms(kind: str, names: Sequence[str], old: FigureValues, new: FigureValues) -> list[TermPart]:
    """The terms of both steps, by how much they changed; of the same change, in their own order."""
    parts = []
    for name in names:
        base, head = _seconds(old.get(f"{kind}.{name}")), _seconds(new.get(f"{kind}.{name}"))
        parts.append(TermPart(term=name, base_s=base, head_s=head, change_s=head - base))
    return sorted(parts, key=lambda part: -abs(part.change_s))


def _seconds(value: FigureValue) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _why(
    terms: Sequence[TermPart], changed: Sequence[ChangePart], old: FigureValues, threshold: float
) -> WhyPart | None:
    """The term that changed most; None where none changed by the threshold's share of the step."""
    most = terms[0]
    if not most.change_s or abs(most.change_s) < threshold * _seconds(old.get("step_time_s")):
        return None
    names = {one.name for one in changed}
    depends = [f"{part}.{name}" for name in _DRIVERS[most.term] for part in ("strategy", "settings")]
    because = [name for name in (*depends, "strategy.way", "strategy.split", *_INPUTS) if name in names]
    step = math.fsum(part.change_s for part in terms)
    return WhyPart(term=most.term, change_s=most.change_s, step_change_s=step, because=because)
