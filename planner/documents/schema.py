"""What documents are made of: kinds of numbers, parts with these keys and no others, and their JSON Schema."""

from __future__ import annotations

from typing import Annotated

import msgspec

Whole = Annotated[int, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Amount = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the document: these keys and no others."""


def closed_schema(document: type[msgspec.Struct], title: str) -> dict[str, object]:
    """JSON Schema of a document whose mappings have the cost model's names as keys."""
    from planner.cost.calibration import PARAMETERS
    from planner.cost.memory import KINDS
    from planner.cost.step import HIDDEN, TERMS
    from planner.search.space import RULES

    schema: dict[str, object] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    schema |= msgspec.json.schema(document)
    named = {"terms": TERMS, "hidden": HIDDEN, "cut_by": tuple(RULES), "memory_bytes": KINDS, "spread": PARAMETERS}
    return {key: _with_names(value, named) for key, value in schema.items()}


def _with_names(schema: object, named: dict[str, tuple[str, ...]], key: str = "") -> object:
    """The schema with the keys of its open mappings written out, and a choice of one value as a constant."""
    if isinstance(schema, list):
        return [_with_names(one, named) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if key in named and "additionalProperties" in schema:
        properties = dict.fromkeys(named[key], schema["additionalProperties"])
        closed = {"type": "object", "properties": properties, "required": list(properties)}
        return {**closed, "additionalProperties": False}
    if isinstance(schema.get("enum"), list) and len(schema["enum"]) == 1:
        return {"const": schema["enum"][0]}
    return {name: _with_names(value, named, name) for name, value in schema.items()}
