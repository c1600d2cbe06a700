"""Building blocks of the documents: types of numbers, parts without unknown keys, and their JSON Schema.

Docstrings of documents are part of the schema: they name JSON keys (`hidden`), not the names of attributes.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, get_args, get_type_hints

import msgspec

NonNegativeInt = Annotated[int, msgspec.Meta(ge=0)]
PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
NonNegativeFloat = Annotated[float, msgspec.Meta(ge=0)]
PositiveFloat = Annotated[float, msgspec.Meta(gt=0)]
UnitFraction = Annotated[float, msgspec.Meta(ge=0, le=1)]


class DocumentPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a document; unknown keys are refused."""


class Document(DocumentPart, frozen=True, kw_only=True):
    """A whole document. `NAME`: its name in the title of its JSON Schema."""

    NAME: ClassVar[str]

    @classmethod
    def build_json_schema(cls) -> dict[str, object]:
        """JSON Schema (draft 2020-12); all keys are listed and no others are allowed."""
        (version,) = get_args(get_type_hints(cls)["schema_version"])
        return _build_closed_schema(cls, f"planner {cls.NAME} document {version}")


def _build_closed_schema(document: type[msgspec.Struct], title: str) -> dict[str, object]:
    """The schema of a document; mappings by name (`terms`, `cut_by`, ...) list all keys of the cost model."""
    from planner.cost.calibration import CALIBRATION_PARAMETERS
    from planner.cost.memory.moments import MEMORY_CATEGORIES
    from planner.cost.step import OVERLAPPABLE_TERMS, STEP_TERMS
    from planner.search.space import SEARCH_RULES

    schema: dict[str, object] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    schema |= msgspec.json.schema(document)
    names_by_key = {
        "terms": STEP_TERMS,
        "hidden": OVERLAPPABLE_TERMS,
        "cut_by": tuple(SEARCH_RULES),
        "memory_bytes": MEMORY_CATEGORIES,
        "spread": CALIBRATION_PARAMETERS,
    }
    return {key: _close_open_mappings(value, names_by_key) for key, value in schema.items()}


def _close_open_mappings(schema: object, names_by_key: dict[str, tuple[str, ...]], key: str = "") -> object:
    """The schema with the keys of its open mappings listed, and a choice of a single value as a constant."""
    if isinstance(schema, list):
        return [_close_open_mappings(item, names_by_key) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if key in names_by_key and "additionalProperties" in schema:
        properties = dict.fromkeys(names_by_key[key], schema["additionalProperties"])
        closed = {"type": "object", "properties": properties, "required": list(properties)}
        described = {"description": schema["description"]} if "description" in schema else {}
        return {**described, **closed, "additionalProperties": False}
    if isinstance(schema.get("enum"), list) and len(schema["enum"]) == 1:
        return {"const": schema["enum"][0]}
    return {name: _close_open_mappings(value, names_by_key, name) for name, value in schema.items()}
