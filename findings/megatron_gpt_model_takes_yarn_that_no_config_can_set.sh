#!/usr/bin/env bash
# megatron-core 0.16.1, torch 2.13.0
#
# "yarn" is one of the position embeddings in GPTModel's signature, but no configuration can be made for it. It reads
# values with names in yarn_ from the configuration. TransformerConfig has no such field, nor has MLATransformerConfig,
# whose own YaRN values have other names. Once they are set by hand, as attributes of a configuration that is made, the
# model is built; a configuration that dataclasses.replace makes of it has lost them.
#
# Expected before running: a field for each value that it reads.
#
# Output (mrope is left out, which needs an accelerator):
#   learned_absolute: built
#   rope: built
#   none: built
#   yarn: AttributeError, yarn_rotary_scaling_factor
#   yarn with latent attention: AttributeError, yarn_rotary_scaling_factor
#   fields in yarn_: 0 of TransformerConfig, 0 of MLATransformerConfig
#   yarn, set by hand: built
#   yarn, set by hand and replaced: AttributeError, yarn_rotary_scaling_factor
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 numpy==2.3.5 megatron-core==0.16.1 2>"$dir/pip.log" ||
    { cat "$dir/pip.log" >&2; exit 1; }
cat >"$dir/run.py" <<'PYTHON'
import dataclasses

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer import MLATransformerConfig, TransformerConfig
from torch.testing._internal.distributed.fake_pg import FakeStore

SIZES = {"num_layers": 1, "hidden_size": 64, "num_attention_heads": 4, "use_cpu_initialization": True}
YARN = {
    "yarn_rotary_scaling_factor": 4.0,
    "yarn_original_max_position_embeddings": 32,
    "yarn_beta_fast": 32.0,
    "yarn_beta_slow": 1.0,
    "yarn_mscale": 1.0,
    "yarn_mscale_all_dim": 0.0,
    "yarn_correction_range_round_to_int": True,
}


def build(label, config, embedding="yarn"):
    spec = get_gpt_layer_local_spec(multi_latent_attention=config.multi_latent_attention)
    try:
        GPTModel(config, spec, vocab_size=128, max_sequence_length=128, position_embedding_type=embedding)
        print(f"{label}: built")
    except AttributeError as error:
        print(f"{label}: AttributeError, {error.name}")


# Without an accelerator: where the frequencies are made.
torch.cuda.current_device = lambda: torch.device("cpu")
dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=1)
parallel_state.initialize_model_parallel(create_gloo_process_groups=False)
for embedding in ("learned_absolute", "rope", "none", "yarn"):
    build(embedding, TransformerConfig(**SIZES), embedding)
build("yarn with latent attention", MLATransformerConfig(**SIZES))
kinds = (TransformerConfig, MLATransformerConfig)
counts = [sum("yarn_" in field.name for field in dataclasses.fields(kind)) for kind in kinds]
print(f"fields in yarn_: {counts[0]} of TransformerConfig, {counts[1]} of MLATransformerConfig")
config = TransformerConfig(**SIZES)
for name, value in YARN.items():
    setattr(config, name, value)
build("yarn, set by hand", config)
build("yarn, set by hand and replaced", dataclasses.replace(config))
dist.destroy_process_group()
PYTHON
"$dir/env/bin/python" -W ignore "$dir/run.py" 2>"$dir/log" | tee "$dir/seen"
sed -n '/^# Output/,/^set /s/^#   //p' "$0" | diff - "$dir/seen"
