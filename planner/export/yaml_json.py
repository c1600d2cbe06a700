"""YAML and JSON as people write them: keys in their order, a file's text as a block, the plan in comments above."""

from __future__ import annotations

import json
from collections.abc import Sequence

import yaml

from planner.export.shell import comments


class _Dumper(yaml.SafeDumper):
    """Longer texts as blocks, which stay readable; no references between equal parts."""

    def ignore_aliases(self, data: object) -> bool:
        """Nothing is referred to."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def to_yaml(lines: Sequence[str], *documents: object) -> str:
    """The documents of one file, below lines of comment."""
    text = yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=118, default_flow_style=False
    )
    return comments(lines) + text


def to_json(document: object) -> str:
    """One document."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
