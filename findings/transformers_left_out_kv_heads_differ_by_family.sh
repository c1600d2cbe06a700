#!/usr/bin/env bash
# transformers 5.24.0 (torch 2.13.0 for the shapes)
#
# A config.json that leaves num_key_value_heads out does not mean the same in each family. With 64 attention heads of
# 64 in a width of 4096, Llama, OLMo 2 and Cohere 2 take as many key and value heads as attention heads; others take a
# fixed number, whatever the attention heads: Qwen2 and Qwen3 32, Mistral 8, Qwen3-MoE and SmolLM3 4, StarCoder2 2. The
# model is built without a word, and the weight of the keys has from 128 to 4096 rows.
# null is another thing than leaving it out: Qwen2 then takes 64, as Llama does, and Mistral refuses it.
# The width of a head differs in the same way within a family: without head_dim Qwen3 takes 128 and Qwen3-MoE
# hidden_size / heads, so that its weight of queries is half as large.
#
# One would expect: without the field, as many key and value heads as attention heads everywhere.
#
# Output (rows of the weights of queries and keys, each of 4096 columns):
#   llama: left out 4096 and 4096, null 4096 and 4096
#   olmo2: left out 4096 and 4096, null 4096 and 4096
#   cohere2: left out 4096 and 4096, null 4096 and 4096
#   qwen2: left out 4096 and 2048, null 4096 and 4096
#   qwen3: left out 8192 and 4096, null 8192 and 8192
#   mistral: left out 4096 and 512, null refused
#   qwen3_moe: left out 4096 and 256, null refused
#   smollm3: left out 4096 and 256, null 4096 and 4096
#   starcoder2: left out 4096 and 128, null refused
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 numpy==2.3.5 transformers==5.24.0 2>"$dir/pip.log" ||
    { cat "$dir/pip.log" >&2; exit 1; }
cat >"$dir/run.py" <<'PYTHON'
import json
import pathlib
import sys

import torch
from transformers import AutoConfig, AutoModelForCausalLM

FOLDER = pathlib.Path(sys.argv[1])
FIELDS = {
    "hidden_size": 4096,
    "intermediate_size": 8192,
    "num_attention_heads": 64,
    "num_hidden_layers": 1,
    "vocab_size": 1024,
    "pad_token_id": None,
}


def describe(family, more):
    (FOLDER / "config.json").write_text(json.dumps({"model_type": family, **FIELDS, **more}))
    try:
        config = AutoConfig.from_pretrained(FOLDER)
    except Exception as error:
        return "refused" if "num_key_value_heads" in str(error) else repr(error)
    with torch.device("meta"):
        attention = AutoModelForCausalLM.from_config(config).model.layers[0].self_attn
    return f"{attention.q_proj.weight.shape[0]} and {attention.k_proj.weight.shape[0]}"


for family in ("llama", "olmo2", "cohere2", "qwen2", "qwen3", "mistral", "qwen3_moe", "smollm3", "starcoder2"):
    print(f"{family}: left out {describe(family, {})}, null {describe(family, {'num_key_value_heads': None})}")
PYTHON
"$dir/env/bin/python" -W ignore "$dir/run.py" "$dir" 2>"$dir/log" | tee "$dir/seen"
sed -n '/^# Output/,/^set /s/^#   //p' "$0" | diff - "$dir/seen"
