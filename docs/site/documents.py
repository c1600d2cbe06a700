"""The reference of the JSON documents: a page for each, with the parts that no page before it has."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from docs.site.structs import Places, Struct, View, about, keys, place, reached
from docs.site.words import code, page, said, table
from planner.cli.commands.schema import DOCUMENT_MODULES, DocumentType

_NAMED = {"terms": "terms", "hidden": "hidden", "cut_by": "rules", "memory_bytes": "kinds of memory"}


def pages() -> dict[str, str]:
    """Every page by its path."""
    places: Places = {}
    made, rows = {}, []
    for document, module in DOCUMENT_MODULES.items():
        name, schema = f"{document.value}.md", import_module(module).build_json_schema()
        root = getattr(import_module(module), schema["$ref"].rpartition("/")[2])
        own = [one for one in reached(root) if one not in places]
        places |= {one: place(name, _heading(one)) for one in own}
        made[f"documents/{name}"] = _page(document, schema, own, places, name)
        rows.append((f"[{code(document.value)}]({name})", said(schema["title"]), about(root).split("\n\n")[0]))
    index = table(("document", "version", "what it is"), rows)
    intro = "What `--format json` prints. All keys are there, and no others; a figure that is not known is `null`."
    made["documents/index.md"] = page("JSON documents", intro, index)
    return made


def _page(document: DocumentType, schema: dict[str, Any], own: list[Struct], places: Places, name: str) -> str:
    blocks = [f"{said(schema['title'])}. {code(f'planner schema {document.value}')} prints it as JSON Schema."]
    for one in own:
        blocks += [f"## {_heading(one)}", about(one), keys(one, View(places, name, nulls=True)), _names(schema, one)]
    return page(f"{code(document.value)} document", *blocks)


def _names(schema: dict[str, Any], one: Struct) -> str:
    """The names that the mappings of a part have."""
    properties = schema["$defs"].get(one.__name__, {}).get("properties", {})
    told = [
        f"{code(key)} has {', '.join(map(code, value['properties']))}."
        for key, value in properties.items()
        if isinstance(value, dict) and "properties" in value
    ]
    return "\n\n".join(told)


def _heading(one: Struct) -> str:
    return code(one.__name__)
