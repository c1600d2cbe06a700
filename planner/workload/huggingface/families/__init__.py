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

FAMILY_READERS: dict[str, Callable[[HuggingFaceConfig], SpecFields]] = {
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
