#!/usr/bin/env bash
# transformers 5.24.0 (T5Config, MT5Config, UMT5Config, T5ForConditionalGeneration); torch 2.13.0
#
# T5 v1.1 and FLAN-T5 have an output layer of their own, and their config.json says tie_word_embeddings false. The class
# reads that key and sets it back to true: the configuration answers True, the model shares its output layer with the
# embedding, and a file that is written from it says true. So the parameters of such a model, counted from its
# config.json by the class, are one embedding too few.
#
# One would expect: a key that the class takes is kept, or refused.
#
# Output:
#   T5Config: tie_word_embeddings False is read as True
#   MT5Config: tie_word_embeddings False is read as True
#   UMT5Config: tie_word_embeddings False is read as True
#   a small model of vocabulary 512 x 64 made with False and with True has 32768 parameters of difference: False
#   its output layer is its embedding: True
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 transformers==5.24.0 2>"$dir/pip.log" || { cat "$dir/pip.log" >&2; exit 1; }
cat >"$dir/run.py" <<'PYTHON'
from transformers import MT5Config, T5Config, T5ForConditionalGeneration, UMT5Config

for kind in (T5Config, MT5Config, UMT5Config):
    print(f"{kind.__name__}: tie_word_embeddings False is read as {kind(tie_word_embeddings=False).tie_word_embeddings}")


def build_model(tied):
    config = T5Config(vocab_size=512, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, tie_word_embeddings=tied)
    return T5ForConditionalGeneration(config)


models = [build_model(tied) for tied in (False, True)]
counts = [sum(parameter.numel() for parameter in model.parameters()) for model in models]
differ = counts[0] - counts[1] == 512 * 64
print(f"a small model of vocabulary 512 x 64 made with False and with True has 32768 parameters of difference: {differ}")
print("its output layer is its embedding:", models[0].lm_head.weight is models[0].shared.weight)
PYTHON
"$dir/env/bin/python" -W ignore "$dir/run.py" | tee "$dir/seen"
sed -n '/^# Output/,/^set /s/^#   //p' "$0" | diff - "$dir/seen"
