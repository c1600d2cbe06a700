#!/usr/bin/env bash
# torchtune 0.6.1 (tune run full_finetune_single_device, lora_finetune_single_device), torchao 0.10.0, torch 2.13.0
#
# With compile true both recipes log that they compile the loss. Whether they do depends on the recipe and on the loss.
# compile_loss changes a chunked loss in place; of any other it returns what torch.compile makes and leaves the loss as
# it was. The recipe of LoRA takes what is returned. That of full fine-tuning does not: there plain cross entropy runs
# as without compile.
#
# The losses are torch's and torchtune's own with a note of whether they run compiled; model, tokens and checkpoint are
# made here.
#
# Expected before running: both losses compiled in both recipes.
#
# Output:
#   full_finetune_single_device, chunked loss: logs that it compiles the loss, compiled: True
#   full_finetune_single_device, plain loss: logs that it compiles the loss, compiled: False
#   lora_finetune_single_device, chunked loss: logs that it compiles the loss, compiled: True
#   lora_finetune_single_device, plain loss: logs that it compiles the loss, compiled: True
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 torchtune==0.6.1 torchao==0.10.0 numpy==2.3.5 2>"$dir/pip.log" ||
    { cat "$dir/pip.log" >&2; exit 1; }
cat >"$dir/parts.py" <<'PYTHON'
import atexit

import torch
from torchtune.models.llama2 import llama2
from torchtune.modules import loss

SIZES = {"vocab_size": 64, "num_layers": 1, "num_heads": 2, "num_kv_heads": 2, "embed_dim": 32, "max_seq_len": 16}
compiled = None
atexit.register(lambda: print("compiled:", compiled, flush=True))


class Plain(torch.nn.CrossEntropyLoss):
    def forward(self, *arguments):
        global compiled
        compiled = torch.compiler.is_compiling()
        return super().forward(*arguments)


class CEWithChunkedOutputLoss(loss.CEWithChunkedOutputLoss):  # the recipes go by this name
    def compute_cross_entropy(self, *arguments, **options):
        global compiled
        compiled = torch.compiler.is_compiling()
        return super().compute_cross_entropy(*arguments, **options)


class Checkpointer:
    def __init__(self, **options):
        pass

    def load_checkpoint(self):
        return {"model": llama2(**SIZES).state_dict()}

    def save_checkpoint(self, *arguments, **options):
        pass


class Tokenizer:
    pad_id = 0


class Tokens(torch.utils.data.Dataset):
    def __init__(self, tokenizer):
        pass

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {"tokens": list(range(index, index + 8)), "labels": list(range(index + 1, index + 9))}
PYTHON
cat >"$dir/run.yaml" <<YAML
output_dir: $dir/out
device: cpu
dtype: fp32
compile: true
seed: 0
shuffle: false
resume_from_checkpoint: false
save_adapter_weights_only: false
enable_activation_checkpointing: false
enable_activation_offloading: false
epochs: 1
max_steps_per_epoch: 2
batch_size: 2
gradient_accumulation_steps: 1
optimizer_in_bwd: false
tokenizer: {_component_: parts.Tokenizer}
dataset: {_component_: parts.Tokens}
checkpointer: {_component_: parts.Checkpointer}
optimizer: {_component_: torch.optim.SGD, lr: 0.1}
lr_scheduler: {_component_: torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup, num_warmup_steps: 1}
metric_logger: {_component_: torchtune.training.metric_logging.StdoutLogger}
model: {vocab_size: 64, num_layers: 1, num_heads: 2, num_kv_heads: 2, embed_dim: 32, max_seq_len: 16}
YAML
full="model._component_=torchtune.models.llama2.llama2"
lora="model._component_=torchtune.models.llama2.lora_llama2 model.lora_attn_modules=[q_proj]"
lora+=" model.apply_lora_to_mlp=false model.lora_rank=2 model.lora_alpha=2"
export TORCH_COMPILE_BACKEND=eager PYTHONPATH=$dir
for recipe in full lora; do
    for loss in CEWithChunkedOutputLoss Plain; do
        name=${recipe}_finetune_single_device
        # shellcheck disable=SC2086
        "$dir/env/bin/tune" run "$name" --config "$dir/run.yaml" loss._component_="parts.$loss" ${!recipe} \
            >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
        label=$([ "$loss" = Plain ] && echo plain || echo chunked)
        said=$(grep -q "Compiling loss" "$dir/log" && echo "logs that it compiles the loss" || echo "logs nothing")
        echo "$name, $label loss: $said, $(grep "^compiled: " "$dir/log")"
    done
done | tee "$dir/seen"
sed -n '/^# Output/,/^set /s/^#   //p' "$0" | diff - "$dir/seen"
