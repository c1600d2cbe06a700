"""Writes the defaults of the configuration classes of the installed transformers.

`python -m tests.real.library_defaults`
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

from planner.workload.huggingface.library_defaults import DEFAULTS_FILE

_LEFT_OUT = (
    *("_token_id", "dropout", "initializer", "use_cache", "output_", "_std", "_init", "chunk_size_feed"),
    *("id2label", "label2id"),
)
"""Parts of the names of keys that say nothing of a model's size."""


def build_lines() -> Iterator[str]:
    """A line for each type that can be imported, sorted by type."""
    import transformers
    from transformers.models.auto import configuration_auto

    plain = {field.name for field in dataclasses.fields(transformers.PretrainedConfig)} - {"tie_word_embeddings"}
    for model_type in sorted(configuration_auto.CONFIG_MAPPING_NAMES):
        try:
            config_class = configuration_auto.CONFIG_MAPPING[model_type]
        except (ImportError, KeyError, ValueError):
            continue
        if not dataclasses.is_dataclass(config_class):
            continue
        defaults = {}
        for field in dataclasses.fields(config_class):
            if field.name in plain or any(part in field.name for part in _LEFT_OUT):
                continue
            value = field.default
            if field.default_factory is not dataclasses.MISSING:
                value = field.default_factory()
            if value is not dataclasses.MISSING:
                defaults[field.name] = _clean(value)
        parts = getattr(config_class, "sub_configs", None) or {}
        entry = {
            "type": model_type,
            "defaults": defaults,
            "aliases": dict(getattr(config_class, "attribute_map", None) or {}),
            "parts": {key: getattr(part, "model_type", None) for key, part in parts.items()},
        }
        yield json.dumps(entry, separators=(",", ":"))


def _clean(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else None


if __name__ == "__main__":
    DEFAULTS_FILE.write_text("".join(f"{line}\n" for line in build_lines()), encoding="utf-8")
