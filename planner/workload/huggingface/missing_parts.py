"""What a configuration has that nothing describes, and the preset that is nearest to it, for refusals."""

from __future__ import annotations

import math
from collections.abc import Mapping

from planner.workload.huggingface.config_file import EQUIVALENT_KEYS
from planner.workload.presets import list_preset_names, read_model_preset
from planner.workload.spec import ModelSpec

_PARTS_BY_KEY = {
    "hc_mult": "hyper-connections",
    "hidden_size_per_layer_input": "embeddings of each layer",
    "altup_num_inputs": "AltUp",
    "laurel_rank": "LAuReL",
    "num_kv_shared_layers": "layers that share keys and values",
    "compress_ratios": "compressed attention",
    "index_topk": "an indexer of sparse attention",
    "kda_num_heads": "delta attention",
    "linear_attn_config": "linear attention",
    "block_configs": "blocks of different shapes",
    "state_size": "a state space",
    "attention_hidden_size": "a recurrence",
    "encoder_layers": "an encoder",
    "vision_config": "a vision tower",
    "audio_config": "an audio tower",
}


def describe_missing_parts(raw: Mapping[str, object]) -> str:
    """Parts of the configuration that are likely to be in the way, by its keys."""
    text = raw.get("text_config")
    keys = {**raw, **(text if isinstance(text, dict) else {})}
    return ", ".join(part for key, part in _PARTS_BY_KEY.items() if keys.get(key))


def find_nearest_preset(raw: Mapping[str, object]) -> str:
    """The preset whose width, depth and vocabulary are nearest; empty where the file states none of them."""
    text = raw.get("text_config")
    keys = {**raw, **(text if isinstance(text, dict) else {})}
    sizes = {
        name: next((keys[key] for key in EQUIVALENT_KEYS[name] if isinstance(keys.get(key), int)), None)
        for name in ("hidden_size", "layers", "vocab_size", "moe.experts")
    }
    if sizes["hidden_size"] is None or sizes["layers"] is None:
        return ""
    distances = {}
    for name in list_preset_names():
        spec = read_model_preset(name)
        if not isinstance(spec, ModelSpec):
            continue
        experts = spec.moe.experts if spec.moe else None
        pairs = (
            (sizes["hidden_size"], spec.hidden_size),
            (sizes["layers"], spec.layers),
            (sizes["vocab_size"], spec.vocab_size or None),
            (sizes["moe.experts"], experts or 1),
        )
        distances[name] = sum(
            abs(math.log(wanted / found))
            for wanted, found in pairs
            if isinstance(wanted, int) and wanted > 0 and found is not None
        )
    return min(distances, key=lambda name: (distances[name], name))
