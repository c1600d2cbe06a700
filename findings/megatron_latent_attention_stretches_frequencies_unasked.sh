#!/usr/bin/env bash
# megatron-core 0.16.1, torch 2.13.0
#
# Multi-latent attention is YaRN unless told otherwise: an MLATransformerConfig that is given no scaling has rope_type
# "yarn" with factor 40 over 4,096 tokens. A model whose configuration has no rope scaling gets other angles: the slowest
# pair turns 40 times slower, and cosine and sine are multiplied by 1.369. GPTModel's own rope_scaling is off by default.
# And the factor reaches further than rope_type: with rope_type "rope" the angles are plain, but mscale_all_dim 1, which
# DeepSeek-V3's configuration has, still multiplies the softmax scale by 1.874, since the factor of 40 is there. To have
# no scaling at all, rope_type "rope" and mscale_all_dim 0 are needed, or factor 1.
#
# Expected before running: no scaling without a setting that asks for it, and none of it with rope_type "rope".
#
# Output (radians of pairs 0, 15 and 31 of 32 at the second token; what multiplies cosine and sine; the softmax scale in
# units of 1 / sqrt(192)):
#   nothing said: radians 1.000e+00, 8.335e-03, 3.334e-06; magnitude 1.3689; softmax 1.0000
#   rope_type rope: radians 1.000e+00, 1.334e-02, 1.334e-04; magnitude 1.0000; softmax 1.0000
#   rotary_scaling_factor 1.0: radians 1.000e+00, 1.334e-02, 1.334e-04; magnitude 1.0000; softmax 1.0000
#   mscale_all_dim 1.0: radians 1.000e+00, 8.335e-03, 3.334e-06; magnitude 1.0000; softmax 1.8739
#   rope_type rope, mscale_all_dim 1.0: radians 1.000e+00, 1.334e-02, 1.334e-04; magnitude 1.0000; softmax 1.8739
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 numpy==2.3.5 megatron-core==0.16.1 2>"$dir/pip.log" ||
    { cat "$dir/pip.log" >&2; exit 1; }
cat >"$dir/run.py" <<'PYTHON'
import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer import MLATransformerConfig, multi_latent_attention
from megatron.core.transformer.identity_op import IdentityOp
from megatron.core.transformer.spec_utils import build_module
from torch.testing._internal.distributed.fake_pg import FakeStore

WIDTHS = {"qk_head_dim": 128, "qk_pos_emb_head_dim": 64, "v_head_dim": 128}

# Without an accelerator and Transformer Engine: the device of the frequencies, and a class that nothing here belongs to.
multi_latent_attention.TELinear = type("TELinear", (), {})
torch.cuda.current_device = lambda: torch.device("cpu")
dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=1)
parallel_state.initialize_model_parallel(create_gloo_process_groups=False)


def describe(**settings):
    sizes = {"num_layers": 1, "hidden_size": 256, "num_attention_heads": 2, "q_lora_rank": None, "kv_lora_rank": 64}
    config = MLATransformerConfig(use_cpu_initialization=True, **sizes, **WIDTHS, **settings)
    spec = get_gpt_layer_local_spec(multi_latent_attention=True).submodules.self_attention
    spec.submodules.core_attention = IdentityOp
    attention = build_module(spec, config=config, layer_number=1)
    angles = attention.rotary_pos_emb(2)
    angles, magnitude = angles if isinstance(angles, tuple) else (angles, 1.0)
    radians = ", ".join(f"{angles[1, 0, 0, pair]:.3e}" for pair in (0, 15, 31))
    scale = attention.softmax_scale * (WIDTHS["qk_head_dim"] + WIDTHS["qk_pos_emb_head_dim"]) ** 0.5
    label = ", ".join(f"{name} {value}" for name, value in settings.items()) or "nothing said"
    print(f"{label}: radians {radians}; magnitude {magnitude:.4f}; softmax {scale:.4f}")


describe()
describe(rope_type="rope")
describe(rotary_scaling_factor=1.0)
describe(mscale_all_dim=1.0)
describe(rope_type="rope", mscale_all_dim=1.0)
dist.destroy_process_group()
PYTHON
"$dir/env/bin/python" -W ignore "$dir/run.py" | tee "$dir/seen"
sed -n '/^# Output/,/^set /s/^#   //p' "$0" | diff - "$dir/seen"
