"""The plan document: what `plan` and `estimate` answer, in the form that is printed as JSON.

Field order is output order. The JSON Schema that `planner schema` prints is derived from these types.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from planner.cost.scenario import CpCommType, GradientDtype, LaunchMode, PipelineSchedule, TrainerName
from planner.documents.schema import (
    DocumentPart,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    UnitFraction,
    build_closed_schema,
)
from planner.documents.site import CarbonPart, PowerPart, ReliabilityPart
from planner.search.objective import ObjectiveName

SCHEMA_VERSION: Literal["1.4"] = "1.4"


class ModelPart(DocumentPart, frozen=True, kw_only=True):
    """The model as it was understood."""

    name: str
    title: str
    parameters: PositiveInt
    active_parameters: PositiveInt
    layers: PositiveInt
    hidden_size: PositiveInt
    heads: PositiveInt
    seq_length: PositiveInt
    sample: str
    """What a batch counts: "sequence"; "image" or another word for a model that is not one of language."""
    note: str
    """What was chosen on the user's behalf; empty where nothing was."""


class ClusterPart(DocumentPart, frozen=True, kw_only=True):
    """The cluster as it was understood."""

    name: str
    title: str
    accelerator: str
    nodes: PositiveInt
    devices_per_node: PositiveInt
    devices: PositiveInt


class ScenarioPart(DocumentPart, frozen=True, kw_only=True):
    """What all plans share; the batch is the first plan's."""

    global_batch: PositiveInt
    tokens_per_step: PositiveInt
    precision: str
    attention: Literal["flash", "unfused"]
    framework: TrainerName
    launch: LaunchMode
    flops_convention: Literal["full", "causal"]
    model_flops_per_step: PositiveFloat


class SearchPart(DocumentPart, frozen=True, kw_only=True):
    """How many candidates there were, how many each rule cut, and how many were left."""

    objectives: list[ObjectiveName]
    """What the plans are ordered by; several: the plans are the Pareto front."""
    critical_batch_tokens: PositiveFloat | None
    """Tokens of a step above which larger ones help less: what plans are ordered by is told of tokens that count."""
    questions: PositiveInt
    """Combinations of settings and batches that were searched."""
    candidates: NonNegativeInt
    feasible: NonNegativeInt
    cut_by: dict[str, NonNegativeInt]
    exact: bool


class StrategyPart(DocumentPart, frozen=True, kw_only=True):
    """How the work is split. `dp` is the whole data-parallel width."""

    tp: PositiveInt
    pp: PositiveInt
    dp: PositiveInt
    cp: PositiveInt
    ep: PositiveInt
    etp: PositiveInt
    vpp: PositiveInt
    micro_batch: PositiveInt
    zero_stage: Literal[0, 1, 2, 3]
    recompute: Literal["none", "selective", "full"]
    sequence_parallel: bool


class SettingsPart(DocumentPart, frozen=True, kw_only=True):
    """How the plan is run beside its split. `shard_group`, `recompute_layers`: null where all."""

    schedule: PipelineSchedule
    tp_overlap: bool
    dp_overlap: bool
    cp_exchange: CpCommType
    gradients: GradientDtype
    communication: GradientDtype
    """In which gradients are held, and sent."""
    offload: list[Literal["optimizer", "activations", "weights"]]
    order: str
    shard_group: PositiveInt | None
    recompute_layers: PositiveInt | None


class MemoryBreakdownPart(DocumentPart, frozen=True, kw_only=True):
    """Bytes on the fullest device. The kinds add up to `total_bytes`."""

    weights_bytes: NonNegativeFloat
    gradients_bytes: NonNegativeFloat
    optimizer_bytes: NonNegativeFloat
    activations_bytes: NonNegativeFloat
    logits_bytes: NonNegativeFloat
    buffers_bytes: NonNegativeFloat
    reserve_bytes: NonNegativeFloat
    total_bytes: PositiveFloat
    capacity_bytes: PositiveFloat


class EnergyPart(DocumentPart, frozen=True, kw_only=True):
    """Joules of a step. The parts add up to `energy_j_per_step`."""

    devices_j: NonNegativeFloat
    node_j: NonNegativeFloat
    """Hosts, network cards, fans and power supplies."""
    network_j: NonNegativeFloat
    """Switches and transceivers."""
    cooling_j: NonNegativeFloat
    """Cooling and power distribution of the site: what PUE adds."""


class PlanPart(DocumentPart, frozen=True, kw_only=True):
    """One plan. `terms` add up to `step_time_s`; `hidden` runs beside them."""

    strategy: StrategyPart
    settings: SettingsPart
    global_batch: PositiveInt
    step_time_s: PositiveFloat
    terms: dict[str, NonNegativeFloat]
    hidden: dict[str, NonNegativeFloat]
    tokens_per_s: PositiveFloat
    tokens_per_s_per_device: PositiveFloat
    samples_per_s: PositiveFloat
    samples_per_s_per_device: PositiveFloat
    """Sequences, images or whatever a batch counts. A model that knows no tokens has one a sample."""
    mfu: PositiveFloat
    hfu: PositiveFloat
    cost_usd_per_step: NonNegativeFloat | None
    """Null where no rent of the part is known."""
    energy_j_per_step: NonNegativeFloat | None
    """At the meter, all of the site's; null where the part's power is not known."""
    energy: EnergyPart | None
    memory: MemoryBreakdownPart
    bottleneck: str


class RunTotalsPart(DocumentPart, frozen=True, kw_only=True):
    """A whole run of so many tokens with the best plan."""

    tokens: PositiveInt
    steps: PositiveInt
    days: PositiveFloat
    days_with_failures: PositiveFloat | None
    """Null where failures were not asked for, or nothing is left between them."""


class TechniquePart(DocumentPart, frozen=True, kw_only=True):
    """A way to train for less: what it changes. What it costs in accuracy is not modelled."""

    name: str
    changes: list[str]
    accuracy: Literal["unknown"]


class SlowHostRemovalPart(DocumentPart, frozen=True, kw_only=True):
    """The same search without the hosts whose way out is narrower than the others'."""

    hosts: Annotated[list[str], msgspec.Meta(min_length=1)]
    step_time_s: PositiveFloat | None
    """Of the best plan; null where none fits."""


class PlacementPart(DocumentPart, frozen=True, kw_only=True):
    """Where ranks are on a cluster whose wiring is told."""

    hosts: Annotated[list[str], msgspec.Meta(min_length=1)]
    """In the order of the ranks."""
    as_listed_step_time_s: PositiveFloat
    """The first plan's, with ranks on the hosts in the order of the file."""
    without_slow: SlowHostRemovalPart | None
    """Null where all hosts have the same way out."""


class QuantilesPart(DocumentPart, frozen=True, kw_only=True):
    """10 %, 50 % and 90 % of the samples are at most these."""

    p10: PositiveFloat
    p50: PositiveFloat
    p90: PositiveFloat


class RegretPart(DocumentPart, frozen=True, kw_only=True):
    """By what share the first plan is worse than each sample's best, over all samples."""

    mean: NonNegativeFloat
    p90: NonNegativeFloat


class RivalPart(DocumentPart, frozen=True, kw_only=True):
    """Another plan that is first in a share of the samples."""

    strategy: StrategyPart
    settings: SettingsPart
    global_batch: PositiveInt
    share: UnitFraction


class UncertaintyPart(DocumentPart, frozen=True, kw_only=True):
    """What the fitted parameters' uncertainty makes of the first plan, over `samples` of them.

    `plans` compete in each sample; `spread`: relative standard deviation of each parameter.
    """

    samples: PositiveInt
    plans: PositiveInt
    step_time_s: QuantilesPart
    first_share: UnitFraction
    regret: RegretPart
    rivals: Annotated[list[RivalPart], msgspec.Meta(max_length=3)]
    spread: dict[str, NonNegativeFloat]


class PlanDocument(DocumentPart, frozen=True, kw_only=True):
    """The answer to one question. The best plan is first."""

    schema_version: Literal["1.4"]
    model: ModelPart
    cluster: ClusterPart
    training: ScenarioPart
    search: SearchPart
    plans: Annotated[list[PlanPart], msgspec.Meta(min_length=1)]
    run: RunTotalsPart | None
    placement: PlacementPart | None
    """Null for a regular cluster, whose nodes are all alike."""
    reliability: ReliabilityPart | None
    """Null where failures were not asked for."""
    techniques: list[TechniquePart]
    power: PowerPart | None
    """Null where the part's power is not known."""
    carbon: CarbonPart | None
    """Null where no grid was named."""
    uncertainty: UncertaintyPart | None
    """Null where it was not asked for."""


def build_json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the plan document: every key is named, no other is allowed."""
    return build_closed_schema(PlanDocument, f"planner plan document {SCHEMA_VERSION}")
