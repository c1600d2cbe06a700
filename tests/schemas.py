"""Documents against their JSON Schemas, each of which `tests/cli/test_schema.py` checks once."""

from __future__ import annotations

import json
from functools import cache

import jsonschema


def validate_document(document: object, schema: dict) -> None:  # type: ignore[type-arg]
    """Raise `jsonschema.ValidationError` where a document does not match its schema."""
    _build_validator(json.dumps(schema)).validate(document)


@cache
def _build_validator(schema: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(schema))
