"""The reference of the JSON documents: a page for each, with the structs that no earlier page has."""

from __future__ import annotations

from typing import Any

from docs.site.structs import (
    PageView,
    Struct,
    StructLocations,
    build_location,
    collect_structs,
    format_docstring,
    format_key_table,
)
from docs.site.words import escape_text, format_code, format_page, format_table
from planner.cli.commands.schema import DOCUMENT_TYPES, import_document_type


def build_pages() -> dict[str, str]:
    """Every page by its path."""
    places: StructLocations = {}
    pages, rows = {}, []
    for document in DOCUMENT_TYPES:
        name, root = f"{document}.md", import_document_type(document)
        schema: dict[str, Any] = root.build_json_schema()
        new_structs = [struct for struct in collect_structs(root) if struct not in places]
        places |= {struct: build_location(name, _format_heading(struct)) for struct in new_structs}
        pages[f"documents/{name}"] = _build_page(document, schema, new_structs, places, name)
        rows.append(
            (
                f"[{format_code(document)}]({name})",
                escape_text(schema["title"]),
                format_docstring(root).split("\n\n")[0],
            )
        )
    index = format_table(("document", "version", "content"), rows)
    intro = (
        "The output of `--format json`. Every document has all of its keys, and no others; "
        "an unknown figure is `null`."
    )
    pages["documents/index.md"] = format_page("JSON documents", intro, index)
    return pages


def _build_page(
    document: str, schema: dict[str, Any], new_structs: list[Struct], places: StructLocations, name: str
) -> str:
    blocks = [
        f"{escape_text(schema['title'])}. {format_code(f'planner schema {document}')} prints it as JSON Schema."
    ]
    for struct in new_structs:
        blocks += [
            f"## {_format_heading(struct)}",
            format_docstring(struct),
            format_key_table(struct, PageView(places, name, nulls=True)),
            _format_mapping_names(schema, struct),
        ]
    return format_page(f"{format_code(document)} document", *blocks)


def _format_mapping_names(schema: dict[str, Any], struct: Struct) -> str:
    """The names in the mappings of a struct."""
    properties = schema["$defs"].get(struct.__name__, {}).get("properties", {})
    sentences = [
        f"{format_code(key)} has {', '.join(map(format_code, value['properties']))}."
        for key, value in properties.items()
        if isinstance(value, dict) and "properties" in value
    ]
    return "\n\n".join(sentences)


def _format_heading(struct: Struct) -> str:
    return format_code(struct.__name__)
