"""What the configuration classes of Hugging Face's library take for keys that a config.json leaves out.

`library_defaults.jsonl` holds a line for each model type: defaults of the class, other names of its keys
(`attribute_map`), and the types of its parts (`sub_configs`). `python -m tests.real.library_defaults` makes it again
from the installed library; LIBRARY_VERSION is that of its values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LIBRARY_VERSION = "5.24.0"
DEFAULTS_FILE = Path(__file__).with_name("library_defaults.jsonl")


@dataclass(frozen=True)
class LibraryClass:
    """A configuration class: default of each key, the key for each other name, the model type of each part."""

    defaults: Mapping[str, object]
    aliases: Mapping[str, str]
    parts: Mapping[str, str | None]


@cache
def find_library_class(model_type: str) -> LibraryClass | None:
    """The class of a model type; None for a type that the library does not have."""
    # a line is read only where it is the type's: the whole file takes longer than a plan's other inputs
    start = f'{{"type":{json.dumps(model_type)},'
    with DEFAULTS_FILE.open(encoding="utf-8") as lines:
        line = next((line for line in lines if line.startswith(start)), None)
    if line is None:
        return None
    entry = json.loads(line)
    return LibraryClass(entry["defaults"], entry["aliases"], entry["parts"])
