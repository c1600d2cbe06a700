#!/usr/bin/env bash
# torchtitan 0.3.0 (deepseekv3_configs["236B"]) against transformers 4.57.6 (DeepseekV2MoEGate); torch 2.13.0
#
# torchtitan's preset of DeepSeek-V2 limits a token to 3 of 8 groups of experts as DeepSeek-V3 does it: a group is as good
# as the sum of its two best experts. DeepSeek-V2 takes the group's best expert alone. So from the same scores the preset
# can leave out the very expert that the token likes best, where the model itself never can: the best expert's group is
# always the first. With random scores about three tokens in ten go to other experts. The preset of V2-Lite has no
# groups, that of V3 agrees with its model.
#
# One would expect: a preset with the softmax scores and the scaling of V2 chooses groups as V2 does.
#
# Output:
#   one token whose best expert stands alone in its group, experts chosen
#   transformers: [0, 20, 21, 22, 40, 41]
#   torchtitan: [20, 21, 40, 41, 60, 61]
#   scores that both give the experts they share are equal: True
#   random tokens with other experts, in tenths: 3
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 torchtitan==0.3.0 transformers==4.57.6 triton==3.7.1 2>"$dir/pip.log" ||
  { cat "$dir/pip.log" >&2; exit 1; }
cat >"$dir/run.py" <<'PYTHON'
import torch
from torchtitan.models.deepseek_v3 import deepseekv3_configs
from transformers.models.deepseek_v2.configuration_deepseek_v2 import DeepseekV2Config
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2MoEGate

EXPERTS = 160
# of deepseek-ai/DeepSeek-V2, config.json
config = DeepseekV2Config(
    hidden_size=EXPERTS, n_routed_experts=EXPERTS, num_experts_per_tok=6, n_group=8, topk_group=3,
    topk_method="group_limited_greedy", routed_scaling_factor=16.0,
)
gate = DeepseekV2MoEGate(config)
preset = deepseekv3_configs["236B"]("flex", "standard").layers[-1].moe.router
preset.gate.in_features = EXPERTS
router = preset.build()
with torch.no_grad():  # the input is the score: both gates are the identity
    gate.weight.copy_(torch.eye(EXPERTS))
    router.gate.weight.copy_(torch.eye(EXPERTS))


def route(scores):
    experts, weights = gate(scores)
    their_weights, their_experts, _ = router(scores)
    return (experts, weights), (their_experts[0], their_weights[0])


token = torch.zeros(1, 1, EXPERTS)
token[0, 0, 0] = 5.0
for group in (1, 2, 3):
    token[0, 0, 20 * group] = 4.95 - 0.1 * group
    token[0, 0, 20 * group + 1] = 4.94 - 0.1 * group
token[0, 0, 22] = 4.0
(ours, our_weights), (theirs, their_weights) = (
    (experts[0].tolist(), weights[0].tolist()) for experts, weights in route(token)
)
print("one token whose best expert stands alone in its group, experts chosen")
print("transformers:", sorted(ours))
print("torchtitan:", sorted(theirs))
first, second = dict(zip(ours, our_weights)), dict(zip(theirs, their_weights))
shared = first.keys() & second.keys()
print("scores that both give the experts they share are equal:",
      bool(shared) and all(abs(first[e] - second[e]) < 1e-4 * first[e] for e in shared))
torch.manual_seed(0)
(ours, _), (theirs, _) = route(torch.randn(1, 20_000, EXPERTS))
differ = (ours.sort(-1).values != theirs.sort(-1).values).any(-1).float().mean().item()
print("random tokens with other experts, in tenths:", round(10 * differ))
PYTHON
"$dir/env/bin/python" -W ignore "$dir/run.py" | tee "$dir/seen"
sed -n '/^# Output/,/^set /s/^#   //p' "$0" | diff - "$dir/seen"
