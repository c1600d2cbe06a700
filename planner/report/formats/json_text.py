"""JSON on stdout: one document, the same bytes for the same question."""

from __future__ import annotations

import msgspec


def render_json(document: msgspec.Struct | dict[str, object]) -> str:
    """The document as indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"
