"""The plan document: what `plan` and `estimate` answer, in the form that is printed as JSON.

Field order is output order. The JSON Schema that `planner schema` prints is derived from these types.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from planner.cost.scenario import CpExchange, FrameworkName, Gradients, Launch, Schedule
from planner.documents.schema import (
    Amount,
    Count,
    Part,
    Positive,
    Share,
    Whole,
    closed_schema,
)
from planner.documents.site import CarbonPart, PowerPart, ReliabilityPart
from planner.search.objective import ObjectiveName

SCHEMA_VERSION: Literal["1.4"] = "1.4"


class ModelPart(Part, frozen=True, kw_only=True):
    """The model as it was understood."""

    name: str
    title: str
    parameters: Count
    active_parameters: Count
    layers: Count
    hidden_size: Count
    heads: Count
    seq_length: Count
    sample: str
    """What a batch counts: "sequence"; "image" or another word for a model that is not one of language."""
    note: str
    """What was chosen on the user's behalf; empty where nothing was."""


class ClusterPart(Part, frozen=True, kw_only=True):
    """The cluster as it was understood."""

    name: str
    title: str
    accelerator: str
    nodes: Count
    devices_per_node: Count
    devices: Count


class TrainingPart(Part, frozen=True, kw_only=True):
    """What all plans share; the batch is the first plan's."""

    global_batch: Count
    tokens_per_step: Count
    precision: str
    attention: Literal["flash", "unfused"]
    framework: FrameworkName
    launch: Launch
    flops_convention: Literal["full", "causal"]
    model_flops_per_step: Positive


class SearchPart(Part, frozen=True, kw_only=True):
    """How many candidates there were, how many each rule cut, and how many were left."""

    objectives: list[ObjectiveName]
    """What the plans are ordered by; several: the plans are the Pareto front."""
    critical_batch_tokens: Positive | None
    """Tokens of a step above which larger ones help less: what plans are ordered by is told of tokens that count."""
    questions: Count
    """Combinations of settings and batches that were searched."""
    candidates: Whole
    feasible: Whole
    cut_by: dict[str, Whole]
    exact: bool


class StrategyPart(Part, frozen=True, kw_only=True):
    """How the work is split. `dp` is the whole data-parallel width."""

    tp: Count
    pp: Count
    dp: Count
    cp: Count
    ep: Count
    etp: Count
    vpp: Count
    micro_batch: Count
    zero_stage: Literal[0, 1, 2, 3]
    recompute: Literal["none", "selective", "full"]
    sequence_parallel: bool


class SettingsPart(Part, frozen=True, kw_only=True):
    """How the plan is run beside its split. `shard_group`, `recompute_layers`: null where all."""

    schedule: Schedule
    tp_overlap: bool
    dp_overlap: bool
    cp_exchange: CpExchange
    gradients: Gradients
    communication: Gradients
    """In which gradients are held, and sent."""
    offload: list[Literal["optimizer", "activations", "weights"]]
    order: str
    shard_group: Count | None
    recompute_layers: Count | None


class MemoryPart(Part, frozen=True, kw_only=True):
    """Bytes on the fullest device. The kinds add up to `total_bytes`."""

    weights_bytes: Amount
    gradients_bytes: Amount
    optimizer_bytes: Amount
    activations_bytes: Amount
    logits_bytes: Amount
    buffers_bytes: Amount
    reserve_bytes: Amount
    total_bytes: Positive
    capacity_bytes: Positive


class EnergyPart(Part, frozen=True, kw_only=True):
    """Joules of a step. The parts add up to `energy_j_per_step`."""

    devices_j: Amount
    node_j: Amount
    """Hosts, network cards, fans and power supplies."""
    network_j: Amount
    """Switches and transceivers."""
    cooling_j: Amount
    """Cooling and power distribution of the site: what PUE adds."""


class PlanPart(Part, frozen=True, kw_only=True):
    """One plan. `terms` add up to `step_time_s`; `hidden` runs beside them."""

    strategy: StrategyPart
    settings: SettingsPart
    global_batch: Count
    step_time_s: Positive
    terms: dict[str, Amount]
    hidden: dict[str, Amount]
    tokens_per_s: Positive
    tokens_per_s_per_device: Positive
    samples_per_s: Positive
    samples_per_s_per_device: Positive
    """Sequences, images or whatever a batch counts. A model that knows no tokens has one a sample."""
    mfu: Positive
    hfu: Positive
    cost_usd_per_step: Amount | None
    """Null where no rent of the part is known."""
    energy_j_per_step: Amount | None
    """At the meter, all of the site's; null where the part's power is not known."""
    energy: EnergyPart | None
    memory: MemoryPart
    bottleneck: str


class RunPart(Part, frozen=True, kw_only=True):
    """A whole run of so many tokens with the best plan."""

    tokens: Count
    steps: Count
    days: Positive
    days_with_failures: Positive | None
    """Null where failures were not asked for, or nothing is left between them."""


class TechniquePart(Part, frozen=True, kw_only=True):
    """A way to train for less: what it changes. What it costs in accuracy is not modelled."""

    name: str
    changes: list[str]
    accuracy: Literal["unknown"]


class WithoutPart(Part, frozen=True, kw_only=True):
    """The same search without the hosts whose way out is narrower than the others'."""

    hosts: Annotated[list[str], msgspec.Meta(min_length=1)]
    step_time_s: Positive | None
    """Of the best plan; null where none fits."""


class PlacementPart(Part, frozen=True, kw_only=True):
    """Where ranks are on a cluster whose wiring is told."""

    hosts: Annotated[list[str], msgspec.Meta(min_length=1)]
    """In the order of the ranks."""
    as_listed_step_time_s: Positive
    """The first plan's, with ranks on the hosts in the order of the file."""
    without_slow: WithoutPart | None
    """Null where all hosts have the same way out."""


class QuantilesPart(Part, frozen=True, kw_only=True):
    """10 %, 50 % and 90 % of the samples are at most these."""

    p10: Positive
    p50: Positive
    p90: Positive


class RegretPart(Part, frozen=True, kw_only=True):
    """By what share the first plan is worse than each sample's best, over all samples."""

    mean: Amount
    p90: Amount


class RivalPart(Part, frozen=True, kw_only=True):
    """Another plan that is first in a share of the samples."""

    strategy: StrategyPart
    settings: SettingsPart
    global_batch: Count
    share: Share


class UncertaintyPart(Part, frozen=True, kw_only=True):
    """What the fitted parameters' uncertainty makes of the first plan, over `samples` of them.

    `plans` compete in each sample; `spread`: relative standard deviation of each parameter.
    """

    samples: Count
    plans: Count
    step_time_s: QuantilesPart
    first_share: Share
    regret: RegretPart
    rivals: Annotated[list[RivalPart], msgspec.Meta(max_length=3)]
    spread: dict[str, Amount]


class Document(Part, frozen=True, kw_only=True):
    """The answer to one question. The best plan is first."""

    schema_version: Literal["1.4"]
    model: ModelPart
    cluster: ClusterPart
    training: TrainingPart
    search: SearchPart
    plans: Annotated[list[PlanPart], msgspec.Meta(min_length=1)]
    run: RunPart | None
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
    return closed_schema(Document, f"planner plan document {SCHEMA_VERSION}")
