"""The what-if document: the best plans before and after changes, their differences, and the old plan after them.

Parts of the plan document are used unchanged. Field order is output order.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

import msgspec

from planner.documents.plan import ClusterPart, ModelPart, PlanPart, ScenarioPart, SearchPart
from planner.documents.schema import Document, DocumentPart, PositiveFloat
from planner.units import Dimension

SchemaVersion = Literal["1.2"]
SCHEMA_VERSION: SchemaVersion = get_args(SchemaVersion)[0]

HardwareFigureName = Literal[
    "peak",
    "memory_bandwidth",
    "link_bandwidth",
    "network_bandwidth",
    "link_latency",
    "network_latency",
    "host_link",
    "host_bandwidth",
]


class InputChangePart(DocumentPart, frozen=True, kw_only=True):
    """One change; `given` is the user's text. Numbers are in SI units, a precision is given by its name."""

    key: str
    given: str
    unit: Dimension | Literal[""]
    """Dimension of the values; empty for counts and names."""
    before: float | str | None
    """Null where the figure was not known."""
    after: float | str


class WhatIfSidePart(DocumentPart, frozen=True, kw_only=True):
    """The scenario before or after the changes, with its best plan."""

    model: ModelPart
    cluster: ClusterPart
    scenario: ScenarioPart = msgspec.field(name="training")
    search: SearchPart
    plan: PlanPart


class WhatIfDifferencePart(DocumentPart, frozen=True, kw_only=True):
    """Figures of the new best plan minus those of the old one. `speedup` is the ratio of their tokens per second."""

    speedup: PositiveFloat
    step_time_s: float
    terms: dict[str, float]
    overlapped: dict[str, float] = msgspec.field(name="hidden")
    tokens_per_s: float
    tokens_per_s_per_device: float
    mfu: float
    hfu: float
    cost_usd_per_step: float | None
    energy_j_per_step: float | None
    memory_bytes: dict[str, float]
    """Peak memory per device by category."""


class KeptPlanPart(DocumentPart, frozen=True, kw_only=True):
    """The old plan after the changes; its data-parallel size follows from the number of devices."""

    plan: PlanPart | None
    """Null where the old plan cannot run after the changes."""
    speedup: PositiveFloat | None = None
    """Its tokens per second with the changes, over those without."""
    regret: float | None
    """Step time divided by that of the new best plan, minus 1."""
    best_told_apart: bool | None = None
    """Whether the new best plan is faster than it in 90 % of all cases."""
    obstacle: str
    """Why the old plan cannot run; empty where it can."""


class ElasticityPart(DocumentPart, frozen=True, kw_only=True):
    """Elasticity: percent of step time per percent of a hardware figure, for an unchanged plan before and after."""

    figure: HardwareFigureName
    before: float
    after: float


class WhatIfDocument(Document, frozen=True, kw_only=True):
    """The effect of changes to a scenario."""

    NAME: ClassVar[str] = "what-if"

    schema_version: SchemaVersion
    changes: Annotated[list[InputChangePart], msgspec.Meta(min_length=1)]
    before: WhatIfSidePart
    after: WhatIfSidePart
    same_plan: bool
    """Whether both best plans have the same degrees and settings."""
    told_apart: bool
    """Whether one of the two trains faster than the other in 90 % of all cases, as far as the model can say."""
    difference: WhatIfDifferencePart
    kept: KeptPlanPart
    elasticities: list[ElasticityPart]
