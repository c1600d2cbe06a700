"""The plan document: what `plan` and `estimate` answer, in the form that is printed as JSON.

Field order is output order. The JSON Schema that `planner schema` prints is derived from these types.
"""

from __future__ import annotations

from typing import Literal

import msgspec

SCHEMA_VERSION = "1.0"


class ModelPart(msgspec.Struct, frozen=True, kw_only=True):
    """The model as it was understood."""

    name: str
    title: str
    parameters: int
    active_parameters: int
    layers: int
    hidden_size: int
    heads: int
    seq_length: int
    note: str
    """What was chosen on the user's behalf; empty where nothing was."""


class ClusterPart(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster as it was understood."""

    name: str
    title: str
    accelerator: str
    nodes: int
    devices_per_node: int
    devices: int


class TrainingPart(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that all plans share."""

    global_batch: int
    tokens_per_step: int
    precision: str
    attention: Literal["flash", "unfused"]
    flops_convention: Literal["full", "causal"]
    model_flops_per_step: float


class SearchPart(msgspec.Struct, frozen=True, kw_only=True):
    """How many candidates there were, how many each rule cut, and how many were left."""

    candidates: int
    feasible: int
    cut_by: dict[str, int]
    exact: bool


class StrategyPart(msgspec.Struct, frozen=True, kw_only=True):
    """How the work is split. `dp` is the whole data-parallel width."""

    tp: int
    pp: int
    dp: int
    cp: int
    ep: int
    vpp: int
    micro_batch: int
    zero_stage: int
    recompute: Literal["none", "selective", "full"]
    sequence_parallel: bool


class MemoryPart(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes on the fullest device. The kinds add up to `total_bytes`."""

    weights_bytes: float
    gradients_bytes: float
    optimizer_bytes: float
    activations_bytes: float
    logits_bytes: float
    buffers_bytes: float
    reserve_bytes: float
    total_bytes: float
    capacity_bytes: float


class PlanPart(msgspec.Struct, frozen=True, kw_only=True):
    """One plan. `terms` add up to `step_time_s`; `hidden` runs beside them."""

    strategy: StrategyPart
    step_time_s: float
    terms: dict[str, float]
    hidden: dict[str, float]
    tokens_per_s: float
    tokens_per_s_per_device: float
    mfu: float
    hfu: float
    memory: MemoryPart
    bottleneck: str


class RunPart(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run of so many tokens with the best plan."""

    tokens: int
    steps: int
    days: float


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one question. The best plan is first."""

    schema_version: str
    model: ModelPart
    cluster: ClusterPart
    training: TrainingPart
    search: SearchPart
    plans: list[PlanPart]
    run: RunPart | None


def json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the plan document."""
    schema: dict[str, object] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"planner plan document {SCHEMA_VERSION}",
    }
    return schema | msgspec.json.schema(Document)
