"""The what-if document: two best plans, what lies between them, and what would have become of the first.

Parts of the plan document are used as they are. Field order is output order.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from planner.documents.plan import ClusterPart, ModelPart, PlanPart, ScenarioPart, SearchPart
from planner.documents.schema import DocumentPart, PositiveFloat, build_closed_schema
from planner.units import Dimension

SCHEMA_VERSION: Literal["1.1"] = "1.1"

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
    """One change: `given` as the user wrote it. Numbers in SI; a number format by its name."""

    key: str
    given: str
    unit: Dimension | Literal[""]
    """Empty for counts and names."""
    before: float | str | None
    """Null where nothing was known."""
    after: float | str


class WhatIfSidePart(DocumentPart, frozen=True, kw_only=True):
    """One of the two questions with its best plan."""

    model: ModelPart
    cluster: ClusterPart
    training: ScenarioPart
    search: SearchPart
    plan: PlanPart


class WhatIfDifferencePart(DocumentPart, frozen=True, kw_only=True):
    """The second plan's figures less the first one's. `speedup` is the ratio of their tokens a second."""

    speedup: PositiveFloat
    step_time_s: float
    terms: dict[str, float]
    hidden: dict[str, float]
    tokens_per_s: float
    tokens_per_s_per_device: float
    mfu: float
    hfu: float
    cost_usd_per_step: float | None
    energy_j_per_step: float | None
    memory_bytes: dict[str, float]
    """By kind."""


class KeptPlanPart(DocumentPart, frozen=True, kw_only=True):
    """The first plan under the changes, its data-parallel width what the devices then leave."""

    plan: PlanPart | None
    """Null where it cannot run any more."""
    regret: float | None
    """Its step time over that of the best plan, less one."""
    obstacle: str
    """Why it cannot run; empty where it can."""


class ElasticityPart(DocumentPart, frozen=True, kw_only=True):
    """Percent of the step time per percent of a figure of the hardware, all of the plan kept."""

    figure: HardwareFigureName
    before: float
    after: float


class WhatIfDocument(DocumentPart, frozen=True, kw_only=True):
    """The answer to one what-if."""

    schema_version: Literal["1.1"]
    changes: Annotated[list[InputChangePart], msgspec.Meta(min_length=1)]
    before: WhatIfSidePart
    after: WhatIfSidePart
    same_plan: bool
    """Whether both are split and run in the same way."""
    difference: WhatIfDifferencePart
    kept: KeptPlanPart
    elasticities: list[ElasticityPart]


def build_json_schema() -> dict[str, object]:
    """JSON Schema (draft 2020-12) of the what-if document: every key is named, no other is allowed."""
    return build_closed_schema(WhatIfDocument, f"planner what-if document {SCHEMA_VERSION}")
