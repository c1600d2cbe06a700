"""The parts of a model that its operators belong to, as people speak of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

from planner.workload.operators import (
    AttentionCore,
    Convolution,
    ExpertLinear,
    Layer,
    Linear,
    Loss,
    Operator,
    Pointwise,
    SparseIndexer,
    Workload,
)

ModelPartName = Literal[
    "embedding",
    "attention",
    "mixers",
    "mlp",
    "experts",
    "shared experts",
    "router",
    "norms",
    "convolutions",
    "prediction",
    "head",
    "other",
]
"""In the order in which they are printed. mixers: what mixes tokens beside attention; experts: the routed ones;
prediction: layers of multi-token prediction; other: scales, and operators of a list that are none of the others.
"""
MODEL_PARTS: tuple[ModelPartName, ...] = get_args(ModelPartName)
_PARTS_BY_PREFIX: dict[str, ModelPartName] = {
    "mlp_": "mlp",
    "shared_": "shared experts",
    "router": "router",
    "latent_": "experts",
    "layer_embedding_": "embedding",
    **dict.fromkeys(("delta_", "ssm_", "conv", "lightning"), "mixers"),
    **dict.fromkeys(
        ("q", "kv", "attention", "cross_", "indexer", "positions", "relative_bias", "rotary", "split_heads"),
        "attention",
    ),
}
"""By the beginning of the name of an operator in a layer of a transformer."""


def enumerate_layers(workload: Workload) -> Iterator[tuple[Layer, int, ModelPartName | None]]:
    """Each distinct layer with its number, and the part that its operators belong to, norms apart, where they belong
    to one together: the embedding, layers in order of first appearance, those of multi-token prediction, the head.
    """
    yield workload.embedding, 1, "embedding"
    for layer in workload.layer_types:
        yield layer, sum(run.count for run in workload.layer_runs if run.layer == layer), None
    if workload.prediction is not None:
        yield workload.prediction.layer, workload.prediction.count, "prediction"
    yield workload.head, 1, "head"


def find_part(op: Operator, workload: Workload, whole: ModelPartName | None = None) -> ModelPartName:
    """The part that an operator belongs to; `whole`: that of its layer."""
    if workload.spec is None:
        return _find_listed_part(op, whole)
    if whole == "prediction":
        return whole
    if isinstance(op, Pointwise) and op.kind in ("norm", "head_norm"):
        return "norms"
    if whole is not None:
        return whole
    if isinstance(op, ExpertLinear) or (isinstance(op, Pointwise) and op.domain == "expert"):
        return "experts"
    return next((part for prefix, part in _PARTS_BY_PREFIX.items() if op.name.startswith(prefix)), "other")


def _find_listed_part(op: Operator, whole: ModelPartName | None) -> ModelPartName:
    """The part of an operator of a list, by its class: names are the user's."""
    if isinstance(op, Convolution):
        return "convolutions"
    if isinstance(op, AttentionCore):
        return "attention"
    if isinstance(op, Linear | Loss):
        return whole or "mlp"
    return "other"


def count_parameters(op: Operator) -> tuple[int, int]:
    """Parameters of an operator, and those of them that a token uses."""
    if isinstance(op, ExpertLinear):
        return op.expert_parameters, op.expert_parameters * op.topk // op.experts
    if isinstance(op, AttentionCore | SparseIndexer):
        return 0, 0
    parameters = op.sharded_parameters + op.replicated_parameters
    return parameters, parameters
