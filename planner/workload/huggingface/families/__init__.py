"""Families of models by the `model_type` of their `config.json`.

To add a family:
1. Enter a `Family` into the table of similar ones (`decoders.py`, `experts.py`, ...): the key for each field of a
   `ModelSpec` (`planner/workload/spec.py`) where it is not Llama's, what is fixed, and the parts of `../parts.py`
   that read several keys together. Defaults are those of the class in Hugging Face's transformers
   (`../library_defaults.py`). Some older families have readers of their own, functions from the configuration to
   fields.
2. Enter its name in `_TYPES_BY_MODULE` below: a module is imported only for a family of it.
3. A part that no field describes is an operator, built in `planner/workload/transformer.py`.
4. Put its count into `tests/fixtures/library_defaults.csv`, or a configuration into `library_models.jsonl`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from planner.workload.huggingface.config_file import HuggingFaceConfig, SpecFields

FamilyReader = Callable[[HuggingFaceConfig], SpecFields]

OWN_READERS = {
    "bert": ("bert", "read_bert"),
    "deepseek_v3": ("deepseek", "read_deepseek_v3"),
    "gpt2": ("gpt", "read_gpt2"),
    "gpt_neox": ("gpt", "read_gpt_neox"),
    "gpt_oss": ("gpt", "read_gpt_oss"),
    "llama": ("llama", "read_llama_like"),
    "mistral": ("llama", "read_mistral"),
    "mixtral": ("llama", "read_mixtral"),
    "phi3": ("llama", "read_phi3"),
    "qwen2": ("qwen", "read_qwen2"),
    "qwen2_moe": ("qwen", "read_qwen2_moe"),
    "qwen3": ("qwen", "read_qwen3"),
    "qwen3_moe": ("qwen", "read_qwen3_moe"),
    "roberta": ("bert", "read_roberta"),
    "t5": ("t5", "read_t5"),
    "umt5": ("t5", "read_umt5"),
    "xlnet": ("bert", "read_xlnet"),
}
"""Families with a reader of their own: its module and function."""

_TYPES_BY_MODULE = {
    "decoders": (
        *("apertus", "apertus1p5_text", "arcee", "bitnet", "cohere", "cohere2", "cwm", "ernie4_5", "exaone"),
        *("exaone4", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "granite", "granite_swa", "helium"),
        *("hunyuan_v1_dense", "hyperclovax", "internlm3", "iquestcoder", "jais2", "minicpm3", "ministral"),
        *("ministral3", "nanochat", "nemotron", "olmo", "olmo2", "olmo3", "persimmon", "phi", "seed_oss"),
        *("smollm3", "stablelm", "starcoder2", "vaultgemma", "youtu"),
    ),
    "encoders": (
        *("bert-generation", "big_bird", "camembert", "data2vec-text", "distilbert", "electra", "ernie"),
        *("eurobert", "gte", "ibert", "jina_embeddings_v3", "layoutlm", "megatron-bert", "modernbert"),
        *("modernbert-decoder", "nomic_bert", "roberta-prelayernorm", "roformer", "xlm-roberta", "xlm-roberta-xl"),
    ),
    "experts": (
        *("afmoe", "aria_text", "cohere2_moe", "deepseek_v2", "deepseek_v32", "dots1", "ernie4_5_moe"),
        *("exaone_moe", "flex_olmo", "glm4_moe", "glm4_moe_lite", "glm_moe_dsa", "granitemoe"),
        *("granitemoe_swa", "granitemoeshared", "hunyuan_v1_moe", "hy_v3", "kimi_k2", "kolibri1"),
        *("llama4_text", "mellum", "minimax_m2", "olmoe", "phimoe", "sarvam_mla", "sarvam_moe", "solar_open"),
    ),
    "gpts": (
        *("biogpt", "bloom", "codegen", "ctrl", "falcon", "flaubert", "gpt_bigcode", "gpt_neo"),
        *("gpt_neox_japanese", "gptj", "mpt", "openai-gpt", "opt", "xglm", "xlm"),
    ),
    "hybrids": (
        *("bamba", "falcon_h1", "falcon_mamba", "granitemoehybrid", "jamba", "lara_mini", "lfm2", "lfm2_moe"),
        *("lfm3", "mamba", "mamba2", "minimax", "nemotron_h", "qwen3_5_moe_text", "qwen3_5_text", "qwen3_next"),
    ),
    "mixed_attention": (
        *("bailing_hybrid", "beam", "dbrx", "flint", "gemma4_text", "gemma4_unified_text", "kimi_linear"),
        *("laguna", "mimo_v2_flash", "olmo_hybrid", "step3p5"),
    ),
    "seq2seq": (
        *("bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "m2m_100", "marian", "mbart", "mvp"),
        *("pegasus", "plbart"),
    ),
}
"""Families that are tables, by the module with the table `FAMILIES`."""
_SAME_FORM = {
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
"""Types, most of them of language models inside others, that are read as another type above."""
_MODULES = {name: module for module, names in _TYPES_BY_MODULE.items() for name in names}
FAMILY_NAMES = tuple(sorted((*OWN_READERS, *_MODULES, *_SAME_FORM)))


def find_family_reader(model_type: str) -> FamilyReader:
    """The function that reads the fields of a model of this type, one of FAMILY_NAMES."""
    model_type = _SAME_FORM.get(model_type, model_type)
    if model_type in OWN_READERS:
        module, function = OWN_READERS[model_type]
        reader: FamilyReader = getattr(import_module(f"{__name__}.{module}"), function)
        return reader
    from planner.workload.huggingface.table import read_family

    family = import_module(f"{__name__}.{_MODULES[model_type]}").FAMILIES[model_type]
    return lambda config: read_family(config, family, model_type)
