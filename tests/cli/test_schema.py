"""The version of a document moves with its schema.

`fixtures/released_schemas.json` has the version and the fingerprint of every document of the last release. A document
whose schema differs from it has another version: once a release, however many keys are added.
`python -m tests.cli.test_schema` writes the file again, when a version is released.
"""

import hashlib
import json
from pathlib import Path

import jsonschema
import pytest

from planner.cli.commands.schema import DOCUMENT_TYPES, import_document_type
from tests.cli.run import call
from tests.schemas import validate_document

FIXTURES = Path(__file__).parent.parent / "fixtures"
RELEASED = FIXTURES / "released_schemas.json"


def describe_structure(value: object, definitions: dict, path: tuple[str, ...] = ()) -> object:
    """A part of a schema without its texts, definitions in their places, choices and names in a fixed order."""
    if isinstance(value, list):
        return sorted((describe_structure(item, definitions, path) for item in value), key=json.dumps)
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return "itself" if name in path else describe_structure(definitions[name], definitions, (*path, name))
    texts = {key for key in ("title", "description") if isinstance(value.get(key), str)}
    return {key: describe_structure(value[key], definitions, path) for key in sorted(set(value) - texts)}


def compute_fingerprint(schema: dict) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of a schema's structure, without the document's own version."""
    structure = describe_structure({"$ref": schema["$ref"]}, schema["$defs"])
    del structure["properties"]["schema_version"]
    return hashlib.sha256(json.dumps(structure).encode()).hexdigest()[:12]


def list_schemas() -> dict[str, dict[str, str]]:
    """Version and fingerprint of every document."""
    schemas = {name: import_document_type(name).build_json_schema() for name in DOCUMENT_TYPES}
    return {
        name: {"version": schema["title"].rpartition(" ")[2], "fingerprint": compute_fingerprint(schema)}
        for name, schema in schemas.items()
    }


def test_the_version_of_a_document_differs_from_the_released_one_where_its_schema_does() -> None:
    released = json.loads(RELEASED.read_text("utf-8"))
    schemas = list_schemas()
    assert set(released) <= set(schemas)
    for name, before in released.items():
        now = schemas[name]
        changed = now["fingerprint"] != before["fingerprint"]
        raised = [*map(int, now["version"].split("."))] > [*map(int, before["version"].split("."))]
        assert changed == raised, f"{name}: released as {before['version']}, now {now['version']}; schema {changed=}"


@pytest.mark.parametrize("name", DOCUMENT_TYPES)
def test_a_schema_is_one_and_is_printed(name: str) -> None:
    schema = json.loads(call("planner", "schema", name).stdout)
    assert schema == import_document_type(name).build_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)


def test_stored_documents_match_their_schemas() -> None:
    stored = {path.stem: path for path in (FIXTURES / "answers").glob("*.json")} | {"plan": FIXTURES / "plan.json"}
    assert len(stored) > 8
    for name, path in stored.items():
        schema = import_document_type(name).build_json_schema()
        validate_document(json.loads(path.read_text("utf-8")), schema)


def test_a_fingerprint_sees_every_key_and_no_description() -> None:
    schema = import_document_type("plan").build_json_schema()
    fingerprint = compute_fingerprint(schema)
    text = json.dumps(schema)
    assert compute_fingerprint(json.loads(text.replace('"description": "', '"description": "x'))) == fingerprint
    for key in ('"step_time_s"', '"memory_limit_bytes"', '"zero-bubble"', '"trainer"'):
        assert text.count(key) > 0
        assert compute_fingerprint(json.loads(text.replace(key, '"other"'))) != fingerprint, key


if __name__ == "__main__":
    RELEASED.write_text(json.dumps(list_schemas(), indent=2) + "\n", "utf-8")
