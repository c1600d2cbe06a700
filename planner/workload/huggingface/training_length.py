"""The length of the sequences that a model of a `config.json` is trained with, where the user does not say.

A configuration states the longest sequence that the finished model reads. Most tokens are trained on shorter ones,
before the context is extended.
"""

from __future__ import annotations

from planner.workload.spec import ModelSpec

_USUAL_LENGTH = 8192
_FAMILY_LENGTHS = {
    # Qwen3 Technical Report, arXiv 2505.09388, section 3.2: 4,096 tokens in the first two of three stages
    "qwen3": 4096,
    "qwen3_moe": 4096,
    # as the presets of these models
    "mixtral": 4096,
}
"""By the `model_type` of a family; `_USUAL_LENGTH` for every other."""


def find_training_length(spec: ModelSpec, model_type: str) -> int:
    """Tokens per sequence: those before the context was extended, where the configuration states them, else those
    that are usual for the family, and never more than the model has positions for.
    """
    stated = 0 if spec.rope_scaling is None else spec.rope_scaling.original_seq_length
    return min(stated or _FAMILY_LENGTHS.get(model_type, _USUAL_LENGTH), spec.seq_length)
