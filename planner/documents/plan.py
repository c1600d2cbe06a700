"""The plan document: what `plan` and `estimate` print as JSON.

Field order is output order; `planner schema` prints the schema of these types.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from planner.cost.settings import CpCommType, OffloadState, PipelineSchedule
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
from planner.trainers.names import GradientDtype, LaunchMode, TrainerName

SCHEMA_VERSION: Literal["1.4"] = "1.4"


class ModelPart(DocumentPart, frozen=True, kw_only=True):
    """The model of the plan."""

    name: str
    title: str
    parameters: PositiveInt
    active_parameters: PositiveInt
    """Parameters that one token uses; fewer than all for mixtures of experts."""
    layers: PositiveInt
    hidden_size: PositiveInt
    heads: PositiveInt
    seq_length: PositiveInt
    sample: str
    """What a batch consists of: "sequence" for language models, "image" or another word for others."""
    note: str
    """What was chosen where the user gave no value; empty where nothing was."""


class ClusterPart(DocumentPart, frozen=True, kw_only=True):
    """The cluster of the plan."""

    name: str
    title: str
    accelerator: str
    nodes: PositiveInt
    devices_per_node: PositiveInt
    devices: PositiveInt


class ScenarioPart(DocumentPart, frozen=True, kw_only=True):
    """The scenario: what all plans share. The batch is that of the first plan."""

    global_batch: PositiveInt
    tokens_per_step: PositiveInt
    precision: str
    attention: Literal["flash", "unfused"]
    framework: TrainerName
    launch: LaunchMode
    flops_convention: Literal["full", "causal"]
    model_flops_per_step: PositiveFloat


class SearchPart(DocumentPart, frozen=True, kw_only=True):
    """Statistics of the search: candidates, candidates that each rule rejected, and feasible candidates."""

    objectives: list[ObjectiveName]
    """The objective that plans are ordered by; several objectives: the plans are the Pareto front."""
    critical_batch_tokens: PositiveFloat | None
    """Critical batch size in tokens; with it, objectives are computed per effective token. Null: not given."""
    questions: PositiveInt
    """Number of combinations of settings and batch sizes that were searched."""
    candidates: NonNegativeInt
    feasible: NonNegativeInt
    """Candidates that break no rule and fit in memory."""
    cut_by: dict[str, NonNegativeInt]
    """Number of candidates that each rule rejected."""
    exact: bool
    """True: no candidate was left out by sampling or heuristics."""


class StrategyPart(DocumentPart, frozen=True, kw_only=True):
    """The degrees of parallelism. `dp` is the full data-parallel size; `ep` does not multiply the ranks."""

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
    """Settings of the plan other than its degrees. `shard_group`, `recompute_layers`: null means all."""

    schedule: PipelineSchedule
    tp_overlap: bool
    dp_overlap: bool
    cp_exchange: CpCommType
    gradients: GradientDtype
    """Data type in which gradients are accumulated."""
    communication: GradientDtype
    """Data type in which gradients are reduced."""
    offload: list[OffloadState]
    order: str
    """Rank order of the parallel dimensions, innermost first."""
    shard_group: PositiveInt | None
    recompute_layers: PositiveInt | None


class MemoryBreakdownPart(DocumentPart, frozen=True, kw_only=True):
    """Peak memory per device on the worst stage, in bytes. The categories add up to `total_bytes`."""

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
    """Energy of a step in joules. The parts add up to `energy_j_per_step`."""

    devices_j: NonNegativeFloat
    node_j: NonNegativeFloat
    """Hosts, NICs, fans and power supplies."""
    network_j: NonNegativeFloat
    """Switches and transceivers."""
    cooling_j: NonNegativeFloat
    """Cooling and power distribution of the site: the part that PUE adds."""


class PlanPart(DocumentPart, frozen=True, kw_only=True):
    """One plan. `terms` add up to `step_time_s`; the times of `hidden` are overlapped with compute."""

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
    """Sequences, images or other items of a batch. A model without tokens counts one token per sample."""
    mfu: PositiveFloat
    hfu: PositiveFloat
    cost_usd_per_step: NonNegativeFloat | None
    """Rental cost of all devices; null where no rental price of the accelerator is known."""
    energy_j_per_step: NonNegativeFloat | None
    """Facility energy (including PUE); null where the power of the accelerator is not known."""
    energy: EnergyPart | None
    memory: MemoryBreakdownPart
    bottleneck: str
    """One sentence: what limits the plan most, and which change would help most."""


class RunTotalsPart(DocumentPart, frozen=True, kw_only=True):
    """A whole training run with the best plan."""

    tokens: PositiveInt
    steps: PositiveInt
    days: PositiveFloat
    days_with_failures: PositiveFloat | None
    """Null with `--no-failures`, and where failures leave no progress."""


class TechniquePart(DocumentPart, frozen=True, kw_only=True):
    """A technique that trains for less, and what it changes. Its cost in accuracy is not modelled."""

    name: str
    changes: list[str]
    accuracy: Literal["unknown"]


class SlowHostRemovalPart(DocumentPart, frozen=True, kw_only=True):
    """The same search without the hosts that have less uplink bandwidth than the others."""

    hosts: Annotated[list[str], msgspec.Meta(min_length=1)]
    step_time_s: PositiveFloat | None
    """Step time of the best plan; null where no plan fits."""


class PlacementPart(DocumentPart, frozen=True, kw_only=True):
    """The hosts of the ranks, on a cluster that is described link by link."""

    hosts: Annotated[list[str], msgspec.Meta(min_length=1)]
    """Hosts in the order of the ranks."""
    as_listed_step_time_s: PositiveFloat
    """Step time of the first plan with the hosts in the order of the cluster file."""
    without_slow: SlowHostRemovalPart | None
    """Null where all hosts have the same uplink bandwidth."""


class QuantilesPart(DocumentPart, frozen=True, kw_only=True):
    """Quantiles over the samples: 10 %, 50 % and 90 % of the samples are at most these values."""

    p10: PositiveFloat
    p50: PositiveFloat
    p90: PositiveFloat


class RegretPart(DocumentPart, frozen=True, kw_only=True):
    """By which fraction the first plan is worse than the best plan of a sample, over all samples."""

    mean: NonNegativeFloat
    p90: NonNegativeFloat


class RivalPart(DocumentPart, frozen=True, kw_only=True):
    """Another plan that is the best in a fraction (`share`) of the samples."""

    strategy: StrategyPart
    settings: SettingsPart
    global_batch: PositiveInt
    share: UnitFraction


class UncertaintyPart(DocumentPart, frozen=True, kw_only=True):
    """How the uncertainty of the fitted parameters affects the first plan, over `samples` samples of them.

    `plans` plans compete in each sample; `first_share` is the fraction of samples in which the first plan stays the
    best; `spread` is the relative standard deviation of each parameter.
    """

    samples: PositiveInt
    plans: PositiveInt
    step_time_s: QuantilesPart
    first_share: UnitFraction
    regret: RegretPart
    rivals: Annotated[list[RivalPart], msgspec.Meta(max_length=3)]
    spread: dict[str, NonNegativeFloat]


class PlanDocument(DocumentPart, frozen=True, kw_only=True):
    """The best plans for one model on one cluster, the best first."""

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
    """Null with `--no-failures`."""
    techniques: list[TechniquePart]
    power: PowerPart | None
    """Null where the power of the accelerator is not known."""
    carbon: CarbonPart | None
    """Null without `--grid` and `--carbon-intensity`."""
    uncertainty: UncertaintyPart | None
    """Null without `--uncertainty`."""


def build_json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the plan document; all keys are listed and no others are allowed."""
    return build_closed_schema(PlanDocument, f"planner plan document {SCHEMA_VERSION}")
