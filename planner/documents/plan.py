"""The plan document: what `plan` and `estimate` print as JSON.

Field order is output order; `planner schema` prints the schema of these types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args, get_type_hints

import msgspec

from planner.cost.memory.moments import MemoryMoment
from planner.cost.settings import (
    SETTINGS,
    AttentionKernel,
    FlopsConvention,
    PlanSettings,
    RecomputeMode,
)
from planner.cost.step import OVERLAPPABLE_TERMS, STEP_TERMS
from planner.cost.uncertainty import ResidualClass
from planner.documents.figures import FigureUnit, declare_columns, declare_figure
from planner.documents.schema import (
    Document,
    DocumentPart,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    UnitFraction,
)
from planner.documents.site import CarbonPart, PowerPart, ReliabilityPart
from planner.search.objective import ObjectiveName
from planner.trainers.launch import LAUNCH_PATTERN
from planner.trainers.names import TrainerName
from planner.units import DAY_S

SchemaVersion = Literal["1.7"]
SCHEMA_VERSION: SchemaVersion = get_args(SchemaVersion)[0]


class ModelPart(DocumentPart, frozen=True, kw_only=True):
    """The model of the plan."""

    name: Annotated[str, declare_figure("text", "the model's name", name="model")]
    title: str
    parameters: PositiveInt
    active_parameters: PositiveInt
    """Parameters that one token uses; fewer than all for mixtures of experts."""
    layers: PositiveInt
    mtp_layers: NonNegativeInt
    """Layers of multi-token prediction, beside `layers`."""
    hidden_size: PositiveInt
    heads: PositiveInt
    seq_length: PositiveInt
    sample: str
    """What a batch consists of: "sequence" for language models, "image" or another word for others."""
    note: str
    """What was chosen where the user gave no value; empty where nothing was."""


class ClusterPart(DocumentPart, frozen=True, kw_only=True):
    """The cluster of the plan."""

    name: Annotated[str, declare_figure("text", "the cluster's name", name="cluster")]
    title: str
    accelerator: Annotated[str, declare_figure("text", "the accelerator's name")]
    nodes: Annotated[PositiveInt, declare_figure("count", "nodes of the cluster")]
    devices_per_node: PositiveInt
    devices: Annotated[PositiveInt, declare_figure("count", "devices of the cluster")]


class ScenarioPart(DocumentPart, frozen=True, kw_only=True):
    """The scenario: what all plans share. The batch is that of the first plan."""

    global_batch: Annotated[PositiveInt, declare_figure("count", "sequences per step")]
    tokens_per_step: Annotated[PositiveInt, declare_figure("count", "tokens per step")]
    precision: Annotated[str, declare_figure("text", "the precision of GEMMs")]
    attention: AttentionKernel
    framework: Annotated[TrainerName, declare_figure("text", "the trainer")]
    trainer: str | msgspec.UnsetType = msgspec.UNSET
    """NAME@VERSION of `--trainer`; absent where no version was given."""
    launch: Annotated[str, msgspec.Meta(pattern=LAUNCH_PATTERN)]
    """How kernels are launched: `graph`, `fused`, `compiled`, `eager`, or `graph:` and the parts of a layer that are
    graphs, joined by +."""
    flops_convention: FlopsConvention
    model_flops_per_step: PositiveFloat
    memory_limit_bytes: PositiveFloat | None
    """Memory of each device that plans may use: 90 % where plans are searched, or as `--memory-limit` or `--headroom`
    say; null: all of it."""
    calibration: ResidualClass
    """Measured runs that the model is fitted to: of this trainer on this generation of accelerators `together`; of
    both, but `apart`; of the `trainer` or the `generation` alone; of `neither`."""


class SearchPart(DocumentPart, frozen=True, kw_only=True):
    """Statistics of the search: candidates, candidates that each rule rejected, and feasible candidates."""

    objectives: list[ObjectiveName]
    """The objective that plans are ordered by; several objectives: the plans are the Pareto front."""
    critical_batch_tokens: PositiveFloat | None
    """Critical batch size in tokens; with it, objectives are computed per effective token. Null: not given."""
    combinations: PositiveInt = msgspec.field(name="questions")
    """Number of combinations of settings and batch sizes that were searched."""
    candidates: NonNegativeInt
    feasible: NonNegativeInt
    """Candidates that break no rule and fit in memory."""
    cut_by: dict[str, NonNegativeInt]
    """Number of candidates that each rule rejected."""
    exact: bool
    """True: no candidate was left out by sampling or heuristics."""
    within: NonNegativeFloat
    """The first plan is the simplest of those that are worse than the best by at most this fraction; 0: the best."""
    excess: NonNegativeFloat
    """The fraction by which the first plan is worse than the best by the objective, which is the second plan."""


class StrategyPart(DocumentPart, frozen=True, kw_only=True):
    """The degrees of parallelism. `dp` is the full data-parallel size; `ep` does not multiply the ranks."""

    FIGURE_PREFIX: ClassVar[str] = "strategy."

    tp: Annotated[PositiveInt, declare_figure("count", "tensor-parallel size")]
    pp: Annotated[PositiveInt, declare_figure("count", "pipeline stages")]
    dp: Annotated[PositiveInt, declare_figure("count", "data-parallel size")]
    cp: Annotated[PositiveInt, declare_figure("count", "context-parallel size")]
    ep: Annotated[PositiveInt, declare_figure("count", "expert-parallel size")]
    etp: Annotated[PositiveInt, declare_figure("count", "tensor-parallel size of experts")]
    vpp: Annotated[PositiveInt, declare_figure("count", "virtual stages per pipeline stage")]
    micro_batch: Annotated[PositiveInt, declare_figure("count", "sequences of a micro-batch")]
    zero_stage: Annotated[Literal[0, 1, 2, 3], declare_figure("count", "ZeRO stage", label="ZeRO")]
    recompute: Annotated[RecomputeMode, declare_figure("text", "recomputation")]
    sequence_parallel: Annotated[bool, declare_figure("truth", "sequence parallelism")]


def _declare_settings() -> list[tuple[str, Any, Any]]:
    """The fields of the settings, with their types, figures and defaults, from the table."""
    types, defaults, fields = get_type_hints(PlanSettings), vars(PlanSettings), []
    for name, setting in SETTINGS.items():
        unit: FigureUnit = "truth" if setting.kind == "switch" else "text"
        value_type = PositiveInt | None if setting.kind == "count" else types[name]
        figure = declare_figure(unit, setting.description, choices=setting.choices)
        fields.append((name, Annotated[value_type, figure], defaults.get(name, msgspec.NODEFAULT)))
    return fields


if TYPE_CHECKING:

    class SettingsPart(PlanSettings, DocumentPart, frozen=True, kw_only=True):
        """The fields of PlanSettings."""
else:
    SettingsPart = msgspec.defstruct(
        "SettingsPart",
        _declare_settings(),
        bases=(DocumentPart,),
        module=__name__,
        namespace={"__doc__": PlanSettings.__doc__, "FIGURE_PREFIX": "settings."},
        frozen=True,
        kw_only=True,
    )


class MemoryBreakdownPart(DocumentPart, frozen=True, kw_only=True):
    """Peak memory per device on the worst stage, in bytes. The categories add up to `total_bytes`."""

    FIGURE_PREFIX: ClassVar[str] = "memory."

    weights_bytes: Annotated[NonNegativeFloat, declare_figure("bytes", "weights at the peak (worst stage)")]
    gradients_bytes: Annotated[NonNegativeFloat, declare_figure("bytes", "gradients at the peak (worst stage)")]
    optimizer_bytes: Annotated[NonNegativeFloat, declare_figure("bytes", "optimizer state at the peak (worst stage)")]
    activations_bytes: Annotated[NonNegativeFloat, declare_figure("bytes", "activations at the peak (worst stage)")]
    logits_bytes: Annotated[NonNegativeFloat, declare_figure("bytes", "logits at the peak (worst stage)")]
    buffers_bytes: Annotated[
        NonNegativeFloat, declare_figure("bytes", "communication buffers at the peak (worst stage)")
    ]
    allocator_bytes: Annotated[
        NonNegativeFloat, declare_figure("bytes", "reserved by the allocator beyond what is allocated (worst stage)")
    ] = 0.0
    communicators_bytes: Annotated[
        NonNegativeFloat, declare_figure("bytes", "NCCL's buffers of communicators (worst stage)")
    ] = 0.0
    reserve_bytes: Annotated[NonNegativeFloat, declare_figure("bytes", "runtime reserve at the peak (worst stage)")]
    total_bytes: Annotated[PositiveFloat, declare_figure("bytes", "peak memory (worst stage)")]
    capacity_bytes: Annotated[PositiveFloat, declare_figure("bytes", "memory capacity of a device")]
    moment: MemoryMoment | None = None
    """When in the step memory is fullest; None: the document is older than this field."""

    @property
    def headroom_bytes(self) -> Annotated[float, declare_figure("bytes", "capacity minus total")]:
        """Memory of a device that the plan leaves free."""
        return self.capacity_bytes - self.total_bytes


class EnergyPart(DocumentPart, frozen=True, kw_only=True):
    """Energy of a step in joules. The parts add up to `energy_j_per_step`."""

    devices_j: NonNegativeFloat
    node_j: NonNegativeFloat
    """Hosts, NICs, fans and power supplies."""
    network_j: NonNegativeFloat
    """Switches and transceivers."""
    cooling_j: NonNegativeFloat
    """Cooling and power distribution of the site: the part that PUE adds."""


StepTime = Annotated[PositiveFloat, declare_figure("s", "time of one step", label="step")]
StepTerms = Annotated[
    dict[str, NonNegativeFloat], declare_figure("s", "{} in the step", keys=STEP_TERMS, column="term_{}_s")
]
OverlappedTimes = Annotated[
    dict[str, NonNegativeFloat],
    declare_figure("s", "{} overlapped with compute", keys=OVERLAPPABLE_TERMS, column="hidden_{}_s"),
]
TokenRate = Annotated[PositiveFloat, declare_figure("per_s", "tokens per second of all devices", label="tokens/s")]
DeviceTokenRate = Annotated[
    PositiveFloat, declare_figure("per_s", "tokens per second per device", label="tokens/s/device")
]
StepTimeP10 = Annotated[
    PositiveFloat, declare_figure("s", "step time that 10 % of such runs stay below", label="step p10")
]
StepTimeP90 = Annotated[
    PositiveFloat, declare_figure("s", "step time that 90 % of such runs stay below", label="step p90")
]
TokenRateP10 = Annotated[
    PositiveFloat, declare_figure("per_s", "tokens per second that 10 % of such runs stay below")
]
TokenRateP90 = Annotated[
    PositiveFloat, declare_figure("per_s", "tokens per second that 90 % of such runs stay below")
]
DeviceTokenRateP10 = Annotated[
    PositiveFloat, declare_figure("per_s", "tokens per second per device that 10 % of such runs stay below")
]
DeviceTokenRateP90 = Annotated[
    PositiveFloat, declare_figure("per_s", "tokens per second per device that 90 % of such runs stay below")
]
SampleRate = Annotated[
    PositiveFloat, declare_figure("per_s", "sequences, images or other items of a batch per second")
]
DeviceSampleRate = Annotated[PositiveFloat, declare_figure("per_s", "samples per second per device")]
SampleRateP10 = Annotated[
    PositiveFloat, declare_figure("per_s", "samples per second that 10 % of such runs stay below")
]
SampleRateP90 = Annotated[
    PositiveFloat, declare_figure("per_s", "samples per second that 90 % of such runs stay below")
]
DeviceSampleRateP10 = Annotated[
    PositiveFloat, declare_figure("per_s", "samples per second per device that 10 % of such runs stay below")
]
DeviceSampleRateP90 = Annotated[
    PositiveFloat, declare_figure("per_s", "samples per second per device that 90 % of such runs stay below")
]
Mfu = Annotated[
    PositiveFloat, declare_figure("ratio", "model FLOPs utilization, of the precision's peak", label="MFU")
]
MfuOfBf16 = Annotated[
    PositiveFloat | None,
    declare_figure("ratio", "the same FLOPs over the 16-bit peak, whatever the precision", label="MFU of bf16"),
]


class PlanPart(DocumentPart, frozen=True, kw_only=True):
    """One plan. `terms` add up to `step_time_s`; the times of `hidden` are overlapped with compute."""

    strategy: Annotated[StrategyPart, declare_columns("{}")]
    settings: Annotated[SettingsPart, declare_columns("{}")]
    cp_group_sizes: list[PositiveInt] | msgspec.UnsetType = msgspec.UNSET
    """Of hierarchical context parallelism, ranks of an all-to-all and ranks of a ring; absent without it."""
    global_batch: PositiveInt
    step_time_s: StepTime
    step_time_p10_s: StepTimeP10
    step_time_p90_s: StepTimeP90
    """80 % of such runs, not seen by the fit, take from p10 to p90."""
    terms: StepTerms
    overlapped: OverlappedTimes = msgspec.field(name="hidden")
    tokens_per_s: TokenRate
    tokens_per_s_p10: TokenRateP10
    tokens_per_s_p90: TokenRateP90
    tokens_per_s_per_device: DeviceTokenRate
    tokens_per_s_per_device_p10: DeviceTokenRateP10
    tokens_per_s_per_device_p90: DeviceTokenRateP90
    samples_per_s: SampleRate
    samples_per_s_p10: SampleRateP10
    samples_per_s_p90: SampleRateP90
    samples_per_s_per_device: DeviceSampleRate
    samples_per_s_per_device_p10: DeviceSampleRateP10
    samples_per_s_per_device_p90: DeviceSampleRateP90
    """Sequences, images or other items of a batch. A model without tokens counts one token per sample."""
    mfu: Mfu
    """Of the peak of `training.precision`."""
    mfu_bf16: MfuOfBf16 = None
    """The same FLOPs over the 16-bit peak, which frameworks print of narrow precisions too. Null: the document is
    older than this field."""
    hfu: Annotated[
        PositiveFloat, declare_figure("ratio", "hardware FLOPs utilization: with recomputation", label="HFU")
    ]
    cost_usd_per_step: Annotated[
        NonNegativeFloat | None, declare_figure("usd", "rental cost of a step", label="cost/step", needs=("price",))
    ]
    """Rental cost of all devices; null where no rental price of the accelerator is known."""
    cost_usd_per_step_p10: Annotated[
        NonNegativeFloat | None,
        declare_figure("usd", "rental cost of a step that 10 % of such runs stay below", needs=("price",)),
    ]
    cost_usd_per_step_p90: Annotated[
        NonNegativeFloat | None,
        declare_figure("usd", "rental cost of a step that 90 % of such runs stay below", needs=("price",)),
    ]
    energy_j_per_step: Annotated[
        NonNegativeFloat | None,
        declare_figure("j", "facility energy of a step (incl. PUE)", label="energy/step", needs=("power",)),
    ]
    """Facility energy (including PUE); null where the power of the accelerator is not known."""
    energy: EnergyPart | None
    memory: Annotated[MemoryBreakdownPart, declare_columns("memory_{}")]
    bottleneck: str
    """One sentence: what limits the plan most, and which change would help most."""
    told_apart: bool
    """Whether the first plan is better than this one in 90 % of all cases; false of the first itself."""


class FullMemoryPart(DocumentPart, frozen=True, kw_only=True):
    """The best plan by the objective with all memory of a device, where a limit leaves some of it free."""

    strategy: StrategyPart
    settings: SettingsPart
    step_time_s: PositiveFloat
    step_time_p10_s: PositiveFloat
    step_time_p90_s: PositiveFloat
    total_bytes: PositiveFloat
    """Peak memory (worst stage)."""
    gain: NonNegativeFloat
    """The fraction of the figure of the best plan within the limit that it saves; 0: it is that plan."""


class UsualLayoutPart(DocumentPart, frozen=True, kw_only=True):
    """The degrees in which experts train a model of this size on this hardware, and the best plan with them."""

    name: str
    title: str
    source: str
    url: str
    plan: PlanPart | None
    """Null where no plan has these degrees, or memory has no room for them."""
    rank: NonNegativeInt
    """Which of the plans has these degrees; 0: none."""
    excess: float | None
    """The fraction by which the step of its plan is longer than the first plan's; null where there is none."""
    obstacle: str
    """Why it does not compete: what it needs more of; empty where it does."""


class RunLengthPart(DocumentPart, frozen=True, kw_only=True):
    """A whole training run with the best plan, without failures."""

    tokens: Annotated[PositiveInt, declare_figure("count", "tokens of the whole run", needs=("tokens",))]
    steps: Annotated[PositiveInt, declare_figure("count", "steps of the whole run", needs=("tokens",))]
    days: Annotated[
        PositiveFloat,
        declare_figure("days", "length of the run, without failures", needs=("tokens",), column="run_s"),
    ]
    days_p10: Annotated[
        PositiveFloat,
        declare_figure("days", "length that 10 % of such runs stay below, without failures", needs=("tokens",)),
    ]
    days_p90: Annotated[
        PositiveFloat,
        declare_figure("days", "length that 90 % of such runs stay below, without failures", needs=("tokens",)),
    ]


class RunTotalsPart(RunLengthPart, frozen=True, kw_only=True):
    """A whole training run with the best plan."""

    days_with_failures: Annotated[
        PositiveFloat | None,
        declare_figure("days", "length of the run, with failures", needs=("tokens", "failures")),
    ]
    """Null with `--no-failures`, and where failures leave no progress."""
    days_with_failures_p10: Annotated[
        PositiveFloat | None,
        declare_figure(
            "days", "length that 10 % of such runs stay below, with failures", needs=("tokens", "failures")
        ),
    ]
    days_with_failures_p90: Annotated[
        PositiveFloat | None,
        declare_figure(
            "days", "length that 90 % of such runs stay below, with failures", needs=("tokens", "failures")
        ),
    ]
    """Of the step time; the rate of failures is taken as known."""


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

    FIGURE_PREFIX: ClassVar[str] = "uncertainty."

    samples: PositiveInt
    plans: PositiveInt
    step_time_s: QuantilesPart
    first_share: Annotated[
        UnitFraction,
        declare_figure("ratio", "fraction of samples in which the plan is the best", needs=("uncertainty",)),
    ]
    regret: RegretPart
    rivals: Annotated[list[RivalPart], msgspec.Meta(max_length=3)]
    spread: dict[str, NonNegativeFloat]

    @property
    def step_time_p90_s(
        self,
    ) -> Annotated[float, declare_figure("s", "90 % quantile of the step time", needs=("uncertainty",))]:
        """The step time that 90 % of the samples do not exceed."""
        return self.step_time_s.p90


class InputPart(DocumentPart, frozen=True, kw_only=True):
    """What the first plan's samples need while it trains, of the busiest node and of all, beside what there is."""

    sample_bytes: PositiveFloat
    """Of a sample as it comes from storage."""
    node_samples_per_s: PositiveFloat
    node_bytes_per_s: PositiveFloat
    storage_bytes_per_s: PositiveFloat
    """Of all nodes together."""
    node_cores: PositiveFloat
    """Of a node's host, busy with preparing samples."""
    host_cores: PositiveFloat | None
    """What a node has; null: its file does not say."""
    node_read_bytes_per_s: PositiveFloat | None
    """What a node reads; null: its file does not say."""
    storage_read_bytes_per_s: PositiveFloat | None
    """What all nodes read together; null: the cluster's file does not say."""
    input_s: NonNegativeFloat
    """What the samples of a step take; the step is the longer of this and all its other terms."""
    starves: bool
    """Whether the step waits for its samples."""


class DefaultsPart(DocumentPart, frozen=True, kw_only=True):
    """What an estimate took of its trainer where no option said it."""

    source: str
    """The program, or the kind of plans, whose defaults these are."""
    values: dict[str, str]
    """By option: `zero`, `recompute`, `sequence_parallel`, settings."""


class PlanDocument(Document, frozen=True, kw_only=True):
    """The best plans for one model on one cluster, the best first."""

    NAME: ClassVar[str] = "plan"

    schema_version: SchemaVersion
    model: ModelPart
    cluster: ClusterPart
    scenario: ScenarioPart = msgspec.field(name="training")
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
    full_memory: FullMemoryPart | None
    """Null where no memory limit holds, and of a given plan."""
    usual: UsualLayoutPart | None
    """Null where no layout of such a model on such hardware is known or possible, and of a given plan."""
    input_pipeline: InputPart | msgspec.UnsetType | None = msgspec.UNSET
    """Null for samples of a kind that is not known; absent of older documents."""
    defaults: DefaultsPart | msgspec.UnsetType = msgspec.UNSET
    """Absent but of estimates."""

    @property
    def best_plan(self) -> PlanPart:
        """The plan that all figures of the document are about."""
        return self.plans[0]

    @property
    def cost_usd(
        self,
    ) -> Annotated[
        float | None,
        declare_figure(
            "usd", "rental cost of the whole run, without failures", label="cost", needs=("tokens", "price")
        ),
    ]:
        """The rental cost of all steps."""
        return self._multiply_by_steps(self.best_plan.cost_usd_per_step)

    @property
    def cost_usd_p10(
        self,
    ) -> Annotated[
        float | None,
        declare_figure(
            "usd", "rental cost that 10 % of such runs stay below, without failures", needs=("tokens", "price")
        ),
    ]:
        """The lower end of the rental cost of all steps."""
        return self._multiply_by_steps(self.best_plan.cost_usd_per_step_p10)

    @property
    def cost_usd_p90(
        self,
    ) -> Annotated[
        float | None,
        declare_figure(
            "usd", "rental cost that 90 % of such runs stay below, without failures", needs=("tokens", "price")
        ),
    ]:
        """The upper end of the rental cost of all steps."""
        return self._multiply_by_steps(self.best_plan.cost_usd_per_step_p90)

    def _multiply_by_steps(self, cost_usd_per_step: float | None) -> float | None:
        return None if self.run is None or cost_usd_per_step is None else self.run.steps * cost_usd_per_step

    @property
    def cost_usd_with_failures(
        self,
    ) -> Annotated[
        float | None,
        declare_figure("usd", "rental cost of the whole run, with failures", needs=("tokens", "price", "failures")),
    ]:
        """The rental cost until the last step is done, as long as devices are rented while the job does not run."""
        cost_usd, run = self.cost_usd, self.run
        if cost_usd is None or run is None or run.days_with_failures is None:
            return None
        return cost_usd * (run.days_with_failures * DAY_S) / (run.days * DAY_S)
