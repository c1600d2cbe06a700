"""Bounds of the numbers of a model file: far above any trained model, so that typing errors are reported."""

from __future__ import annotations

from typing import Annotated

import msgspec

MAX_LAYERS = 2048
MAX_WIDTH = 10_000_000
MAX_SEQ_LENGTH = 2**24
MAX_HEADS_OR_EXPERTS = 65_536
"""Bounds of layers, widths, tokens, and heads or experts."""

PositiveWidth = Annotated[int, msgspec.Meta(ge=1, le=MAX_WIDTH)]
NonNegativeWidth = Annotated[int, msgspec.Meta(ge=0, le=MAX_WIDTH)]
LayerCount = Annotated[int, msgspec.Meta(ge=1, le=MAX_LAYERS)]
HeadCount = Annotated[int, msgspec.Meta(ge=1, le=MAX_HEADS_OR_EXPERTS)]
ExpertCount = Annotated[int, msgspec.Meta(ge=1, le=MAX_HEADS_OR_EXPERTS)]
ParameterCount = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
PositiveNumber = Annotated[float, msgspec.Meta(gt=0, le=1e12)]
NonNegativeNumber = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
