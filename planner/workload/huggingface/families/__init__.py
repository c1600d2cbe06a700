"""Families of models by the `model_type` of their `config.json`.

To add a family:
1. Write its reader into the file of a similar family, or into a file of its own: a function from the configuration
   to the fields of a `ModelSpec` (`planner/workload/spec.py`). Fields that it leaves out have the defaults of that
   class. Most readers are `read_llama_like` or `read_gpt_like` with a few fields changed. Take the defaults of keys
   from the configuration class in Hugging Face's transformers.
2. Enter it in `FAMILY_READERS` below. A new name of a known key goes into `EQUIVALENT_KEYS` of `config_file.py`.
3. A part that no field describes is an operator, built in `planner/workload/transformer.py`.
4. Put a real `config.json` into `tests/fixtures/configs/`: `tests/workload/test_huggingface.py` fails without it.
"""

from __future__ import annotations

from collections.abc import Callable

from planner.workload.huggingface.config_file import HuggingFaceConfig, SpecFields
from planner.workload.huggingface.families import bert, deepseek, gpt, llama, qwen, t5
from planner.workload.huggingface.families.decoders import DECODERS
from planner.workload.huggingface.families.encoders import ENCODERS
from planner.workload.huggingface.families.experts import EXPERTS
from planner.workload.huggingface.families.gpts import GPTS
from planner.workload.huggingface.families.hybrids import HYBRIDS
from planner.workload.huggingface.families.mixed_attention import MIXED
from planner.workload.huggingface.families.seq2seq import SEQ2SEQ
from planner.workload.huggingface.table import Family, read_family


def _build_reader(model_type: str, family: Family) -> Callable[[HuggingFaceConfig], SpecFields]:
    return lambda config: read_family(config, family, model_type)


_TABLES = {**DECODERS, **EXPERTS, **HYBRIDS, **GPTS, **ENCODERS, **MIXED, **SEQ2SEQ}
OWN_READERS: dict[str, Callable[[HuggingFaceConfig], SpecFields]] = {
    "bert": bert.read_bert,
    "deepseek_v3": deepseek.read_deepseek_v3,
    "gpt2": gpt.read_gpt2,
    "gpt_neox": gpt.read_gpt_neox,
    "gpt_oss": gpt.read_gpt_oss,
    "llama": llama.read_llama_like,
    "mistral": llama.read_mistral,
    "mixtral": llama.read_mixtral,
    "phi3": llama.read_phi3,
    "qwen2": qwen.read_qwen2,
    "qwen2_moe": qwen.read_qwen2_moe,
    "qwen3": qwen.read_qwen3,
    "qwen3_moe": qwen.read_qwen3_moe,
    "roberta": bert.read_roberta,
    "t5": t5.read_t5,
    "xlnet": bert.read_xlnet,
}
FAMILY_READERS = {
    **OWN_READERS,
    **{model_type: _build_reader(model_type, family) for model_type, family in _TABLES.items()},
}
_TEXT_TYPES = {
    "glm4v_text": "glm4",
    "glm4v_moe_text": "glm4_moe",
    "mt5": "t5",
    "qwen2_vl_text": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen2_5_omni_text": "qwen2",
    "qwen3_vl_text": "qwen3",
    "qwen3_vl_moe_text": "qwen3_moe",
    "qwen3_omni_moe_text": "qwen3_moe",
}
"""Types of language models inside others, which have the form of a type above."""
FAMILY_READERS |= {text_type: FAMILY_READERS[model_type] for text_type, model_type in _TEXT_TYPES.items()}
