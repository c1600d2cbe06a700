"""The model document: layers by kind, and parameters and FLOPs by part. Field order is output order."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, get_args

from planner.cost.operators import get_operator_cost
from planner.cost.settings import FlopsConvention
from planner.documents.schema import Document, DocumentPart, NonNegativeFloat, NonNegativeInt, PositiveInt
from planner.workload.model_parts import MODEL_PARTS, ModelPartName, count_parameters, enumerate_layers, find_part
from planner.workload.operator_list.spec import OperatorListSpec
from planner.workload.operators import Layer, Workload
from planner.workload.spec import ModelSpec, PublishedParameters

SchemaVersion = Literal["1.0"]
SCHEMA_VERSION: SchemaVersion = get_args(SchemaVersion)[0]


class ModelSharePart(DocumentPart, frozen=True, kw_only=True):
    """One part of the model, of all layers together."""

    name: ModelPartName
    parameters: NonNegativeInt
    active_parameters: NonNegativeInt
    """Parameters that one token uses."""
    forward_flops: NonNegativeFloat
    """FLOPs of the forward pass of one token (of one sample, in a list of operators)."""


class LayerKindPart(DocumentPart, frozen=True, kw_only=True):
    """Equal layers; also the embedding and the head."""

    name: str
    count: PositiveInt
    parameters: NonNegativeInt
    """Of each."""
    active_parameters: NonNegativeInt
    forward_flops: NonNegativeFloat
    """Of each, as of a part."""
    parts: list[ModelPartName]
    """The parts that have parameters or FLOPs in it."""


class LayerRunPart(DocumentPart, frozen=True, kw_only=True):
    """Layers of one kind after each other."""

    name: str
    count: PositiveInt


class PublishedPart(DocumentPart, frozen=True, kw_only=True):
    """The number of parameters that a source states."""

    parameters: PositiveInt
    source: str
    confidence: Literal["read", "recalled"]
    """recalled: the configuration, or the model's name on the hub, was not read in a source."""
    rounding: PositiveInt
    """It is stated to the nearest multiple of this."""


class ModelDocument(Document, frozen=True, kw_only=True):
    """What a model consists of. The parts add up to the whole."""

    NAME: ClassVar[str] = "model"

    schema_version: SchemaVersion
    name: str
    title: str
    sample: str
    """What a batch consists of: sequence, image, ..."""
    seq_length: PositiveInt
    """Tokens of a sample; 1 for a list of operators."""
    hidden_size: PositiveInt
    vocab_size: NonNegativeInt
    layer_count: PositiveInt
    """Layers between embedding and head."""
    parameters: PositiveInt
    active_parameters: PositiveInt
    forward_flops: NonNegativeFloat
    """FLOPs of the forward pass of one token; the model FLOPs of a step are three times those of its tokens."""
    flops_convention: FlopsConvention
    published: PublishedPart | None
    """Null for a model of the user's own."""
    layers: list[LayerKindPart]
    order: list[LayerRunPart]
    """The layers between embedding and head."""
    parts: list[ModelSharePart]
    note: str
    """What was assumed; empty where nothing was."""


def build_model_document(
    spec: ModelSpec | OperatorListSpec, workload: Workload, convention: FlopsConvention
) -> ModelDocument:
    """The model with the FLOPs of one token by this convention."""
    shares = _compute_shares(workload, convention)
    kinds = [
        _build_kind(layer, count, whole, workload, convention) for layer, count, whole in enumerate_layers(workload)
    ]
    return ModelDocument(
        schema_version=SCHEMA_VERSION,
        name=workload.name,
        title=workload.title,
        sample=workload.sample_name,
        seq_length=workload.seq_length,
        hidden_size=workload.hidden_size,
        vocab_size=workload.vocab_size,
        layer_count=workload.layer_count,
        parameters=workload.parameters,
        active_parameters=workload.active_parameters,
        forward_flops=math.fsum(share.forward_flops for share in shares),
        flops_convention=convention,
        published=_build_published(spec.published),
        layers=kinds,
        order=[LayerRunPart(name=run.layer.name, count=run.count) for run in workload.layer_runs],
        parts=shares,
        note=workload.note,
    )


def _compute_shares(workload: Workload, convention: FlopsConvention) -> list[ModelSharePart]:
    """The parts that have parameters or FLOPs."""
    figures: dict[ModelPartName, list[tuple[int, int, float]]] = {name: [] for name in MODEL_PARTS}
    for layer, count, whole in enumerate_layers(workload):
        for op in layer.operators:
            parameters, active_parameters = count_parameters(op)
            flops = get_operator_cost(op).compute_forward_flops(op, workload.attended_length, convention)
            figures[find_part(op, workload, whole)].append(
                (count * parameters, count * active_parameters, count * flops)
            )
    shares = [
        ModelSharePart(
            name=name,
            parameters=sum(parameters for parameters, _, _ in values),
            active_parameters=sum(active for _, active, _ in values),
            forward_flops=math.fsum(flops for _, _, flops in values),
        )
        for name, values in figures.items()
    ]
    return [share for share in shares if share.parameters or share.forward_flops]


def _build_kind(
    layer: Layer, count: int, whole: ModelPartName | None, workload: Workload, convention: FlopsConvention
) -> LayerKindPart:
    length = workload.attended_length
    flops = [get_operator_cost(op).compute_forward_flops(op, length, convention) for op in layer.operators]
    names = {
        find_part(op, workload, whole)
        for op, op_flops in zip(layer.operators, flops, strict=True)
        if op_flops or count_parameters(op)[0]
    }
    return LayerKindPart(
        name=layer.name,
        count=count,
        parameters=layer.parameters,
        active_parameters=layer.active_parameters,
        forward_flops=math.fsum(flops),
        parts=[name for name in MODEL_PARTS if name in names],
    )


def _build_published(published: PublishedParameters | None) -> PublishedPart | None:
    if published is None:
        return None
    return PublishedPart(
        parameters=published.parameters,
        source=published.source,
        confidence=published.confidence,
        rounding=published.rounding,
    )
