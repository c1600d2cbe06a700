"""Formats YAML and JSON: keys in the given order, a file's text as a block, the plan in comments above."""

from __future__ import annotations

import json
from collections.abc import Sequence

import yaml

from planner.export.shell import format_comments


class _BlockStyleDumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and no references between equal parts."""

    def ignore_aliases(self, data: object) -> bool:
        """Write no references."""
        return True


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_BlockStyleDumper.add_representer(str, _represent_text)


def format_yaml(comment_lines: Sequence[str], *documents: object) -> str:
    """The documents of a YAML file, below lines of comment."""
    text = yaml.dump_all(
        documents, Dumper=_BlockStyleDumper, sort_keys=False, allow_unicode=True, width=118, default_flow_style=False
    )
    return format_comments(comment_lines) + text


def format_json(document: object) -> str:
    """The document as JSON."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
